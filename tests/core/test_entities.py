"""Books of entities against a plain dict: whatever happens between, rows give the state as of the freeze."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from holdfast.core.cache import PARTS, CachedBook
from holdfast.core.context import Context
from holdfast.core.entities import ALARMS_FREE, GONE, Book, Entity, Rows, canonical_of
from holdfast.core.errors import ValueTypeError
from holdfast.core.images import pack_row
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode

KEYS = st.sampled_from(["a", "b", "c", "d", 1, 2, 2**70, b"F", b"(\x00\x00\x00\x01T"])  # lookup keys
TIMERS = st.sampled_from(["", "late"])
MOST = st.sampled_from([1, 2, 5, 1000])
Image = tuple[list[int], dict[str, int]]


def taken(rows: Rows) -> tuple[dict[Any, Image], list[Any]]:
    """What rows say, each key once."""
    timers = rows.timers if rows.timers is not None else [{} for _ in rows.keys]
    found = {
        key: (copy.deepcopy(state), dict(own)) for key, state, own in zip(rows.keys, rows.states, timers, strict=True)
    }
    assert len(found) == len(rows.keys)
    assert not found.keys() & set(rows.removed)
    return found, list(rows.removed)


class BookMachine(RuleBasedStateMachine):
    """Calls, careful calls that fail, deletions, and checkpoints whose rows are taken in between."""

    timed = True

    def __init__(self) -> None:
        super().__init__()
        self.registry = TypeRegistry()
        self.book = self.new_book()
        self.model: dict[Any, Image] = {}
        self.disk: dict[Any, Image] = {}  # the last complete checkpoint
        self.staged: dict[Any, Image] = {}
        self.frozen: dict[Any, Image] | None = None  # the model as of the freeze, while rows are being taken
        self.count = 0

    def new_book(self) -> Book:
        return Book(make_state=list, takes_key=False, timed=self.timed, registry=self.registry)

    def reach(self, key: Any) -> None:
        """Bring the entity into memory; only a cache has to."""

    def entity(self, key: Any) -> Entity:
        """As a segment does it: the entity of the key, touched."""
        self.reach(key)
        book = self.book
        entity = book.entities.get(key) or book.make(key)
        expected = self.model.get(key, ([], {}))
        assert (entity.state, self.timers_of(entity)) == expected
        if entity.mark != book.interval:
            book.touch(entity)
        return entity

    def timers_of(self, entity: Entity) -> dict[str, int]:
        return {name: due for name, (due, _) in getattr(entity, "timers", {}).items()}

    @rule(key=KEYS)
    def change(self, key: Any) -> None:
        self.count += 1
        self.entity(key).state.append(self.count)
        self.model.setdefault(key, ([], {}))[0].append(self.count)

    @rule(key=KEYS, name=TIMERS, due=st.integers(0, 50))
    def set_timer(self, key: Any, name: str, due: int) -> None:
        if self.timed:
            self.book.set_timer(self.entity(key), name, due)
            self.model.setdefault(key, ([], {}))[1][name] = due

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        self.book.remove(self.entity(key))
        self.model.pop(key, None)

    @rule(key=KEYS)
    def delete_and_make_again(self, key: Any) -> None:
        self.delete(key)
        self.change(key)

    @rule(key=KEYS)
    def renew_in_one_call(self, key: Any) -> None:
        entity = self.entity(key)
        context = Context("step", lambda place: place, timers_allowed=self.timed)
        context.begin(key, 0, entity.state, None)
        context.delete()
        context.state = [0]
        self.book.settle(entity, context)
        self.model[key] = ([0], {})

    @rule(key=KEYS)
    def fail_carefully(self, key: Any) -> None:
        self.reach(key)
        fresh = key not in self.book.entities
        entity = self.entity(key)
        saved = None if fresh else self.book.save(entity)
        entity.state.append("half done")
        self.book.restore(entity, saved, fresh=fresh)

    @rule(time=st.integers(0, 50))
    def fire_timers(self, time: int) -> None:
        if not self.timed:
            return
        due = self.book.take_due(time)
        expected = sorted(
            (at, canonical_of(key), name)
            for key, (_, timers) in self.model.items()
            for name, at in timers.items()
            if at <= time
        )
        assert [alarm[:3] for alarm in due] == expected
        for _, _, name, version, key in due:
            assert self.book.is_set(key, name, version)
            entity = self.entity(key)
            self.book.ring(entity, name)
            del self.model[key][1][name]

    @precondition(lambda self: self.frozen is None)
    @rule(swept=st.lists(KEYS, max_size=4))
    def freeze(self, swept: list[Any]) -> None:
        self.frozen = copy.deepcopy(self.model)
        self.staged = copy.deepcopy(self.disk)
        self.book.freeze([self.book.entities[key] for key in set(swept) if key in self.book.entities])

    @precondition(lambda self: self.frozen is not None)
    @rule(most=MOST)
    def take_some_rows(self, most: int) -> None:
        found, removed = taken(self.book.take_rows(most))
        for key in removed:
            self.staged.pop(key, None)
        self.staged |= found
        if self.book.is_written:
            assert self.staged == self.frozen
            self.complete()

    def complete(self) -> None:
        self.disk, self.frozen = self.staged, None

    @rule()
    def crash(self) -> None:
        self.book, self.frozen = self.new_book(), None
        for key, (state, timers) in self.disk.items():
            self.book.put(key, copy.deepcopy(state), dict(timers) if self.timed else None)
        self.model = copy.deepcopy(self.disk)

    @invariant()
    def every_change_stands_in_one_list(self) -> None:
        book = self.book
        for entity in book.entities.values():
            assert entity.state is not GONE
            assert sum(e is entity for e in book.dirty) == (entity.mark == book.interval)
        if self.timed:
            dues = [due for _, timers in self.model.values() for due in timers.values()]
            self.check_next_due(min(dues, default=None))

    def check_next_due(self, expected: int | None) -> None:
        assert self.book.next_due() == expected


class PlainMachine(BookMachine):
    """A step without timers."""

    timed = False


class CacheMachine(BookMachine):
    """A book that is a cache over rows, into which every checkpoint is folded slice by slice."""

    timed = False
    limit = 4

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[Any, Image] = {}
        self.unfolded: list[tuple[Any, Image | None]] = []  # of the complete checkpoint
        self.taken: list[tuple[Any, Image | None]] = []  # of the one being written
        self.folding = False

    def new_book(self) -> Book:
        return CachedBook(
            limit=self.limit, make_state=list, takes_key=False, timed=self.timed, registry=self.registry
        )

    def reach(self, key: Any) -> None:
        self.reach_all([key])

    def reach_all(self, keys: Sequence[Any]) -> None:
        assert isinstance(self.book, CachedBook)
        wanted = self.book.missing(keys)
        self.book.load(wanted, [self.row_of(key) if key in self.rows else None for key in wanted])

    def row_of(self, key: Any) -> bytes:
        state, timers = self.rows[key]
        return pack_row(encode(state, self.registry), timers)

    @precondition(lambda self: self.frozen is None and not self.folding)
    @rule(swept=st.just([]))
    def freeze(self, swept: list[Any]) -> None:
        super().freeze([])

    @precondition(lambda self: self.frozen is not None)
    @rule(most=MOST)
    def take_some_rows(self, most: int) -> None:
        found, removed = taken(self.book.take_rows(most))
        self.taken += [(key, None) for key in removed] + list(found.items())
        for key in removed:
            self.staged.pop(key, None)
        self.staged |= found
        if self.book.is_written:
            assert self.staged == self.frozen
            self.complete()

    def complete(self) -> None:
        super().complete()
        self.unfolded, self.taken, self.folding = self.taken, [], True

    @precondition(lambda self: self.folding)
    @rule(most=MOST)
    def fold_some_rows(self, most: int) -> None:
        self.fold(most)

    def fold(self, most: int) -> None:
        assert isinstance(self.book, CachedBook)
        part, self.unfolded = self.unfolded[:most], self.unfolded[most:]
        for key, image in part:
            self.rows.pop(key, None)
            if image is not None:
                self.rows[key] = copy.deepcopy(image)
        if not self.unfolded:
            self.book.folded()
            self.folding = False

    @rule()
    def crash(self) -> None:
        """A start folds what may not be folded."""
        self.book, self.frozen, self.taken = self.new_book(), None, []
        self.fold(1 << 30)
        self.model = copy.deepcopy(self.disk)
        assert self.rows == self.disk
        assert isinstance(self.book, CachedBook)
        self.book.note_rows((canonical_of(key), self.row_of(key)) for key in self.rows)

    @invariant()
    def memory_is_bounded(self) -> None:
        book = self.book
        assert isinstance(book, CachedBook)
        must_stay = {e.key for e in book.dirty} | set(book.unfolded)
        assert book.in_memory <= len(must_stay) + 2 * (self.limit // PARTS + 1)


class TimedCacheMachine(CacheMachine):
    """The same with timers: they fire in order, wherever their entities are."""

    timed = True
    is_stage = False  # all that it needs is in memory

    def reach(self, key: Any) -> None:
        if not self.is_stage:
            super().reach(key)

    @rule(time=st.integers(0, 50))
    def fire_timers(self, time: int) -> None:
        self.reach_all(self.book.due_keys(time))
        self.is_stage = True
        super().fire_timers(time)
        self.is_stage = False

    @rule(time=st.integers(0, 60))
    def look_ahead(self, time: int) -> None:
        assert isinstance(self.book, CachedBook)
        self.book.agenda.reach(time)

    def check_next_due(self, expected: int | None) -> None:
        """Exact in what was reached; of the rest never too late."""
        assert isinstance(self.book, CachedBook)
        said = self.book.next_due()
        assert (said is None) == (expected is None)
        if said is not None and expected is not None:
            assert said == expected or self.book.agenda.floor < said < expected

    @invariant()
    def an_entity_with_timers_is_in_memory_or_on_the_agenda(self) -> None:
        book = self.book
        assert isinstance(book, CachedBook)
        waiting = [
            (min(timers.values()), canonical_of(key))
            for key, (_, timers) in self.model.items()
            if timers and book.find(key) is None
        ]
        assert sorted(entry for slot in book.agenda.slots.values() for entry in slot.entries()) == sorted(waiting)


QUICK = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
LONG = settings(QUICK, max_examples=1500, stateful_step_count=80)


MACHINES = [BookMachine, PlainMachine, CacheMachine, TimedCacheMachine]


@pytest.mark.parametrize("machine", MACHINES)
def test_rows_give_the_state_as_of_the_freeze(machine: type[BookMachine]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)


@pytest.mark.nightly
@pytest.mark.parametrize("machine", MACHINES)
def test_rows_give_the_state_as_of_the_freeze_in_long_runs(machine: type[BookMachine]) -> None:
    run_state_machine_as_test(machine, settings=LONG)


def book(*, timed: bool = False) -> Book:
    return Book(make_state=list, takes_key=False, timed=timed, registry=TypeRegistry())


def test_what_gathers_of_replaced_timers_is_bounded() -> None:
    kept = book(timed=True)
    entity = kept.make("key")
    kept.touch(entity)

    for due in range(20 * ALARMS_FREE):
        kept.set_timer(entity, "session", 10**9 + due)

    assert len(kept.alarms) <= 2 * ALARMS_FREE
    assert kept.next_due() == 10**9 + 20 * ALARMS_FREE - 1


def test_failing_calls_leave_no_alarms_behind() -> None:
    kept = book(timed=True)
    entity = kept.make("key")
    kept.touch(entity)
    kept.set_timer(entity, "", 5)

    for _ in range(100):
        kept.restore(entity, kept.save(entity), fresh=False)

    assert len(kept.alarms) == 1
    assert [alarm[0] for alarm in kept.take_due(5)] == [5]


@given(st.integers(0, 9), st.integers(0, 9), st.booleans(), st.integers(1, 4))
def test_rows_in_parts_are_the_same_rows_deletions_first(keys: int, removed: int, timed: bool, rows_max: int) -> None:
    rows = Rows(timed=timed)
    rows.keys, rows.states = list(range(keys)), [[key] for key in range(keys)]
    if rows.timers is not None:
        rows.timers = [{"name": key} for key in range(keys)]
    rows.removed = [-key for key in range(removed)]

    parts = list(rows.parts(rows_max))

    assert [key for part in parts for key in part.keys] == rows.keys
    assert [state for part in parts for state in part.states] == rows.states
    assert [timers for part in parts for timers in part.timers or []] == (rows.timers or [])
    assert [key for part in parts for key in part.removed] == rows.removed
    assert all(len(part) <= rows_max and (part.timers is not None) == timed for part in parts)
    if len(parts) > 1:
        kinds = [bool(part.keys) for part in parts]
        assert kinds == sorted(kinds)
        assert all(len(part.keys) == 0 or len(part.removed) == 0 for part in parts)


def test_a_state_that_cannot_be_copied_early_leaves_rows_whole() -> None:
    rows = Rows()
    with pytest.raises(ValueTypeError, match="can't be copied for a cut"):
        rows.add(Entity("key", (n for n in [1])), copied=True)

    assert not rows.keys


def test_clean_entities_of_a_sweep_are_written_as_of_the_cut() -> None:
    kept = book()
    kept.put("old", [1], None)
    kept.freeze(kept.entities.values())

    entity = kept.entities["old"]
    kept.touch(entity)
    entity.state.append(2)

    assert taken(kept.take_rows(10)) == ({"old": ([1], {})}, [])


def test_timers_that_stand_are_kept_when_those_that_do_not_are_thrown_out() -> None:
    kept, random, standing = book(timed=True), Random(1), {}
    for _ in range(9 * ALARMS_FREE):
        key, name, due = f"key {random.randrange(3 * ALARMS_FREE // 2)}", random.choice("ab"), random.randrange(10**6)
        entity = kept.entities.get(key) or kept.make(key)
        kept.touch(entity)
        kept.set_timer(entity, name, due)
        standing[key, name] = due

    taken = [(alarm[0], alarm[4], alarm[2]) for alarm in kept.take_due(10**6)]

    assert sorted(taken) == sorted((due, key, name) for (key, name), due in standing.items())
