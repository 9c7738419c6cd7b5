"""Frames between workers and the coordinator, and on disk: exact round trips, and refusal of everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import FrameError
from holdfast.recovery import runs, wire
from holdfast.recovery.generation import Checkpoint, Formation, Holders, Layout, Member
from holdfast.recovery.messages import Status
from tests.core.value_domain import steady
from tests.recovery import message_domain as domain
from tests.replication.frame_fuzz import attack, samples

ENOUGH = 2_500  # of each kind
NIGHTLY = 250_000

CODECS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "status": (domain.statuses, wire.pack_status, wire.unpack_status),
    "order": (domain.orders, wire.pack_order, wire.unpack_order),
    "kept": (domain.kept, wire.pack_kept, wire.unpack_kept),
    "formation": (domain.formations, wire.pack_formation, wire.unpack_formation),
}


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
@settings(steady, max_examples=60)
def test_everything_comes_back_the_same(name: str, data: st.DataObject) -> None:
    strategy, encode, decode = CODECS[name]
    sent = data.draw(strategy)

    found = decode(encode(sent))

    assert found == sent
    assert repr(found) == repr(sent), "True is not 1, and a tuple is no list"


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("count", [ENOUGH, pytest.param(NIGHTLY, marks=pytest.mark.nightly)])
def test_hostile_frames_are_refused_or_what_they_say(name: str, count: int) -> None:
    strategy, encode, decode = CODECS[name]
    frames = [encode(sent) for sent in samples(strategy, 50)]

    assert attack(frames, decode, encode, count=count, seed=1) > count // 100


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("other", CODECS)
def test_one_kind_is_not_taken_for_another(name: str, other: str) -> None:
    strategy, encode, _ = CODECS[name]
    decode = CODECS[other][2]
    packed = encode(samples(strategy, 1)[0])

    if name == other:
        decode(packed)
    else:
        with pytest.raises(FrameError):
            decode(packed)


def formation(ranges: int, nodes: int) -> Formation:
    """As a young cluster has it: ranges in runs, the load of each spread over all the others."""
    names = [f"{number:032x}" for number in range(nodes)]
    held = tuple(
        Holders(names[n * nodes // ranges], (names[(n * nodes // ranges + 1 + n % (nodes - 1)) % nodes],))
        for n in range(ranges)
    )
    held = tuple(sorted(held, key=lambda holders: (holders.primary, holders.backups)))
    members = tuple(Member(name, 2**40 + place, 3) for place, name in enumerate(names))
    parts = tuple((name, tuple(n for n in range(ranges) if name in held[n].all)) for name in names)
    layout = Layout(held, held[:16], tuple(names[:2]))
    checkpoint = Checkpoint(5, 1000, None, parts)
    return Formation(9, members, layout, 1200, True, checkpoint, 1300, ((8, 1300),) * 16, (((8, 1300),),) * 16, parts)


def test_a_formation_of_4096_ranges_is_small() -> None:
    packed = wire.pack_formation(formation(4096, 8))

    assert wire.unpack_formation(packed) == formation(4096, 8)
    assert len(packed) < 2000


def test_a_short_frame_can_not_claim_endless_ranges() -> None:
    share = tuple((0, (0, runs.RUN_MEMBERS_MAX)) for _ in range(2))
    body = (0, 0, None, ((b"a",), 1, 1, None, share, False), 0)
    one = (0, 0, None, ((b"a",), 1, 1, None, share[:1], False), 0)

    with pytest.raises(FrameError, match="ranges"):
        wire.unpack_kept(msgspec.msgpack.encode((1, 6, body)))
    assert wire.unpack_kept(msgspec.msgpack.encode((1, 6, one))).checkpoint is not None


@pytest.mark.parametrize(
    "checkpoint",
    [
        ((b"a",), 1, 1, None, ((0, (0,)),), False),
        ((b"a",), 1, 1, None, ((1, (0, 1)),), False),
        ((b"\xff",), 1, 1, None, (), False),
        ((b"a",), -1, 1, None, (), False),
        ((b"a",), 1, 1, None, (), 0),
        ((b"a",), 1, 1, (1, 1), (), False),
        ((b"a" * 256,), 1, 1, None, (), False),
    ],
    ids=["half a run", "no such node", "no text", "negative", "no bool", "short", "long name"],
)
def test_what_can_not_be_is_refused(checkpoint: object) -> None:
    with pytest.raises(FrameError):
        wire.unpack_kept(msgspec.msgpack.encode((1, 6, (0, 0, None, checkpoint, 0))))


@given(domain.statuses)
def test_what_alone_is_nothing_new_to_say_travels_all_the_same(status: Status) -> None:
    assert wire.unpack_status(wire.pack_status(status)).delivered == status.delivered
