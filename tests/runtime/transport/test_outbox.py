"""The outbox: order, sizes, and what replaces what."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from random import Random

import pytest

from holdfast.runtime.transport.outbox import SHORT_BYTES_MAX, Outbox


def test_messages_leave_in_order_and_in_bounded_batches() -> None:
    outbox = Outbox(lambda: None)
    for size in (3, 3, 3, 9):
        outbox.put(1, bytes(size))

    assert outbox.bytes_waiting == 18
    assert [len(message) for _, message in outbox.take(7)] == [3, 3]
    assert [len(message) for _, message in outbox.take(2)] == [3]
    assert [len(message) for _, message in outbox.take(2)] == [9], "one at least"
    assert outbox.take(2) == []
    assert outbox.bytes_waiting == 0


def test_the_latest_of_a_channel_replaces_what_has_not_left() -> None:
    outbox = Outbox(lambda: None)
    outbox.put_latest(1, b"old")
    outbox.put_latest(2, b"other")
    outbox.put_latest(1, b"newest")

    assert outbox.bytes_waiting == len(b"other" + b"newest")
    assert outbox.take(100) == [(2, b"other"), (1, b"newest")]


def test_nothing_is_left_after_it_was_cleared() -> None:
    outbox = Outbox(lambda: None)
    outbox.put(1, b"lost")

    assert outbox.clear() == 1
    assert outbox.put(1, b"kept") == 4
    assert outbox.take(100) == [(1, b"kept")]


def test_the_bell_rings_when_something_waits_again() -> None:
    rings: list[None] = []
    outbox = Outbox(lambda: rings.append(None))
    outbox.put(1, b"a")
    outbox.put(1, b"b")
    outbox.take(100)
    outbox.put_latest(1, b"c")

    assert len(rings) == 2


def test_no_message_is_lost_between_threads() -> None:
    outbox = Outbox(lambda: None)
    threads = [
        threading.Thread(target=lambda name=name: [outbox.put(name, b"%d" % number) for number in range(2000)])
        for name in (1, 2)
    ]
    for thread in threads:
        thread.start()
    found: list[tuple[int, bytes]] = []
    while len(found) < 4000:
        found += outbox.take(50)
    for thread in threads:
        thread.join()

    for name in (1, 2):
        assert [int(message) for channel, message in found if channel == name] == list(range(2000))


class Socket:
    """A socket with room for so many bytes, and all that went into it."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.sent = b""

    def send_now(self, channel: int, messages: Sequence[bytes]) -> bytes:
        framed = b"".join(b"%d:%s;" % (channel, message) for message in messages)
        self.sent += framed[: self.room]
        return framed[self.room :]


def test_a_message_is_sent_at_once_while_nothing_waits() -> None:
    rings: list[None] = []
    outbox, socket = Outbox(lambda: rings.append(None)), Socket()
    outbox.connect(socket.send_now)

    assert outbox.put(1, b"a") == 0
    outbox.put_latest(2, b"b")

    assert socket.sent == b"1:a;2:b;"
    assert outbox.take(100) == []
    assert (rings, outbox.taken) == ([], 2)


def test_messages_that_come_together_are_sent_together_and_in_order() -> None:
    outbox, socket = Outbox(lambda: None), Socket(room=5)
    outbox.connect(socket.send_now)

    assert outbox.put_all(1, [b"a", b"b", b"c"]) == 0
    assert outbox.put_all(1, [b"d", b"e"]) == 2, "the rest goes before them"

    assert outbox.taken == 3
    assert socket.sent + outbox.take_rest() == b"1:a;1:b;1:c;"
    assert outbox.take(0) == [(1, b"d")]
    assert outbox.take(0) == [(1, b"e")]


def test_many_short_messages_together_are_the_writers() -> None:
    rings: list[None] = []
    outbox, socket = Outbox(lambda: rings.append(None)), Socket()
    outbox.connect(socket.send_now)

    assert outbox.put_all(1, [bytes(SHORT_BYTES_MAX), b"a"]) == SHORT_BYTES_MAX + 1

    assert (socket.sent, len(rings)) == (b"", 1)


def test_nothing_overtakes_what_the_writer_has_taken() -> None:
    outbox, socket = Outbox(lambda: None), Socket()
    outbox.put(1, b"before there was a writer")
    outbox.connect(socket.send_now)
    outbox.put(1, b"a")
    assert outbox.take(1) == [(1, b"before there was a writer")]
    assert outbox.take(1) == [(1, b"a")]

    outbox.put(1, b"b")  # the writer still sends what it took
    assert socket.sent == b""
    assert outbox.take(1) == [(1, b"b")]
    assert outbox.take(1) == []
    outbox.put(1, b"c")

    assert socket.sent == b"1:c;"


def test_what_there_was_no_room_for_goes_before_anything_else() -> None:
    rings: list[None] = []
    outbox, socket = Outbox(lambda: rings.append(None)), Socket(room=3)
    outbox.connect(socket.send_now)
    outbox.put(1, b"abc")
    outbox.put(2, b"d")

    assert rings
    assert outbox.take(100) == [], "the rest goes first"
    assert outbox.take_rest() == b"bc;"
    assert socket.sent == b"1:a"
    assert outbox.take_rest() == b""
    assert outbox.take(100) == [(2, b"d")]


def test_large_messages_are_the_writers() -> None:
    outbox, socket = Outbox(lambda: None), Socket()
    outbox.connect(socket.send_now)
    outbox.put(1, bytes(SHORT_BYTES_MAX + 1))

    assert socket.sent == b""
    assert outbox.bytes_waiting == SHORT_BYTES_MAX + 1


def test_nothing_is_sent_once_the_writer_has_ended() -> None:
    outbox, socket = Outbox(lambda: None), Socket(room=1)
    outbox.connect(socket.send_now)
    outbox.put(1, b"a")
    outbox.disconnect(Socket().send_now)  # of a writer that was there before: it ends late
    assert outbox.take_rest() == b":a;"
    assert outbox.take(100) == []
    outbox.put(1, b"b")
    outbox.disconnect(socket.send_now)
    outbox.put(1, b"c")

    assert socket.sent == b"11"
    assert outbox.take_rest() == b"", "a part of a message means nothing on another connection"
    assert outbox.take(100) == [(1, b"c")]


@pytest.mark.parametrize("seed", range(20))
def test_all_arrive_in_order_whoever_sends_and_however_little_room_there_is(seed: int) -> None:
    random = Random(seed)
    outbox, socket = Outbox(lambda: None), Socket()
    outbox.connect(socket.send_now)
    taken: list[bytes] = []
    for number in range(200):
        socket.room = random.choice([0, 1, 5, 1 << 40])
        outbox.put(1, b"%d" % number)
        if random.random() < 0.4:  # the writer is between two steps: it sends what it took, and takes more
            socket.sent += b"".join(taken)
            if rest := outbox.take_rest():
                taken = [rest]
            else:
                taken = [b"1:%s;" % message for _, message in outbox.take(random.choice([1, 100]))]
    while taken:
        socket.sent += b"".join(taken)
        rest = outbox.take_rest()
        taken = [rest] if rest else [b"1:%s;" % message for _, message in outbox.take(100)]

    assert socket.sent == b"".join(b"1:%d;" % number for number in range(200))
