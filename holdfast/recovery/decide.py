"""The one decision: from what is recorded and what is reported to the next generation, or to why there can be none.

It serves the first start, a cold start, unplanned and planned changes alike. Pure: the same arguments give the same
formation. What it rests on: every reporter has promised to take no part in older generations before it reported, and
reports only what is durable or in memory (a report that might still change would be outrun by the old generation).
Where the rules stand: the cut in `cuts`, the logs in `logs`, comparing logs in `lineages`, holders in `layout`.
Not here: when to decide (`coordinator`).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from holdfast.recovery.cuts import Ground, choose_cut
from holdfast.recovery.generation import Checkpoint, Formation, Holders, Layout, Limit, Member
from holdfast.recovery.layout import attainable, target
from holdfast.recovery.logs import Logs, choose_logs
from holdfast.recovery.testimony import Reporters, Shape, Wait, Wish, is_member

NOTHING_LAID_OUT = Layout((), (), ())


def decide(
    record: Formation | None, checkpoint: Checkpoint | None, reporters: Reporters, shape: Shape, wish: Wish
) -> Formation | Wait:
    """The generation `wish.number`, or what has to come before there can be one."""
    if record is not None:
        assert wish.number > record.number, "a number is used once"
        # Every image and every checkpoint is filed by range: how many there are can't change any more.
        shape = replace(shape, ranges=len(record.layout.ranges))
    wanted = sorted(reporters.keys() - wish.leaving - wish.shunned)
    if record is None and len(wanted) < shape.workers:
        # Fewer would start, and be joined at once by the others: generations for nothing.
        return Wait(f"{len(wanted)} of {shape.workers} workers are there: waiting for the others")
    if not reporters:
        return Wait("no worker answers")
    ground = choose_cut(None if wish.on_disk else record, checkpoint, reporters, shape.ranges)
    if isinstance(ground, Wait):
        return ground
    logs = choose_logs(record, checkpoint, reporters, shape, ground.cut)
    if isinstance(logs, Wait):
        return logs
    goal = _goal(record, wanted or sorted(reporters), shape)
    layout = _layout(record, goal, ground, logs, wish)
    return _formation(record, checkpoint, reporters, wish, ground=ground, logs=logs, layout=layout, goal=goal)


def _goal(record: Formation | None, nodes: Sequence[str], shape: Shape) -> Layout:
    """Where the layout is to get to; one that it is on its way to already is not given up for another."""
    if record is not None and record.target is not None and _serves(record.target, nodes, shape):
        return record.target
    return target(
        nodes,
        ranges=shape.ranges,
        backups=shape.backups,
        partitions=shape.partitions,
        sinks=shape.sinks,
        current=record.layout if record else None,
    )


def _serves(layout: Layout, nodes: Sequence[str], shape: Shape) -> bool:
    used = {node for holders in (*layout.ranges, *layout.partitions) for node in holders.all} | set(layout.sinks)
    copies = 1 + min(shape.backups, len(nodes) - 1)
    return (
        used == set(nodes)
        and len(layout.partitions) == shape.partitions
        and len(layout.sinks) == shape.sinks
        and all(len(holders.all) == copies for holders in layout.ranges)
    )


def _layout(record: Formation | None, goal: Layout, ground: Ground, logs: Logs, wish: Wish) -> Layout:
    """As near to the goal as can be, as long as everything has a primary that has it."""
    now = record.layout if record else NOTHING_LAID_OUT
    return Layout(
        ranges=attainable(goal.ranges, now.ranges, leading=ground.holding, copies=ground.holding, shunned=wish.shunned),
        partitions=attainable(
            goal.partitions,
            now.partitions,
            # The primary gives the others what they lack: it must have the whole adopted log.
            leading=[own.whole for own in logs.adopted],
            copies=[own.counted | own.whole for own in logs.adopted],
            shunned=wish.shunned,
        ),
        sinks=tuple(_sink_owner(sink, owner, now.sinks, ground) for sink, owner in enumerate(goal.sinks)),
    )


def _sink_owner(sink: int, wanted: str, now: Sequence[str], ground: Ground) -> str:
    """Who delivers to a sink. It offers again what came since the cut, so it must know where the sink stood there.

    Nothing else need be moved, for the cut is delivered.
    """
    before = now[sink : sink + 1]
    candidates = [wanted, *before, *sorted(ground.informed)]
    return next((node for node in candidates if node in ground.informed), wanted)


def _formation(
    record: Formation | None,
    checkpoint: Checkpoint | None,
    reporters: Reporters,
    wish: Wish,
    *,
    ground: Ground,
    logs: Logs,
    layout: Layout,
    goal: Layout,
) -> Formation:
    limit, error = _limit(wish, logs.level)
    return Formation(
        number=wish.number,
        members=_members(record, reporters, wish, layout),
        layout=layout,
        cut=ground.cut,
        in_memory=ground.in_memory,
        checkpoint=checkpoint,
        level=logs.level,
        logs=tuple((own.generation, own.tail) for own in logs.adopted),
        spans=tuple(own.spans for own in logs.adopted),
        lacking=_lacking(layout.ranges, ground.holding),
        careful=tuple(sorted(wish.careful)),
        limit=limit,
        stop_error=error,
        lacking_logs=_lacking(layout.partitions, [own.counted | own.whole for own in logs.adopted]),
        target=goal if goal != layout else None,
        why=wish.why,
    )


def _members(record: Formation | None, reporters: Reporters, wish: Wish, layout: Layout) -> tuple[Member, ...]:
    """Everybody who answered; who is to leave, or can't be reached, only where something is left that it must hold."""
    needed = {node for holders in (*layout.ranges, *layout.partitions) for node in holders.all} | set(layout.sinks)
    members = []
    for node in sorted(reporters):
        if node in needed or node not in wish.leaving | wish.shunned:
            reporter = reporters[node]
            before = record.member(node) if record is not None and is_member(record, node, reporter) else None
            members.append(Member(node, reporter.incarnation, before.since if before else wish.number))
    return tuple(members)


def _lacking(holders: Sequence[Holders], having: Sequence[Set[str]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Node -> items that it is to hold and does not have yet."""
    lacking: dict[str, list[int]] = {}
    for item, own in enumerate(holders):
        for node in own.all:
            if node not in having[item]:
                lacking.setdefault(node, []).append(item)
    return tuple((node, tuple(items)) for node, items in sorted(lacking.items()))


def _limit(wish: Wish, level: int) -> tuple[Limit | None, str | None]:
    """Where to stop. In an epoch that was not adopted other records may stand there: the failure will be met again."""
    if wish.failure is None or wish.failure.limit.epoch > level:
        return None, None
    return wish.failure.limit, wish.failure.error
