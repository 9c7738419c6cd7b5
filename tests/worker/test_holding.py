"""What three members hold together, against plain dicts: touches, cuts, seals, returns, roles, snapshots, disks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.core.entities import Book
from holdfast.core.images import unpack
from holdfast.core.types import TypeRegistry
from holdfast.recovery.generation import Formation, Holders, Layout, Member
from holdfast.replication.messages import UpdateSet
from holdfast.replication.routes import Routes
from holdfast.worker import holding as module
from holdfast.worker.holding import VOID_STEP, Holding, void_of

NODES = ("a", "b", "c")
RANGES = 4
STEPS = ("plain", "timed")
KEYS = st.one_of(st.integers(0, 6), st.sampled_from(["x", "y"]))
Place = tuple[str, Any]
Content = dict[Place, tuple[list[int], dict[str, int]]]


def a_holding(*, keeps_undo: bool = True) -> Holding:
    registry = TypeRegistry()
    books = {name: Book(make_state=list, takes_key=False, timed=name == "timed", registry=registry) for name in STEPS}
    return Holding(books, registry, Routes(RANGES), keeps_undo=keeps_undo)


def a_formation(
    number: int,
    cut: int,
    ranges: list[Holders],
    lacking: dict[str, list[int]] | None = None,
    *,
    in_memory: bool = False,
) -> Formation:
    members = tuple(Member(node, 1, 1) for node in NODES)
    lacks = tuple((node, tuple(numbers)) for node, numbers in sorted((lacking or {}).items()) if numbers)
    layout = Layout(tuple(ranges), (), ())
    return Formation(number, members, layout, cut, in_memory, None, cut, (), (), lacks)


def touched(book: Book, key: Any) -> Any:
    """An entity that is about to change, as segments get it."""
    entity = book.entities.get(key)
    if entity is None:
        entity = book.make(key)
    if entity.mark != book.interval:
        book.touch(entity)
    return entity


def in_books(holding: Holding) -> Content:
    content: Content = {}
    for name, book in holding.books.items():
        for key, entity in book.entities.items():
            timers = {n: due for n, (due, _) in entity.timers.items()} if book.timed else {}  # type: ignore[attr-defined]
            content[name, key] = (list(entity.state), timers)
    return content


def in_shadow(holding: Holding) -> Content:
    return {
        (name, key): (list(image.state), dict(image.timers or {}))
        for name, images in holding.shadow.entities.items()
        for key, image in images.items()
    }


class HoldingsMachine(RuleBasedStateMachine):
    """Three members, and what one dict would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.in_small_parts = patch.multiple(module, CHUNK_ROWS_MAX=2, UPDATE_BYTES_MAX=1)
        self.in_small_parts.start()
        self.holdings = {node: a_holding() for node in NODES}
        self.routes = Routes(RANGES)
        self.disks: dict[str, list[bytes]] = {node: [] for node in NODES}
        self.now: Content = {}
        self.at_cut: dict[int, Content] = {0: {}}
        self.epoch = self.sealed = 0
        self.under_way: dict[tuple[str, str], deque[Callable[[], None]]] = {}
        self.number = 0
        self.written: dict[int, Content] = {0: {}}  # what the checkpoint holds
        self.checkpoint: tuple[int, list[tuple[int, ...]]] = (0, [tuple(range(RANGES)) for _ in NODES])
        self.begin([Holders(NODES[number % 3]) for number in range(RANGES)], {})

    def teardown(self) -> None:
        self.in_small_parts.stop()

    # --- the cluster

    def begin(self, ranges: list[Holders], having: dict[str, set[int]], *, in_memory: bool = False) -> None:
        self.number += 1
        self.ranges = ranges
        lacking: dict[str, list[int]] = {
            node: [n for n, h in enumerate(ranges) if node in h.backups and n not in having.get(node, set())]
            for node in NODES
        }
        formation = a_formation(self.number, self.epoch, ranges, lacking, in_memory=in_memory)
        self.under_way.clear()
        for node, holding in self.holdings.items():
            holding.begin(formation, node)
        for node, holding in self.holdings.items():
            for other in NODES:
                wanted = [n for n in lacking[other] if ranges[n].primary == node]
                if wanted:
                    for chunks, last in holding.snapshot_parts(wanted):
                        self.send(node, other, self.snapshot_of(other, self.epoch, wanted, chunks, last=last))
        self.at_cut = {self.epoch: dict(self.now)}
        self.sealed = self.epoch

    def snapshot_of(
        self, node: str, cut: int, ranges: list[int], chunks: tuple[bytes, ...], *, last: bool
    ) -> Callable[[], None]:
        return lambda: self.holdings[node].take_snapshot(cut, ranges, chunks, last=last)

    def update_of(self, node: str, sender: str, part: UpdateSet) -> Callable[[], None]:
        return lambda: self.holdings[node].take(sender, part.cut, part.chunks, last=part.last)

    def send(self, sender: str, to: str, message: Callable[[], None]) -> None:
        self.under_way.setdefault((sender, to), deque()).append(message)

    def book(self, step: str, key: Any) -> Book:
        return self.holdings[self.ranges[self.routes.range_of(key)].primary].books[step]

    def part(self, content: Content, ranges: set[int]) -> Content:
        return {place: own for place, own in content.items() if self.routes.range_of(place[1]) in ranges}

    def having(self) -> dict[str, set[int]]:
        return {node: set(own.ranges) - own.lacking for node, own in self.holdings.items()}

    # --- work

    @rule(step=st.sampled_from(STEPS), key=KEYS, value=st.integers(0, 9))
    def change(self, step: str, key: Any, value: int) -> None:
        touched(self.book(step, key), key).state.append(value)
        state, timers = self.now.get((step, key), ([], {}))
        self.now[step, key] = ([*state, value], timers)

    @rule(step=st.sampled_from(STEPS), key=KEYS, again=st.booleans())
    def delete(self, step: str, key: Any, again: bool) -> None:
        book = self.book(step, key)
        book.remove(touched(book, key))
        self.now.pop((step, key), None)
        if again:
            self.change(step, key, 7)

    @rule(key=KEYS, name=st.sampled_from(["", "n"]), due=st.integers(0, 50), cancel=st.booleans())
    def set_timer(self, key: Any, name: str, due: int, cancel: bool) -> None:
        book = self.book("timed", key)
        entity = touched(book, key)
        state, timers = self.now.get(("timed", key), ([], {}))
        timers = {n: d for n, d in timers.items() if n != name}
        if cancel:
            entity.timers.pop(name, None)
        else:
            book.set_timer(entity, name, due)
            timers[name] = due
        self.now["timed", key] = (list(state), timers)

    @rule()
    def cut(self) -> None:
        self.epoch += 1
        self.at_cut[self.epoch] = {place: (list(s), dict(t)) for place, (s, t) in self.now.items()}
        for node, holding in self.holdings.items():
            chunks = holding.cut(self.epoch)
            for other in {backup for number in holding.primaries for backup in self.ranges[number].backups}:
                for part in chunks.update_sets(self.epoch, other):
                    self.send(node, other, self.update_of(other, node, part))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        links = sorted(link for link, messages in self.under_way.items() if messages)
        if links:
            self.under_way[data.draw(st.sampled_from(links))].popleft()()

    def deliver_all(self) -> None:
        for messages in self.under_way.values():
            while messages:
                messages.popleft()()

    @rule(back=st.integers(0, 2))
    def seal(self, back: int) -> None:
        """What is sealed is held by all; later cuts may have been made."""
        self.deliver_all()
        self.sealed = max(self.sealed, self.epoch - back)
        for holding in self.holdings.values():
            holding.sealed(self.sealed)
            assert all(own.base == self.sealed for own in holding.remembered if own.ranges)

    # --- checkpoints

    @rule(data=st.data(), anew=st.booleans())
    def write(self, data: st.DataObject, anew: bool) -> None:
        """A checkpoint at a cut that is sealed; of everything only where books stand at it."""
        self.cut()
        images = {node: own.snapshot(own.primaries) for node, own in self.holdings.items()}
        later = data.draw(st.integers(0, 1))
        at = self.epoch
        if later:
            self.change("plain", 1, 9)
        self.seal(0)
        for node, own in self.holdings.items():
            if anew:
                self.disks[node] += [void_of(own.ranges, own.registry), *images[node], *own.shadow_at(at)]
            else:
                self.disks[node] += own.chunks_upto(at)
            own.written(at)
        self.written = {at: self.at_cut[at]}
        self.checkpoint = (at, [self.holdings[node].ranges for node in NODES])

    # --- going back

    @rule(data=st.data())
    def return_in_memory(self, data: st.DataObject) -> None:
        self.deliver_some(data)
        bases = [r.base for own in self.holdings.values() for r in own.remembered if r.ranges]
        tops = [r.top for own in self.holdings.values() for r in own.remembered if r.ranges]
        cuts = [cut for cut in self.at_cut if max(bases) <= cut <= min(tops)]
        if not cuts:
            return
        cut = data.draw(st.sampled_from(cuts))
        having = self.having()
        for own in self.holdings.values():
            own.at(cut)
        self.epoch, self.now = cut, {p: (list(s), dict(t)) for p, (s, t) in self.at_cut[cut].items()}
        self.begin(self.new_ranges(data, having), having, in_memory=True)

    def deliver_some(self, data: st.DataObject) -> None:
        if data.draw(st.booleans()):
            self.deliver_all()

    @precondition(lambda self: self.checkpoint[0] > 0)
    @rule(data=st.data(), new_life=st.booleans())
    def return_to_disk(self, data: st.DataObject, new_life: bool) -> None:
        at, ranges = self.checkpoint
        having = {node: set(own) for node, own in zip(NODES, ranges, strict=True)}
        for node in NODES:
            if new_life:
                self.holdings[node] = a_holding()
            self.holdings[node].forget()
            for chunk in self.disks[node]:
                self.holdings[node].restore(chunk)
        self.epoch, self.now = at, {p: (list(s), dict(t)) for p, (s, t) in self.written[at].items()}
        self.begin(self.new_ranges(data, having), having)

    def new_ranges(self, data: st.DataObject, having: dict[str, set[int]]) -> list[Holders]:
        ranges = []
        for number in range(RANGES):
            primary = data.draw(st.sampled_from([node for node in NODES if number in having[node]]))
            backups = data.draw(st.lists(st.sampled_from([n for n in NODES if n != primary]), unique=True))
            ranges.append(Holders(primary, tuple(backups)))
        return ranges

    # --- what must be true

    @invariant()
    def books_hold_what_a_dict_would(self) -> None:
        found: Content = {}
        for own in self.holdings.values():
            part = in_books(own)
            assert all(self.routes.range_of(key) in own.primaries for _, key in part)
            found |= part
        assert found == self.now

    @invariant()
    def shadows_stand_at_their_base(self) -> None:
        for own in self.holdings.values():
            held = {n for ranges in own.shadowed.values() for n in ranges} - own.lacking
            assert self.part(in_shadow(own), held) == self.part(self.at_cut[own.shadow.base], held)
            assert self.part(in_shadow(own), held | own.arriving) == in_shadow(own)

    @invariant()
    def timers_ring_where_they_are_set(self) -> None:
        for own in self.holdings.values():
            dues = [due for _, timers in in_books(own).values() for due in timers.values()]
            assert own.books["timed"].next_due() == min(dues, default=None)

    @invariant()
    def disks_hold_the_checkpoint(self) -> None:
        at, ranges = self.checkpoint
        for node, own in zip(NODES, ranges, strict=True):
            holding = a_holding()
            for chunk in self.disks[node]:
                holding.restore(chunk)
            assert self.part(in_shadow(holding), set(own)) == self.part(self.written[at], set(own))


TestHoldings = HoldingsMachine.TestCase
TestHoldings.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, derandomize=True, database=None
)


# --- directed


def both(cut: int = 0, *, lacking: bool = False, keeps_undo: bool = True) -> tuple[Holding, Holding]:
    """a is primary of all ranges, b the backup."""
    first, second = a_holding(keeps_undo=keeps_undo), a_holding(keeps_undo=keeps_undo)
    ranges = [Holders("a", ("b",))] * RANGES
    formation = a_formation(1, cut, ranges, {"b": list(range(RANGES))} if lacking else {})
    first.begin(formation, "a")
    second.begin(formation, "b")
    return first, second


def test_a_backup_on_the_way_gets_update_sets_although_no_backups_are_wanted() -> None:
    first, second = both(lacking=True, keeps_undo=False)
    second.take_snapshot(0, range(RANGES), first.snapshot(range(RANGES)), last=True)
    touched(first.books["plain"], 1).state.append(5)

    second.take("a", 1, first.cut(1).by_backup["b"])
    second.sealed(1)

    assert in_shadow(second) == {("plain", 1): ([5], {})}


def test_a_snapshot_may_come_after_update_sets_of_other_primaries() -> None:
    ranges = [Holders("a", ("c",)), Holders("b", ("c",)), Holders("b", ("c",)), Holders("b", ("c",))]
    formation = a_formation(1, 0, ranges, {"c": [1, 2, 3]})
    holding = a_holding()
    holding.begin(formation, "c")
    holding.take("a", 1, ())

    holding.take_snapshot(0, [1, 2, 3], (), last=True)

    assert holding.lacking == set()
    assert [unpack(chunk, holding.registry).step for _, chunk in holding.chunks] == [VOID_STEP]


def test_an_update_set_in_parts_counts_when_all_of_it_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS_MAX", 2)
    monkeypatch.setattr(module, "UPDATE_BYTES_MAX", 1)
    first, second = both()
    for key in range(5):
        touched(first.books["plain"], key).state.append(key)
    *parts, last = first.cut(1).update_sets(1, "b")

    assert (len(parts), [part.last for part in parts], last.last) == (2, [False, False], True)
    for part in parts:
        second.take("a", part.cut, part.chunks, last=part.last)
    assert [own.top for own in second.remembered if own.ranges == tuple(range(RANGES))] == [0]
    second.take("a", last.cut, last.chunks, last=last.last)
    second.sealed(1)

    assert in_shadow(second) == {("plain", key): ([key], {}) for key in range(5)}


def test_a_part_of_an_update_set_is_forgotten_where_another_generation_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS_MAX", 1)
    monkeypatch.setattr(module, "UPDATE_BYTES_MAX", 1)
    first, second = both()
    for key in range(2):
        touched(first.books["plain"], key).state.append(key)
    part, _ = first.cut(1).update_sets(1, "b")
    second.take("a", part.cut, part.chunks, last=part.last)
    for holding in (first, second):
        holding.at(0)
        holding.begin(a_formation(2, 0, [Holders("a", ("b",))] * RANGES, {}, in_memory=True), holding.node)

    second.take("a", 1, ())
    second.sealed(1)

    assert in_shadow(second) == {}


def test_a_snapshot_in_parts_counts_when_all_of_it_is_here() -> None:
    first, second = both(lacking=True)
    for key in range(5):
        touched(first.books["plain"], key).state.append(key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_ROWS_MAX", 2)
        parts = first.snapshot_parts(range(RANGES))
    assert len(parts) == 3

    for chunks, last in parts:
        assert len(second.lacking) == RANGES
        second.take_snapshot(0, range(RANGES), chunks, last=last)

    assert second.lacking == set()
    assert len(in_shadow(second)) == 5
    assert [unpack(chunk, second.registry).step for _, chunk in second.chunks] == [VOID_STEP] + ["plain"] * 3


def test_what_a_disk_still_has_of_ranges_that_were_given_up_is_dropped_before_their_snapshot() -> None:
    first, second = both()
    touched(first.books["plain"], 1).state.append(5)
    stale = first.cut(1).by_backup["b"]
    second.forget()
    for chunk in stale:
        second.restore(chunk)

    second.begin(a_formation(2, 1, [Holders("a", ("b",))] * RANGES, {"b": list(range(RANGES))}), "b")
    assert in_shadow(second) == {}
    second.take_snapshot(1, range(RANGES), (), last=True)

    assert in_shadow(second) == {}
    again = a_holding()
    for chunk in (*stale, *second.chunks_upto(1)):
        again.restore(chunk)
    assert in_shadow(again) == {}


def test_what_was_packed_is_in_no_checkpoint_once_its_memory_was_given_up() -> None:
    first, _ = both()
    touched(first.books["plain"], 1).state.append(5)
    first.cut(1)

    first.forget()

    assert first.chunks_upto(1) == ()


def test_a_primary_that_becomes_a_backup_keeps_timers_and_gives_them_back() -> None:
    first, _ = both()
    book = first.books["timed"]
    book.set_timer(touched(book, 1), "n", 40)
    first.cut(1)
    first.at(1)

    first.begin(a_formation(2, 1, [Holders("b", ("a",))] * RANGES), "a")
    assert in_shadow(first) == {("timed", 1): ([], {"n": 40})}
    assert book.next_due() is None
    first.begin(a_formation(3, 1, [Holders("a")] * RANGES), "a")

    assert in_books(first) == {("timed", 1): ([], {"n": 40})}
    assert book.next_due() == 40


def test_memory_is_not_offered_of_ranges_that_are_still_lacking() -> None:
    _, second = both(lacking=True)

    assert [own.ranges for own in second.remembered] == [(), ()]


def test_nothing_is_offered_from_memory_before_a_return_or_after_it_was_given_up() -> None:
    holding = a_holding()
    assert holding.remembered == ()
    first, _ = both()
    assert first.remembered != ()
    first.forget()
    assert first.remembered == ()


def test_nothing_is_offered_from_memory_where_no_undo_is_kept() -> None:
    first, _ = both(keeps_undo=False)

    assert first.remembered == ()


def test_update_sets_come_in_the_order_of_their_cuts() -> None:
    _, second = both()
    second.take("a", 2, ())
    with pytest.raises(AssertionError, match="in the order of their cuts"):
        second.take("a", 2, ())


def test_what_was_packed_behind_the_cut_returned_to_is_in_no_checkpoint() -> None:
    first, second = both()
    touched(first.books["plain"], 1).state.append(5)
    given_up = first.cut(1).by_backup["b"]
    second.take("a", 1, given_up)

    for holding in (first, second):
        holding.at(0)

        assert holding.chunks_upto(9) == ()
