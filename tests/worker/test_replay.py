"""Replay: entries are handed out in the order of their epochs, each once, and none is taken for missing too early."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.epochs import Chunk, Cursor, LogEntry
from holdfast.worker.cluster_effects import ReadCursor, ReadEntries
from holdfast.worker.replay import Replay


def entry(epoch: int, partition: int) -> LogEntry:
    return LogEntry(epoch, 1, 0, Chunk(partition, 0, 1, 0, None, False, b""))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.dictionaries(st.integers(0, 2), st.sets(st.integers(1, 12)), max_size=3),
    st.integers(0, 6),
    st.integers(0, 12),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_logs_are_worked_off_epoch_by_epoch(
    logs: dict[int, set[int]], cut: int, beyond: int, at_once: int, random: object
) -> None:
    level = cut + beyond
    replay = Replay(cut, level, logs, 10)
    asked: list[ReadEntries] = []
    found: list[tuple[int, int]] = []
    closed = cut
    while closed < level:
        asked += [order for order in replay.ask() if isinstance(order, ReadEntries)]
        while closed < level and replay.is_ready(closed + 1):
            closed += 1
            found += [(own.epoch, own.chunk.partition) for own in replay.take(closed)]
        if asked:
            order = asked.pop(random.randrange(len(asked)))  # type: ignore[attr-defined]
            epochs = sorted(e for e in logs[order.partition] if e > order.after)[:at_once]
            replay.entries_read(order.partition, tuple(entry(e, order.partition) for e in epochs))

    assert found == sorted((e, p) for p, epochs in logs.items() for e in epochs if cut < e <= level)


def test_cursors_are_asked_of_every_own_partition() -> None:
    replay = Replay(4, 9, [2, 0], 10)

    assert replay.begin() == [ReadCursor(0, 4), ReadCursor(2, 4)]
    replay.cursor_read(0, Cursor(4))
    assert not replay.has_cursors
    replay.cursor_read(2, Cursor(4))
    assert replay.has_cursors


def test_a_log_is_read_once_at_a_time_and_not_beyond_the_level() -> None:
    replay = Replay(4, 9, [0], 10)
    assert replay.ask() == [ReadEntries(0, 4, 10, "")]
    assert replay.ask() == []
    assert not replay.is_ready(5)
    replay.entries_read(0, ())
    assert replay.is_ready(9)
    assert replay.ask() == []


def test_without_own_partitions_there_is_nothing_to_wait_for() -> None:
    assert Replay(4, 9, [], 10).is_ready(9)


def test_what_a_log_has_beyond_the_level_is_no_part_of_an_epoch() -> None:
    replay = Replay(4, 9, [0], 10)
    replay.ask()
    replay.entries_read(0, (entry(8, 0), entry(10, 0)))

    assert [[own.epoch for own in replay.take(epoch)] for epoch in (8, 9, 10)] == [[8], [], []]
