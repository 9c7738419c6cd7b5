"""Exchange: what is gathered is one merge by position, whatever the order in which members' parts arrive."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.plan import SOURCES
from holdfast.core.positions import Column, joined
from holdfast.core.types import TypeRegistry
from holdfast.replication.columns import pack_column, unpack_column
from holdfast.replication.exchange import Exchange
from holdfast.replication.messages import Opening, Stage

MEMBERS = ("a", "b", "c")
FEEDERS = (SOURCES, 4)
REGISTRY = TypeRegistry()
OPENING = Opening(True, 0, (), None, False, 0)


def column_of(positions: list[tuple[int, ...]]) -> Column:
    column = Column()
    column.positions = sorted(positions)
    column.messages = [("m", position) for position in column.positions]
    column.keys = [position[-1] for position in column.positions]
    return column


def pieces_of(column: Column, random: Random) -> list[Column]:
    """The column in pieces of any size."""
    ends = sorted({random.randint(1, len(column.messages)) for _ in range(3)} | {len(column.messages)}) if column.messages else []
    return [column.part(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def unpacked(packed: bytes) -> Column:
    return unpack_column(packed, REGISTRY)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)), unique=True, max_size=30),
    st.randoms(use_true_random=False),
)
def test_the_merge_is_the_same_whatever_the_order_of_arrival(positions: list[tuple[int, ...]], random: Random) -> None:
    shares: dict[tuple[str, int], list[tuple[int, ...]]] = {(m, f): [] for m in MEMBERS for f in FEEDERS}
    for position in positions:
        shares[random.choice(sorted(shares))].append(position)
    exchange = Exchange(MEMBERS)
    arrivals = sorted(shares)
    random.shuffle(arrivals)

    for number, (member, feeder) in enumerate(arrivals):
        assert not exchange.has_all(FEEDERS)
        assert exchange.has_all([feeder]) == all((m, feeder) in arrivals[:number] for m in MEMBERS)
        pieces = pieces_of(column_of(shares[member, feeder]), random)
        if member == "a":
            exchange.put_own(feeder, {9: pieces} if pieces else {})
        else:
            columns = tuple((9, pack_column(piece, REGISTRY)) for piece in pieces)
            exchange.put(member, Stage(1, feeder, columns, OPENING if feeder == SOURCES else None))

    assert exchange.has_all(FEEDERS)
    gathered = joined(exchange.gather(9, unpacked))
    assert gathered.positions == sorted(positions)
    assert gathered.messages == [("m", position) for position in sorted(positions)]
    assert gathered.keys == [position[-1] for position in sorted(positions)]
    assert list(exchange.gather(9, unpacked)) == []


def test_an_epoch_is_open_when_every_member_has_said_how_it_opened_it() -> None:
    exchange = Exchange(("a", "b"))
    exchange.put("b", Stage(1, SOURCES, (), OPENING))
    assert not exchange.is_open
    exchange.openings["a"] = OPENING
    assert exchange.is_open


def test_a_feeder_that_speaks_twice_is_a_defect() -> None:
    exchange = Exchange(("a", "b"))
    exchange.put("b", Stage(1, 4, (), None))
    with pytest.raises(AssertionError, match="says once"):
        exchange.put("b", Stage(1, 4, (), None))
