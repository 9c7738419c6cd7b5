"""Frames between members: exact round trips, and refusal of everything else."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings

from holdfast.core.epochs import Chunk, Cursor, LogEntry
from holdfast.core.errors import FrameError
from holdfast.replication import wire
from holdfast.replication.fields import ITEMS_MAX, OFFSET_BYTES_MAX
from holdfast.replication.messages import Beat, Envelope, LogCopied, LogInstalled, Message, Reached, Stage, UpdateSet
from tests.core.value_domain import steady
from tests.replication import message_domain as domain
from tests.replication.frame_fuzz import attack, samples

ENOUGH = 10_000
NIGHTLY = 1_000_000


def envelope(message: Message, **changes: Any) -> Envelope:
    parts: dict[str, Any] = {"generation": 7, "sender": "a", "incarnation": 3, "number": 5} | changes
    return Envelope(reached=Reached(9, 8, 7, 9, None), message=message, **parts)


@given(domain.envelopes)
@settings(steady, max_examples=200)
def test_every_message_comes_back_the_same(sent: Envelope) -> None:
    found = wire.unpack(wire.pack(sent))

    assert found == sent
    assert repr(found) == repr(sent), "True is not 1, and a tuple is no list"


@given(domain.envelopes)
@settings(steady, max_examples=50)
def test_a_frame_may_stand_in_a_larger_buffer(sent: Envelope) -> None:
    packed = wire.pack(sent)

    assert wire.unpack(memoryview(b"xx" + packed + b"x")[2:-1]) == sent


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 20, -1])
def test_a_frame_that_is_cut_short_is_refused(cut: int) -> None:
    packed = wire.pack(envelope(UpdateSet(4, (b"chunk",))))

    with pytest.raises(FrameError):
        wire.unpack(packed[:cut])


def test_a_frame_with_something_behind_it_is_refused() -> None:
    with pytest.raises(FrameError, match="trailing"):
        wire.unpack(wire.pack(envelope(Beat())) + b"\xc0")


def test_a_frame_of_another_version_says_so() -> None:
    packed = bytearray(wire.pack(envelope(Beat())))
    packed[1] += 1

    with pytest.raises(FrameError, match=f"version {wire.VERSION + 1}"):
        wire.unpack(bytes(packed))


def test_a_frame_of_an_unknown_kind_is_refused() -> None:
    packed = bytearray(wire.pack(envelope(Beat())))
    packed[2] = 99

    with pytest.raises(FrameError, match="kind 99"):
        wire.unpack(bytes(packed))


def test_an_offset_that_is_too_deep_is_refused() -> None:
    deep: Any = 0
    for _ in range(64):
        deep = [deep]

    with pytest.raises(FrameError, match="deep"):
        wire.unpack(wire.pack(envelope(LogInstalled(0, Cursor(offset=deep)))))
    wire.unpack(wire.pack(envelope(LogInstalled(0, Cursor(offset=deep[0])))))


def test_a_timestamp_in_an_offset_is_refused() -> None:
    packed = wire.pack(envelope(LogInstalled(0, Cursor(offset=[b"abcd"]))))
    forged = packed.replace(b"\xc4\x04abcd", b"\xd6\xffabcd")

    assert forged != packed
    with pytest.raises(FrameError, match="offset"):
        wire.unpack(forged)


def test_a_message_that_is_too_large_is_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = envelope(UpdateSet(4, (bytes(1000),)))
    packed = wire.pack(sent)
    monkeypatch.setattr(wire, "FRAME_BYTES_MAX", 999)

    with pytest.raises(FrameError):
        wire.pack(sent)
    with pytest.raises(FrameError):
        wire.unpack(packed)


def test_offsets_that_would_fill_the_memory_are_refused() -> None:
    large = Cursor(offset=bytes(OFFSET_BYTES_MAX - 10))
    entry = LogEntry(1, 1, 0, Chunk(0, 0, 1, 0, large.offset, False, b""))

    wire.unpack(wire.pack(envelope(LogInstalled(0, large))))
    with pytest.raises(FrameError, match="length"):
        wire.unpack(wire.pack(envelope(LogInstalled(0, Cursor(offset=bytes(OFFSET_BYTES_MAX))))))
    wire.unpack(wire.pack(envelope(LogCopied(0, 0, (entry,) * 16))))
    with pytest.raises(FrameError, match="offsets"):
        wire.unpack(wire.pack(envelope(LogCopied(0, 0, (entry,) * 17))))


def test_a_list_that_would_fill_the_memory_is_refused() -> None:
    wire.unpack(wire.pack(envelope(UpdateSet(4, (b"",) * ITEMS_MAX))))
    with pytest.raises(FrameError, match="length"):
        wire.unpack(wire.pack(envelope(UpdateSet(4, (b"",) * (ITEMS_MAX + 1)))))


def test_large_columns_are_copied_once_on_each_side() -> None:
    size = 8 << 20
    sent = envelope(Stage(1, -1, ((0, bytes(size)),), None))
    tracemalloc.start()
    try:
        packed = wire.pack(sent)
        encoded = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        wire.unpack(packed)
        decoded = tracemalloc.get_traced_memory()[1] - tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert encoded < 1.6 * size, "half of it for a buffer that grows"
    assert decoded < 1.1 * size


@pytest.mark.parametrize("count", [ENOUGH, pytest.param(NIGHTLY, marks=pytest.mark.nightly)])
def test_hostile_frames_are_refused_or_messages(count: int) -> None:
    frames = [wire.pack(sent) for sent in samples(domain.envelopes)]

    assert attack(frames, wire.unpack, wire.pack, count=count, seed=1) > count // 100
