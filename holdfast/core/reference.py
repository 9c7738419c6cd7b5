"""The reference: what an application means, by doing it. One thread, one message at a time, depth first.

Every other way to run must equal this one byte for byte, so it shares with the engine only the application's
data classes, the user's functions, a sink's `encode`, the context with a message's identity, and the texts of
a failure. Values are copied by `copy.deepcopy` and keys told apart by (type, value): simple and slow, and on
purpose so. docs/semantics.md says in prose what stands here. Nothing may be added here to make anything
faster.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import GeneratorType
from typing import Any, TypeAlias

from holdfast.core import keys
from holdfast.core.application import Application
from holdfast.core.connector import Sent, Undecodable, is_live, partitions_of_sink, remembered_by
from holdfast.core.context import Context
from holdfast.core.epochs import EpochRow
from holdfast.core.errors import StoppedError
from holdfast.core.failures import TIMER_ORIGIN, Failure, Origin, error_text, value_text
from holdfast.core.identity import Identity, MessageIdentity, TimerIdentity
from holdfast.core.serial_order import At as At
from holdfast.core.serial_order import Chunk, Inputs, partitions_of, turns
from holdfast.core.steps import Kind, Step

Outputs: TypeAlias = dict[str, list[Any]]


class RunStoppedError(StoppedError):
    """The StoppedError of a reference run; `outputs` are those before the record, or timer, that failed."""

    def __init__(self, failure: Failure, outputs: Outputs) -> None:
        stopped = failure.stopped()
        super().__init__(
            source=stopped.source,
            partition=stopped.partition,
            offset=stopped.offset,
            step=stopped.step,
            key=stopped.key,
            error=stopped.error,
            message=stopped.message,
        )
        self.outputs = outputs


@dataclass(frozen=True, slots=True)
class _Message:
    value: Any
    identity: Identity
    origin: Origin
    time: int
    key: Any = None  # None is not a key


@dataclass(slots=True)
class _Entity:
    key: Any
    state: Any
    timers: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> (due, number of its setting)


class _Ids:
    """Which messages of a source came before: the last ids, and how far producers had come whose ids are forgotten."""

    def __init__(self, remembered: int) -> None:
        self.remembered = remembered
        self.last: list[tuple[str, int]] = []
        self.passed: dict[str, int] = {}

    def has_met(self, producer: str, sequence: int) -> bool:
        """Whether this is a repeat; if not, it is met now."""
        if (producer, sequence) in self.last or sequence <= self.passed.get(producer, sequence - 1):
            return True
        self.last.append((producer, sequence))
        return False

    def forget(self) -> None:
        """A turn is over: what is beyond the bound is forgotten."""
        while len(self.last) > self.remembered:
            producer, sequence = self.last.pop(0)
            if sequence > self.passed.get(producer, sequence - 1):
                self.passed.pop(producer, None)
                self.passed[producer] = sequence
            if len(self.passed) > self.remembered:
                del self.passed[next(iter(self.passed))]


class Reference:
    """One run of one application. `reload`, if given, is applied to a state after each call that had it."""

    def __init__(self, application: Application, *, reload: Callable[[Any], Any] | None = None) -> None:
        application.check()
        self.application = application
        self.outputs: Outputs = {step.name: [] for step in application.sinks}
        self.replies: dict[Origin, list[Any]] = {}  # by record: what reached reply steps; a timer's answer nobody
        self.skipped: Counter[str] = Counter()  # step name -> failed calls under "skip" or a dead-letter sink
        self._steps = application.steps
        self._entities: dict[int, dict[Any, _Entity]] = {step.index: {} for step in application.stateful_steps}
        self._reload = reload
        self._ids = {step.index: _Ids(remembered_by(step.source) or 0) for step in application.sources}
        self._touched: _Entity | None = None
        self._settings = itertools.count(1)
        self._before: dict[str, int] = {}  # how many outputs there were before the record or timer in hand

    def run(self, inputs: Inputs, epochs: Sequence[EpochRow] | None = None) -> Outputs:
        """Process all records, or those that the epoch table holds; raises RunStoppedError."""
        live = any(is_live(step.source) for step in self.application.sources)
        for time, chunks in turns(partitions_of(self.application, inputs), epochs, live=live):
            self._fire_timers(time)
            for chunk in chunks:
                for number, record in enumerate(chunk.records, chunk.first):
                    self._take(chunk, number, record)
            for ids in self._ids.values():
                ids.forget()
        return self.outputs

    def state(self, step: str, key: Any) -> Any:
        """The state of an entity, or None: what `query` gives when everything is processed."""
        (index,) = (s.index for s in self.application.stateful_steps if s.name == step)
        entity = self._entities[index].get(_told_apart(key))
        return None if entity is None else entity.state

    # --- where work begins: a record, a timer

    def _take(self, chunk: Chunk, number: int, record: Any) -> None:
        self._mark_outputs()
        source, partition = chunk.partition.step, chunk.partition
        identity = MessageIdentity(source.name, partition.ordinal, number)
        origin = Origin(source.name, partition.name, number)
        if isinstance(record, Sent):
            if self._ids[source.index].has_met(record.producer, record.sequence):
                return
            record = record.message
        if isinstance(record, Undecodable):
            self._fail(source, _Message(record.raw, identity, origin, chunk.time), record.error)
        else:
            message = _Message(copy.deepcopy(record), identity, origin, chunk.time)
            self._work(self._deliveries(source, [(0, message)]))

    def _fire_timers(self, time: int) -> None:
        """Those due by `time`. One that is set, or set again, meanwhile is not among them.

        A stop at any of them ends the run before all of them.
        """
        self._mark_outputs()
        due = [
            (timer_due, index, keys.canonical(entity.key), name, setting, told_apart)
            for index, entities in self._entities.items()
            if self._steps[index].on_timer is not None
            for told_apart, entity in entities.items()
            for name, (timer_due, setting) in entity.timers.items()
            if timer_due <= time
        ]
        due.sort(key=lambda timer: timer[:4])
        for timer_due, index, canonical, name, setting, told_apart in due:
            entity = self._entities[index].get(told_apart)
            if entity is None or entity.timers.get(name) != (timer_due, setting):
                continue
            # Also if the call fails: a timer that stayed would fail in every turn from now on.
            del entity.timers[name]
            step = self._steps[index]
            identity = TimerIdentity(step.name, canonical, timer_due, name)
            message = _Message(name, identity, TIMER_ORIGIN, time, entity.key)
            self._work(self._deliveries(step, self._call(step, message, self._apply_timer)))

    def _work(self, deliveries: list[tuple[Step, _Message]]) -> None:
        """Depth first: what an output causes comes before the next output of the same call."""
        stack = deliveries[::-1]
        while stack:
            step, message = stack.pop()
            stack.extend(reversed(self._deliveries(step, self._call(step, message, self._apply))))

    def _deliveries(self, step: Step, outputs: list[tuple[int, _Message]]) -> list[tuple[Step, _Message]]:
        deliveries = []
        for output, message in outputs:
            consumers = step.consumers[output]
            for ordinal, index in enumerate(consumers):
                own = message
                if len(consumers) > 1:
                    own = _child(message, ordinal, copy.deepcopy(message.value))
                deliveries.append((self._steps[index], own))
        return deliveries

    # --- one call

    def _call(
        self, step: Step, message: _Message, apply: Callable[[Step, _Message], list[tuple[int, _Message]]]
    ) -> list[tuple[int, _Message]]:
        self._touched = None
        try:
            outputs = apply(step, message)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises is a failure of this call
            self._fail(step, message, error)
            return []
        self._reload_touched()
        return outputs

    def _reload_touched(self) -> None:
        if self._reload is not None and self._touched is not None:
            self._touched.state = self._reload(self._touched.state)

    def _apply(self, step: Step, message: _Message) -> list[tuple[int, _Message]]:
        function: Any = step.function
        match step.kind:
            case Kind.MAP:
                return [(0, replace(message, value=copy.deepcopy(function(message.value))))]
            case Kind.FILTER:
                return [(0, message)] if function(message.value) else []
            case Kind.FLAT_MAP:
                result = function(message.value)
                values = [] if result is None else [copy.deepcopy(value) for value in result]
                return [(0, _child(message, ordinal, value)) for ordinal, value in enumerate(values)]
            case Kind.KEY_BY:
                key = function(message.value)
                keys.canonical(key)  # refuses what is not a key
                return [(0, replace(message, key=key))]
            case Kind.BRANCH:
                return [(0 if function(message.value) else 1, message)]
            case Kind.MERGE:
                return [(0, message)]
            case Kind.REPLY:
                self.replies.setdefault(message.origin, []).append(copy.deepcopy(message.value))
                return [(0, message)]
            case Kind.STATEFUL:
                call = function if step.takes_ctx else lambda value, state, ctx: function(value, state)
                return self._update(step, message, call)
            case Kind.SINK:
                _encode(step, message.value)
                self.outputs[step.name].append(message.value)
                return []
            case Kind.SOURCE:
                raise AssertionError("no messages go to a source")

    def _apply_timer(self, step: Step, message: _Message) -> list[tuple[int, _Message]]:
        return self._update(step, message, step.on_timer)

    def _update(self, step: Step, message: _Message, call: Any) -> list[tuple[int, _Message]]:
        """Call a stateful function, or `on_timer`: all of what it does and puts out, or nothing."""
        entities, told_apart = self._entities[step.index], _told_apart(message.key)
        entity = entities.get(told_apart)
        before = None if entity is None else copy.deepcopy(entity.state)
        context = Context(step.name, lambda identity: identity, timers_allowed=step.on_timer is not None)
        try:
            state = _new_state(step, message.key) if entity is None else entity.state
            context.begin(message.key, message.time, state, message.identity)
            outputs = _held_outputs(message, call(message.value, state, context))
        except Exception:
            if entity is not None:
                entity.state = before
            raise
        if context.deleted:
            entities.pop(told_apart, None)
            return outputs
        if entity is None:
            entity = entities[told_apart] = _Entity(message.key, None)
        self._touched = entity
        entity.state = context.state
        if context.renewed:
            entity.timers.clear()
        for name, due in context.timer_changes.items():
            if due is None:
                entity.timers.pop(name, None)
            else:
                entity.timers[name] = (due, next(self._settings))
        return outputs

    # --- failures

    def _fail(self, step: Step, message: _Message, error: Exception) -> None:
        key = "" if message.key is None else value_text(message.key)
        failure = Failure(message.origin, step.name, key, error_text(error), value_text(message.value))
        if step.on_error == "stop":
            self._stop(failure, error)
        self.skipped[step.name] += 1
        if isinstance(step.on_error, Step):
            letter = failure.dead_letter()
            try:
                _encode(step.on_error, letter)
            except Exception as sink_error:  # noqa: BLE001 - a letter about a letter could go on for ever
                self._stop(replace(failure, step=step.on_error.name, error=error_text(sink_error)), sink_error)
            self.outputs[step.on_error.name].append(letter)

    def _stop(self, failure: Failure, error: Exception) -> None:
        outputs = {name: values[: self._before[name]] for name, values in self.outputs.items()}
        raise RunStoppedError(failure, outputs) from error

    def _mark_outputs(self) -> None:
        self._before = {name: len(values) for name, values in self.outputs.items()}


def _child(message: _Message, ordinal: int, value: Any) -> _Message:
    return replace(message, identity=message.identity.child(ordinal), value=value)


def _held_outputs(message: _Message, result: Any) -> list[tuple[int, _Message]]:
    """None is nothing; each yielded value is copied at once, before the function goes on."""
    if isinstance(result, GeneratorType):
        values = [copy.deepcopy(value) for value in result if value is not None]
        return [(0, replace(_child(message, ordinal, value), key=None)) for ordinal, value in enumerate(values)]
    return [] if result is None else [(0, replace(message, value=copy.deepcopy(result), key=None))]


def _new_state(step: Step, key: Any) -> Any:
    factory: Any = step.state_factory
    return factory(key) if step.takes_key else factory()


def _encode(step: Step, value: Any) -> None:
    """Find out whether the sink can write it; a sink of the user's own says so when it writes."""
    if partitions_of_sink(step.sink) is not None:
        step.sink.partition_of(value)
    encode = getattr(step.sink, "encode", None)
    if encode is not None:
        encode(value)


def _told_apart(key: Any) -> Any:
    """Something that is equal for equal keys of equal types only."""
    return (tuple, *map(_told_apart, key)) if type(key) is tuple else (type(key), key)
