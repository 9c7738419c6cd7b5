"""Checkpoint: a cut written to disk, in slices between epochs, without stopping the stream.

Order, each step durable before the next is ordered: chunks staged · sinks synced up to their tokens · record complete ·
log trimmed. Chunks count only through the record, so a crash anywhere leaves the checkpoint before it whole.
Compaction is a sweep: when the rows on disk exceed twice the live entities, each checkpoint also rewrites a part of the
clean ones; when all were rewritten, the chunks of checkpoints before the sweep hold nothing that is not held later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import chain, islice, repeat
from typing import Final

from holdfast.core.entities import Book, Entity, Rows
from holdfast.core.errors import ApplicationError
from holdfast.core.images import pack, pack_entities
from holdfast.core.types import TypeRegistry
from holdfast.worker.apply import Apply
from holdfast.worker.effects import CompleteCheckpoint, Effect, StageChunks, SyncSinks, TakeToken, TrimLog
from holdfast.worker.events import TokenTaken
from holdfast.worker.fold import Folding
from holdfast.worker.record import Record as Record
from holdfast.worker.settings import Settings

ROWS_FREE: Final = 20_000  # on disk before compaction is worth a thought
SWEEP_CHECKPOINTS: Final = 4  # over which a sweep spreads its work
SOURCE_STEP: Final = "$source"  # system steps: their entities are the offsets of partitions …
SINK_STEP: Final = "$sink"  # … and the output numbers of sinks


class Phase(Enum):
    """What the checkpoint that is being written waits for."""

    IDLE = "idle"
    WRITING = "writing"  # slices, their staging and the sinks' tokens
    SYNCING = "syncing"  # the sinks
    COMPLETING = "completing"  # its record


@dataclass(slots=True)
class Writing:
    """The checkpoint being written."""

    record: Record
    sources: Rows
    sinks: dict[int, int]  # sink -> number of its last output at the cut
    steps: list[tuple[str, Book]]
    tokens: dict[int, object] = field(default_factory=dict)
    staged: int = 0
    ordered: int = 0
    rows: int = 0
    entities_packed: bool = False
    sinks_packed: bool = False


class Checkpoints:
    """Writes one checkpoint after the other."""

    def __init__(
        self,
        books: Mapping[str, Book],
        sink_names: Sequence[str | bytes],
        registry: TypeRegistry,
        settings: Settings,
        folding: Folding,
    ):
        for name in books:
            if name in (SOURCE_STEP, SINK_STEP):
                raise ApplicationError(f"a stateful step can't be named {name!r}, as the system's own are: rename it")
        self.books = dict(books)
        self.sink_names = sink_names
        self.registry = registry
        self.settings = settings
        self.folding = folding
        self.phase = Phase.IDLE
        self.writing: Writing | None = None
        self.last: Record | None = None
        self.rows_on_disk = 0
        self.rows_of_sweep = 0  # of them in checkpoints since the sweep began
        self.sweep_since = 0  # the first checkpoint of the sweep under way, 0 for none
        self.sweep: Iterator[tuple[str, Entity]] = iter(())
        self.sweep_part = 0
        self.sweep_over = False

    def restore(self, record: Record) -> None:
        """The checkpoint resumed from."""
        self.last = record
        self.rows_on_disk = record.rows

    # --- making one

    def next_record(self, apply: Apply, *, ended: bool, clean: bool) -> Record:
        """Of the checkpoint that would be begun now."""
        return Record(
            checkpoint=self.last.checkpoint + 1 if self.last is not None else 1,
            epoch=apply.applied,
            skip=apply.skip.records,
            fired=apply.skip.fired,
            time=apply.time,
            generation=self.settings.generation,
            ended=ended,
            clean=clean,
            rows=0,
            spaces=self.folding.spaces,
        )

    def begin(self, record: Record, sources: Rows, sinks: dict[int, int]) -> list[Effect]:
        """Freeze the cut. The tokens are taken in the sinks' order of deliveries, at this very place."""
        assert self.phase is Phase.IDLE
        self.phase = Phase.WRITING
        self._begin_sweep(record.checkpoint)
        swept = self._next_part_of_sweep()
        for name, book in self.books.items():
            if self.folding.books and name not in self.folding.books:
                book.freeze(list(book.entities.values()))  # chunks before this one are dropped, and no row holds it
            elif name in swept:
                book.freeze(swept[name])
            else:
                book.freeze()
        self.writing = Writing(record, sources, sinks, list(self.books.items()))
        return [TakeToken(sink, record.checkpoint) for sink in sinks]

    def _begin_sweep(self, checkpoint: int) -> None:
        live = sum(len(book.entities) for book in self.books.values())
        if self.sweep_since == 0 and not self.folding.books and self.rows_on_disk > 2 * live + ROWS_FREE:
            self.sweep_since = checkpoint
            self.sweep_over = False
            self.rows_of_sweep = 0
            self.sweep_part = live // SWEEP_CHECKPOINTS + 1
            every = [zip(repeat(name), list(book.entities.values())) for name, book in self.books.items()]
            self.sweep = chain.from_iterable(every)

    def _next_part_of_sweep(self) -> dict[str, list[Entity]]:
        """Entities that are written although nothing touched them: part of the cut, so that none of them is lost."""
        part: dict[str, list[Entity]] = {}
        if self.sweep_since:
            entities = list(islice(self.sweep, self.sweep_part))
            self.sweep_over = len(entities) < self.sweep_part
            for name, entity in entities:
                part.setdefault(name, []).append(entity)
        return part

    @property
    def has_slices(self) -> bool:
        """Whether entities are left to be packed."""
        return self.writing is not None and not self.writing.entities_packed

    def slice(self, *, all_of_it: bool = False) -> list[Effect]:
        """Pack some more entities; the last slice carries the system's own."""
        writing = self.writing
        if writing is None or writing.entities_packed:
            return []
        most = 1 << 60 if all_of_it else self.settings.rows_per_slice
        chunks = []
        while writing.steps and most > 0:
            name, book = writing.steps[0]
            rows = book.take_rows(most)
            most -= max(len(rows), 1)
            if rows:
                chunks.append(self._pack(name, rows))
                self.folding.take(name, rows)
                writing.rows += len(rows)
            if book.is_written:
                writing.steps.pop(0)
        if not writing.steps:
            chunks.append(pack(SOURCE_STEP, writing.sources, self.registry))
            writing.entities_packed = True
            return [*self._stage(chunks), *self._finish_packing()]
        return self._stage(chunks)

    def _pack(self, step: str, rows: Rows) -> bytes:
        return pack_entities(self.books[step].step, step, rows, self.registry)

    def _stage(self, chunks: list[bytes]) -> list[Effect]:
        assert self.writing is not None
        self.writing.ordered += len(chunks)
        return [StageChunks(self.writing.record.checkpoint, tuple(chunks))] if chunks else []

    def _finish_packing(self) -> list[Effect]:
        """Once all tokens are there, the last chunk: the sinks' entities."""
        writing = self.writing
        assert writing is not None
        if not writing.entities_packed or writing.sinks_packed or len(writing.tokens) < len(writing.sinks):
            return []
        rows = Rows()
        for sink, number in writing.sinks.items():
            rows.keys.append(self.sink_names[sink])
            rows.states.append((number, writing.tokens[sink]))
        writing.sinks_packed = True
        return self._stage([pack(SINK_STEP, rows, self.registry)])

    # --- answers

    def token_taken(self, event: TokenTaken) -> list[Effect]:
        """A sink has said where it stands."""
        if self.writing is None or event.checkpoint != self.writing.record.checkpoint:
            return []
        self.writing.tokens[event.sink] = event.token
        return self._finish_packing()

    def chunks_staged(self, checkpoint: int, chunks: int) -> list[Effect]:
        """Chunks are on disk; when all are, the sinks follow."""
        writing = self.writing
        if writing is None or checkpoint != writing.record.checkpoint:
            return []
        writing.staged += chunks
        assert writing.staged <= writing.ordered
        if writing.sinks_packed and writing.staged == writing.ordered:
            self.phase = Phase.SYNCING
            return [SyncSinks(checkpoint)]
        return []

    def sinks_synced(self, checkpoint: int) -> list[Effect]:
        """Outputs up to the cut are durable: now, and not before, the record may be."""
        writing = self.writing
        if writing is None or checkpoint != writing.record.checkpoint:
            return []
        assert self.phase is Phase.SYNCING
        self.phase = Phase.COMPLETING
        self.rows_on_disk += writing.rows
        self.rows_of_sweep += writing.rows
        drop = checkpoint if self.folding.books else 0  # all before this one stands in the rows
        if self.sweep_over:
            drop, self.rows_on_disk = self.sweep_since, self.rows_of_sweep
        writing.record = replace(writing.record, rows=self.rows_on_disk)
        return [CompleteCheckpoint(checkpoint, writing.record.pack(), drop)]

    def completed(self, checkpoint: int) -> list[Effect]:
        """It counts: what the log holds before it is not needed any more."""
        writing = self.writing
        if writing is None or checkpoint != writing.record.checkpoint:
            return []
        assert self.phase is Phase.COMPLETING
        self.phase = Phase.IDLE
        if self.sweep_over:
            self.sweep_since, self.sweep_over = 0, False
        self.last, self.writing = writing.record, None
        return [TrimLog(self.last.epoch)]
