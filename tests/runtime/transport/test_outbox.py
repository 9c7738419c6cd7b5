"""The outbox: order, sizes, and what replaces what."""

from __future__ import annotations

import threading

from holdfast.runtime.transport.outbox import Outbox


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
