"""Frames as an enemy would send them: valid ones that were changed, and bytes of no meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from holdfast.core.errors import FrameError

# Heads of msgpack that claim more than follows, and types that stand nowhere in a frame.
TRAPS = (
    *(b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"),
    b"\xc9\xff\xff\xff\xff\x01",
    *(b"\xc1", b"\xc0", b"\xc2", b"\x80", b"\x90", b"\x91" * 600, b"\x81" * 600, b"\xd6\xff\x00\x00\x00\x00"),
    *(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", b"\xff"),
    b"\xce\xff\xff\xff\xff",
    *(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xa1\xff", b"\xc4\x02\xed\xa0", b"\x98", b"\x93"),
)


def samples(strategy: st.SearchStrategy[Any], count: int = 200) -> list[Any]:
    """The same examples of a strategy every time, from plain to intricate."""
    found: list[Any] = []

    @given(strategy)
    @settings(derandomize=True, database=None, deadline=None, max_examples=count, phases=[Phase.generate])
    def gather(example: Any) -> None:
        found.append(example)

    gather()
    return found


def changed(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """A frame with one to three changes."""
    made = bytearray(frame)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(made) + 1)
        match random.randrange(7):
            case 0 if place < len(made):
                made[place] = random.randrange(256)
            case 1:
                del made[place : place + random.randint(1, 4)]
            case 2:
                made[place:place] = random.randbytes(random.randint(1, 4))
            case 3:
                made[place : place + random.randint(0, 3)] = random.choice(TRAPS)
            case 4:
                del made[place:]
            case 5:
                other = random.choice(others)
                start = random.randrange(len(other) + 1)
                made[place:place] = other[start : start + random.randint(1, 30)]
            case _ if place < len(made):
                made[place] ^= 1 << random.randrange(8)
    return bytes(made)


def attack(
    frames: Sequence[bytes],
    decode: Callable[[bytes], Any],
    encode: Callable[[Any], bytes],
    *,
    count: int,
    seed: int,
) -> int:
    """Decode so many hostile frames: each is refused, or a message that comes back the same. Gives how many were."""
    random = Random(seed)
    taken = 0
    for _ in range(count):
        hostile = changed(random.choice(frames), frames, random)
        if random.random() < 0.05:
            hostile = random.randbytes(random.randint(0, 60))
        try:
            message = decode(hostile)
        except FrameError:
            continue
        taken += 1
        again = encode(message)
        assert decode(again) == message or "nan" in repr(message), hostile.hex()
    return taken
