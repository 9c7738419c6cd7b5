"""An application: the pipeline as data. Building one does no I/O; nothing runs.

It owns the list of steps and the names. Names of sources, stateful steps and sinks are recovery ids: what is
on disk is found again by them, so each is unique among its kind and none depends on whether another one was
given by hand. All other steps have labels, which are for messages and dead letters only. Invariant: once
`check` has passed the application is complete and never changes again. Streams (streams.py) add the steps;
what a step means is said by the reference.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar, overload

from holdfast.core.connector import RecordReader, Source, is_sink, is_source, partitions_of_sink, remembered_by
from holdfast.core.errors import ApplicationError
from holdfast.core.failures import SAMPLE_LETTER
from holdfast.core.signatures import check_intake, function_name, is_lambda, shown_class
from holdfast.core.steps import ErrorRule, Function, Kind, Port, Step
from holdfast.core.streams import AnySink, OnError, Stream

T = TypeVar("T")

NAME_BYTES_MAX = 100  # a folder name holds 255 bytes on common file systems; leave room for what is put beside it
_RECOVERABLE = {Kind.SOURCE: "source", Kind.STATEFUL: "stateful step", Kind.SINK: "sink"}  # kinds with recovery ids
_NOT_IN_FOLDER_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


class Application:
    """Sources, steps and sinks under one name."""

    def __init__(self, name: str, *, on_error: OnError = "stop", entities_in_memory: int | None = None) -> None:
        _check_application_name(name)
        if entities_in_memory is not None and (type(entities_in_memory) is not int or entities_in_memory < 1):
            raise ApplicationError(
                f"application {name!r}: entities_in_memory={entities_in_memory!r} must be a positive int, "
                "or None for no limit"
            )
        self.name = name
        self.entities_in_memory = entities_in_memory
        self._complete = False
        self._steps: list[Step] = []
        self._sink_steps: dict[int, Step] = {}  # id of the sink object -> its step, which keeps the object alive
        self._letter_steps: list[Step] = []  # sink steps that get dead letters only; numbered when all others are
        self.on_error: ErrorRule = self._error_rule(f"application {name!r}", on_error)

    def __repr__(self) -> str:
        return f"<application {self.name!r} of {len(self._steps)} steps>"

    @overload
    def source(self, source: Source[T], name: str | None = None, on_error: OnError | None = None) -> Stream[T]: ...

    @overload
    def source(
        self, source: RecordReader[T], name: str | None = None, on_error: OnError | None = None
    ) -> Stream[T]: ...

    def source(self, source: Any, name: str | None = None, on_error: OnError | None = None) -> Stream[Any]:
        """Add a source; its records are the stream's messages."""
        if not is_source(source):
            raise ApplicationError(
                f"application {self.name!r}: {shown_class(source)} is not a source; give an object such as "
                'hf.sources.TextFile("input.txt")'
            )
        step = self.add(Kind.SOURCE, self._next_name(Kind.SOURCE) if name is None else name, (), on_error=on_error)
        step.source = source
        return Stream(self, Port(step.index))

    @property
    def steps(self) -> list[Step]:
        """All steps in order of definition; complete once `check` has passed."""
        return self._steps

    @property
    def sources(self) -> list[Step]:
        """The source steps, in order of definition."""
        return [step for step in self._steps if step.kind is Kind.SOURCE]

    @property
    def stateful_steps(self) -> list[Step]:
        """The stateful steps, in order of definition."""
        return [step for step in self._steps if step.kind is Kind.STATEFUL]

    @property
    def sinks(self) -> list[Step]:
        """The sink steps, in order of definition, those that get dead letters only last."""
        return [step for step in self._steps if step.kind is Kind.SINK]

    def check(self) -> None:
        """Complete the application, or refuse it. Whatever runs an application calls this first."""
        if self._complete:
            return
        if not self.sources:
            raise ApplicationError(f"application {self.name!r} has no source; begin with app.source(…)")
        if not self._has_an_end:
            raise ApplicationError(f"application {self.name!r} has no sink; end a stream with .sink(…)")
        for step in self.sources:
            if not step.consumers[0]:
                raise ApplicationError(f"{self.place(step.name)}: nothing reads this source; add a step to its stream")
        self._check_old_names()
        for step in self._letter_steps:
            name = self._next_name(Kind.SINK)
            self._check_free(Kind.SINK, name)
            self._number(step, name)
        self._letter_steps = []
        self._complete = True

    @property
    def _has_an_end(self) -> bool:
        """Whether anybody can learn what it does: from a sink, an answer, or the state that a sender may query."""
        answers = any(step.kind is Kind.REPLY for step in self._steps)
        return bool(self.sinks) or answers or any(remembered_by(step.source) is not None for step in self.sources)

    # --- for streams

    def add(
        self,
        kind: Kind,
        name: str,
        upstream: tuple[Port, ...],
        *,
        function: Function | None = None,
        on_error: OnError | None = None,
        keyed: bool = False,
    ) -> Step:
        """Append a step whose function was checked, and attach it to its upstream ports."""
        self._refuse_if_complete(name)
        self._check_free(kind, name)
        step = Step(-1, kind, name, function, upstream, self._rule_of_step(name, on_error), keyed)
        self._number(step, name)
        for port in upstream:
            self._steps[port.step].consumers[port.output].append(step.index)
        return step

    def attach_sink(self, sink: AnySink, port: Port, name: str | None, on_error: OnError | None) -> None:
        """Let a sink consume a port; the same object is the same step."""
        if not is_sink(sink):
            raise ApplicationError(
                f"application {self.name!r}: {shown_class(sink)} is not a sink; give an object such as "
                'hf.sinks.JsonLines("output.jsonl")'
            )
        known = self._sink_steps.get(id(sink))
        if known is not None and known.index >= 0:
            self._attach_again(known, port, name, on_error)
            return
        if name is None:
            name = self._next_name(Kind.SINK)
        self._refuse_if_complete(name)
        self._check_free(Kind.SINK, name)
        rule = self._rule_of_step(name, on_error)
        step = self._letter_step(sink)
        self._letter_steps.remove(step)
        step.on_error, step.upstream = rule, (port,)
        self._number(step, name)
        self._steps[port.step].consumers[port.output].append(step.index)

    def add_intake(self, port: Port, function: Function, concurrency: int) -> None:
        """Let a source's records go through a function before they are logged."""
        step = self._steps[port.step]
        self._refuse_if_complete("intake")
        if step.kind is not Kind.SOURCE or step.intake is not None or step.consumers[0]:
            raise ApplicationError(
                f"{self.place(step.name)}: .intake(…) stands directly behind a source, once, before all other steps"
            )
        check_intake(self.place(step.name), function, concurrency)
        step.intake, step.intake_concurrency = function, concurrency

    def label(self, kind: Kind, function: Any) -> str:
        """A name for messages: the function's, of a lambda the kind; with a number from the second on."""
        base = kind.value if function is None or is_lambda(function) else function_name(function)
        label, number = base, 1
        taken = {step.name for step in self._steps}
        while label in taken:
            number += 1
            label = f"{base}-{number}"
        return label

    def place(self, step: str) -> str:
        """How a step is named in errors."""
        return f"application {self.name!r}, step {step!r}"

    # --- names and rules

    def _attach_again(self, step: Step, port: Port, name: str | None, on_error: OnError | None) -> None:
        self._refuse_if_complete(step.name)
        if name not in (None, step.name):
            raise ApplicationError(
                f"{self.place(step.name)}: the same sink can't also be named {name!r}; "
                "give name= once, or make two sinks"
            )
        if on_error is not None and self._error_rule(self.place(step.name), on_error) != step.on_error:
            raise ApplicationError(f"{self.place(step.name)}: the same sink has another on_error already; give it once")
        step.upstream = (*step.upstream, port)
        self._steps[port.step].consumers[port.output].append(step.index)

    def _next_name(self, kind: Kind) -> str:
        """The kind's, with the step's number among all of its kind from the second on."""
        number = 1 + sum(step.kind is kind for step in self._steps)
        return kind.value if number == 1 else f"{kind.value}-{number}"

    def _check_free(self, kind: Kind, name: str) -> None:
        if kind not in _RECOVERABLE:
            return
        if type(name) is not str or not name:
            raise ApplicationError(f"application {self.name!r}: name={name!r} must be a str that is not empty")
        if any(step.kind is kind and step.name == name for step in self._steps):
            raise ApplicationError(
                f"{self.place(name)}: another {_RECOVERABLE[kind]} has this name already; give name= to one of them"
            )

    def _number(self, step: Step, name: str) -> None:
        step.index, step.name = len(self._steps), name
        self._steps.append(step)

    def _rule_of_step(self, name: str, on_error: OnError | None) -> ErrorRule:
        return self.on_error if on_error is None else self._error_rule(self.place(name), on_error)

    def _letter_step(self, sink: AnySink) -> Step:
        """The step of a sink; one that nothing was attached to gets dead letters only."""
        step = self._sink_steps.get(id(sink))
        if step is None:
            step = self._sink_steps[id(sink)] = Step(-1, Kind.SINK, "", sink=sink)
            self._letter_steps.append(step)
        return step

    def _error_rule(self, place: str, on_error: OnError) -> ErrorRule:
        """What becomes of failures: stop, skip, or the step of the sink that gets dead letters."""
        if on_error == "stop":
            return "stop"
        if on_error == "skip":
            return "skip"
        if is_sink(on_error):
            _check_takes_letters(place, on_error)
            return self._letter_step(on_error)
        raise ApplicationError(f'{place}: on_error={on_error!r} must be "stop", "skip" or a sink for dead letters')

    def _refuse_if_complete(self, name: str) -> None:
        if self._complete:
            raise ApplicationError(
                f"application {self.name!r} is complete and can't get {name!r}; add all steps before anything runs it"
            )

    def _check_old_names(self) -> None:
        taken = {step.name for step in self.stateful_steps}
        for step in self.stateful_steps:
            if step.was is None:
                continue
            if step.was in taken:
                raise ApplicationError(
                    f"{self.place(step.name)}: was={step.was!r} is also the name, or the old name, "
                    "of a stateful step; entities can go to one step only"
                )
            taken.add(step.was)


def _check_takes_letters(place: str, sink: Any) -> None:
    """Dead letters are dicts; a sink that can't write one would lose it when it is needed most."""
    encode = getattr(sink, "encode", None)
    if encode is None:
        return
    try:
        if partitions_of_sink(sink) is not None:
            sink.partition_of(SAMPLE_LETTER)
        encode(SAMPLE_LETTER)
    except Exception as error:
        raise ApplicationError(
            f"{place}: the on_error sink can't write a dead letter, which is a dict ({error}); "
            "use one that can, such as hf.sinks.JsonLines"
        ) from error


def _check_application_name(name: object) -> None:
    """The name is the default data directory's, so it must be fit for a folder."""
    if type(name) is not str or not name:
        raise ApplicationError(f"an application's name is a str that is not empty, not {name!r}")
    encoded = name.encode("utf-8", "replace")
    if (
        _NOT_IN_FOLDER_NAMES.search(name)
        or name.startswith(".")
        or name.strip() != name
        or name.endswith(".")
        or encoded.decode() != name
        or len(encoded) > NAME_BYTES_MAX
    ):
        raise ApplicationError(
            f"application {name!r}: the name must be fit for a folder; use letters, digits, '-' and '_', "
            f"at most {NAME_BYTES_MAX} bytes"
        )
