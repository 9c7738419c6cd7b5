"""Dealing: each member's pieces, one behind the other, are what was given for it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.positions import Column, joined
from holdfast.core.types import TypeRegistry
from holdfast.replication.columns import pack_column, unpack_column
from holdfast.replication.dealing import Dealing

REGISTRY = TypeRegistry()
NODES = ("a", "b", "c")


def column_of(numbers: list[int]) -> Column:
    column = Column()
    column.keys, column.messages = list(numbers), [f"m{number}" for number in numbers]
    column.positions = [(0, 0, number) for number in numbers]
    return column


def by_remainder(inlet: int, column: Column) -> dict[str, Column]:
    """As routes do: the column itself where all of it is one member's."""
    parts: dict[str, Column] = {}
    for number in column.keys:
        parts.setdefault(NODES[(number + inlet) % len(NODES)], Column()).extend(column_of([number]))
    return dict.fromkeys(parts, column) if len(parts) == 1 else parts


def packed(column: Column) -> bytes:
    return pack_column(column, REGISTRY)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6)), max_size=12), st.integers(1, 5))
def test_nothing_is_lost_and_all_stands_in_the_order_given(gifts: list[tuple[int, int]], messages_max: int) -> None:
    dealing = Dealing("a", by_remainder, packed, messages_max=messages_max)
    expected: dict[tuple[str, int], list[int]] = {}
    number = 0
    for inlet, count in gifts:
        numbers = list(range(number, number + count))
        number += count
        for one in numbers:
            expected.setdefault((NODES[(one + inlet) % len(NODES)], inlet), []).append(one)
        given_column = column_of(numbers)
        dealing.give(inlet, given_column)
        given_column.clear()  # its lists are the caller's again

    others = dealing.close()

    pieces = {("a", inlet): own for inlet, own in dealing.own.items()}
    for node, gifts_of_node in others.items():
        for inlet, piece in gifts_of_node:
            pieces.setdefault((node, inlet), []).append(unpack_column(piece, REGISTRY))
    assert {place: joined(own).keys for place, own in pieces.items()} == expected
    for own in pieces.values():
        assert all(len(piece.messages) >= messages_max for piece in own[:-1])
        assert all(0 < len(piece.messages) < messages_max + 6 for piece in own)
        assert joined(own).messages == [f"m{one}" for one in joined(own).keys]
        assert joined(own).positions == [(0, 0, one) for one in joined(own).keys]
