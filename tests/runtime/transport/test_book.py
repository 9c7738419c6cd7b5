"""The address book and registrations as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import FrameError
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.book import (
    Entry,
    Registration,
    pack_book,
    pack_registration,
    unpack_book,
    unpack_registration,
)
from tests.core.value_domain import steady
from tests.replication.frame_fuzz import attack, samples

hosts = st.sampled_from(["127.0.0.1", "::1", "größe.example.org"]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9
)
addresses = st.builds(Address, hosts, st.integers(1, 65_535))
nodes = st.binary(min_size=16, max_size=16).map(bytes.hex)
books = st.lists(st.builds(Entry, nodes, st.integers(0, 2**63 - 1), addresses), max_size=5).map(tuple)
registrations = st.builds(Registration, addresses, st.binary(max_size=20))


@given(books, registrations)
@settings(steady, max_examples=100)
def test_both_come_back_the_same(book: tuple[Entry, ...], registration: Registration) -> None:
    assert unpack_book(pack_book(book)) == book
    assert unpack_registration(pack_registration(registration)) == registration


@pytest.mark.parametrize("count", [2_000, pytest.param(250_000, marks=pytest.mark.nightly)])
def test_hostile_bytes_are_refused_or_what_they_say(count: int) -> None:
    assert attack(list(map(pack_book, samples(books))), unpack_book, pack_book, count=count, seed=1)
    packed = list(map(pack_registration, samples(registrations)))
    assert attack(packed, unpack_registration, pack_registration, count=count, seed=2)


def test_an_id_that_is_none_is_refused() -> None:
    with pytest.raises(FrameError, match="32 hexadecimal digits"):
        unpack_book(pack_book((Entry("../../etc/passwd", 1, Address("a", 1)),)))


def test_one_is_not_taken_for_the_other() -> None:
    with pytest.raises(FrameError):
        unpack_registration(pack_book(()))
    with pytest.raises(FrameError):
        unpack_book(pack_registration(Registration(Address("a", 1), b"")))
