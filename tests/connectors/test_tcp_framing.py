"""Records in a stream of bytes: whole ones are taken however the bytes arrive, too long ones are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.connectors.tcp import Address, Framing, LengthPrefixed, Lines, TooLongError, checked_framing
from holdfast.core.errors import ApplicationError

LIMIT = 50


def records_for(framing: Framing) -> st.SearchStrategy[list[bytes]]:
    record = st.binary(max_size=LIMIT)
    return st.lists(record.map(lambda r: r.replace(b"\n", b"")) if isinstance(framing, Lines) else record, max_size=20)


@pytest.mark.parametrize("framing", [Lines(), LengthPrefixed()])
@given(data=st.data())
def test_records_come_out_as_they_went_in_wherever_the_bytes_are_parted(framing: Framing, data: st.DataObject) -> None:
    records = data.draw(records_for(framing))
    stream = b"".join(map(framing.framed, records))
    found: list[bytes] = []
    buffer = bytearray()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer += stream[:size]
        stream = stream[size:]
        while taken := framing.take(buffer, LIMIT):
            found += taken

    assert not buffer
    assert found == list(map(framing.framed, records))
    raw = b"".join(found)
    assert framing.records(raw) == records
    start, cuts = 0, []
    while start < len(raw):
        size = data.draw(st.integers(1, 200))
        end = framing.cut(raw, start, size)
        cuts += framing.records(raw[start:end])
        assert end - start <= size or len(framing.records(raw[start:end])) == 1
        start = end
    assert cuts == records


@pytest.mark.parametrize("framing", [Lines(), LengthPrefixed()])
def test_a_record_that_is_too_long_is_told_behind_those_before_it(framing: Framing) -> None:
    buffer = bytearray(framing.framed(b"short") + framing.framed(b"x" * (LIMIT + 1)) + framing.framed(b"behind"))

    assert framing.take(buffer, LIMIT) == [framing.framed(b"short")]
    with pytest.raises(TooLongError, match=f"{LIMIT + 1} bytes is longer than {LIMIT}"):
        framing.take(buffer, LIMIT)


def test_a_line_without_an_end_is_told_before_it_fills_the_memory() -> None:
    with pytest.raises(TooLongError, match="longer than 50 bytes"):
        Lines().take(bytearray(b"x" * (LIMIT + 1)), LIMIT)


def test_a_line_can_hold_no_newline() -> None:
    with pytest.raises(ValueError, match="newline"):
        Lines().framed(b"two\nlines")


@pytest.mark.parametrize(
    ("text", "host", "port"), [("127.0.0.1:9000", "127.0.0.1", 9000), ("[::1]:1", "::1", 1), ("::1:1", "::1", 1)]
)
def test_an_address_is_read_and_written_the_same_way(text: str, host: str, port: int) -> None:
    address = Address.parse(text, "here")

    assert (address.host, address.port) == (host, port)
    assert Address.parse(str(address), "here") == address


@pytest.mark.parametrize(
    "text", ["9000", ":9000", "host:", "host:0", "host:65536", "host:-1", "host:x", "", 9000, None]
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(ApplicationError, match="here takes"):
        Address.parse(text, "here")


@pytest.mark.parametrize("framing", ["line", "u64", None, 4, ["lines"]])
def test_what_is_no_framing_is_refused(framing: object) -> None:
    with pytest.raises(ApplicationError, match='framing= is "lines" or "u32"'):
        checked_framing(framing, "here")
