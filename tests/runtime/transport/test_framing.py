"""Frames: messages come back in order, whatever the pieces; anything else ends the connection."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import FrameError
from holdfast.runtime.transport import framing
from holdfast.runtime.transport.framing import PART_BYTES_MAX, FrameReader, FrameWriter
from tests.core.value_domain import steady
from tests.replication.frame_fuzz import changed

ENOUGH = 10_000
NIGHTLY = 1_000_000
KEY = b"k" * 32
MESSAGE_MAX = 1000

keys = st.sampled_from([None, KEY])


def written(writer: FrameWriter, *messages: tuple[int, bytes]) -> bytes:
    return b"".join(bytes(piece) for channel, message in messages for piece in writer.frames(channel, message))


@given(keys, st.lists(st.tuples(st.integers(0, 127), st.binary(max_size=50)), max_size=5), st.data())
@settings(steady, max_examples=200)
def test_messages_come_back_however_they_are_cut(
    key: bytes | None, messages: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    sent = written(FrameWriter(key), *messages)
    reader = FrameReader(key, MESSAGE_MAX)
    found = []
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        found += reader.feed(sent[:size])
        sent = sent[size:]

    assert found == messages


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("size", [PART_BYTES_MAX - 1, PART_BYTES_MAX, PART_BYTES_MAX + 1, 3 * PART_BYTES_MAX])
def test_a_large_message_travels_in_parts(key: bytes | None, size: int) -> None:
    message = Random(size).randbytes(size)
    pieces = FrameWriter(key).frames(3, message)

    assert max(map(len, pieces)) <= PART_BYTES_MAX
    assert FrameReader(key, size).feed(b"".join(map(bytes, pieces))) == [(3, message)]
    with pytest.raises(FrameError, match="more than"):
        FrameReader(key, size - 1).feed(b"".join(map(bytes, pieces)))


def test_large_parts_are_not_copied_by_the_writer() -> None:
    message = bytes(PART_BYTES_MAX)
    part = FrameWriter(KEY).frames(1, message)[1]

    assert isinstance(part, memoryview)
    assert part.obj is message


@pytest.mark.parametrize("length", [0, 16, 1 + PART_BYTES_MAX + 17, 2**32 - 1])
def test_a_length_that_can_not_be_is_refused_before_anything_is_kept(length: int) -> None:
    with pytest.raises(FrameError, match="a frame of"):
        FrameReader(KEY, MESSAGE_MAX).feed(length.to_bytes(4, "big"))


def test_a_frame_that_is_repeated_left_out_or_moved_is_refused() -> None:
    writer = FrameWriter(KEY)
    first, second = written(writer, (1, b"first")), written(writer, (1, b"other"))

    for sent in (first + first, second, second + first):
        with pytest.raises(FrameError, match="wrong tag"):
            FrameReader(KEY, MESSAGE_MAX).feed(sent)
    assert FrameReader(KEY, MESSAGE_MAX).feed(first + second) == [(1, b"first"), (1, b"other")]


def test_a_frame_of_another_connection_is_refused() -> None:
    with pytest.raises(FrameError, match="wrong tag"):
        FrameReader(KEY, MESSAGE_MAX).feed(written(FrameWriter(b"x" * 32), (1, b"message")))


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=3), st.data())
@settings(steady, max_examples=200)
def test_any_single_bit_that_is_changed_is_found(messages: list[bytes], data: st.DataObject) -> None:
    sent = bytearray(written(FrameWriter(KEY), *((1, message) for message in messages)))
    bit = data.draw(st.integers(0, 8 * len(sent) - 1))
    sent[bit // 8] ^= 1 << bit % 8
    reader = FrameReader(KEY, MESSAGE_MAX)
    found = []
    try:
        found = reader.feed(bytes(sent))
    except FrameError:
        return
    assert len(found) < len(messages), "a greater length: the reader waits for more"
    assert found == [(1, message) for message in messages[: len(found)]]


def test_parts_of_two_messages_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "PART_BYTES_MAX", 4)
    begun = written(FrameWriter(None), (1, b"12345"))[:9]

    with pytest.raises(FrameError, match="interrupted"):
        FrameReader(None, MESSAGE_MAX).feed(begun + written(FrameWriter(None), (2, b"1")))
    with pytest.raises(FrameError, match="too short"):
        FrameReader(None, MESSAGE_MAX).feed(b"\x00\x00\x00\x02\x81a")


@pytest.mark.parametrize("count", [ENOUGH, pytest.param(NIGHTLY, marks=pytest.mark.nightly)])
def test_hostile_frames_never_give_another_message(count: int) -> None:
    random = Random(1)
    messages = [(number % 3, random.randbytes(random.randrange(40))) for number in range(6)]
    for _ in range(count):
        keyed = random.random() < 0.8
        key = random.randbytes(32) if keyed else None
        writer = FrameWriter(key)
        sent = [written(writer, message) for message in messages]
        hostile = changed(b"".join(sent), sent, random)
        reader = FrameReader(key, MESSAGE_MAX)
        found: list[tuple[int, bytes]] = []
        try:
            while hostile:
                size = random.randint(1, len(hostile))
                found += reader.feed(hostile[:size])
                hostile = hostile[size:]
        except FrameError:
            pass
        if keyed:
            assert found == messages[: len(found)]
        assert all(len(message) <= MESSAGE_MAX for _, message in found)
