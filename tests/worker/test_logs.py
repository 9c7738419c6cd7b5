"""Logs: a backup's word is true, and an entry goes to it only behind the one that the primary has before it."""

from __future__ import annotations

import pytest

from holdfast.core.epochs import Chunk, Cursor, Lineage, LogEntry
from holdfast.recovery.generation import Formation, Holders, Layout, Member
from holdfast.replication.messages import LogCopied, LogHeld, LogInstalled
from holdfast.worker.cluster_effects import AppendEntries, InstallLog, ReadEntries
from holdfast.worker.logs import Logs


def entry(epoch: int, partition: int = 0) -> LogEntry:
    return LogEntry(epoch, 2, 0, Chunk(partition, 0, 1, 0, None, False, b""))


def logs_of(
    node: str, *, kept: int, tail: int = 9, base: int = 0, cut: int = 3, backups: tuple[str, ...] = ("b",)
) -> Logs:
    """Partition 0 of "a", held by "b"; its adopted log goes to `tail`."""
    layout = Layout((), (Holders("a", backups),), ())
    members = (Member("a", 1, 1), *(Member(backup, 1, 1) for backup in backups))
    made = Formation(2, members, layout, cut, True, None, tail, ((1, tail),), (((1, tail),),), ())
    lineages = {0: Lineage(1, Cursor(base), tail, ((1, tail),))}
    return Logs(made, node, {0: kept}, lineages, bytes_max=100)


def test_a_backup_says_at_once_what_it_has_of_the_adopted_log() -> None:
    logs = logs_of("b", kept=5)
    logs.begin()
    assert logs.outbox == [("a", LogHeld(0, 5))]
    assert (logs.held, logs.caught_up) == ((0,), True)


def test_a_backup_gets_what_it_lacks_and_counts_only_then() -> None:
    logs = logs_of("a", kept=9)
    assert not logs.caught_up
    assert logs.log_held("b", LogHeld(0, 5)) == [ReadEntries(0, 5, 100, "b")]
    assert logs.log_held("b", LogHeld(0, 5)) == [], "it is served once"
    assert logs.entries_read("b", 0, (entry(6), entry(8))) == [ReadEntries(0, 8, 100, "b")]
    assert logs.entries_read("b", 0, (entry(9), entry(12))) == []
    assert [own.epoch for _, m in logs.outbox if isinstance(m, LogCopied) for own in m.entries] == [6, 8, 9]
    assert not logs.caught_up
    logs.log_held("b", LogHeld(0, 8))
    assert (logs.caught_up, logs.copies.durable) == (False, 3)
    logs.log_held("b", LogHeld(0, 9))
    assert logs.caught_up


def test_a_backup_behind_the_base_begins_anew_there() -> None:
    logs = logs_of("a", kept=9, base=4)
    assert logs.log_held("b", LogHeld(0, 2)) == [ReadEntries(0, 4, 100, "b")]
    assert logs.outbox == [("b", LogInstalled(0, Cursor(4)))]


def test_a_backup_that_has_nothing_of_an_empty_log_installs_it() -> None:
    logs = logs_of("a", kept=0, tail=0)
    assert logs.log_held("b", LogHeld(0, -1)) == []
    assert logs.outbox == [("b", LogInstalled(0, Cursor(0)))]


def test_a_stranger_says_nothing_about_a_log() -> None:
    logs = logs_of("a", kept=9)
    assert logs.log_held("x", LogHeld(0, 9)) == []
    assert logs.log_held("b", LogHeld(1, 9)) == []
    assert not logs.caught_up


def test_new_entries_go_to_the_disk_and_to_the_backups_behind_the_one_before() -> None:
    logs = logs_of("a", kept=9)
    assert logs.append(10, []) == []
    assert logs.append(11, [entry(11)]) == [AppendEntries(1, (entry(11),))]
    logs.append(14, [entry(14)])
    assert logs.outbox == [("b", LogCopied(0, 9, (entry(11),))), ("b", LogCopied(0, 11, (entry(14),)))]
    assert logs.synced(1) == [11]
    assert logs.synced(2) == [14]


def test_a_backup_says_held_only_of_what_its_disk_has_synced() -> None:
    logs = logs_of("b", kept=9)
    logs.copied(LogCopied(0, 9, (entry(11),)))
    logs.copied(LogCopied(0, 11, (entry(14), entry(15))))
    assert logs.outbox == []
    assert logs.synced(1) == []
    assert logs.outbox == [("a", LogHeld(0, 11))]
    logs.synced(2)
    assert logs.outbox[-1] == ("a", LogHeld(0, 15))


def test_one_commit_may_answer_for_several_orders() -> None:
    logs = logs_of("b", kept=9)
    logs.copied(LogCopied(0, 9, (entry(11),)))
    logs.copied(LogCopied(0, 11, (entry(14),)))
    logs.synced(2)
    assert [message.tail for _, message in logs.outbox if isinstance(message, LogHeld)] == [11, 14]


def test_an_entry_on_a_gap_or_on_one_that_is_there_is_never_written() -> None:
    logs = logs_of("b", kept=5)
    with pytest.raises(AssertionError, match="goes on behind 9"):
        logs.copied(LogCopied(0, 9, (entry(11),)))
    with pytest.raises(AssertionError, match="in the order of their epochs"):
        logs.copied(LogCopied(0, 5, (entry(5),)))


def test_an_installed_log_is_held_once_that_is_durable() -> None:
    logs = logs_of("b", kept=-1)
    assert logs.installed(LogInstalled(0, Cursor(4))) == [InstallLog(0, Cursor(4)), AppendEntries(1, ())]
    assert logs.outbox == []
    logs.synced(1)
    assert logs.outbox == [("a", LogHeld(0, 4))]


def test_backups_have_caught_up_when_the_last_of_them_has() -> None:
    for said in ("bc", "cb"):
        logs = logs_of("a", kept=9, backups=("b", "c"))
        logs.log_held(said[0], LogHeld(0, 9))
        assert not logs.caught_up
        logs.log_held(said[1], LogHeld(0, 9))
        assert logs.caught_up


def test_a_log_goes_on_behind_the_base_that_was_installed() -> None:
    logs = logs_of("b", kept=-1)
    logs.installed(LogInstalled(0, Cursor(4)))

    assert logs.copied(LogCopied(0, 4, (entry(6),))) == [AppendEntries(2, (entry(6),))]
