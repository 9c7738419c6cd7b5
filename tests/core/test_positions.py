"""Positions: columns of several feeders become one in serial order, and timers find their places in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.positions import TIMER, Column, Position, in_order, joined, merge, merge_runs

records = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 5))
timers = st.tuples(
    st.integers(0, 3), st.just(TIMER), st.integers(0, 9), st.integers(1, 3), st.binary(max_size=2), st.text(max_size=1)
)
paths = st.lists(st.integers(0, 3), max_size=3).map(tuple)
positions = st.builds(lambda place, path: (*place, *path), records | timers, paths)


def without_prefixes(found: list[Position]) -> list[Position]:
    """As messages of one inlet stand: no two equal, none a prefix of another."""
    kept: list[Position] = []
    for position in sorted(set(found), key=repr):
        if not any(position[: len(other)] == other or other[: len(position)] == position for other in kept):
            kept.append(position)
    return kept


def column(found: list[Position], *, keyed: bool = True) -> Column:
    made = Column()
    for position in sorted(found):
        made.positions.append(position)
        made.messages.append(["message", position])
        if keyed:
            made.keys.append(("key", position))
    return made


@given(st.lists(positions, max_size=20).map(without_prefixes), st.data())
def test_merged_columns_are_in_order_of_positions(found: list[Position], data: st.DataObject) -> None:
    owners = [data.draw(st.integers(0, 2)) for _ in found]
    columns = [column([p for p, owner in zip(found, owners, strict=True) if owner == number]) for number in range(3)]

    merged = merge(columns)

    assert [message[1] for message in merged.messages] == sorted(found)
    assert [key[1] for key in merged.keys] == sorted(found)


@given(st.lists(positions, max_size=30).map(without_prefixes), st.data())
def test_merged_runs_are_one_run_whatever_pieces_they_come_in(found: list[Position], data: st.DataObject) -> None:
    owners = [data.draw(st.integers(0, 2)) for _ in found]
    runs = []
    for number in range(3):
        whole = column([p for p, owner in zip(found, owners, strict=True) if owner == number])
        ends = sorted(data.draw(st.sets(st.integers(1, len(whole.messages)))) | {len(whole.messages)}) if whole.messages else []
        runs.append([whole.part(start, end) for start, end in zip([0, *ends], ends, strict=False)])

    pieces = list(merge_runs([iter(run) for run in runs]))

    assert all(piece.messages for piece in pieces)
    assert len(pieces) <= sum(map(len, runs))
    merged = joined(pieces)
    assert [message[1] for message in merged.messages] == sorted(found)
    assert [key[1] for key in merged.keys] == sorted(found)
    assert merged.positions == sorted(found)


def test_a_piece_of_merged_runs_is_about_as_large_as_the_columns_are() -> None:
    runs = [[column([(0, 0, 2 * n + run)]) for n in range(50)] for run in range(2)]

    assert max(len(piece.messages) for piece in merge_runs([iter(run) for run in runs])) <= 2


def test_columns_of_a_sink_merge_without_keys() -> None:
    merged = merge([column([(0, 0, 2), (0, 1, 0)], keyed=False), column([(0, 0, 1), (0, 0, 3)], keyed=False)])

    assert [message[1] for message in merged.messages] == [(0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 1, 0)]
    assert merged.keys == []


def test_a_single_filled_column_is_not_copied() -> None:
    filled = column([(0, 0, 1)])

    assert merge([Column(), filled, Column()]) is filled
    assert merge([Column(), Column()]).messages == []


def test_a_cleared_column_keeps_its_lists() -> None:
    filled = column([(0, 0, 1)])
    lists = (filled.keys, filled.messages, filled.positions)

    filled.clear()

    now = (filled.keys, filled.messages, filled.positions)
    assert now == ([], [], [])
    assert list(map(id, now)) == list(map(id, lists))


def test_timers_of_a_turn_come_before_its_records() -> None:
    alarm = ((1, TIMER, 50, 3, b"skey", "late"), "key", "late", 7)
    caused = (1, TIMER, 50, 2, b"sother", "early", 0)
    items = in_order(["k"] * 3, ["m0", "m1", "m2"], [(0, 5, 9), caused, (1, 0, 0)], [alarm])

    assert [(item[2], item[3]) for item in items] == [("m0", None), ("m1", None), ("late", 7), ("m2", None)]


@given(st.lists(positions, max_size=20).map(without_prefixes))
def test_messages_and_alarms_come_in_one_order(found: list[Position]) -> None:
    alarms = [(p, "key", "name", 1) for p in found if len(p) == 6 and p[1] == TIMER]
    messages = sorted(p for p in found if not (len(p) == 6 and p[1] == TIMER))

    items = in_order(["key"] * len(messages), messages, messages, alarms)

    assert [item[0] for item in items] == sorted(found)
