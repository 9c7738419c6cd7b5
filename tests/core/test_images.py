"""Rows of entities that are loaded one by one: image and timers come back, and what is malformed is told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import DamagedError
from holdfast.core.images import pack_row, unpack_row
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode

DUES = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text() | st.just("\ud800")
STATES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers())


@given(STATES, st.dictionaries(NAMES, DUES))
@settings(deadline=None, derandomize=True, database=None)
def test_image_and_timers_of_a_row_come_back(state: object, timers: dict[str, int]) -> None:
    image = encode(state, TypeRegistry())

    assert unpack_row(pack_row(image, timers)) == (image, timers)


def test_a_row_without_timers_is_the_image() -> None:
    image = encode({"count": 1}, TypeRegistry())

    assert pack_row(image, None) == pack_row(image, {}) == image


@pytest.mark.parametrize("row", [b"\xc1", b"\xc1\x00\x00\x00\x02", b"\xc1\x00\x00\x00\x02\x81\xa1", b"\xc1" * 9])
def test_a_malformed_row_is_damage(row: bytes) -> None:
    with pytest.raises(DamagedError, match="row"):
        unpack_row(row)
