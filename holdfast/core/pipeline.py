"""Applying a batch: a slice of records through the segments, stage by stage, to the outlets of the sinks.

The caller has a slice go through `compute` (all sources), then for every stateful step, in order of definition, gives
its messages in order of positions to `apply`, then calls `collect`. Because entities are private to their step and
slices follow the serial order, this equals depth-first, one message at a time (docs/semantics.md has the proof).
Invariant: after an error that is raised from here, books and outlets are not to be used any more, except after
`StopBeforeError` from a source, which has touched no entity.
What an epoch is, what is durable and what is delivered are the worker's business.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import GeneratorType
from typing import Any, Final

from holdfast.core import keys
from holdfast.core.cache import CachedBook
from holdfast.core.connector import Sound, Undecodable, remembered_by
from holdfast.core.context import Context
from holdfast.core.copying import ATOMS, copy_value
from holdfast.core.emission import Copier
from holdfast.core.entities import GONE, Book, user_key
from holdfast.core.errors import ApplicationError, StoppedError
from holdfast.core.failures import TIMER_ORIGIN, Failure, Origin, Skipped, error_text, value_text
from holdfast.core.images import check_state
from holdfast.core.identity import Identity, MessageIdentity, TimerIdentity
from holdfast.core.outlets import Outlet
from holdfast.core.plan import SOURCES, Plan, Segment
from holdfast.core.positions import TIMER, Column, Position, in_order, number_base
from holdfast.core.replies import Replies
from holdfast.core.segments import NotPlainError, SegmentWriter
from holdfast.core.senders import REPEAT, Senders
from holdfast.core.steps import Kind, Step
from holdfast.core.turns import Part, Turn, greatest
from holdfast.core.values import codec_of

CAREFUL_SLICES: Final = 64  # after a failure the sources' segments stay careful for so long, then try again


class StopBeforeError(Exception):
    """A call failed under on_error="stop": everything before the record at this position is to be worked off."""

    def __init__(self, position: Position, error: StoppedError) -> None:
        super().__init__(position)
        self.position = position
        self.error = error
        self.touched = False  # entities were touched by messages beyond it


class ReturnNeededError(Exception):
    """Entities were touched by work that must be done again: carefully from step `step` on, or at once at a sink."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class Pipeline:
    """An application compiled for one worker, with its live entities."""

    def __init__(
        self,
        plan: Plan,
        partitions: Sequence[tuple[int, str]],
        registry: Any,
        *,
        careful: frozenset[int] = frozenset(),
        entities_in_memory: int | None = None,
        exchanged: bool = False,
    ) -> None:
        """`partitions` gives, for each partition of the cluster, (source step, name of the partition).

        What is exchanged between members is merged by position, output by output; where numbers suffice, by those.
        """
        self.plan = plan
        sources = [source for source, _ in partitions]
        self.partitions = [(source, sources[:index].count(source)) for index, source in enumerate(sources)]
        self.partition_names = [name for _, name in partitions]
        self.registry = registry
        self.careful = careful
        self.entities_in_memory = entities_in_memory
        names_places = any(plan.steps[i].kind is Kind.STATEFUL for i in careful)
        self.numbered = exchanged and plan.numbers_suffice and not names_places
        self.count = 0  # of messages that got a number since `begin_epoch`
        self.track = (exchanged and not self.numbered) or plan.needs_positions or names_places
        self.failures: list[tuple[Position, StoppedError]] | None = None  # where they are noted and stop nothing
        self.examined: set[int] = set()  # stateful steps of which an entity was encoded
        self.skipped = Skipped()
        self.times: dict[tuple[int, int], int] = {}  # (turn, partition or TIMER) -> time, of the slice in hand
        self.books = {step.index: self._book(step) for step in plan.stateful}
        self.columns = {step.index: {f: Column() for f in plan.feeders[step.index]} for step in plan.stateful}
        self.outlets = {
            s.index: Outlet(
                *(s, plan.connector(s), plan.feeders[s.index]), at_once=s.index in careful, one_by_one=exchanged
            )
            for s in plan.sinks
        }
        every = [*self.columns.values(), *(outlet.columns for outlet in self.outlets.values())]
        self.first_columns = [columns[SOURCES] for columns in every if SOURCES in columns]
        self.contexts = {s.index: self._context(s) for s in plan.stateful if s.takes_ctx or s.on_timer is not None}
        self.copy = Copier(registry).copy
        self.replies = Replies(codec_of(registry).encode)
        self.sender_steps: dict[str, Senders] = {}  # by the names of their system steps
        self.senders = self._senders()
        self.bulk = True
        self.careful_slices = 0
        self.functions: dict[tuple[int, bool], Callable[..., None]] = {}

    def _senders(self) -> dict[int, Senders]:
        """By partition, where records may come with their sender's id."""
        senders = {}
        for partition, (index, _) in enumerate(self.partitions):
            step = self.plan.steps[index]
            remembered = remembered_by(self.plan.connector(step))
            if remembered is None:
                continue
            own = Senders(step.name, remembered, self.registry)
            if own.step in {other.name for other in self.plan.stateful}:
                raise ApplicationError(f"a stateful step can't be named {own.step!r}: rename it")
            senders[partition] = self.sender_steps.setdefault(own.step, own)
        return senders

    # --- running

    def judged(self, parts: list[Part], *, anew: bool = True) -> list[Part]:
        """A slice's parts with the messages that senders sent; what repeats is marked.

        What was judged since the last `settle` is forgotten, as the slice is done again; or not, where it goes on.
        """
        if not self.senders:
            return parts
        if anew:
            for senders in self.sender_steps.values():
                senders.drop_slice()
        return [self._of_senders(part, Senders.judge) for part in parts]

    def _of_senders(self, part: Part, messages: Callable[[Senders, int, int, Sequence[Any]], list[Any]]) -> Part:
        senders = self.senders.get(part.partition)
        if senders is None:
            return part
        return replace(part, records=messages(senders, part.partition, part.first, part.records))

    def compute(self, parts: Sequence[Part], again: Callable[[Part], Part]) -> None:
        """Records through the sources' segments, up to the first keys and sinks.

        `again` decodes a part anew: user functions may have changed its records before one of them raised.
        """
        careful = self.careful_slices > 0
        if not careful:
            for part in parts:
                self._function(self._source_of(part), careful=False)  # what fails in making it is not the user's
            try:
                for part in parts:
                    if type(part.records) is not Sound and Undecodable in set(map(type, part.records)):
                        raise NotPlainError
                    self._function(self._source_of(part), careful=False)(
                        part.records, part.turn, part.partition, part.first
                    )
                    self._number(part)
                return
            except NotPlainError:
                self.drop_slice()
                if not any(Undecodable in set(map(type, part.records)) for part in parts):
                    self.bulk = False
                    self.functions.clear()
            except Exception:  # noqa: BLE001 - whatever it was, the careful form meets it again and says where
                self.drop_slice()
            parts = [self._of_senders(again(part), Senders.again) for part in parts]
            self.careful_slices = CAREFUL_SLICES
        self.careful_slices -= 1
        for part in parts:
            self._function(self._source_of(part), careful=True)(part.records, part.turn, part.partition, part.first)
            self._number(part)

    def _number(self, part: Part) -> None:
        """Number what a part gave, in the order of positions."""
        if not self.numbered:
            return
        base = number_base(part.turn, part.partition, len(self.partitions))
        for column in self.first_columns:
            start, new = base + self.count, len(column.messages) - len(column.positions)
            column.positions.extend(range(start, start + new))
            self.count += new

    def apply(self, step: Step, column: Column, turn: Turn | None) -> None:
        """A stateful step's messages, and its timers where `turn` begins, through its segment."""
        alarms = self._alarms(step, turn) if turn is not None and step.on_timer is not None else []
        if not column.messages and not alarms:
            return
        careful = step.index in self.careful
        function = self._function(step, careful=careful)
        try:
            function(column.keys, column.messages, column.positions, alarms)
        except StopBeforeError as stop:
            stop.touched = True
            raise
        except Exception as error:
            if careful:
                raise
            raise ReturnNeededError(step.index) from error
        if step.index not in self.examined:
            self._examine(step)

    def _examine(self, step: Step) -> None:
        """The first entity of a step is encoded at once, to find out early that its state is not a value."""
        entity = next((e for e in self.books[step.index].dirty if e.state is not GONE), None)
        if entity is None:
            return
        check_state(step.name, entity.key, entity.state, self.registry)
        self.examined.add(step.index)

    def collect(self) -> None:
        """The slice is over: what its outlets hold joins the epoch's outputs."""
        for outlet in self.outlets.values():
            if not outlet.collect():
                raise ReturnNeededError(outlet.step.index)
        self.skipped.settle()
        self.replies.collect()
        for senders in self.sender_steps.values():
            senders.settle(self.replies.of)
        self.learn()

    def learn(self) -> None:
        """Outlets whose outputs are fit for columns take them as columns from now on."""
        if any(outlet.has_learned for outlet in self.outlets.values()):
            for outlet in self.outlets.values():
                outlet.by_column = outlet.by_column or outlet.has_learned
            self.functions.clear()

    def end_epoch(self) -> None:
        """An epoch is worked off whole."""
        for senders in self.sender_steps.values():
            senders.forget()

    def decode(self, partition: int, raw: bytes) -> Sequence[Any]:
        """The records of a block, as the first step gets them."""
        records: Sequence[Any] = self._source(partition).decode(raw)
        return records

    def cut(self, partition: int, raw: bytes, start: int, size: int) -> int:
        """Where the whole records end that begin at `start` of a block and take up to `size` bytes, at least one."""
        end: int = self._source(partition).cut(raw, start, size)
        return end

    def record_times(self, partition: int, records: Sequence[Any]) -> Sequence[int | None] | None:
        """The records' own times, where their source gives them."""
        times: Sequence[int | None] | None = self._source(partition).times(records)
        return times

    def block_time(self, partition: int, raw: bytes) -> int | None:
        """The greatest record time of a block; None where the source has no times."""
        source = self._source(partition)
        if source.times([]) is None:
            return None
        times = source.times(source.decode(raw))
        return None if times is None else greatest(times)

    def next_due(self) -> int | None:
        """When the earliest timer of all steps is due."""
        if not self.plan.timed:
            return None
        dues = [book.next_due() for book in self.books.values() if book.timed]
        return min((due for due in dues if due is not None), default=None)

    def _source(self, partition: int) -> Any:
        return self.plan.connector(self.plan.steps[self.partitions[partition][0]])

    def take_outputs(self) -> list[tuple[int, int, tuple[object, ...]]]:
        """(number of the sink's partition, count, payload) of what was written since the last call."""
        return [
            (first + partition, count, payload)
            for index, first in self.plan.sink_number.items()
            for partition, count, payload in self.outlets[index].take()
        ]

    def _alarms(self, step: Step, turn: Turn) -> list[tuple[Position, Any, str, int]]:
        due = self.books[step.index].take_due(turn.time)
        return [
            ((turn.number, TIMER, at, step.index, canonical, name), lookup, name, version)
            for at, canonical, name, version, lookup in due
        ]

    def note_failures(self) -> list[tuple[Position, StoppedError]]:
        """From now on every call is guarded, and one that would stop is only noted. Nothing of it is to be kept."""
        self.failures = []
        self.track = True
        self.careful = frozenset(self.books)
        self.careful_slices = sys.maxsize
        for outlet in self.outlets.values():
            outlet.at_once, outlet.by_column = True, False
        self.functions.clear()
        return self.failures

    def drop_slice(self) -> None:
        """Forget what the sources' segments gave in this slice; no entity was touched yet."""
        self.skipped.drop_slice()
        self.replies.drop_slice()
        for columns in self.columns.values():
            if SOURCES in columns:
                columns[SOURCES].clear()
        for outlet in self.outlets.values():
            if SOURCES in outlet.columns:
                outlet.columns[SOURCES].clear()

    def _source_of(self, part: Part) -> Step:
        return self.plan.steps[self.partitions[part.partition][0]]

    # --- what segments are made of

    def _function(self, step: Step, *, careful: bool) -> Callable[..., None]:
        function = self.functions.get((step.index, careful))
        if function is None:
            segment = next(s for s in self.plan.segments if s.entry is step)
            numbered = self.numbered and step.kind is Kind.STATEFUL
            track = self.track or numbered
            writer = SegmentWriter(
                self.plan, segment, careful=careful, track=track, bulk=self.bulk, numbered=numbered
            )
            function = self.functions[step.index, careful] = writer.compile(self._environment(segment))
        return function

    def _environment(self, segment: Segment) -> dict[str, Any]:
        environment: dict[str, Any] = {
            "atoms": ATOMS,
            "copy": self.copy,
            "clone": copy_value,
            "fail": self._failer(segment),
            "Undecodable": Undecodable,
            "NotPlainError": NotPlainError,
            "REPEAT": REPEAT,
            "add_reply": self.replies.add,
            "lookup": self._lookup,
            "hold": lambda values, copy: [v if type(v) in ATOMS else copy(v) for v in values],
            "hold_outputs": hold_outputs,
            "in_order": in_order,
        }
        for index in [segment.entry.index, *segment.reached]:
            step = self.plan.steps[index]
            if step.function is not None and (step.kind is not Kind.STATEFUL or step is segment.entry):
                environment[f"f{index}"] = step.function
        for index in segment.inlets:
            if index in self.outlets:
                outlet = self.outlets[index]
                environment[f"add_output{index}"] = outlet.adder(segment.feeder)
                environment[f"add_position{index}"] = outlet.columns[segment.feeder].positions.append
            else:
                column = self.columns[index][segment.feeder]
                environment[f"keys{index}"] = column.keys
                environment[f"messages{index}"] = column.messages
                environment[f"add_key{index}"] = column.keys.append
                environment[f"add_message{index}"] = column.messages.append
                environment[f"add_position{index}"] = column.positions.append
        if segment.entry.kind is Kind.STATEFUL:
            environment |= self._entity_environment(segment.entry)
        return environment

    def _entity_environment(self, step: Step) -> dict[str, Any]:
        book = self.books[step.index]
        environment: dict[str, Any] = {
            "book": book,
            "make": book.make,
            "touch": book.touch,
            "save": book.save,
            "restore": book.restore,
            "is_set": book.is_set,
            "ring": book.ring,
            f"g{step.index}": step.on_timer,
        }
        context = self.contexts.get(step.index)
        if context is not None:
            times, registry = self.times, self.registry

            def begin(entity: Any, position: Position) -> None:
                time = times[position[0], position[1]]
                context.begin(user_key(entity.key, registry), time, entity.state, position)

            environment["ctx"] = context
            environment["begin"] = begin
            environment["settle"] = lambda entity: book.settle(entity, context)
        return environment

    def _lookup(self, key: Any) -> Any:
        return keys.lookup(key, self.registry)

    def _book(self, step: Step) -> Book:
        make_state, takes_key, timed = step.state_factory, step.takes_key, step.on_timer is not None
        assert make_state is not None
        if self.entities_in_memory is not None:
            limit = self.entities_in_memory // len(self.plan.stateful)
            return CachedBook(
                limit=limit,
                make_state=make_state,
                takes_key=takes_key,
                timed=timed,
                registry=self.registry,
                step=step.name,
            )
        return Book(
            make_state=make_state, takes_key=takes_key, timed=timed, registry=self.registry, step=step.name
        )

    def _context(self, step: Step) -> Context:
        return Context(step.name, self._identify, timers_allowed=step.on_timer is not None)

    def _identify(self, position: Position) -> Identity:
        if position[1] == TIMER:
            _, _, due, index, key, name, *path = position
            return TimerIdentity(self.plan.steps[index].name, key, due, name, tuple(path))
        source, ordinal = self.partitions[position[1]]
        return MessageIdentity(self.plan.steps[source].name, ordinal, position[2], tuple(position[3:]))

    # --- failures

    def _failer(self, segment: Segment) -> Callable[..., None]:
        """What a careful segment calls when a call failed: stops, or skips and tells."""
        outlets = {index: self.outlets[index] for index in segment.inlets if index in self.outlets}

        def fail(index: int, error: Exception, key: Any, message: Any, position: Position) -> None:
            step = self.plan.steps[index]
            failure = self._failure(step, error, key, message, position)
            if step.on_error == "stop":
                self._stop(position, failure, error)
                return
            self.skipped.note(index, failure, is_kept=isinstance(step.on_error, Step))
            if isinstance(step.on_error, Step):
                outlet = outlets[step.on_error.index]
                try:
                    outlet.adder(segment.feeder)(failure.dead_letter())
                except Exception as own:  # noqa: BLE001 - a letter about a letter could go on for ever
                    self._stop(position, replace(failure, step=step.on_error.name, error=error_text(own)), own)
                    return
                if self.track:
                    outlet.columns[segment.feeder].positions.append(position)

        return fail

    def _stop(self, position: Position, failure: Failure, error: Exception) -> None:
        stopped = failure.stopped()
        stopped.__cause__ = error  # for --debug: where in the user's function it was
        if self.failures is None:
            raise StopBeforeError(position, stopped) from error
        self.failures.append((position, stopped))

    def _failure(self, step: Step, error: Exception, key: Any, message: Any, position: Position) -> Failure:
        origin = TIMER_ORIGIN
        if position[1] != TIMER:
            source, _ = self.partitions[position[1]]
            origin = Origin(self.plan.steps[source].name, self.partition_names[position[1]], position[2])
        key_text = "" if key is None else value_text(user_key(key, self.registry))
        if type(message) is Undecodable:
            message = message.raw
        return Failure(origin, step.name, key_text, error_text(error), value_text(message))


def hold_outputs(result: Any, copy: Callable[[Any], Any]) -> tuple[Sequence[Any], bool]:
    """What a stateful call gave: (outputs, whether they came from a generator); a generator is run to its end."""
    if type(result) is GeneratorType:
        return [v if type(v) in ATOMS else copy(v) for v in result if v is not None], True
    if result is None:
        return (), False
    return (result if type(result) in ATOMS else copy(result),), False
