"""The bytes of what workers and the coordinator tell each other, and of what both keep on disk.

Every frame is the msgpack array [version, kind, body]. Ranges stand as runs and nodes as places in a table, so that the
layout of thousands of ranges fits in a few hundred bytes.
Invariant: what is decoded equals what was encoded; any other bytes are a `FrameError`. A kind is never used again for
something else; a change of fields is a new version.
Not here: what any of it means (generation, messages); digests of what is stored (storage).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from holdfast.core.epochs import Lineage
from holdfast.core.errors import FrameError
from holdfast.recovery.events import Kept
from holdfast.recovery.generation import Formation
from holdfast.recovery.generation_fields import (
    CheckpointFields,
    FormationFields,
    LimitFields,
    checkpoint_fields,
    formation_fields,
    limit_fields,
    to_checkpoint,
    to_formation,
    to_limit,
)
from holdfast.recovery.messages import (
    Announce,
    Ask,
    Failure,
    OnDisk,
    Order,
    Phase,
    Remembered,
    Report,
    Restart,
    Run,
    Status,
)
from holdfast.recovery.runs import Runs, RunsReader, runs
from holdfast.replication.fields import (
    ITEMS_MAX,
    CursorFields,
    Natural,
    NodeBytes,
    TextBytes,
    cursor_fields,
    frame,
    kind_of,
    read,
    to_bytes,
    to_cursor,
    to_text,
)

VERSION: Final = 1
FRAME_BYTES_MAX: Final = 1 << 24

_FIELDS: Final = 3
_STATUS, _ASK, _ANNOUNCE, _RUN, _RESTART, _KEPT, _FORMATION = range(1, 8)
_PHASES: Final = (Phase.JOIN, Phase.FENCED, Phase.ADOPT, Phase.RUN)  # by code
_PHASE_CODES: Final = {phase: code for code, phase in enumerate(_PHASES)}

_few: Final = Meta(max_length=ITEMS_MAX)
_Spans: TypeAlias = Annotated[tuple[tuple[Natural, Natural], ...], _few]
_LineageFields: TypeAlias = tuple[Natural, CursorFields, Natural, _Spans, bool]
_OnDiskFields: TypeAlias = tuple[Natural, Natural, LimitFields | None, Runs, bool]
_ReportFields: TypeAlias = tuple[
    Natural,
    Natural,
    Natural,
    Natural,
    Annotated[tuple[tuple[Runs, Natural, Natural], ...], _few],  # memory
    Annotated[tuple[tuple[Natural, _LineageFields], ...], _few],  # logs
    _OnDiskFields | None,
    _OnDiskFields | None,
]
_StatusFields: TypeAlias = tuple[
    NodeBytes,
    Natural,
    Natural,
    Annotated[int, Meta(ge=0, lt=len(_PHASES))],
    Natural,
    Natural,
    _ReportFields | None,
    tuple[Natural, Natural, Natural, bool, bool, bool, bool, Natural, Natural],  # sealed … completed
    Annotated[tuple[NodeBytes, ...], _few],  # lost
    Annotated[tuple[Natural, ...], _few],  # careful
    tuple[LimitFields, TextBytes] | None,
    TextBytes | None,
]
_KeptFields: TypeAlias = tuple[Natural, Natural, FormationFields | None, CheckpointFields | None]
_Body: TypeAlias = tuple[object, ...]


def encode_status(status: Status) -> bytes:
    """The frame of a status."""
    failure, report = status.failure, status.report
    body: _Body = (
        to_bytes(status.node),
        status.incarnation,
        status.number,
        _PHASE_CODES[status.phase],
        status.generation,
        status.promised,
        None if report is None else _report_fields(report),
        (
            *(status.sealed, status.closed, status.applied, status.changed, status.resting, status.ended),
            *(status.caught_up, status.prepared, status.completed),
        ),
        tuple(map(to_bytes, status.lost)),
        status.careful,
        None if failure is None else (limit_fields(failure.limit), to_bytes(failure.error)),
        None if status.fatal is None else to_bytes(status.fatal),
    )
    return _encode(_STATUS, body)


def decode_status(packed: bytes | memoryview) -> Status:
    """The status in a frame; FrameError if there is none."""
    fields: _StatusFields = _decode(packed, _STATUS)
    node, incarnation, number, phase, generation, promised, report, reached, lost, careful, failure, fatal = fields
    return Status(
        to_text(node),
        incarnation,
        number,
        _PHASES[phase],
        generation,
        promised,
        None if report is None else _to_report(report),
        *reached,
        tuple(map(to_text, lost)),
        careful,
        None if failure is None else _to_failure(*failure),
        None if fatal is None else to_text(fatal),
    )


def encode_order(order: Order) -> bytes:
    """The frame of an order."""
    code, fields = _order_fields(order.order)
    return _encode(code, (order.incarnation, order.number, fields))


def decode_order(packed: bytes | memoryview) -> Order:
    """The order in a frame; FrameError if there is none."""
    code = kind_of(packed, VERSION, _FIELDS)
    if code not in _ORDERS:
        raise FrameError(f"a frame of kind {code} where an order should be")
    incarnation, number, fields = _decode(packed, code)
    return Order(incarnation, number, _ORDERS[code](fields))


def encode_kept(kept: Kept) -> bytes:
    """What the coordinator's store holds."""
    body = (kept.drawn, kept.life, formation_fields(kept.formation), checkpoint_fields(kept.checkpoint))
    return _encode(_KEPT, body)


def decode_kept(packed: bytes | memoryview) -> Kept:
    """What `encode_kept` was given; FrameError if the bytes are not of it."""
    drawn, life, formation, checkpoint = _decode(packed, _KEPT)
    reader = RunsReader()
    return Kept(drawn, life, to_formation(formation, reader), to_checkpoint(checkpoint, reader))


def encode_formation(formation: Formation) -> bytes:
    """A formation alone, as a worker keeps it."""
    return _encode(_FORMATION, (formation_fields(formation),))


def decode_formation(packed: bytes | memoryview) -> Formation:
    """What `encode_formation` was given; FrameError if the bytes are not of it."""
    (fields,) = _decode(packed, _FORMATION)
    return _to_formation(fields)


def _encode(code: int, body: _Body) -> bytes:
    return frame((VERSION, code, body), FRAME_BYTES_MAX)


def _decode(packed: bytes | memoryview, code: int) -> Any:
    found = kind_of(packed, VERSION, _FIELDS)
    if found != code:
        raise FrameError(f"a frame of kind {found} where one of kind {code} should be")
    return read(_DECODERS[code], packed, FRAME_BYTES_MAX)[2]


def _report_fields(report: Report) -> _Body:
    logs = tuple(
        (partition, (log.adopted, cursor_fields(log.base), log.tail, log.spans, log.ended))
        for partition, log in report.logs
    )
    return (
        report.promise,
        report.adopted,
        report.sealed,
        report.remembers,
        tuple((runs(memory.ranges), memory.base, memory.top) for memory in report.memory),
        logs,
        _on_disk_fields(report.complete),
        _on_disk_fields(report.prepared),
    )


def _to_report(fields: _ReportFields) -> Report:
    promise, adopted, sealed, remembers, memory, logs, complete, prepared = fields
    reader = RunsReader()
    return Report(
        promise,
        adopted,
        sealed,
        remembers,
        tuple(Remembered(reader.numbers(ranges), base, top) for ranges, base, top in memory),
        tuple((partition, _to_lineage(log)) for partition, log in logs),
        _to_on_disk(complete, reader),
        _to_on_disk(prepared, reader),
    )


def _to_lineage(fields: _LineageFields) -> Lineage:
    adopted, base, tail, spans, ended = fields
    return Lineage(adopted, to_cursor(base), tail, spans, ended)


def _on_disk_fields(disk: OnDisk | None) -> _Body | None:
    if disk is None:
        return None
    return (disk.number, disk.epoch, limit_fields(disk.limit), runs(disk.ranges), disk.ended)


def _to_on_disk(fields: _OnDiskFields | None, reader: RunsReader) -> OnDisk | None:
    if fields is None:
        return None
    number, epoch, limit, ranges, ended = fields
    return OnDisk(number, epoch, to_limit(limit), reader.numbers(ranges), ended)


def _to_failure(limit: LimitFields, error: bytes) -> Failure:
    found = to_limit(limit)
    assert found is not None
    return Failure(found, to_text(error))


def _to_formation(fields: FormationFields) -> Formation:
    found = to_formation(fields, RunsReader())
    assert found is not None
    return found


def _order_fields(order: Ask | Announce | Run | Restart) -> tuple[int, _Body]:
    match order:
        case Ask():
            return _ASK, (order.promise,)
        case Announce():
            return _ANNOUNCE, (formation_fields(order.formation),)
        case Run():
            return _RUN, (order.generation, order.stopping, order.checkpoint, order.complete, order.finish)
        case Restart():
            return _RESTART, ()


_ORDERS: Final[dict[int, Callable[[Any], Ask | Announce | Run | Restart]]] = {
    _ASK: lambda fields: Ask(*fields),
    _ANNOUNCE: lambda fields: Announce(_to_formation(*fields)),
    _RUN: lambda fields: Run(*fields),
    _RESTART: lambda fields: Restart(),
}
_DECODERS: Final = {
    code: msgspec.msgpack.Decoder(tuple[int, int, body])  # type: ignore[valid-type]
    for code, body in (
        (_STATUS, _StatusFields),
        (_ASK, tuple[Natural, Natural, tuple[Natural]]),
        (_ANNOUNCE, tuple[Natural, Natural, tuple[FormationFields]]),
        (_RUN, tuple[Natural, Natural, tuple[Natural, bool, Natural, Natural, bool]]),
        (_RESTART, tuple[Natural, Natural, tuple[()]]),
        (_KEPT, _KeptFields),
        (_FORMATION, tuple[FormationFields]),
    )
}
