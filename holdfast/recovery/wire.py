"""The bytes of what workers and the coordinator tell each other, and of what both keep on disk.

Every frame is the msgpack array [version, kind, body]. Ranges stand as runs and nodes as places in a table, so that the
layout of thousands of ranges fits in a few hundred bytes.
Invariant: what is unpacked equals what was packed; any other bytes are a `FrameError`. A kind is never used again for
something else; a change of fields is a new version.
Not here: what any of it means (generation, messages); digests of what is stored (storage).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

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
    optional,
    read,
    to_bytes,
    to_cursor,
    to_text,
)

VERSION: Final = 1
FRAME_BYTES_MAX: Final = 1 << 24

_FIELDS: Final = 3
_STATUS, _ASK, _ANNOUNCE, _RUN, _RESTART, _KEPT, _FORMATION = range(1, 8)
_PHASES: Final = (Phase.JOIN, Phase.FENCED, Phase.ADOPT, Phase.RUN, Phase.OVER)  # by code
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


class StatusFields(NamedTuple):
    """A status; the fields are those of the class."""

    node: NodeBytes
    incarnation: Natural
    number: Natural
    phase: Annotated[int, Meta(ge=0, lt=len(_PHASES))]
    generation: Natural
    promised: Natural
    heard: Natural
    report: _ReportFields | None
    sealed: Natural
    closed: Natural
    applied: Natural
    changed: bool
    resting: bool
    located: bool
    ended: bool
    caught_up: bool
    prepared: Natural
    prepared_at: Natural
    completed: Natural
    lost: Annotated[tuple[NodeBytes, ...], _few]
    careful: Annotated[tuple[Natural, ...], _few]
    failure: tuple[LimitFields, TextBytes] | None
    fatal: TextBytes | None
    delivered: Natural
    output_lost: bool


_KeptFields: TypeAlias = tuple[Natural, Natural, FormationFields | None, CheckpointFields | None, Natural]
_Body: TypeAlias = tuple[object, ...]


def pack_status(status: Status) -> bytes:
    """The frame of a status."""
    fields = StatusFields(
        node=to_bytes(status.node),
        incarnation=status.incarnation,
        number=status.number,
        phase=_PHASE_CODES[status.phase],
        generation=status.generation,
        promised=status.promised,
        heard=status.heard,
        report=optional(_report_fields, status.report),
        sealed=status.sealed,
        closed=status.closed,
        applied=status.applied,
        changed=status.changed,
        resting=status.resting,
        located=status.located,
        ended=status.ended,
        caught_up=status.caught_up,
        prepared=status.prepared,
        prepared_at=status.prepared_at,
        completed=status.completed,
        lost=tuple(map(to_bytes, status.lost)),
        careful=status.careful,
        failure=optional(_failure_fields, status.failure),
        fatal=optional(to_bytes, status.fatal),
        delivered=status.delivered,
        output_lost=status.output_lost,
    )
    return _pack(_STATUS, fields)


def unpack_status(packed: bytes | memoryview) -> Status:
    """The status in a frame; FrameError if there is none."""
    fields: StatusFields = _unpack(packed, _STATUS)
    return Status(
        node=to_text(fields.node),
        incarnation=fields.incarnation,
        number=fields.number,
        phase=_PHASES[fields.phase],
        generation=fields.generation,
        promised=fields.promised,
        heard=fields.heard,
        report=optional(_to_report, fields.report),
        sealed=fields.sealed,
        closed=fields.closed,
        applied=fields.applied,
        changed=fields.changed,
        resting=fields.resting,
        located=fields.located,
        ended=fields.ended,
        caught_up=fields.caught_up,
        prepared=fields.prepared,
        prepared_at=fields.prepared_at,
        completed=fields.completed,
        lost=tuple(map(to_text, fields.lost)),
        careful=fields.careful,
        failure=optional(_to_failure, fields.failure),
        fatal=optional(to_text, fields.fatal),
        delivered=fields.delivered,
        output_lost=fields.output_lost,
    )


def pack_order(order: Order) -> bytes:
    """The frame of an order."""
    code, fields = _order_fields(order.order)
    return _pack(code, (order.incarnation, order.number, fields))


def unpack_order(packed: bytes | memoryview) -> Order:
    """The order in a frame; FrameError if there is none."""
    code = kind_of(packed, VERSION, _FIELDS)
    if code not in _ORDERS:
        raise FrameError(f"a frame of kind {code} where an order should be")
    incarnation, number, fields = _unpack(packed, code)
    return Order(incarnation, number, _ORDERS[code](fields))


def pack_kept(kept: Kept) -> bytes:
    """What the coordinator's store holds."""
    formation = optional(formation_fields, kept.formation)
    checkpoint = optional(checkpoint_fields, kept.checkpoint)
    return _pack(_KEPT, (kept.drawn, kept.life, formation, checkpoint, kept.reserved))


def unpack_kept(packed: bytes | memoryview) -> Kept:
    """What `pack_kept` was given; FrameError if the bytes are not of it."""
    fields: _KeptFields = _unpack(packed, _KEPT)
    drawn, life, formation, checkpoint, reserved = fields
    reader = RunsReader()
    return Kept(
        drawn,
        life,
        optional(lambda found: to_formation(found, reader), formation),
        optional(lambda found: to_checkpoint(found, reader), checkpoint),
        reserved,
    )


def pack_formation(formation: Formation) -> bytes:
    """A formation alone, as a worker keeps it."""
    return _pack(_FORMATION, (formation_fields(formation),))


def unpack_formation(packed: bytes | memoryview) -> Formation:
    """What `pack_formation` was given; FrameError if the bytes are not of it."""
    (fields,) = _unpack(packed, _FORMATION)
    return to_formation(fields, RunsReader())


def _pack(code: int, body: _Body) -> bytes:
    return frame((VERSION, code, body), FRAME_BYTES_MAX)


def _unpack(packed: bytes | memoryview, code: int) -> Any:
    found = kind_of(packed, VERSION, _FIELDS)
    if found != code:
        raise FrameError(f"a frame of kind {found} where one of kind {code} should be")
    return read(_DECODERS[code], packed, FRAME_BYTES_MAX)[2]


def _report_fields(report: Report) -> _ReportFields:
    logs = tuple(
        (partition, (log.adopted, cursor_fields(log.base), log.tail, log.spans, log.ended))
        for partition, log in report.logs
    )
    return (
        report.promise,
        report.adopted,
        report.sealed,
        report.remembers,
        tuple((tuple(runs(memory.ranges)), memory.base, memory.top) for memory in report.memory),
        logs,
        optional(_on_disk_fields, report.complete),
        optional(_on_disk_fields, report.prepared),
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
        optional(lambda disk: _to_on_disk(disk, reader), complete),
        optional(lambda disk: _to_on_disk(disk, reader), prepared),
    )


def _to_lineage(fields: _LineageFields) -> Lineage:
    adopted, base, tail, spans, ended = fields
    return Lineage(adopted, to_cursor(base), tail, spans, ended)


def _on_disk_fields(disk: OnDisk) -> _OnDiskFields:
    return (disk.number, disk.epoch, optional(limit_fields, disk.limit), tuple(runs(disk.ranges)), disk.ended)


def _to_on_disk(fields: _OnDiskFields, reader: RunsReader) -> OnDisk:
    number, epoch, limit, ranges, ended = fields
    return OnDisk(number, epoch, optional(to_limit, limit), reader.numbers(ranges), ended)


def _failure_fields(failure: Failure) -> tuple[LimitFields, bytes]:
    return limit_fields(failure.limit), to_bytes(failure.error)


def _to_failure(fields: tuple[LimitFields, bytes]) -> Failure:
    limit, error = fields
    return Failure(to_limit(limit), to_text(error))


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
    _ANNOUNCE: lambda fields: Announce(to_formation(fields[0], RunsReader())),
    _RUN: lambda fields: Run(*fields),
    _RESTART: lambda fields: Restart(),
}
_DECODERS: Final = {
    code: msgspec.msgpack.Decoder(tuple[int, int, body])  # type: ignore[valid-type]
    for code, body in (
        (_STATUS, StatusFields),
        (_ASK, tuple[Natural, Natural, tuple[Natural]]),
        (_ANNOUNCE, tuple[Natural, Natural, tuple[FormationFields]]),
        (_RUN, tuple[Natural, Natural, tuple[Natural, bool, Natural, Natural, bool]]),
        (_RESTART, tuple[Natural, Natural, tuple[()]]),
        (_KEPT, _KeptFields),
        (_FORMATION, tuple[FormationFields]),
    )
}
