"""Planted bugs: each takes one rule of the machine, its stores or its sinks away.

One that survives says that the faults are too weak, not that the rule is not needed. docs/simulator.md has
the number of seeds that each took. How they are planted is `planting`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holdfast.chaos import works
from holdfast.chaos.core_mutants import CORE_MUTANTS
from holdfast.chaos.outputs import SimulatedFileWriter
from holdfast.chaos.planting import Ground, Mutants
from holdfast.chaos.row_mutants import ROW_MUTANTS
from holdfast.connectors.file_writer import FileWriter
from holdfast.core.entities import Book, Rows
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.worker import checkpoint, events, returning
from holdfast.worker.apply import Apply
from holdfast.worker.checkpoint import Checkpoints, Phase, Record
from holdfast.worker.deliver import Delivery
from holdfast.worker.effects import ReadSource, Return, TrimLog
from holdfast.worker.intake import Intake
from holdfast.worker.machine import Worker
from holdfast.worker.returning import Returning

MUTANTS = Mutants(CORE_MUTANTS | ROW_MUTANTS)


# --- log and state


@MUTANTS.enter("skip-sync", "a commit is on the disk before it is answered")
def _skip_sync(ground: Ground) -> None:
    ground.after(MemoryDisk, "__init__", lambda _, disk: setattr(disk, "skip_sync", True))


@MUTANTS.enter("acknowledge-early", "the log answers when its commit is over, not when it begins")
def _acknowledge_early(ground: Ground) -> None:
    finish = MemoryLog.finish_sync

    def settle(log: MemoryLog, *rest: Any) -> None:
        if log._store.busy:
            finish(log)

    def answer(work: works.Append) -> Any:
        last = work._epochs[-1].number
        return [lambda now: events.LogSynced(now, last)]

    for name in ("begin_append", "begin_trim", "read"):
        ground.before(MemoryLog, name, settle)
    ground.instead(works.Append, "finish", answer)


@MUTANTS.enter(
    "leftovers-kept-at-return", "a return drops what was staged for a checkpoint that never completed"
)
def _leftovers_kept_at_return(ground: Ground) -> None:
    ground.instead(MemoryState, "abandon", lambda state: None)


@MUTANTS.enter("leftovers-counted", "chunks of a checkpoint that is not complete never count")
def _leftovers_counted(ground: Ground) -> None:
    def count(_: object, state: MemoryState, *rest: object) -> None:
        contents = state._store.contents
        staged: list[Any] = [
            key for key in contents if key[0] == "chunk" and ("manifest", key[1]) not in contents
        ]
        if staged:
            state._staged = (staged[0][1], len(staged))

    ground.instead(MemoryState, "_leftover", lambda state: {})
    ground.after(MemoryState, "__init__", count)


# --- intake and log


@MUTANTS.enter("apply-before-append", "no message touches an entity before its record is in the log")
def _apply_before_append(ground: Ground) -> None:
    def closed_is_durable(found: Any, worker: Worker) -> Any:
        worker.progress.advance(0, durable=worker.intake.closed)
        return found

    ground.after(Worker, "_close_epochs", closed_is_durable)


@MUTANTS.enter("durable-one-more", "durable is what the log has said, not the epoch after it")
def _durable_one_more(ground: Ground) -> None:
    def one_more(_: Any, worker: Worker, event: events.LogSynced) -> Any:
        worker.progress.advance(0, durable=min(event.epoch + 1, worker.intake.closed))
        return []

    ground.after(Worker, "_log_synced", one_more)


@MUTANTS.enter("round-split", "an epoch of finite sources holds whole rounds")
def _round_split(ground: Ground) -> None:
    def less(orders: list[ReadSource], intake: Intake) -> list[ReadSource]:
        return (
            orders if intake.live else [replace(order, records_max=order.records_max - 1) for order in orders]
        )

    ground.after(Intake, "ask", less)


@MUTANTS.enter("source-offset-lost", "a source resumes after what the checkpoint holds of it")
def _source_offset_lost(ground: Ground) -> None:
    _change_restored_partition(ground, offset=None)


@MUTANTS.enter("source-number-lost", "records are numbered on from the checkpoint")
def _source_number_lost(ground: Ground) -> None:
    _change_restored_partition(ground, number=0)


def _change_restored_partition(ground: Ground, **changed: Any) -> None:
    def make(original: Any) -> Any:
        def restore(intake: Intake, partition: int, number: int, offset: object, **rest: Any) -> None:
            given = {"number": number, "offset": offset, **rest, **changed}
            original(intake, partition, given.pop("number"), given.pop("offset"), **given)

        return restore

    ground.replace(Intake, "restore", make)


@MUTANTS.enter("replay-moves-no-offset", "what is replayed is not read again")
def _replay_moves_no_offset(ground: Ground) -> None:
    def only_number(intake: Intake, epoch: Any) -> None:
        intake.closed, intake.time = epoch.number, epoch.time

    ground.instead(Intake, "replayed", only_number)


# --- return and replay


@MUTANTS.enter("replay-skips-one", "every epoch after the checkpoint is replayed")
def _replay_skips_one(ground: Ground) -> None:
    def skip(found: Any, returning: Returning, *rest: Any) -> Any:
        if found and returning.read < returning.tail:
            returning.read += 1
        return found

    def order(worker: Worker, *rest: Any) -> None:
        if worker.logged and worker.apply.applied < worker.logged[0].number - 1:
            worker.apply.applied = worker.logged[0].number - 1

    ground.after(Returning, "started", skip)
    ground.before(Worker, "_apply_epoch", order)


@MUTANTS.enter("no-undo-at-return", "a return drops what was touched since the checkpoint")
def _no_undo_at_return(ground: Ground) -> None:
    last: list[Worker] = []

    def keep(found: Any, worker: Worker) -> Any:
        if last and (worker.settings.careful or worker.settings.stop_before):
            for index, book in last[0].pipeline.books.items():
                worker.pipeline.books[index].entities.update(book.entities)
        last[:] = [worker]
        return found

    ground.after(Worker, "_returned", keep)


@MUTANTS.enter("time-lost", "time goes on from the checkpoint's")
def _time_lost(ground: Ground) -> None:
    _change_record(ground, time=0)


@MUTANTS.enter("skip-lost", "records of the next epoch that a checkpoint holds are not applied again")
def _skip_lost(ground: Ground) -> None:
    _change_record(ground, skip=0)


def _change_record(ground: Ground, **changed: Any) -> None:
    unpack = Record.unpack
    ground.instead(Record, "unpack", lambda packed: replace(unpack(packed), **changed))


@MUTANTS.enter("careful-forgotten", "a step that has failed once works carefully after the return")
def _careful_forgotten(ground: Ground) -> None:
    ground.before(Worker, "_return", lambda worker, order: object.__setattr__(order, "careful", frozenset()))


@MUTANTS.enter("stop-off-by-one", "a stop lies before the record that failed")
def _stop_off_by_one(ground: Ground) -> None:
    def later(worker: Worker, order: Return) -> None:
        if order.stop_before is not None:
            object.__setattr__(order, "stop_before", (order.stop_before[0], order.stop_before[1] + 1))

    ground.before(Worker, "_return", later)


# --- entities


@MUTANTS.enter("failed-call-keeps-state", "an entity is as before after a call that raised")
def _failed_call_keeps_state(ground: Ground) -> None:
    ground.instead(
        Book, "restore", lambda book, entity, saved, *, fresh: book.remove(entity) if fresh else None
    )


@MUTANTS.enter("failed-call-keeps-entity", "an entity made for a call that raised is forgotten")
def _failed_call_keeps_entity(ground: Ground) -> None:
    def make(original: Any) -> Any:
        def restore(book: Book, entity: Any, saved: Any, *, fresh: bool) -> None:
            if not fresh:
                original(book, entity, saved, fresh=False)

        return restore

    ground.replace(Book, "restore", make)


@MUTANTS.enter("encode-late", "a checkpoint holds entities as they were at its cut")
def _encode_late(ground: Ground) -> None:
    def touch(book: Book, entity: Any) -> None:
        if entity.mark != book.cut:
            book.dirty.append(entity)
            entity.mark = book.interval

    ground.instead(Book, "touch", touch)


@MUTANTS.enter("early-encode-dropped", "an entity that is changed before its slice is encoded first")
def _early_encode_dropped(ground: Ground) -> None:
    ground.after(Book, "touch", lambda _, book, entity: setattr(book, "early", Rows(timed=book.timed)))


@MUTANTS.enter("tombstones-lost", "a checkpoint says which entities are gone")
def _tombstones_lost(ground: Ground) -> None:
    _before_packing(ground, lambda rows: rows.removed.clear())


@MUTANTS.enter("timers-lost", "an entity's timers lie in its image")
def _timers_lost(ground: Ground) -> None:
    def forget(rows: Rows) -> None:
        for timers in rows.timers or ():
            timers.clear()

    _before_packing(ground, forget)


def _before_packing(ground: Ground, change: Callable[[Rows], None]) -> None:
    ground.before(checkpoint, "pack", lambda step, rows, registry: change(rows))


# --- checkpoints


@MUTANTS.enter("complete-when-first-staged", "a checkpoint completes when all its chunks are on disk")
def _complete_when_first_staged(ground: Ground) -> None:
    def hurry(checkpoints: Checkpoints, checkpoint: int, chunks: int) -> None:
        writing = checkpoints.writing
        if writing is not None and writing.sinks_packed:
            writing.staged = writing.ordered - chunks

    ground.before(Checkpoints, "chunks_staged", hurry)


@MUTANTS.enter("complete-before-sinks-synced", "outputs up to the cut are durable before the checkpoint is")
def _complete_before_sinks_synced(ground: Ground) -> None:
    def make(original: Any) -> Any:
        def chunks_staged(checkpoints: Checkpoints, checkpoint: int, chunks: int) -> Any:
            orders = original(checkpoints, checkpoint, chunks)
            return checkpoints.sinks_synced(checkpoint) if checkpoints.phase is Phase.SYNCING else orders

        return chunks_staged

    ground.replace(Checkpoints, "chunks_staged", make)


@MUTANTS.enter(
    "trim-when-staged", "the log is trimmed when the checkpoint is complete, not when it is staged"
)
def _trim_when_staged(ground: Ground) -> None:
    def trim(orders: Any, checkpoints: Checkpoints, *rest: Any) -> Any:
        return orders if checkpoints.writing is None else [*orders, TrimLog(checkpoints.writing.record.epoch)]

    ground.after(Checkpoints, "chunks_staged", trim)


@MUTANTS.enter("trim-one-more", "the log keeps every epoch after the checkpoint")
def _trim_one_more(ground: Ground) -> None:
    def more(orders: Any, *rest: Any) -> Any:
        return [TrimLog(order.upto + 1) if isinstance(order, TrimLog) else order for order in orders]

    ground.after(Checkpoints, "completed", more)


@MUTANTS.enter("token-late", "a sink's token stands where its number stands")
def _token_late(ground: Ground) -> None:
    waiting: list[Any] = []

    def hold(orders: Any, *rest: Any) -> Any:
        waiting[:] = orders
        return []

    def give(orders: Any, *rest: Any) -> Any:
        orders = [*orders, *waiting]
        waiting.clear()
        return orders

    ground.after(Checkpoints, "begin", hold)
    ground.after(Checkpoints, "chunks_staged", give)


@MUTANTS.enter("sweep-drops-early", "older chunks go when a sweep has rewritten everything")
def _sweep_drops_early(ground: Ground) -> None:
    def over(checkpoints: Checkpoints, *rest: Any) -> None:
        checkpoints.sweep_over = checkpoints.sweep_since > 0

    ground.before(Checkpoints, "sinks_synced", over)


# --- sinks and the end


@MUTANTS.enter("sink-number-lost", "outputs are numbered on from the checkpoint")
def _sink_number_lost(ground: Ground) -> None:
    ground.replace(
        Delivery, "restore", lambda restore: lambda own, sink, number, token: restore(own, sink, 0, token)
    )


@MUTANTS.enter("sink-token-lost", "a sink resumes where it stood at the checkpoint")
def _sink_token_lost(ground: Ground) -> None:
    ground.replace(
        Delivery, "restore", lambda restore: lambda own, sink, number, token: restore(own, sink, number, None)
    )


@MUTANTS.enter("sink-skips-unread", "regenerated output is compared with what stands")
def _sink_skips_unread(ground: Ground) -> None:
    def skip(writer: FileWriter, data: bytes, *rest: Any) -> None:
        stands = min(len(data), writer._standing - writer._position)
        writer._pwrite(data[stands:], writer._position + stands)

    ground.instead(FileWriter, "_write_over_standing", skip)


@MUTANTS.enter("sink-appends-again", "output that stands already is not written again")
def _sink_appends_again(ground: Ground) -> None:
    def to_end(_: object, writer: SimulatedFileWriter, *rest: object) -> None:
        writer._position = writer._standing

    ground.after(SimulatedFileWriter, "__init__", to_end)


@MUTANTS.enter("torn-tail-refused", "differing bytes that read NUL are a torn tail")
def _torn_tail_refused(ground: Ground) -> None:
    """The file is read as if NUL were a character like any other."""
    ground.after(SimulatedFileWriter, "_pread", lambda read, *rest: read.replace(b"\0", b"?"))


@MUTANTS.enter("read-after-final-cut", "what is read after the last cut is left to the next life")
def _read_after_final_cut(ground: Ground) -> None:
    def read(worker: Worker, event: events.SourceRead) -> list[Any]:
        worker.intake.read(event)
        return []

    ground.instead(Worker, "_source_read", read)


@MUTANTS.enter("positions-ahead", "a checkpoint holds positions of what is applied, not of what is read")
def _positions_ahead(ground: Ground) -> None:
    def ahead(rows: Rows, own: Apply) -> Rows:
        for partition in intakes[-1].partitions:
            if partition.index in rows.keys:
                position = (partition.number, partition.offset, partition.ended, partition.clock)
                rows.states[rows.keys.index(partition.index)] = position
        return rows

    intakes: list[Intake] = []
    ground.after(Intake, "__init__", lambda _, intake, *rest, **named: intakes.append(intake))
    ground.after(Apply, "source_rows", ahead)


@MUTANTS.enter("partial-round-kept", "a stop gives up rounds that are not complete")
def _partial_round_kept(ground: Ground) -> None:
    ground.instead(Intake, "stop", lambda intake: setattr(intake, "stopping", True))


@MUTANTS.enter("round-not-awaited", "an epoch of finite sources is cut when all of them have answered")
def _round_not_awaited(ground: Ground) -> None:
    some = property(lambda intake: any(partition.waiting for partition in intake.partitions))
    ground.replace(Intake, "is_ready", lambda original: some)


@MUTANTS.enter("removed-entities-restored", "a start leaves out what a later chunk says is gone")
def _removed_entities_restored(ground: Ground) -> None:
    ground.replace(
        returning,
        "unpack",
        lambda unpack: lambda chunk, registry: replace(unpack(chunk, registry), removed=[]),
    )


@MUTANTS.enter("ended-early", "a checkpoint says that all is worked off only when all sources have ended")
def _ended_early(ground: Ground) -> None:
    ground.after(Checkpoints, "next_record", lambda record, *rest, **named: replace(record, ended=True))


@MUTANTS.enter("end-unsaved", "an end makes a checkpoint of everything")
def _end_unsaved(ground: Ground) -> None:
    def pretend(worker: Worker) -> None:
        if worker._is_ending() and worker.final is None and worker.checkpoints.last is not None:
            worker.final = replace(worker.checkpoints.last, ended=worker.intake.has_ended)

    ground.before(Worker, "_end", pretend)
