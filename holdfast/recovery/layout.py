"""Layouts: who should hold what (`target`), and what can be had of it at once (`attainable`).

A target gives every node an equal share of primaries, to within one range. Backups never lie with their primary, and
those of one node are spread over all others, to within one range, so that when it dies its load does so too. A node
that stays gives up primaries only beyond its share; what becomes free goes first to nodes that have the images. It is a
function of its arguments, whatever order sets and dicts have; and what was the target once is its own target.
An attainable layout is on the way to a target: a primary has the images, and the number of holders that have them does
not fall before others have them as well.
The same rules serve partitions and their logs, and sinks, which have no backups.
Not here: who has what at which cut (`cuts`, `logs`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence, Set

from holdfast.recovery.generation import Holders, Layout
from holdfast.recovery.matching import Matching

NOBODY: Holders = Holders("")


def target(
    nodes: Iterable[str], *, ranges: int, backups: int, partitions: int, sinks: int, current: Layout | None = None
) -> Layout:
    """Who should hold what, if these nodes are all there are and `current` is what they have."""
    ordered = sorted(set(nodes))
    assert ordered, "a layout over nobody"
    copies = min(backups, len(ordered) - 1)
    current = current or Layout((), (), ())
    burden: Counter[str] = Counter()
    of_partitions = _spread(ordered, partitions, copies, current.partitions, burden)
    burden.update(holders.primary for holders in of_partitions)
    of_sinks = _spread(ordered, sinks, 0, [Holders(node) for node in current.sinks], burden)
    return Layout(
        ranges=_spread(ordered, ranges, copies, current.ranges, Counter()),
        partitions=of_partitions,
        sinks=tuple(holders.primary for holders in of_sinks),
    )


def attainable(
    goal: Sequence[Holders],
    current: Sequence[Holders],
    *,
    leading: Sequence[Set[str]],
    copies: Sequence[Set[str]],
    shunned: Collection[str] = (),
) -> tuple[Holders, ...]:
    """The holders on the way to `goal`, by item: `leading` can be its primary now, `copies` count as holders of it.

    A shunned node holds only what nobody else has.
    """
    load: Counter[str] = Counter()
    result = []
    for item, wanted in enumerate(goal):
        now = current[item] if item < len(current) else NOBODY
        holders = _on_the_way(wanted, now, leading[item], copies[item], shunned, load)
        load[holders.primary] += 1
        result.append(holders)
    return tuple(result)


def _on_the_way(
    goal: Holders,
    now: Holders,
    leading: Set[str],
    copies: Set[str],
    shunned: Collection[str],
    load: Counter[str],
) -> Holders:
    assert leading, "nobody can be the primary"

    def reluctance(node: str) -> tuple[bool, bool, bool, bool, int, str]:
        """The least is taken first: who is there to stay, then who need not change, then who has the least to do."""
        return node in shunned, node != now.primary, node not in goal.all, node not in now.all, load[node], node

    primary = goal.primary if goal.primary in leading else min(leading, key=reluctance)
    holders = [primary, *(node for node in goal.all if node != primary)]
    # An old holder stays until as many others have what it has: a death during the catching-up would lose it otherwise.
    wanted = min(len(goal.all), len([node for node in copies if node not in shunned]))
    for node in sorted(copies, key=reluctance):
        if len(copies & set(holders)) >= wanted:
            break
        if node not in holders and node not in shunned:
            holders.append(node)
    return Holders(primary, tuple(holders[1:]))


def _spread(
    nodes: Sequence[str], count: int, copies: int, current: Sequence[Holders], burden: Counter[str]
) -> tuple[Holders, ...]:
    present = [_survivors(nodes, current[item]) if item < len(current) else () for item in range(count)]
    primaries = _primaries(nodes, count, current, present, burden)
    return _backed(nodes, primaries, copies, present)


def _survivors(nodes: Collection[str], holders: Holders) -> tuple[str, ...]:
    return tuple(node for node in holders.all if node in nodes)


def _primaries(
    nodes: Sequence[str],
    count: int,
    current: Sequence[Holders],
    present: Sequence[tuple[str, ...]],
    burden: Counter[str],
) -> list[str]:
    """The primary of each item: equal shares, of what a node has, then of what it has the images of, then in runs."""
    owned: dict[str, list[int]] = {node: [] for node in nodes}
    heirs: Counter[str] = Counter()  # how much each is the first backup of, where the primary is gone
    for item, holders in enumerate(present):
        if holders and holders[0] == current[item].primary:
            owned[holders[0]].append(item)
        elif holders:
            heirs[holders[0]] += 1
    share, more = divmod(count, len(nodes))
    ranked = sorted(nodes, key=lambda node: (-len(owned[node]) - heirs[node], burden[node], node))
    matching = Matching({node: share + (node in ranked[:more]) for node in nodes})
    for node in nodes:
        for item in owned[node][: matching.room[node]]:
            matching.take(item, node)
    free = [item for item in range(count) if item not in matching.places]
    choices = {item: present[item] for item in free}
    rest = [item for item in free if not matching.place(item, choices)]
    for item in rest:
        assert any(matching.take(item, node) for node in nodes), "the shares don't add up"
    return [matching.places[item][0] for item in range(count)]


def _backed(
    nodes: Sequence[str], primaries: Sequence[str], copies: int, present: Sequence[tuple[str, ...]]
) -> tuple[Holders, ...]:
    """Primaries with their backups: every node's spread evenly over all others, by who has the images, then in runs."""
    result = [Holders(primary) for primary in primaries]
    if copies == 0:
        return tuple(result)
    shares = Counter(primaries)
    for place, primary in enumerate(nodes):
        items = [item for item, owner in enumerate(primaries) if owner == primary]
        others = [*nodes[place + 1 :], *nodes[:place]]  # each begins with another one, so that the odd ones spread too
        had = Counter(node for item in items for node in present[item])
        quota, more = divmod(len(items) * copies, len(others))
        # The odd ones go to those with fewer primaries: a death then leaves shares that differ by one range at most.
        ranked = sorted(others, key=lambda node: (shares[node], -had[node], others.index(node)))
        matching = Matching({node: quota + (node in ranked[:more]) for node in others})
        for item in items:
            for node in present[item]:
                if len(matching.places.get(item, ())) < copies:
                    matching.take(item, node)
        choices = dict.fromkeys(items, others)
        for item in items:
            while len(matching.places.get(item, ())) < copies:
                assert matching.place(item, choices), "the quotas don't add up"
        for item in items:
            result[item] = Holders(primary, tuple(matching.places[item]))
    return tuple(result)
