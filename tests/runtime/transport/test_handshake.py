"""The handshake: who gets in, who does not, and that no bytes do anything else."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from holdfast.core.errors import FrameError
from holdfast.runtime.transport.handshake import (
    HELLO_BYTES,
    UNKNOWN_CLUSTER,
    Dialer,
    Identity,
    Listener,
    Role,
    Session,
)
from tests.replication.frame_fuzz import changed

ENOUGH = 10_000
NIGHTLY = 1_000_000

CLUSTER, OTHER = "c" * 32, "d" * 32
NEW, OLD, WRONG = b"n" * 32, b"o" * 32, b"w" * 32
DIALER = Identity(Role.PEER, CLUSTER, "a" * 32, 5)
LISTENER = Identity(Role.PEER, CLUSTER, "b" * 32, 2**64 - 1)


def dialer(
    own: Identity = DIALER, secrets: tuple[bytes, ...] = (NEW,), nonce: bytes = b"1" * 16, **expected: Any
) -> Dialer:
    return Dialer(own, secrets, nonce, **({"listener": Role.PEER} | expected))


def listener(
    own: Identity = LISTENER, secrets: tuple[bytes, ...] = (NEW,), nonce: bytes = b"2" * 16, dialers: Any = tuple(Role)
) -> Listener:
    return Listener(own, secrets, nonce, dialers=frozenset(dialers))


def shake(one: Dialer, other: Listener) -> tuple[Session, Session]:
    """Both to the end; FrameError of whichever side refuses."""
    to_listener = one.hello
    while other.wanted or one.wanted:
        assert len(to_listener) == other.wanted <= HELLO_BYTES
        to_dialer = other.receive(to_listener)
        assert len(to_dialer) == one.wanted <= HELLO_BYTES
        to_listener = one.receive(to_dialer)
    assert to_listener == b""
    assert one.session is not None
    assert other.session is not None
    return one.session, other.session


def test_both_sides_learn_who_the_other_is_and_have_the_same_keys() -> None:
    at_dialer, at_listener = shake(dialer(), listener())

    assert at_dialer.peer == LISTENER
    assert at_listener.peer == DIALER
    assert at_dialer.sending == at_listener.receiving is not None
    assert at_dialer.receiving == at_listener.sending is not None
    assert at_dialer.sending != at_dialer.receiving


def test_keys_are_of_one_connection_alone() -> None:
    once = shake(dialer(), listener())[0]
    again = shake(dialer(), listener(nonce=b"3" * 16))[0]
    other_life = shake(dialer(replace(DIALER, incarnation=6)), listener())[0]

    assert len({once.sending, again.sending, other_life.sending}) == 3


def test_without_secrets_there_are_no_keys() -> None:
    at_dialer, at_listener = shake(dialer(secrets=()), listener(secrets=()))

    assert (at_dialer.sending, at_dialer.receiving, at_listener.sending) == (None, None, None)


@pytest.mark.parametrize(
    ("here", "there"),
    [((NEW, OLD), (OLD,)), ((OLD,), (NEW, OLD)), ((NEW, OLD), (NEW,)), ((NEW, OLD), (OLD, NEW)), ((NEW,), (NEW, OLD))],
)
def test_either_secret_does_while_it_is_changed(here: tuple[bytes, ...], there: tuple[bytes, ...]) -> None:
    at_dialer, at_listener = shake(dialer(secrets=here), listener(secrets=there))

    assert at_dialer.sending == at_listener.receiving


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dialer(secrets=(WRONG,)), listener()),
        (dialer(secrets=()), listener()),
        (dialer(), listener(secrets=())),
        (dialer(), listener(dialers=[Role.WORKER])),
        (dialer(replace(DIALER, cluster=OTHER)), listener()),
        (dialer(replace(DIALER, cluster=UNKNOWN_CLUSTER)), listener()),
        (dialer(replace(DIALER, node=LISTENER.node)), listener()),
        (dialer(listener=Role.COORDINATOR), listener()),
        (dialer(node="e" * 32), listener()),
        (dialer(incarnation=7), listener()),
    ],
    ids=[
        *("wrong secret", "no secret here", "no secret there", "role", "cluster", "peer of no cluster", "itself"),
        *("other role answers", "other node answers", "other life answers"),
    ],
)
def test_a_handshake_is_refused(one: Dialer, other: Listener) -> None:
    with pytest.raises(FrameError):
        shake(one, other)


def test_a_new_worker_learns_its_cluster() -> None:
    new = replace(DIALER, role=Role.WORKER, cluster=UNKNOWN_CLUSTER)

    session, _ = shake(dialer(new, listener=Role.COORDINATOR), listener(replace(LISTENER, role=Role.COORDINATOR)))

    assert session.peer.cluster == CLUSTER


def test_another_version_is_named() -> None:
    hello = bytearray(dialer().hello)
    hello[4] = 9

    with pytest.raises(FrameError, match="version 9"):
        listener().receive(bytes(hello))


def test_a_recorded_dialer_does_not_get_in() -> None:
    one, other = dialer(), listener()
    proofs = one.receive(other.receive(one.hello))
    later = listener(nonce=b"9" * 16)
    later.receive(one.hello)

    with pytest.raises(FrameError, match="did not prove"):
        later.receive(proofs)


def test_a_listeners_own_proof_sent_back_is_none() -> None:
    """Who knows nothing might have the listener's proof made by the listener itself, in another connection."""
    stranger = dialer(secrets=(WRONG,))
    challenge = listener().receive(stranger.hello)
    proofs = stranger.receive(challenge)
    real_dialer = dialer()
    real_proofs = real_dialer.receive(challenge)

    assert proofs != real_proofs
    with pytest.raises(FrameError, match="did not prove"):
        real_dialer.receive(real_proofs[:32])


@pytest.mark.parametrize("bit", range(0, HELLO_BYTES * 8, 5))
@pytest.mark.parametrize("step", ["hello", "challenge"])
def test_a_single_bit_that_is_changed_on_the_way_ends_it(step: str, bit: int) -> None:
    one, other = dialer(), listener()

    def flipped(data: bytes, here: str) -> bytes:
        made = bytearray(data)
        if here == step:
            made[bit // 8] ^= 1 << bit % 8
        return bytes(made)

    with pytest.raises(FrameError):
        one.receive(other.receive(one.receive(flipped(other.receive(flipped(one.hello, "hello")), "challenge"))))


def talk(victim: Dialer | Listener, script: list[bytes], random: Random) -> None:
    """What was said in another connection, mostly changed, and always as long as it has to be."""
    for said in script:
        hostile = changed(said, script, random) if random.random() < 0.7 else said
        victim.receive((hostile + random.randbytes(64))[: victim.wanted])


@pytest.mark.parametrize("count", [ENOUGH, pytest.param(NIGHTLY, marks=pytest.mark.nightly)])
def test_hostile_bytes_never_get_in(count: int) -> None:
    random = Random(1)
    honest, server = dialer(), listener()
    challenge = server.receive(honest.hello)
    proofs = honest.receive(challenge)
    proof = server.receive(proofs)
    for _ in range(count):
        nonce = random.randbytes(16)
        victim: Dialer | Listener = dialer(nonce=nonce) if random.random() < 0.5 else listener(nonce=nonce)
        script = [honest.hello, proofs] if isinstance(victim, Listener) else [challenge, proof]
        with pytest.raises(FrameError):
            talk(victim, script, random)
        assert victim.session is None
