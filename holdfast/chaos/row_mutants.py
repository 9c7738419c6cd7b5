"""Planted bugs of entities that are loaded one by one: rows, folding, timers on disk; `mutants` has the others."""

from __future__ import annotations

from typing import Any

from holdfast.chaos.planting import Ground, Mutants
from holdfast.core.agenda import Agenda
from holdfast.core.cache import CachedBook
from holdfast.core.entities import GONE
from holdfast.worker import fold
from holdfast.worker.checkpoint import Phase
from holdfast.worker.fold import Folding
from holdfast.worker.machine import Worker

ROW_MUTANTS = Mutants()


@ROW_MUTANTS.enter("dirty-evicted", "an entity that the rows do not hold as it is stays in memory")
def _dirty_evicted(ground: Ground) -> None:
    def rotate(book: CachedBook) -> None:
        book.cold = book.entities.copy()
        book.entities.clear()

    ground.instead(CachedBook, "_rotate", rotate)


@ROW_MUTANTS.enter("unfolded-evicted", "an entity stays in memory until its checkpoint is folded")
def _unfolded_evicted(ground: Ground) -> None:
    def forget(count: int, book: CachedBook) -> int:
        book.unfolded = {key: entity for key, entity in book.unfolded.items() if entity.state is GONE}
        return count

    ground.after(CachedBook, "freeze", forget)


@ROW_MUTANTS.enter("deleted-row-read", "the row of a deleted entity is not read")
def _deleted_row_read(ground: Ground) -> None:
    ground.instead(CachedBook, "is_deleted", lambda book, lookup: False)


@ROW_MUTANTS.enter("evicted-timers-forgotten", "an entity with timers that leaves memory goes on the agenda")
def _evicted_timers_forgotten(ground: Ground) -> None:
    ground.instead(CachedBook, "_enter", lambda book, entity: None)
    _may_lack_entries(ground)


@ROW_MUTANTS.enter("timers-not-gathered", "a start reads from the rows when their timers are due")
def _timers_not_gathered(ground: Ground) -> None:
    ground.instead(CachedBook, "note_rows", lambda book, rows: None)
    _may_lack_entries(ground)


@ROW_MUTANTS.enter("timers-not-folded", "a row holds the timers of its entity")
def _timers_not_folded(ground: Ground) -> None:
    ground.instead(fold, "pack_row", lambda image, timers: image)


@ROW_MUTANTS.enter("due-not-loaded", "entities on disk whose timers are due are loaded before they fire")
def _due_not_loaded(ground: Ground) -> None:
    ground.instead(Agenda, "due", lambda agenda, time: [])


def _may_lack_entries(ground: Ground) -> None:
    """What is not on the agenda can't be taken off it; that alone would show the bug."""

    def make(original: Any) -> Any:
        def remove(agenda: Agenda, due: int, key: bytes) -> None:
            if any((due, key) in slot.entries() for slot in agenda.slots.values()):
                original(agenda, due, key)

        return remove

    ground.replace(Agenda, "remove", make)


@ROW_MUTANTS.enter("row-of-deleted-kept", "folding deletes the rows of deleted entities")
def _row_of_deleted_kept(ground: Ground) -> None:
    def keep(_: object, folding: Folding, *rest: Any) -> None:
        folding.rows = [row for row in folding.rows if row[2] is not None]

    ground.after(Folding, "take", keep)


@ROW_MUTANTS.enter("fold-not-repeated", "a start folds the checkpoint that its last life may not have folded")
def _fold_not_repeated(ground: Ground) -> None:
    ground.instead(Folding, "restore", lambda folding, images: None)


@ROW_MUTANTS.enter("cut-within-epoch", "no checkpoint begins while an epoch waits for its entities")
def _cut_within_epoch(ground: Ground) -> None:
    def begin(orders: Any, worker: Worker) -> Any:
        if worker.work.under_way is not None and not worker._is_ending():
            return [*orders, *worker._begin_checkpoint_if_due()]
        return orders

    ground.after(Worker, "_checkpoint", begin)


@ROW_MUTANTS.enter("fold-outrun", "the next checkpoint begins when the last one is folded")
def _fold_outrun(ground: Ground) -> None:
    ground.instead(Worker, "_is_writing", lambda worker: worker.checkpoints.phase is not Phase.IDLE)
