"""Parts: records enter epochs in order and exactly once, whole rounds at a time where sources are finite."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.epochs import Cursor
from holdfast.core.turns import ROUND
from holdfast.worker.effects import OpenSource, ReadSource
from holdfast.worker.events import SourceRead
from holdfast.worker.parts import LARGE_RECORDS, Parts
from holdfast.worker.settings import Settings


def parts_of(*, live: bool = False, cursors: dict[int, Cursor] | None = None, time: int | None = None) -> Parts:
    parts = Parts(Settings(), live=live, times=lambda partition, raw: time)
    parts.begin((cursors or {0: Cursor(), 1: Cursor()}).items())
    return parts


def block(partition: int, count: int, *, ended: bool = False, offset: Any = None) -> SourceRead:
    return SourceRead(0, partition, b"x" * count, count, offset, ended)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), max_size=12), st.integers(0, 400))
def test_every_record_enters_one_epoch_in_order(epochs: list[tuple[int, int]], length: int) -> None:
    parts = parts_of(cursors={0: Cursor(4, 10, "o", False, 7)})
    parts.open()
    given_out, number, epoch = 0, 10, 4
    for rounds, gap in epochs:
        orders = parts.ask(rounds)
        if not orders:
            break
        assert orders == [ReadSource(0, rounds * ROUND)]
        count = min(rounds * ROUND, length - given_out)
        given_out += count
        parts.read(block(0, count, ended=count < rounds * ROUND, offset=given_out))
        epoch += 1 + gap
        (entry,) = parts.close(epoch, 3, 5)
        assert (entry.epoch, entry.generation, entry.chunk.first, entry.chunk.count) == (epoch, 3, number, count)
        number += count
        assert parts.partitions[0].cursor == Cursor(epoch, number, given_out, entry.chunk.ended, 7)


def test_reading_goes_on_where_the_log_ends_and_not_where_it_has_ended() -> None:
    parts = parts_of(cursors={0: Cursor(2, 5, "there", False, 0), 1: Cursor(2, 5, "end", True, 0)})
    assert parts.ask(1) == []

    assert parts.open() == [OpenSource(0, "there")]
    assert parts.ask(1) == [ReadSource(0, ROUND)]
    assert parts.ask(1) == [], "one block at a time"


def test_finite_partitions_are_not_read_before_it_is_known_how_many_rounds_an_epoch_takes() -> None:
    parts = parts_of()
    parts.open()

    assert parts.ask(None) == []


def test_an_epoch_of_finite_partitions_waits_for_all_of_them() -> None:
    parts = parts_of()
    parts.open()
    parts.ask(1)
    parts.read(block(0, ROUND))
    with pytest.raises(AssertionError):
        parts.close(1, 1, 0)
    parts.read(block(1, 3, ended=True))
    assert len(parts.close(1, 1, 0)) == 2
    assert [own.index for own in parts.unended] == [0]
    assert not parts.is_ready


def test_live_partitions_give_what_has_come() -> None:
    parts = parts_of(live=True)
    parts.open()
    parts.ask(None)
    assert parts.is_ready
    assert parts.close(1, 1, 0) == []
    parts.read(block(1, 2))
    assert parts.has_waiting
    assert [entry.chunk.partition for entry in parts.close(2, 1, 0)] == [1]
    assert not parts.has_waiting


@pytest.mark.parametrize(
    ("asked", "counts", "is_pressed"),
    [
        (16, (ROUND - 1, 0), False),
        (16, (ROUND, 0), True),  # all that was asked for
        (1 << 20, (LARGE_RECORDS - 1, LARGE_RECORDS - 1), False),
        (1 << 20, (LARGE_RECORDS, 0), True),
        (1 << 20, (0, LARGE_RECORDS), True),
    ],
)
def test_large_blocks_of_any_live_source_press(asked: int, counts: tuple[int, int], is_pressed: bool) -> None:
    parts = parts_of(live=True)
    parts.bytes_wanted = asked
    parts.open()
    assert not parts.is_pressed
    parts.ask(None)

    for partition, count in enumerate(counts):
        parts.read(block(partition, count))

    assert parts.is_pressed is is_pressed


def test_nothing_more_is_read_of_live_sources_when_it_stops() -> None:
    parts = parts_of(live=True)
    parts.open()
    parts.stopping = True

    assert parts.ask(None) == []


def test_the_time_of_a_partition_never_runs_back() -> None:
    parts = parts_of(live=True, cursors={0: Cursor(0, 0, None, False, 50)})
    parts.open()
    parts.ask(None)
    parts.read(block(0, 1))
    (entry,) = parts.close(1, 1, 20)
    assert (entry.time, entry.chunk.time) == (50, 50)


def test_a_block_has_the_time_of_its_records_where_they_have_one() -> None:
    parts = parts_of(live=True, cursors={0: Cursor()}, time=9)
    parts.open()
    parts.ask(None)
    parts.read(block(0, 1))
    (entry,) = parts.close(1, 1, 20)
    assert entry.time == 9


def test_an_alarm_is_logged_with_its_time_and_changes_nothing_else() -> None:
    before = Cursor(2, 5, "there", True, 30)
    parts = parts_of(live=True, cursors={0: before})

    entry = parts.alarm(0, 7, 2, 99)

    assert (entry.time, entry.chunk.time, entry.chunk.count, entry.chunk.first) == (99, 30, 0, 5)
    assert parts.partitions[0].cursor == Cursor(7, 5, "there", True, 30)


def test_a_replayed_entry_moves_the_cursor_as_it_did_when_it_was_new() -> None:
    parts, again = parts_of(live=True), parts_of(live=True)
    parts.open()
    parts.ask(None)
    parts.read(block(0, 2, offset="x"))
    for entry in parts.close(1, 1, 8):
        again.replayed(entry)

    assert again.partitions[0].cursor == parts.partitions[0].cursor


def test_whether_all_had_ended_is_told_of_an_epoch_and_not_of_now() -> None:
    parts = parts_of(cursors={0: Cursor(3, 1, None, True, 0), 1: Cursor(5, 1, None, True, 0)})

    assert [parts.had_ended(epoch) for epoch in (2, 3, 4, 5, 6)] == [False, False, False, True, True]
    assert not parts_of().had_ended(9)
    assert Parts(Settings(), live=False, times=lambda p, raw: None).had_ended(0)


def test_who_has_nothing_to_read_proposes_no_rounds() -> None:
    assert parts_of(cursors={0: Cursor(1, 0, None, True, 0)}).proposal is None
    assert parts_of(live=True).proposal is None
    small = parts_of()
    small.bytes_wanted = 1
    assert small.proposal == 1
    small.bytes_wanted = 64 * ROUND * 2 * 5
    assert small.proposal == 5
