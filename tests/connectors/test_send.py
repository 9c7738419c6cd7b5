"""Records of sent messages: what was sent comes back, with its id, and blocks can be joined and cut."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import sources
from holdfast.connectors.send import checked_id
from holdfast.core.connector import Sent
from holdfast.core.errors import ApplicationError, DamagedError, UsageError, ValueTypeError
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode

messages = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
identities = st.none() | st.tuples(st.text(), st.integers())


def source() -> sources.Send[Any]:
    made: sources.Send[Any] = sources.Send()
    made.bind(TypeRegistry())
    return made


@given(st.lists(st.tuples(messages, identities)), st.data())
def test_messages_come_back_with_their_ids_and_blocks_can_be_cut(sent: list[tuple[Any, Any]], data: Any) -> None:
    send = source()
    records = [send.record(message, identity) for message, identity in sent]
    raw = b"".join(records)
    at = data.draw(st.integers(0, len(records)))
    size = sum(map(len, records[:at]))
    length = send.cut(raw, 0, size) if at else 0

    expected = [message if identity is None else Sent(message, *identity) for message, identity in sent]
    assert send.decode(raw) == expected
    assert length == size
    assert send.decode(raw[:length]) + send.decode(raw[length:]) == expected


@given(messages, identities)
def test_a_record_is_the_images_of_its_three_parts(message: Any, identity: tuple[str, int] | None) -> None:
    """What logs hold must be read for ever, and a retry's bytes be those of the first."""
    registry = TypeRegistry()
    parts = (*(identity or (None, None)), message)

    assert source().record(message, identity) == b"".join(encode(part, registry) for part in parts)


def test_a_block_of_something_else_is_damaged() -> None:
    with pytest.raises(DamagedError):
        source().decode(b"\xc1")


def test_what_is_no_value_is_refused_where_it_is_sent() -> None:
    with pytest.raises(ValueTypeError):
        source().record(threading.Lock(), ("p", 1))


def test_where_no_engine_sends_nothing_comes_until_it_is_closed() -> None:
    reader = source().open("0", 5)
    read: list[Any] = []
    thread = threading.Thread(target=lambda: read.append(reader.read(10, 1000)))
    thread.start()
    reader.close()
    thread.join()

    assert read == [None]
    assert reader.offset_after(0) == 5


@pytest.mark.parametrize("remembered", [0, -1, 1.5, "many", True])
def test_the_bound_of_what_is_remembered_is_a_positive_int(remembered: Any) -> None:
    with pytest.raises(ApplicationError, match="positive int"):
        sources.Send(remembered=remembered)


def test_an_id_is_a_text_and_an_int() -> None:
    assert checked_id(("p", 1)) == ("p", 1)
    assert checked_id(["p", -1]) == ("p", -1)
    with pytest.raises(UsageError):
        checked_id(("p", True))
