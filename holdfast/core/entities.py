"""Entities of one stateful step: live values, and which of them changed since the last checkpoint.

A book maps a lookup key (`keys.lookup`: the key itself for str and int, else its canonical bytes) to its entity.
Invariant: every entity whose `mark` is not CLEAN stands in exactly one of two lists, `dirty` (touched in the interval
that is open) or `frozen` (touched in the interval being written as a checkpoint); a frozen one that is touched again
is encoded first, so that a checkpoint never sees a later state.
Marks are interval numbers; a compare of the mark is all that the loop over messages pays for the tracking.
How images are laid out belongs to `columns`; when to freeze belongs to the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final

from holdfast.core import keys
from holdfast.core.context import Context
from holdfast.core.copying import ATOMS, COPIERS, copy_value
from holdfast.core.errors import ValueTypeError

CLEAN: Final = -1
ALARMS_FREE: Final = 1000  # in the heap before it is worth a thought how many of them still stand


Alarm = tuple[int, bytes, str, int, Any]  # due, canonical key, name, version, lookup key


class Entity:
    """One key's state. `state` is GONE once it was deleted and until its tombstone is written."""

    __slots__ = ("key", "mark", "state")

    def __init__(self, key: Any, state: Any) -> None:
        self.key = key  # the lookup key
        self.mark = CLEAN
        self.state = state


class TimedEntity(Entity):
    """An entity of a step with timers."""

    __slots__ = ("timers",)

    def __init__(self, key: Any, state: Any) -> None:
        super().__init__(key, state)
        self.timers: dict[str, tuple[int, int]] = {}  # name -> (due, version)


# Entities with what `Book.save` gave before their first change in an interval, None for one made in it; oldest first.
Undo = list[tuple[Entity, tuple[Any, Any] | None]]


class _Gone:
    """The state of a deleted entity."""

    def __repr__(self) -> str:
        return "GONE"


GONE: Final = _Gone()


class Rows:
    """What a checkpoint holds of some entities, as columns; to be packed before any of them changes."""

    __slots__ = ("keys", "removed", "states", "timers")

    def __init__(self, *, timed: bool = False) -> None:
        self.keys: list[Any] = []  # lookup keys
        self.states: list[Any] = []
        self.timers: list[dict[str, int]] | None = [] if timed else None
        self.removed: list[Any] = []  # lookup keys of deleted entities

    def __len__(self) -> int:
        return len(self.keys) + len(self.removed)

    def parts(self, rows_max: int) -> Iterator[Rows]:
        """The same rows, at most so many at a time."""
        if len(self) <= rows_max:
            yield self
            return
        timed = self.timers is not None
        for start in range(0, len(self.removed), rows_max):  # first: a key may be there again
            part = Rows(timed=timed)
            part.removed = self.removed[start : start + rows_max]
            yield part
        for start in range(0, len(self.keys), rows_max):
            part, end = Rows(timed=timed), start + rows_max
            part.keys, part.states = self.keys[start:end], self.states[start:end]
            if self.timers is not None:
                part.timers = self.timers[start:end]
            yield part

    def add(self, entity: Entity, *, copied: bool = False) -> None:
        """One entity as it is now; `copied` if it changes before the rows are packed."""
        if entity.state is GONE:
            self.removed.append(entity.key)
            return
        state = _copy_state(entity) if copied else entity.state
        self.keys.append(entity.key)
        self.states.append(state)
        if self.timers is not None:
            self.timers.append({name: due for name, (due, _) in entity.timers.items()})  # type: ignore[attr-defined]


def _copy_state(entity: Entity) -> Any:
    if entity.state is GONE:
        return GONE
    try:
        return copy_value(entity.state)
    except Exception as error:
        kind = type(entity.state).__qualname__
        raise ValueTypeError(f"a state of type {kind} can't be copied for a cut: {error}") from error


def user_key(lookup: Any, registry: Any) -> Any:
    """The key as the user's function returned it."""
    return keys.parse(lookup, registry) if type(lookup) is bytes else lookup


def canonical_of(lookup: Any) -> bytes:
    """The canonical bytes of a lookup key."""
    return lookup if type(lookup) is bytes else keys.canonical(lookup)


class Book:
    """The entities of one stateful step."""

    def __init__(
        self, *, make_state: Callable[..., Any], takes_key: bool, timed: bool, registry: Any, step: str = ""
    ) -> None:
        self.step = step  # its name, for people; it is stored under a name that may be another
        self.entities: dict[Any, Entity] = {}
        self.make_state = make_state
        self.takes_key = takes_key
        self.timed = timed
        self.registry = registry
        self.interval = 0  # of the marks given now
        self.cut = CLEAN - 1  # the interval being written; no mark equals it while none is
        self.dirty: list[Entity] = []
        self.frozen: list[Entity] = []
        self.next_frozen = 0
        self.early = Rows(timed=timed)
        self.has_removed = False  # among the dirty or frozen, perhaps
        self.gone: dict[Any, Entity] = {}  # deleted in the open interval, by lookup key
        self.alarms: list[Alarm] = []  # a heap
        self.alarms_max = ALARMS_FREE  # entries before those that don't stand any more are thrown out
        self.version = 0
        self.undo: Undo | None = None  # where entities are saved before their first change in an interval

    # --- live entities

    def make(self, lookup: Any) -> Entity:
        """The entity of a key met for the first time."""
        state = self.make_state(user_key(lookup, self.registry)) if self.takes_key else self.make_state()
        entity = TimedEntity(lookup, state) if self.timed else Entity(lookup, state)
        self.entities[lookup] = entity
        if self.undo is not None:
            self.undo.append((entity, None))
        before = self.gone.pop(lookup, None) if self.gone else None
        if before is not None:
            before.mark = CLEAN  # its tombstone would come after this one's row
        return entity

    def add(self, lookup: Any, state: Any) -> None:
        """A new entity of a key that never was there, touched."""
        entity = self.entities[lookup] = Entity(lookup, state)
        entity.mark = self.interval
        self.dirty.append(entity)
        if self.undo is not None:
            self.undo.append((entity, None))

    def put(self, lookup: Any, state: Any, timers: dict[str, int] | None) -> Entity:
        """An entity as a checkpoint holds it; clean."""
        entity: Entity
        if self.timed:
            entity = TimedEntity(lookup, state)
            self.entities[lookup] = entity
            for name, due in (timers or {}).items():
                self.set_timer(entity, name, due)
        else:
            entity = self.entities[lookup] = Entity(lookup, state)
        return entity

    def touch(self, entity: Entity) -> None:
        """Called once per entity and interval, before its first change in it."""
        if entity.mark == self.cut:
            self.early.add(entity, copied=True)
        if self.undo is not None:
            timers = dict(entity.timers) if self.timed else None  # type: ignore[attr-defined]
            state = entity.state
            try:  # not by way of `_copy_state`: this is half of what a backup costs
                saved = state if type(state) in ATOMS else COPIERS[type(state)](state)
            except Exception:  # noqa: BLE001 - it is met again, and said, there
                saved = _copy_state(entity)
            self.undo.append((entity, (saved, timers)))
        entity.mark = self.interval
        self.dirty.append(entity)

    def remove(self, entity: Entity) -> None:
        """Delete a touched entity: its key is new from now on."""
        if entity.state is GONE:
            return
        entity.state = GONE
        self.has_removed = True
        if self.timed:
            entity.timers = {}  # type: ignore[attr-defined]
        if self.entities.get(entity.key) is entity:
            del self.entities[entity.key]
            self.gone[entity.key] = entity

    def settle(self, entity: Any, context: Context) -> None:
        """Carry out what a call asked of its context, once it has returned."""
        if context.deleted:
            self.remove(entity)
            return
        entity.state = context.state
        if not self.timed:
            return
        if context.renewed:
            entity.timers = {}
        for name, due in context.timer_changes.items():
            if due is None:
                entity.timers.pop(name, None)
            else:
                self.set_timer(entity, name, due)

    # --- careful calls: the entity as before if the call raises

    def save(self, entity: Entity) -> tuple[Any, Any]:
        """What `restore` needs to undo the call that follows."""
        return copy_value(entity.state), dict(entity.timers) if self.timed else None  # type: ignore[attr-defined]

    def restore(self, entity: Entity, saved: tuple[Any, Any] | None, *, fresh: bool) -> None:
        """Undo a call that raised. A fresh entity was made for that call and is forgotten."""
        if fresh:
            self.remove(entity)
        elif saved is not None:
            entity.state = saved[0]
            if self.timed:
                entity.timers = saved[1]  # type: ignore[attr-defined]

    # --- returning to an earlier cut in memory

    def take_back(self, undo: Undo) -> None:
        """Make these entities as they were before their first change in an interval; the newest interval first."""
        for entity, saved in reversed(undo):
            if saved is None:  # it was made in the interval
                if self.entities.get(entity.key) is entity:
                    del self.entities[entity.key]
                continue
            entity.state = saved[0]
            if self.timed:
                entity.timers = saved[1]  # type: ignore[attr-defined]
            self.entities[entity.key] = entity

    def rest(self) -> None:
        """After that: nothing is dirty, nothing is being written, and every timer that is set will ring."""
        for entity in (*self.dirty, *self.frozen):
            entity.mark = CLEAN
        self.dirty, self.frozen, self.next_frozen = [], [], 0
        self.early = Rows(timed=self.timed)
        self.gone, self.has_removed = {}, False
        self.cut = CLEAN - 1
        self.interval += 1
        self.rewind_alarms()

    def rewind_alarms(self) -> None:
        """Gather the alarms anew from the entities' timers: some may have been taken for calls that are undone."""
        self.alarms = []
        if self.timed:
            for entity in self.entities.values():
                for name, (due, _) in list(entity.timers.items()):  # type: ignore[attr-defined]
                    self.set_timer(entity, name, due)

    # --- timers

    def set_timer(self, entity: Any, name: str, due: int) -> None:
        """Set or replace a timer of a touched entity."""
        if len(self.alarms) >= self.alarms_max:
            self._drop_old_alarms()
        self.version += 1
        entity.timers[name] = (due, self.version)
        heappush(self.alarms, (due, canonical_of(entity.key), name, self.version, entity.key))

    def _drop_old_alarms(self) -> None:
        """Timers that were replaced, cancelled or deleted leave their entries behind: far-off ones would gather."""
        self.alarms = [alarm for alarm in self.alarms if self.is_set(alarm[4], alarm[2], alarm[3])]
        heapify(self.alarms)
        self.alarms_max = max(ALARMS_FREE, 2 * len(self.alarms))

    def next_due(self) -> int | None:
        """When the earliest timer is due."""
        while self.alarms:
            due, _, name, version, lookup = self.alarms[0]
            if self.is_set(lookup, name, version):
                return due
            heappop(self.alarms)
        return None

    def ring(self, entity: Any, name: str) -> None:
        """The timer fires: it is no longer set."""
        del entity.timers[name]

    def is_set(self, lookup: Any, name: str, version: int) -> bool:
        """Whether that timer still stands as it was set."""
        entity = self.entities.get(lookup)
        return entity is not None and entity.timers.get(name, (0, 0))[1] == version  # type: ignore[attr-defined]

    def due_keys(self, time: int) -> Sequence[Any]:
        """Lookup keys of entities that must be brought into memory before `take_due` at that time."""
        return ()

    def take_due(self, time: int) -> list[Alarm]:
        """Timers due by `time`, in the order in which they fire."""
        due = []
        while self.alarms and self.alarms[0][0] <= time:
            alarm = heappop(self.alarms)
            if self.is_set(alarm[4], alarm[2], alarm[3]):
                due.append(alarm)
        return due

    # --- checkpoints

    def freeze(self, clean: Iterable[Entity] = ()) -> int:
        """Close the interval: what was touched in it is to be written, and of `clean` what is clean and live.

        Returns how many entities.
        """
        assert self.next_frozen == len(self.frozen), "the previous checkpoint is still being written"
        self.frozen, self.dirty, self.next_frozen = self.dirty, [], 0
        self.early = Rows(timed=self.timed)
        self.gone = {}
        self.cut = self.interval
        self.interval += 1
        for entity in clean:
            if entity.mark == CLEAN and entity.state is not GONE:
                entity.mark = self.cut
                self.frozen.append(entity)
        return len(self.frozen)

    def take_rows(self, most: int) -> Rows:
        """Up to about `most` frozen entities as they were at the freeze; fewer only at the end."""
        rows, self.early = self.early, Rows(timed=self.timed)
        cut, end = self.cut, len(self.frozen)
        stop = min(end, self.next_frozen + most)
        unwritten = [e for e in self.frozen[self.next_frozen : stop] if e.mark == cut]
        for entity in unwritten:
            entity.mark = CLEAN
        if self.timed or self.has_removed:
            for entity in unwritten:
                rows.add(entity)
        else:
            rows.keys += [e.key for e in unwritten]
            rows.states += [e.state for e in unwritten]
        self.next_frozen = stop
        if stop == end:
            self.frozen, self.next_frozen, self.cut = [], 0, CLEAN - 1
            self.has_removed = bool(self.gone)
        return rows

    @property
    def in_memory(self) -> int:
        """Entities in memory."""
        return len(self.entities)

    @property
    def is_written(self) -> bool:
        """Whether nothing frozen is left to be taken."""
        return not self.frozen and not len(self.early)
