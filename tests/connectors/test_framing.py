"""Value blocks: joined, cut and decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.connectors import framing
from holdfast.core.errors import DamagedError

IMAGES = st.lists(st.one_of(st.binary(max_size=20), st.just(b"x" * 70_000)), max_size=8)


@given(IMAGES, IMAGES)
def test_two_blocks_joined_are_a_block(one: list[bytes], other: list[bytes]) -> None:
    assert framing.unpack(framing.pack(one) + framing.pack(other)) == one + other


@given(IMAGES.filter(bool), st.sampled_from([1, 10, 30, 70_000, 100_000]), st.data())
def test_a_cut_is_behind_the_whole_records_that_fit_and_one_at_least(
    images: list[bytes], size: int, data: st.DataObject
) -> None:
    given_before = data.draw(st.integers(0, len(images) - 1))
    start, rest = len(framing.pack(images[:given_before])), images[given_before:]
    fitting = [count for count in range(1, len(rest) + 1) if len(framing.pack(rest[:count])) <= size]
    count = max(fitting, default=1)
    assert framing.cut(framing.pack(images), start, size) == start + len(framing.pack(rest[:count]))


@given(IMAGES.filter(bool), st.data())
def test_a_torn_block_is_damaged(images: list[bytes], data: st.DataObject) -> None:
    raw = framing.pack(images)
    torn = raw[: data.draw(st.integers(1, len(raw) - 1))]
    if torn in {framing.pack(images[:count]) for count in range(len(images))}:
        return  # cut between two records: what remains is a block
    with pytest.raises(DamagedError):
        framing.unpack(torn)


@pytest.mark.parametrize("raw", [b"\xc1", b"\x01", b"\xa1a", b"\xc4\x01a\xc0"])
def test_what_is_no_block_is_damaged(raw: bytes) -> None:
    with pytest.raises(DamagedError):
        framing.unpack(raw)
