"""Formations, checkpoints and limits as fields of a frame.

Nodes are named once, in a table at the head of a formation or checkpoint, and stand as places in it elsewhere; equal
holders likewise.
Invariant: what is read equals what was written, or is a `FrameError`.
Not here: frames (wire).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, Generic, TypeAlias, TypeVar

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
FormationFields: TypeAlias = tuple[
    _Nodes,
    Natural,
    Annotated[tuple[tuple[Natural, Natural, Natural], ...], _few],  # members
    _LayoutFields,
    Natural,
    bool,
    CheckpointFields | None,
    Natural,
    Annotated[tuple[tuple[Natural, Natural], ...], _few],  # logs
    Annotated[tuple[Annotated[tuple[tuple[Natural, Natural], ...], _few], ...], _few],  # spans
    Annotated[_Share, _few],  # lacking
    Annotated[tuple[Natural, ...], _few],  # careful
    LimitFields | None,
    TextBytes | None,
]

Thing = TypeVar("Thing", bound=Hashable)


class _Table(Generic[Thing]):
    """Things that stand once, and their places."""

    def __init__(self) -> None:
        self.places: dict[Thing, int] = {}

    def place(self, thing: Thing) -> int:
        return self.places.setdefault(thing, len(self.places))


def limit_fields(limit: Limit | None) -> LimitFields | None:
    """A limit, or none, as fields."""
    return None if limit is None else (limit.epoch, limit.turn, limit.partition, limit.number)


def to_limit(fields: LimitFields | None) -> Limit | None:
    """What `limit_fields` gave."""
    return None if fields is None else Limit(*fields)


def checkpoint_fields(checkpoint: Checkpoint | None) -> CheckpointFields | None:
    """A checkpoint, or none, as fields."""
    if checkpoint is None:
        return None
    nodes: _Table[str] = _Table()
    holders = tuple((nodes.place(node), tuple(runs(ranges))) for node, ranges in checkpoint.holders)
    limit = limit_fields(checkpoint.limit)
    return (
        tuple(map(to_bytes, nodes.places)),
        checkpoint.number,
        checkpoint.epoch,
        limit,
        holders,
        checkpoint.ended,
    )


def to_checkpoint(fields: CheckpointFields | None, reader: RunsReader) -> Checkpoint | None:
    """What `checkpoint_fields` gave."""
    if fields is None:
        return None
    table, number, epoch, limit, holders, ended = fields
    return Checkpoint(number, epoch, to_limit(limit), _to_share(holders, _texts(table), reader), ended)


def formation_fields(formation: Formation | None) -> FormationFields | None:
    """A formation, or none, as fields."""
    if formation is None:
        return None
    nodes: _Table[str] = _Table()
    members = tuple((nodes.place(m.node), m.incarnation, m.since) for m in formation.members)
    layout = _layout_fields(formation.layout, nodes)
    lacking = tuple((nodes.place(node), tuple(runs(ranges))) for node, ranges in formation.lacking)
    return (
        tuple(map(to_bytes, nodes.places)),
        formation.number,
        members,
        layout,
        formation.cut,
        formation.in_memory,
        checkpoint_fields(formation.checkpoint),
        formation.level,
        formation.logs,
        formation.spans,
        lacking,
        formation.careful,
        limit_fields(formation.limit),
        None if formation.stop_error is None else to_bytes(formation.stop_error),
    )


def to_formation(fields: FormationFields | None, reader: RunsReader) -> Formation | None:
    """What `formation_fields` gave."""
    if fields is None:
        return None
    (table, number, members, layout, cut, in_memory, checkpoint, level, logs, spans, lacking, careful, limit, error) = (
        fields
    )
    nodes = _texts(table)
    return Formation(
        number,
        tuple(Member(_at(nodes, node), incarnation, since) for node, incarnation, since in members),
        _to_layout(layout, nodes, reader),
        cut,
        in_memory,
        to_checkpoint(checkpoint, reader),
        level,
        logs,
        spans,
        _to_share(lacking, nodes, reader),
        careful,
        to_limit(limit),
        None if error is None else to_text(error),
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
