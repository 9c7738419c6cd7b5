"""Routes: a key's range depends on its canonical bytes alone, its owner on the layout alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.keys import canonical, key_hash, lookup, range_of
from holdfast.core.positions import Column
from holdfast.core.types import TypeRegistry
from holdfast.replication import routes as module
from holdfast.replication.routes import Routes

USER_KEYS = st.one_of(st.integers(), st.text(max_size=5), st.binary(max_size=5), st.booleans())
OWNERS = ("a", "b", "a", "c")


def column_of(user_keys: list[Any]) -> Column:
    column = Column()
    registry = TypeRegistry()
    for number, key in enumerate(user_keys):
        column.keys.append(lookup(key, registry))
        column.messages.append((number, key))
        column.positions.append((0, 0, number))
    return column


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(USER_KEYS, max_size=30), st.permutations(OWNERS))
def test_a_column_is_split_by_owner_in_order_and_nothing_is_lost(user_keys: list[Any], owners: list[str]) -> None:
    routes = Routes(4)
    for laid_out in (OWNERS, owners):  # a second layout forgets the first one's owners
        routes.lay_out(laid_out)

        parts = routes.split(column_of(user_keys))

        expected: dict[str, list[Any]] = {}
        for number, key in enumerate(user_keys):
            owner = laid_out[range_of(key_hash(canonical(key)), 4)]
            expected.setdefault(owner, []).append((number, key))
        assert {node: part.messages for node, part in parts.items()} == expected
        for part in parts.values():
            assert part.positions == [(0, 0, number) for number, _ in part.messages]
            assert len(part.keys) == len(part.messages)


def test_keys_of_different_types_are_different_keys() -> None:
    routes = Routes(1 << 16)
    registry = TypeRegistry()

    assert len({routes.range_of(lookup(key, registry)) for key in (1, True, "1", b"1")}) == 4


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", 10)
    routes = Routes(4)
    routes.lay_out(OWNERS)
    for first in range(0, 100, 5):
        routes.split(column_of(list(range(first, first + 5))))

    assert len(routes._range_of) <= 10
