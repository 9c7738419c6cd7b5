"""Each claim about layouts, over histories of nodes that come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.recovery.generation import Holders, Layout
from holdfast.recovery.layout import attainable, target

NODES = tuple("abcdefg")
PARTITIONS, SINKS = 3, 2

node_sets = st.sets(st.sampled_from(NODES), min_size=1)
histories = st.lists(node_sets, min_size=1, max_size=5)
counts = st.integers(min_value=1, max_value=40)
backups = st.integers(min_value=0, max_value=3)


def lay_out(nodes: Collection[str], ranges: int, copies: int, current: Layout | None = None) -> Layout:
    return target(nodes, ranges=ranges, backups=copies, partitions=PARTITIONS, sinks=SINKS, current=current)


def lived(history: Sequence[Collection[str]], ranges: int, copies: int) -> Layout:
    """What a cluster comes to whose nodes were these, one set after the other."""
    layout = None
    for nodes in history:
        layout = lay_out(nodes, ranges, copies, layout)
    assert layout is not None
    return layout


def spread(values: Collection[int]) -> int:
    return max(values) - min(values)


def copied(old: Sequence[Holders], new: Sequence[Holders]) -> int:
    """How many images of ranges must travel."""
    return sum(len(set(b.all) - set(a.all)) for a, b in zip(old, new, strict=True))


def held(layout: Sequence[Holders], node: str) -> int:
    return sum(node in holders.all for holders in layout)


@given(histories, counts, backups)
def test_shares_differ_by_one_range_at_most(history: list[set[str]], ranges: int, copies: int) -> None:
    layout = lived(history, ranges, copies)

    for items in (layout.ranges, layout.partitions, [Holders(node) for node in layout.sinks]):
        owned = Counter(holders.primary for holders in items)
        assert owned.keys() <= history[-1]
        assert spread([owned[node] for node in history[-1]]) <= 1


@given(histories, counts, backups)
def test_backups_are_as_many_as_can_be_and_never_with_their_primary(
    history: list[set[str]], ranges: int, copies: int
) -> None:
    layout = lived(history, ranges, copies)

    for holders in (*layout.ranges, *layout.partitions):
        assert len(set(holders.all)) == len(holders.all) == 1 + min(copies, len(history[-1]) - 1)
        assert set(holders.all) <= history[-1]


@given(histories, counts, backups)
def test_the_backups_of_each_node_are_spread_evenly_over_all_others(
    history: list[set[str]], ranges: int, copies: int
) -> None:
    layout = lived(history, ranges, copies)

    for node in history[-1]:
        others = history[-1] - {node}
        backed = Counter(other for holders in layout.ranges if holders.primary == node for other in holders.backups)
        assert not others or spread([backed[other] for other in others]) <= 1


@given(histories, counts, st.sampled_from(NODES))
def test_the_load_of_a_dead_node_spreads_over_all_survivors_without_a_copy(
    history: list[set[str]], ranges: int, dead: str
) -> None:
    survivors = history[-1] - {dead}
    if not survivors or dead not in history[-1]:
        return
    layout = lived(history, ranges, 1)
    goal = lay_out(survivors, ranges, 1, layout)
    holding = [frozenset(holders.all) - {dead} for holders in layout.ranges]

    now = attainable(goal.ranges, layout.ranges, leading=holding, copies=holding)

    assert spread([Counter(h.primary for h in now)[node] for node in survivors]) <= 1
    assert [h.primary for h in now] == [h.primary for h in goal.ranges]


@given(histories, counts, backups, node_sets)
def test_a_node_that_stays_gives_up_primaries_only_beyond_its_share(
    history: list[set[str]], ranges: int, copies: int, nodes: set[str]
) -> None:
    layout = lived(history, ranges, copies)
    new = lay_out(nodes, ranges, copies, layout)

    for node in nodes:
        before = {item for item, holders in enumerate(layout.ranges) if holders.primary == node}
        after = {item for item, holders in enumerate(new.ranges) if holders.primary == node}
        assert len(before & after) == min(len(before), len(after))


@given(histories, counts, backups, st.sampled_from(NODES))
def test_one_node_that_comes_or_goes_moves_little_more_than_its_own_holdings(
    history: list[set[str]], ranges: int, copies: int, node: str
) -> None:
    layout = lived(history, ranges, copies)
    new = lay_out(history[-1] ^ {node} or {node}, ranges, copies, layout)
    own = held(layout.ranges, node) + held(new.ranges, node)
    odd = len(history[-1]) ** 2  # every pair of nodes may exchange the range by which shares differ

    assert copied(layout.ranges, new.ranges) <= 2 * own + odd


@given(histories, counts, backups)
def test_a_target_is_its_own_target(history: list[set[str]], ranges: int, copies: int) -> None:
    layout = lived(history, ranges, copies)

    assert lay_out(history[-1], ranges, copies, layout) == layout


@given(histories, counts, backups, st.randoms(use_true_random=False))
def test_the_order_in_which_nodes_are_given_changes_nothing(
    history: list[set[str]], ranges: int, copies: int, random: object
) -> None:
    shuffled = [sorted(nodes, key=lambda node: random.random()) for nodes in history]  # type: ignore[attr-defined]

    assert lived(shuffled, ranges, copies) == lived(history, ranges, copies)


@given(node_sets, counts)
def test_at_first_each_node_has_one_run(nodes: set[str], ranges: int) -> None:
    primaries = [holders.primary for holders in lay_out(nodes, ranges, 1).ranges]

    assert sum(a != b for a, b in pairwise(primaries)) == len(set(primaries)) - 1


holdings = st.lists(st.sets(st.sampled_from(NODES), min_size=1).map(frozenset), min_size=1, max_size=12)


@given(histories, holdings, backups, node_sets, st.sets(st.sampled_from(NODES)))
def test_on_the_way_no_holder_is_dropped_before_another_has_its_images(
    history: list[set[str]], holding: list[frozenset[str]], copies: int, nodes: set[str], shunned: set[str]
) -> None:
    current = lived(history, len(holding), copies).ranges
    goal = lay_out(nodes, len(holding), copies).ranges

    now = attainable(goal, current, leading=holding, copies=holding, shunned=shunned)

    for item, holders in enumerate(now):
        assert holders.primary in holding[item]
        assert set(goal[item].all) <= set(holders.all) <= set(goal[item].all) | holding[item]
        having = holding[item].intersection(holders.all)
        assert len(having) >= min(len(goal[item].all), len(holding[item] - shunned))
        assert len(set(holders.all)) == len(holders.all)


@given(histories, counts, backups, node_sets)
def test_the_target_is_taken_as_soon_as_its_holders_have_what_they_need(
    history: list[set[str]], ranges: int, copies: int, nodes: set[str]
) -> None:
    current = lived(history, ranges, copies).ranges
    goal = lay_out(nodes, ranges, copies).ranges
    everybody = [frozenset(NODES)] * ranges

    assert attainable(goal, current, leading=everybody, copies=everybody) == goal


def test_an_old_primary_goes_on_until_the_new_one_has_the_images() -> None:
    current = [Holders("a", ("b",))]
    goal = [Holders("c", ("b",))]
    having = [frozenset("ab")]

    assert attainable(goal, current, leading=having, copies=having) == (Holders("a", ("c", "b")),)


def test_a_shunned_node_holds_only_what_nobody_else_has() -> None:
    current = [Holders("a", ("b",)), Holders("a", ("b",))]
    goal = [Holders("b", ("c",)), Holders("b", ("c",))]
    having = [frozenset("ab"), frozenset("a")]

    now = attainable(goal, current, leading=having, copies=having, shunned={"a"})

    assert now == (Holders("b", ("c",)), Holders("a", ("b", "c")))
