"""The shadow: images that a member holds as a backup, at any cut between a base and the newest it was sent.

Update sets wait, packed, until their cut is known to be sealed; then they are folded into the base and can't be taken
back. Invariant: at `base` the shadow holds exactly what the primaries held at that cut; `at(cut)` for base <= cut <= top
makes it the new base and drops everything later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import repeat
from typing import Any, NamedTuple

from holdfast.core.images import unpack
from holdfast.core.types import TypeRegistry

Place = tuple[str, Any]  # step, lookup key


class Image(NamedTuple):
    """One entity as a backup has it."""

    state: Any
    timers: dict[str, int] | None


class Shadow:
    """What a member holds for other members."""

    def __init__(self, registry: TypeRegistry, of_step: Callable[[str], Callable[[Any], int]]) -> None:
        """`of_step` gives for a step the function from lookup keys to ranges."""
        self.registry = registry
        self.of_step = of_step
        self.entities: dict[str, dict[Any, Image]] = {}  # by step and lookup key
        self.base = 0
        self.tops: dict[str, int] = {}  # primary -> the newest cut that it sent
        self._pending: deque[tuple[int, str, tuple[bytes, ...]]] = deque()  # (cut, primary, chunks)
        self._coming: dict[str, list[bytes]] = {}  # by primary: parts of the update set that comes next

    def begin(self, cut: int, primaries: Collection[str]) -> None:
        """A generation begins at this cut, with these members to hold images for."""
        assert not self._pending, "update sets of another generation"
        assert not self._coming, "a part of one"
        self.base = cut
        self.tops = dict.fromkeys(primaries, cut)

    def put(self, chunk: bytes) -> None:
        """A chunk as of the base; later ones replace what earlier ones held."""
        images = unpack(chunk, self.registry)
        entities = self.entities.setdefault(images.step, {})
        for lookup in images.removed:
            entities.pop(lookup, None)
        timers: Iterable[dict[str, int] | None] = images.timers or repeat(None, len(images.keys))
        entities.update(zip(images.keys, map(Image._make, zip(images.states, timers, strict=True)), strict=True))

    def take(self, primary: str, cut: int, chunks: tuple[bytes, ...], *, last: bool = True) -> None:
        """An update set, or a part of one; only whole ones count."""
        assert cut > self.tops[primary], "update sets come in the order of their cuts"
        self._coming.setdefault(primary, []).extend(chunks)
        if last:
            self.tops[primary] = cut
            self._pending.append((cut, primary, tuple(self._coming.pop(primary))))

    def fold(self, sealed: int) -> None:
        """Nothing will return behind this cut: what was sent up to it becomes part of the base."""
        later: deque[tuple[int, str, tuple[bytes, ...]]] = deque()
        for cut, primary, chunks in self._pending:
            if cut > sealed:
                later.append((cut, primary, chunks))
                continue
            for chunk in chunks:
                self.put(chunk)
        self._pending = later
        self.base = max(self.base, sealed)

    def at(self, cut: int) -> None:
        """Stand at this cut, and forget what came after it."""
        self.fold(cut)
        self._pending.clear()
        self._coming.clear()

    # --- ranges come and go

    def give_up(self, ranges: Collection[int]) -> Iterator[tuple[str, Any, Image]]:
        """Take these ranges' entities out: (step, lookup key, image), in an order that depends on the past alone."""
        assert not self._pending
        for step, entities in self.entities.items():
            range_of = self.of_step(step)
            for lookup in [lookup for lookup in entities if range_of(lookup) in ranges]:
                yield step, lookup, entities.pop(lookup)

    def receive(self, step: str, lookup: Any, image: Image) -> None:
        """Hold this entity from now on, as of the base."""
        self.entities.setdefault(step, {})[lookup] = image
