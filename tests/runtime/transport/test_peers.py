"""Links between workers over real sockets: order, loss, reconnection, slow peers, and what a hostile wire can do."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from holdfast.replication import wire
from holdfast.replication.messages import Beat, Envelope, Reached, UpdateSet
from holdfast.runtime.transport import peers
from holdfast.runtime.transport.book import Entry
from holdfast.runtime.transport.channels import ENVELOPE
from holdfast.runtime.transport.dialer import Called, call
from holdfast.runtime.transport.framing import FrameWriter
from holdfast.runtime.transport.handshake import Identity, Role
from holdfast.runtime.transport.limits import Limits
from holdfast.worker.cluster_events import LinkLost, PeerSent
from tests.runtime.transport.network import QUICK, SECONDS_MAX, Wire, listening, run, until
from tests.runtime.transport.workers import CLUSTER, SECRETS, Worker, introduce, workers


@pytest.mark.parametrize("secrets", [SECRETS, ()])
def test_messages_come_in_order_in_both_directions(secrets: tuple[bytes, ...]) -> None:
    async def check() -> None:
        async with workers("abc", secrets=secrets) as (made, _):
            introduce(*made)
            for _ in range(300):
                for one in made:
                    for other in made:
                        if one is not other:
                            one.send(other)
            await until(lambda: all(len(worker.events) == 600 for worker in made))
            for one in made:
                for other in made:
                    if one is not other:
                        numbers = one.heard_of(other)
                        assert numbers == sorted(set(numbers))
                assert one.lines == []

    run(check)


def test_what_was_sent_before_the_address_was_known_comes() -> None:
    async def check() -> None:
        async with workers() as ((a, b), _):
            a.send(b)
            introduce(a, b)
            await until(lambda: b.heard_of(a) == [1])

    run(check)


def test_a_large_message_comes_whole() -> None:
    async def check() -> None:
        async with workers() as ((a, b), _):
            introduce(a, b)
            a.send(b, size=5 << 20)
            a.send(b)
            await until(lambda: b.heard_of(a) == [1, 2])
            assert b.events[0].envelope.message == UpdateSet(1, (bytes(5 << 20),))

    run(check)


def test_the_engine_may_send_from_its_own_thread() -> None:
    async def check() -> None:
        async with workers() as ((a, b), _):
            introduce(a, b)

            def send() -> None:
                for _ in range(1000):
                    a.send(b)

            thread = threading.Thread(target=send)
            thread.start()
            await until(lambda: len(b.heard_of(a)) == 1000)
            thread.join()
            assert b.heard_of(a) == list(range(1, 1001))

    run(check)


def test_sending_after_the_end_is_no_error() -> None:
    async def check() -> list[Worker]:
        async with workers() as (made, _):
            introduce(*made)
            made[0].send(made[1])
            await until(lambda: made[1].events)
        return made

    a, b = run(check)
    for _ in range(3):
        a.send(b)


@asynccontextmanager
async def wired(limits: Limits = QUICK) -> AsyncIterator[tuple[Worker, Worker, Wire]]:
    """Two workers, and a wire by which the first one reaches the second."""
    async with workers(limits=limits) as ((a, b), nursery):
        between = Wire(b.listening.address)
        await nursery.start(between.run)
        a.peers.know([Entry(b.node, 1, between.address)])
        b.peers.know([a.entry])
        yield a, b, between


def test_both_sides_hear_of_a_loss_and_what_comes_later_travels_on_a_new_connection() -> None:
    async def check() -> None:
        async with wired() as (a, b, between):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            await between.cut()
            await until(lambda: a.losses(b) and b.losses(a))
            a.send(b)
            await until(lambda: b.heard_of(a) == [1, 2])
            assert a.losses(b) == 1
            assert [line.split(" at ")[0] for line in a.lines] == [f"the link to node {b.node}"] * 2

    run(check)


def test_what_was_dropped_is_never_sent_and_a_loss_follows_it() -> None:
    async def check() -> None:
        async with wired() as (a, b, between):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            between.held = True
            for _ in range(3):
                a.send(b, size=1 << 20)
            await until(lambda: a.peers.bytes_waiting()[b.node] < 3 << 20)
            await between.cut()
            between.held = False
            await until(lambda: a.losses(b))
            a.send(b)
            await until(lambda: 5 in b.heard_of(a))
            assert b.heard_of(a) == [1, 5]

    run(check)


def test_a_peer_that_is_not_there_is_lost_again_and_again_and_reported_once() -> None:
    async def check() -> None:
        async with workers("a") as ((a,), _):
            gone = await listening(SECRETS)
            gone.close()
            b = Entry("b" * 32, 1, gone.address)
            a.peers.know([b])
            await until(lambda: len(a.events) > 3)
            assert {event.node for event in a.events} == {b.node}
            assert len(a.lines) == 1

    run(check)


def test_a_silent_peer_is_lost() -> None:
    async def check() -> None:
        async with wired(replace(QUICK, silence_seconds=0.3)) as (a, b, between):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            between.held = True
            await until(lambda: a.losses(b) and b.losses(a))
            assert any("nothing was heard for 0.3 s" in line for line in a.lines + b.lines)

    run(check)


def test_peers_that_have_nothing_to_say_stay_connected() -> None:
    async def check() -> None:
        async with wired(replace(QUICK, silence_seconds=0.3)) as (a, b, _):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            await trio.sleep(1.0)
            assert (a.losses(b), b.losses(a)) == (0, 0)

    run(check)


def test_a_slow_peer_is_noticed_and_relief_as_well() -> None:
    async def check() -> None:
        async with wired(replace(QUICK, slow_bytes=1 << 20)) as (a, b, between):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            between.held = True
            for _ in range(40):
                a.send(b, size=1 << 20)
            await until(lambda: a.peers.is_crowded)
            assert [line for line in a.lines if "is slow" in line]
            between.held = False
            await until(lambda: b.heard_of(a) and not a.peers.is_crowded)
            await until(lambda: len(b.heard_of(a)) == 41)
            assert a.losses(b) == 0

    run(check)


async def fall_behind(a: Worker, b: Worker, between: Wire) -> None:
    """Much is sent to a peer that takes nothing any more."""
    a.send(b)
    await until(lambda: b.heard_of(a) == [1])
    between.held = True
    for _ in range(60):
        a.send(b, size=1 << 20)


def test_a_peer_too_far_behind_that_takes_nothing_is_given_up() -> None:
    async def check() -> None:
        async with wired(replace(QUICK, queue_bytes_max=8 << 20, slow_seconds=0.1)) as (a, b, between):
            await fall_behind(a, b, between)
            await until(lambda: a.losses(b))
            assert a.peers.bytes_waiting()[b.node] <= 8 << 20

    run(check)


def test_more_may_wait_for_a_peer_that_takes_it() -> None:
    async def check() -> None:
        async with wired(replace(QUICK, queue_bytes_max=4 << 20)) as (a, b, _):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            for _ in range(40):
                a.send(b, size=1 << 20)
            await until(lambda: len(b.heard_of(a)) == 41)
            assert a.losses(b) == 0

    run(check)


def test_what_waits_for_a_peer_that_moves_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MOVING_TIMES", 2)

    async def check() -> None:
        async with wired(replace(QUICK, queue_bytes_max=4 << 20, slow_seconds=SECONDS_MAX)) as (a, b, between):
            await fall_behind(a, b, between)
            await until(lambda: a.losses(b))

    run(check)


def test_a_queue_for_an_unknown_address_is_bounded_too() -> None:
    async def check() -> None:
        async with workers("ab", replace(QUICK, queue_bytes_max=1 << 20)) as ((a, b), _):
            for _ in range(3):
                a.send(b, size=1 << 20)
            await until(lambda: a.losses(b))
            assert a.peers.bytes_waiting()[b.node] == 0

    run(check)


def test_an_engine_that_does_not_keep_up_stops_the_reading_and_loses_nothing() -> None:
    async def check() -> None:
        async with wired(replace(QUICK, silence_seconds=1.0)) as (a, b, _):
            for _ in range(64):
                a.send(b, size=1 << 20)
            await trio.sleep(1.5)
            assert b.inbox.empty(), "read before anybody asked for it"
            assert a.peers.bytes_waiting()[b.node] > 32 << 20, "what is not read waits where it comes from"
            await until(lambda: len(b.heard_of(a)) == 64)
            assert b.heard_of(a) == list(range(1, 65))
            assert (a.losses(b), b.losses(a)) == (0, 0), "an engine at work is not silent"

    run(check)


def test_nothing_of_a_connection_comes_behind_the_loss_that_ended_it() -> None:
    """The former connection of a peer has perhaps brought something that nobody has read yet."""

    async def check() -> None:
        async with workers("a") as ((a,), _):
            former, writer = await dialed(a)
            for number in (1, 2):
                for piece in writer.frames(ENVELOPE, wire.pack(envelope_of("e", number))):
                    await former.send_all(piece)
                if number == 1:
                    await until(lambda: a.events)
            later, writer = await dialed(a)
            for piece in writer.frames(ENVELOPE, wire.pack(envelope_of("e", 3))):
                await later.send_all(piece)
            await until(lambda: a.events[-1:] and isinstance(a.events[-1], PeerSent) and len(a.events) > 2)

            kinds = [event.envelope.number if isinstance(event, PeerSent) else None for event in a.events]
            assert kinds in ([1, None, 3], [1, 2, None, 3])
            await former.aclose()
            await later.aclose()

    run(check)


def test_a_link_that_works_is_kept_though_a_new_coordinator_does_not_see_the_peer_yet() -> None:
    async def check() -> None:
        async with wired() as (a, b, between):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            a.peers.know([])
            b.peers.know([])
            a.send(b)
            await until(lambda: b.heard_of(a) == [1, 2])
            a.peers.know([Entry(b.node, 1, between.address)])
            a.send(b)
            await until(lambda: b.heard_of(a) == [1, 2, 3])
            assert (a.losses(b), b.losses(a)) == (0, 0)

    run(check)


def test_a_peer_that_nobody_sees_is_not_called_again() -> None:
    async def check() -> None:
        async with wired() as (a, b, between):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            a.peers.know([])
            await between.cut()
            await until(lambda: a.losses(b))
            await trio.sleep(0.2)
            assert a.losses(b) == 1
            a.send(b)
            a.peers.know([Entry(b.node, 1, between.address)])
            await until(lambda: b.heard_of(a) == [1, 2])

    run(check)


def test_a_later_life_takes_the_place_of_an_earlier_one() -> None:
    async def check() -> None:
        async with workers("ab") as ((a, b), nursery):
            introduce(a, b)
            b.send(a)
            await until(lambda: a.heard_of(b) == [1])
            later = Worker("b", await listening(SECRETS), QUICK, 2, SECRETS)
            nursery.start_soon(later.peers.run, later.listening)
            introduce(a, later)
            later.send(a)
            a.send(later)
            await until(lambda: later.heard_of(a) == [1])
            await until(lambda: len(a.heard_of(b)) == 2)
            # The zombie calls again, and is told apart from its successor.
            before = len(a.events)
            b.send(a)
            await until(lambda: any("earlier life" in line for line in a.lines))
            assert not [e for e in a.events[before:] if isinstance(e, PeerSent)]
            later.end()

    run(check)


@pytest.mark.parametrize(
    ("bend", "line"),
    [
        (lambda data: data.replace(b"\x01", b"\x02"), "wrong tag"),
        (lambda data: data + data, "wrong tag"),
        (lambda data: b"\xff" * len(data), "a frame of"),
        (lambda data: b"", ""),
    ],
    ids=["changed", "replayed", "oversized", "swallowed"],
)
def test_a_bent_wire_ends_the_connection_with_one_line_and_changes_nothing(
    bend: Callable[[bytes], bytes], line: str
) -> None:
    async def check() -> None:
        async with wired(replace(QUICK, silence_seconds=0.5)) as (a, b, between):
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
            between.bend = bend
            a.send(b)
            await until(lambda: b.losses(a) and a.losses(b))
            between.bend = lambda data: data
            assert len(b.heard_of(a)) <= 2, "at most the message itself, before it was replayed"
            assert [text for text in b.lines if line in text]

    run(check)


def envelope_of(name: str, number: int) -> Envelope:
    return Envelope(7, name * 32, 1, number, Reached(0, 0, 0, 0, None), Beat())


async def dialed(worker: Worker, name: str = "e") -> tuple[trio.SocketStream, FrameWriter]:
    """A peer with the secret, that speaks for itself."""
    own = Identity(Role.PEER, CLUSTER, name * 32, 1)
    stream, session = await call(Called(worker.listening.address, Role.PEER), own, SECRETS, QUICK)
    return stream, FrameWriter(session.sending)


@pytest.mark.parametrize(
    ("channel", "message", "line"),
    [
        (ENVELOPE, b"\x98\x02\x09nonsense", "malformed frame"),
        (ENVELOPE, wire.pack(Envelope(7, "f" * 32, 1, 1, Reached(0, 0, 0, 0, None), Beat())), "another sender"),
        (ENVELOPE, wire.pack(Envelope(7, "e" * 32, 2, 1, Reached(0, 0, 0, 0, None), Beat())), "another sender"),
        (99, b"", "channel 99"),
        (0, b"beat", "a beat that says something"),
    ],
    ids=["malformed", "other node", "other incarnation", "channel", "beat"],
)
def test_a_friend_that_talks_nonsense_is_put_out_and_changes_nothing(channel: int, message: bytes, line: str) -> None:
    async def check() -> None:
        async with workers("a") as ((a,), _):
            stream, writer = await dialed(a)
            async with stream:
                for piece in writer.frames(channel, message):
                    await stream.send_all(piece)
                await until(lambda: a.events)
            assert len(a.lines) == 1
            assert line in a.lines[0]
            assert [type(event) for event in a.events] == [LinkLost]

    run(check)


def test_a_listener_never_sends_envelopes_back() -> None:
    async def check() -> None:
        async with workers("a") as ((a,), nursery):
            other = await listening(SECRETS)

            async def guest(stream: trio.SocketStream, session: Any) -> None:
                for piece in FrameWriter(session.sending).frames(ENVELOPE, b"x"):
                    await stream.send_all(piece)
                await trio.sleep_forever()

            own = Identity(Role.PEER, CLUSTER, "b" * 32, 1)

            async def serve() -> None:
                await other.serve(
                    lambda: own, SECRETS, frozenset({Role.PEER}), QUICK, guest=guest, report=lambda line: None
                )

            nursery.start_soon(serve)
            a.peers.know([Entry(own.node, 1, other.address)])
            await until(lambda: a.lines)
            assert "only takes" in a.lines[0]

    run(check)


def test_a_cancelled_worker_leaves_nothing_behind_and_tells_no_losses() -> None:
    async def check() -> None:
        async with workers() as ((a, b), _):
            introduce(a, b)
            a.send(b)
            await until(lambda: b.heard_of(a) == [1])
        assert (a.losses(b), b.losses(a)) == (0, 0)

    run(check)
