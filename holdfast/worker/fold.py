"""Fold: the entities of a complete checkpoint become rows, one per entity, when entities are loaded one by one.

Folding follows a checkpoint and never leads it, in slices sorted by hash so that neighbouring rows share pages. It may
be done again from the start: rows written twice hold the same. The next checkpoint begins only when it is over, so at a
start only the chunks of the last checkpoint may be missing in the rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import xxhash

from holdfast.core.cache import CachedBook
from holdfast.core.entities import Rows, canonical_of
from holdfast.core.images import Images, pack_row
from holdfast.core.keys import key_hash
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode
from holdfast.worker.effects import Effect, FoldRows
from holdfast.worker.events import RowsFolded

SPACES = 1 << 16  # numbers of steps
FOLD_ROWS = 2000  # in one transaction: some milliseconds

StoredRow = tuple[int, bytes, bytes | None]


def row_space(step: str) -> int:
    """The number under which a step's rows are kept, unless another step has it: records of checkpoints know."""
    return xxhash.xxh3_64_intdigest(step.encode("utf-8", "surrogatepass")) % SPACES


class Folding:
    """Turns rows of checkpoints into rows on disk."""

    def __init__(self, books: Mapping[str, CachedBook], registry: TypeRegistry) -> None:
        self.books = books
        self.registry = registry
        self.spaces: dict[str, int] = {}  # step -> number of its rows
        self.take_over({})
        self.rows: list[StoredRow] = []  # taken, not yet folded
        self.checkpoint = 0
        self.at = 0
        self.under_way = False

    def take_over(self, spaces: Mapping[str, int]) -> None:
        """Keep the numbers that rows were written under."""
        self.spaces = {name: spaces[name] for name in self.books if name in spaces}
        taken = set(spaces.values())
        for name in self.books:
            if name not in self.spaces:
                space = row_space(name)
                while space in taken:
                    space = (space + 1) % SPACES
                taken.add(space)
                self.spaces[name] = space

    def awaits(self, event: RowsFolded) -> bool:
        """Whether this is the answer to the last order."""
        return self.under_way and (event.checkpoint, event.chunk) == (self.checkpoint, self.at)

    @property
    def is_over(self) -> bool:
        """Whether the rows hold all of the last checkpoint."""
        return not self.rows

    def take(self, step: str, rows: Rows) -> None:
        """Rows of the checkpoint being written, as they are now."""
        if step not in self.spaces:
            return
        space = self.spaces[step]
        images = [encode(state, self.registry) for state in rows.states]
        if rows.timers is not None:
            images = list(map(pack_row, images, rows.timers))
        self.rows += [(space, canonical_of(key), image) for key, image in zip(rows.keys, images, strict=True)]
        self.rows += [(space, canonical_of(key), None) for key in rows.removed]

    def restore(self, images: Images) -> None:
        """Rows of a checkpoint that this worker, in an earlier life, perhaps did not fold."""
        rows = Rows()
        rows.keys, rows.states, rows.removed = images.keys, images.states, images.removed
        rows.timers = images.timers
        self.take(images.step, rows)

    def begin(self, checkpoint: int) -> list[Effect]:
        """The checkpoint is complete: fold it."""
        latest = {(space, key): image for space, key, image in self.rows}
        self.rows = [(space, key, image) for (space, key), image in latest.items()]
        self.rows.sort(key=lambda row: (row[0], key_hash(row[1])))
        self.checkpoint, self.at = checkpoint, 0
        return self.go_on()

    def go_on(self) -> list[Effect]:
        """The next slice, if there is one."""
        if self.at >= len(self.rows):
            self.rows, self.at, self.under_way = [], 0, False
            for book in self.books.values():
                book.folded()
            return []
        self.under_way = True
        part = tuple(self.rows[self.at : self.at + FOLD_ROWS])
        self.at += len(part)
        return [FoldRows(self.checkpoint, self.at, part)]
