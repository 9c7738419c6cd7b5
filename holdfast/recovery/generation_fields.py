"""Formations, checkpoints and limits as fields of a frame.

Nodes are named once, in a table at the head of a formation or checkpoint, and stand as places in it elsewhere; equal
holders likewise.
Invariant: what is read equals what was written, or is a `FrameError`.
Not here: frames (wire).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, Generic, NamedTuple, TypeAlias, TypeVar

from msgspec import Meta

from holdfast.core.errors import FrameError
from holdfast.recovery.generation import Checkpoint, Formation, Holders, Layout, Limit, Member
from holdfast.recovery.runs import Runs, RunsReader, repeats, runs
from holdfast.replication.fields import (
    ITEMS_MAX,
    Natural,
    NodeBytes,
    Place,
    TextBytes,
    Whole,
    optional,
    to_bytes,
    to_text,
)

NODES_MAX = 1 << 16

_few = Meta(max_length=ITEMS_MAX)
_Nodes: TypeAlias = Annotated[tuple[NodeBytes, ...], Meta(max_length=NODES_MAX)]
_Share: TypeAlias = tuple[tuple[Natural, Runs], ...]  # node, ranges

LimitFields: TypeAlias = tuple[Natural, Whole, Place, Whole]
CheckpointFields: TypeAlias = tuple[_Nodes, Natural, Natural, LimitFields | None, Annotated[_Share, _few], bool]
_LayoutFields: TypeAlias = tuple[
    Annotated[tuple[Annotated[tuple[Natural, ...], Meta(min_length=1, max_length=NODES_MAX)], ...], _few],
    Runs,
    Runs,
    Annotated[tuple[Natural, ...], _few],
]
class FormationFields(NamedTuple):
    """A formation; the fields are those of the class, behind the table of nodes."""

    nodes: _Nodes
    number: Natural
    members: Annotated[tuple[tuple[Natural, Natural, Natural], ...], _few]
    layout: _LayoutFields
    cut: Natural
    in_memory: bool
    checkpoint: CheckpointFields | None
    level: Natural
    logs: Annotated[tuple[tuple[Natural, Natural], ...], _few]
    spans: Annotated[tuple[Annotated[tuple[tuple[Natural, Natural], ...], _few], ...], _few]
    lacking: Annotated[_Share, _few]
    careful: Annotated[tuple[Natural, ...], _few]
    limit: LimitFields | None
    stop_error: TextBytes | None
    lacking_logs: Annotated[_Share, _few]
    target: _LayoutFields | None
    why: TextBytes


Thing = TypeVar("Thing", bound=Hashable)


class _Table(Generic[Thing]):
    """Things that stand once, and their places."""

    def __init__(self) -> None:
        self.places: dict[Thing, int] = {}

    def place(self, thing: Thing) -> int:
        return self.places.setdefault(thing, len(self.places))


def limit_fields(limit: Limit) -> LimitFields:
    """A limit as fields."""
    return (limit.epoch, limit.turn, limit.partition, limit.number)


def to_limit(fields: LimitFields) -> Limit:
    """What `limit_fields` gave."""
    return Limit(*fields)


def checkpoint_fields(checkpoint: Checkpoint) -> CheckpointFields:
    """A checkpoint as fields."""
    nodes: _Table[str] = _Table()
    holders, limit = _share(checkpoint.holders, nodes), optional(limit_fields, checkpoint.limit)
    table = tuple(map(to_bytes, nodes.places))
    return (table, checkpoint.number, checkpoint.epoch, limit, holders, checkpoint.ended)


def to_checkpoint(fields: CheckpointFields, reader: RunsReader) -> Checkpoint:
    """What `checkpoint_fields` gave."""
    table, number, epoch, limit, holders, ended = fields
    return Checkpoint(number, epoch, optional(to_limit, limit), _to_share(holders, _texts(table), reader), ended)


def formation_fields(formation: Formation) -> FormationFields:
    """A formation as fields."""
    nodes: _Table[str] = _Table()
    members = tuple((nodes.place(m.node), m.incarnation, m.since) for m in formation.members)
    fields = FormationFields(
        nodes=(),
        number=formation.number,
        members=members,
        layout=_layout_fields(formation.layout, nodes),
        cut=formation.cut,
        in_memory=formation.in_memory,
        checkpoint=optional(checkpoint_fields, formation.checkpoint),
        level=formation.level,
        logs=formation.logs,
        spans=formation.spans,
        lacking=_share(formation.lacking, nodes),
        careful=formation.careful,
        limit=optional(limit_fields, formation.limit),
        stop_error=optional(to_bytes, formation.stop_error),
        lacking_logs=_share(formation.lacking_logs, nodes),
        target=optional(lambda layout: _layout_fields(layout, nodes), formation.target),
        why=to_bytes(formation.why),
    )
    return fields._replace(nodes=tuple(map(to_bytes, nodes.places)))


def to_formation(fields: FormationFields, reader: RunsReader) -> Formation:
    """What `formation_fields` gave."""
    nodes = _texts(fields.nodes)
    return Formation(
        number=fields.number,
        members=tuple(Member(_at(nodes, node), incarnation, since) for node, incarnation, since in fields.members),
        layout=_to_layout(fields.layout, nodes, reader),
        cut=fields.cut,
        in_memory=fields.in_memory,
        checkpoint=optional(lambda found: to_checkpoint(found, reader), fields.checkpoint),
        level=fields.level,
        logs=fields.logs,
        spans=fields.spans,
        lacking=_to_share(fields.lacking, nodes, reader),
        careful=fields.careful,
        limit=optional(to_limit, fields.limit),
        stop_error=optional(to_text, fields.stop_error),
        lacking_logs=_to_share(fields.lacking_logs, nodes, reader),
        target=optional(lambda layout: _to_layout(layout, nodes, reader), fields.target),
        why=to_text(fields.why),
    )


def _layout_fields(layout: Layout, nodes: _Table[str]) -> _LayoutFields:
    groups: _Table[Holders] = _Table()
    ranges = repeats(map(groups.place, layout.ranges))
    partitions = repeats(map(groups.place, layout.partitions))
    holders = tuple(tuple(map(nodes.place, group.all)) for group in groups.places)
    return (holders, tuple(ranges), tuple(partitions), tuple(map(nodes.place, layout.sinks)))


def _to_layout(fields: _LayoutFields, nodes: Sequence[str], reader: RunsReader) -> Layout:
    holders, ranges, partitions, sinks = fields
    groups = [Holders(_at(nodes, g[0]), tuple(_at(nodes, node) for node in g[1:])) for g in holders]
    return Layout(
        tuple(_at(groups, group) for group in reader.things(ranges)),
        tuple(_at(groups, group) for group in reader.things(partitions)),
        tuple(_at(nodes, node) for node in sinks),
    )


def _share(shares: tuple[tuple[str, tuple[int, ...]], ...], nodes: _Table[str]) -> _Share:
    return tuple((nodes.place(node), tuple(runs(numbers))) for node, numbers in shares)


def _to_share(share: _Share, nodes: Sequence[str], reader: RunsReader) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((_at(nodes, node), reader.numbers(ranges)) for node, ranges in share)


def _texts(table: tuple[bytes, ...]) -> list[str]:
    return list(map(to_text, table))


Listed = TypeVar("Listed")


def _at(things: Sequence[Listed], place: int) -> Listed:
    """What stands at a place of a table."""
    if place >= len(things):
        raise FrameError("a malformed frame: a place beyond its table")
    return things[place]
