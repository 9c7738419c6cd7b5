"""Holding: the images that one member of a cluster has in memory, at every cut that it may have to return to.

As primary it has live entities (books) and, where ranges have backups, how entities were before their first change in
each interval between cuts; as backup it has a shadow. Invariants: both can be at every cut from `base` to `top`; `base`
is never beyond the last cut known to be sealed; chunks of all cuts since the last complete checkpoint are kept until
one that covers them is complete, so that a checkpoint writes what was packed for the cuts and packs nothing twice.
Who holds what is the formation's; what is on disk is the store's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Final

from holdfast.core.entities import Book, Rows, Undo
from holdfast.core.images import Images, pack, pack_entities, unpack
from holdfast.core.senders import SEND_STEP
from holdfast.core.types import TypeRegistry
from holdfast.recovery.generation import Formation, Holders
from holdfast.recovery.messages import Remembered
from holdfast.replication.messages import UpdateSet
from holdfast.replication.routes import Routes
from holdfast.replication.shadow import Image, Shadow

VOID_STEP: Final = "$void"  # a chunk of it says of which ranges everything before it is void: its keys
CHUNK_ROWS_MAX: Final = 4000  # a message, and what is unpacked at once, must stay small
UPDATE_BYTES_MAX: Final = 1 << 22  # of chunks sent together, unless one alone is larger
Backups = tuple[str, ...]  # nodes, of one range


@dataclass(slots=True)
class Interval:
    """What was touched since a cut."""

    cut: int
    undo: dict[str, Undo] = field(default_factory=dict)  # by step


@dataclass(frozen=True, slots=True)
class CutChunks:
    """What was packed for one cut: for the checkpoint, and for each backup."""

    all: tuple[bytes, ...]
    by_backup: Mapping[str, tuple[bytes, ...]]
    rows: int  # of changed entities

    def update_sets(self, cut: int, node: str) -> list[UpdateSet]:
        """What this backup gets, in parts that can be sent."""
        parts: list[list[bytes]] = [[]]
        size = 0
        for chunk in self.by_backup.get(node, ()):
            if parts[-1] and size + len(chunk) > UPDATE_BYTES_MAX:
                parts.append([])
                size = 0
            parts[-1].append(chunk)
            size += len(chunk)
        return [UpdateSet(cut, tuple(part), last=part is parts[-1]) for part in parts]


class Holding:
    """Books, shadow and undo of one member."""

    def __init__(self, books: Mapping[str, Book], registry: TypeRegistry, routes: Routes, *, keeps_undo: bool) -> None:
        """Without `keeps_undo` (no range ever has a backup) every return goes to a checkpoint."""
        self.books = books
        self.registry = registry
        self.routes = routes
        self.shadow = Shadow(registry, routes.of_step)
        self.node = ""
        self.primaries: tuple[int, ...] = ()  # ranges whose messages are applied here
        self.shadowed: dict[str, tuple[int, ...]] = {}  # primary -> its ranges that are held here as backup
        self.lacking: set[int] = set()  # ranges to hold as backup whose snapshot has not come
        self.arriving: set[int] = set()  # of them, those of which a part has come
        self.holders: Sequence[Holders] = ()
        self.keeps_undo = keeps_undo
        self.intervals: deque[Interval] = deque()
        self.chunks: deque[tuple[int, bytes]] = deque()  # (cut, chunk), of cuts since the last complete checkpoint
        self.returned_in = 0  # the generation to whose cut it was returned last; 0: nothing of worth is in memory

    # --- cuts

    def cut(self, epoch: int) -> CutChunks:
        """Make a cut: pack what was touched since the one before."""
        everything: list[bytes] = []
        by_backup: dict[str, list[bytes]] = {}
        count = 0
        for name, book in self.books.items():
            book.freeze()
            rows = book.take_rows(1 << 60)
            assert book.is_written
            count += len(rows)
            for backups, own in self._by_backups(name, rows).items():
                chunks = [self._pack(name, part) for part in own.parts(CHUNK_ROWS_MAX)]
                everything += chunks
                for node in backups:
                    by_backup.setdefault(node, []).extend(chunks)
        self.chunks.extend((epoch, chunk) for chunk in everything)
        self._begin_interval(epoch)
        return CutChunks(tuple(everything), {node: tuple(chunks) for node, chunks in by_backup.items()}, count)

    def _by_backups(self, step: str, rows: Rows) -> dict[Backups, Rows]:
        if not len(rows):
            return {}
        # Also where no backups are wanted, a range on its way to another member has one.
        if not any(self.holders[number].backups for number in self.primaries):
            return {(): rows}
        of = [holders.backups for holders in self.holders]
        if len({of[number] for number in self.primaries}) == 1:
            return {of[self.primaries[0]]: rows}
        kept = [of[number] for number in self.routes.ranges_of(rows.keys, step)]
        removed = [of[number] for number in self.routes.ranges_of(rows.removed, step)]
        found: dict[Backups, Rows] = {}
        for backups in dict.fromkeys([*kept, *removed]):
            own = found[backups] = Rows(timed=rows.timers is not None)
            chosen = [other == backups for other in kept]
            own.keys = list(compress(rows.keys, chosen))
            own.states = list(compress(rows.states, chosen))
            if rows.timers is not None:
                own.timers = list(compress(rows.timers, chosen))
            own.removed = list(compress(rows.removed, [other == backups for other in removed]))
        return found

    def _pack(self, step: str, rows: Rows) -> bytes:
        return pack_entities(self.books[step].step, step, rows, self.registry)

    def _begin_interval(self, cut: int) -> None:
        interval = Interval(cut)
        if not self.keeps_undo:
            self.intervals.clear()
        self.intervals.append(interval)
        for name, book in self.books.items():
            book.undo = interval.undo.setdefault(name, []) if self.keeps_undo else None

    def take(self, primary: str, cut: int, chunks: tuple[bytes, ...], *, last: bool = True) -> None:
        """An update set of another member, or a part of one: with the last part it is here."""
        self.shadow.take(primary, cut, chunks, last=last)
        self.chunks.extend((cut, chunk) for chunk in chunks)

    def sealed(self, cut: int) -> None:
        """Nothing will return behind this cut."""
        while len(self.intervals) > 1 and self.intervals[1].cut <= cut:
            self.intervals.popleft()
        self.shadow.fold(cut)

    # --- checkpoints

    def chunks_upto(self, cut: int) -> tuple[bytes, ...]:
        """What a checkpoint at this cut writes. Chunks of one primary stand in the order of their cuts."""
        return tuple(chunk for at, chunk in self.chunks if at <= cut)

    def written(self, cut: int) -> None:
        """A checkpoint at this cut is complete."""
        self.chunks = deque((at, chunk) for at, chunk in self.chunks if at > cut)

    @property
    def ranges(self) -> tuple[int, ...]:
        """All ranges held, as primary or backup."""
        return tuple(sorted({*self.primaries, *(r for ranges in self.shadowed.values() for r in ranges)}))

    # --- what it can be returned to

    @property
    def remembered(self) -> tuple[Remembered, ...]:
        """Which ranges it has in memory, at which cuts."""
        if not self.returned_in or not self.keeps_undo:
            return ()
        own = Remembered(self.primaries, self.intervals[0].cut, self.intervals[-1].cut)
        held = [
            Remembered(tuple(r for r in ranges if r not in self.lacking), self.shadow.base, self.shadow.tops[primary])
            for primary, ranges in sorted(self.shadowed.items())
        ]
        return (own, *held)

    def at(self, cut: int) -> None:
        """Stand at a cut that is in memory; what came after it is forgotten."""
        while self.intervals:
            interval = self.intervals.pop()
            for name, undo in interval.undo.items():
                self.books[name].take_back(undo)
            if interval.cut == cut:
                break
        for book in self.books.values():
            book.rest()
        self.shadow.at(cut)
        self.chunks = deque((at, chunk) for at, chunk in self.chunks if at <= cut)

    def forget(self) -> None:
        """Nothing in memory is of worth any more."""
        for book in self.books.values():
            book.undo = None
            book.entities.clear()
            book.rest()
        self.shadow = Shadow(self.registry, self.routes.of_step)
        self.chunks.clear()
        self.intervals.clear()
        self.returned_in = 0
        self.primaries, self.shadowed, self.lacking = (), {}, set()

    def restore(self, chunk: bytes) -> None:
        """One chunk of the checkpoint on this disk; all of them first go to the shadow."""
        images = unpack(chunk, self.registry)
        if images.step == VOID_STEP:
            self._void(images)
        elif not images.step.startswith("$") or images.step.startswith(SEND_STEP):
            self.shadow.put(chunk)

    def _void(self, images: Images) -> None:
        for _ in self.shadow.give_up(set(images.keys)):
            pass

    # --- a generation begins

    def begin(self, formation: Formation, node: str) -> None:
        """Take the roles of this formation; everything stands at its cut, or was restored from the checkpoint."""
        self.node = node
        self.holders = formation.layout.ranges
        primaries = tuple(r for r, holders in enumerate(self.holders) if holders.primary == node)
        shadowed: dict[str, list[int]] = {}
        for number, holders in enumerate(self.holders):
            if node in holders.backups:
                shadowed.setdefault(holders.primary, []).append(number)
        self.lacking, self.arriving = set(formation.lacks(node)), set()
        self._change_roles(set(primaries), {r for ranges in shadowed.values() for r in ranges} - self.lacking)
        self.primaries = primaries
        self.shadowed = {primary: tuple(ranges) for primary, ranges in shadowed.items()}
        self.shadow.begin(formation.cut, list(self.shadowed))
        for book in self.books.values():
            book.rest()
        self.intervals.clear()
        self._begin_interval(formation.cut)
        self.returned_in = formation.number

    def _change_roles(self, primaries: set[int], backups: set[int]) -> None:
        """Move entities between books and shadow, and drop those of ranges that are held no more."""
        moved: list[tuple[str, Any, Image]] = []
        of_step = self.routes.of_step
        for name, book in self.books.items():
            range_of = of_step(name)
            for lookup in [lookup for lookup in book.entities if range_of(lookup) not in primaries]:
                entity = book.entities.pop(lookup)
                if range_of(lookup) in backups:
                    timers = {n: due for n, (due, _) in entity.timers.items()} if book.timed else None  # type: ignore[attr-defined]
                    moved.append((name, lookup, Image(entity.state, timers)))
        held = {r for name, entities in self.shadow.entities.items() for r in map(of_step(name), entities)}
        for name, lookup, image in self.shadow.give_up(held - backups):
            if name in self.books and of_step(name)(lookup) in primaries:
                self.books[name].put(lookup, image.state, image.timers)
        for name, lookup, image in moved:
            self.shadow.receive(name, lookup, image)

    # --- snapshots

    def snapshot(self, ranges: Iterable[int]) -> tuple[bytes, ...]:
        """Everything that these ranges hold now; only to be asked at a cut, before anything is applied."""
        wanted = set(ranges)
        chunks = []
        for name, book in self.books.items():
            rows, range_of = Rows(timed=book.timed), self.routes.of_step(name)
            for lookup, entity in book.entities.items():
                if range_of(lookup) in wanted:
                    rows.add(entity)
                    if len(rows) >= CHUNK_ROWS_MAX:
                        chunks.append(self._pack(name, rows))
                        rows = Rows(timed=book.timed)
            if len(rows):
                chunks.append(self._pack(name, rows))
        return tuple(chunks)

    def snapshot_parts(self, ranges: Iterable[int]) -> list[tuple[tuple[bytes, ...], bool]]:
        """The same chunk by chunk, because one message of all could be too large to be sent; and which is the last."""
        chunks = self.snapshot(ranges)
        return [((chunk,), number == len(chunks)) for number, chunk in enumerate(chunks, 1)] or [((), True)]

    def shadow_at(self, cut: int) -> tuple[bytes, ...]:
        """Everything held as backup, as of a sealed cut that becomes the base."""
        self.shadow.fold(cut)
        chunks = []
        for name, images in sorted(self.shadow.entities.items()):
            rows = Rows(timed=any(image.timers is not None for image in images.values()))
            rows.keys = list(images)
            rows.states = [image.state for image in images.values()]
            if rows.timers is not None:
                rows.timers = [image.timers or {} for image in images.values()]
            if len(rows):
                chunks.append(self._pack(name, rows))
        return tuple(chunks)

    def take_snapshot(self, cut: int, ranges: Sequence[int], chunks: Sequence[bytes], *, last: bool) -> None:
        """Ranges that were lacking come, as of the generation's cut; with the last part, and not before, they are here.

        No update set of them comes before that.
        """
        if not self.arriving.issuperset(ranges):
            self.arriving.update(ranges)
            self.chunks.append((cut, void_of(ranges, self.registry)))
        # In memory there is nothing to void: what was held of them was dropped when the generation began. (Update sets
        # of other primaries may wait above the base by now.)
        for chunk in chunks:
            self.chunks.append((cut, chunk))
            self.shadow.put(chunk)
        if last:
            self.lacking -= set(ranges)


def void_of(ranges: Sequence[int], registry: TypeRegistry) -> bytes:
    """A chunk behind which nothing counts that stands before it of these ranges."""
    rows = Rows()
    rows.keys, rows.states = list(ranges), [None] * len(ranges)
    return pack(VOID_STEP, rows, registry)
