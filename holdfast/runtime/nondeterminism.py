"""Which function a replay contradicts: what is in the log goes through the steps again, every call made twice.

A function that reads the clock, chance, an address or something it keeps for itself gives two results for the same
message and the same state, and is named with its key. Invariant: nothing that the engine has is touched; states begin
anew, so what is found is only ever a reason for a difference that was seen already, never a verdict of its own.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from holdfast.core.application import Application
from holdfast.core.errors import NonDeterminismError
from holdfast.core.failures import error_text, value_text
from holdfast.core.reference import Reference
from holdfast.core.reference import _told_apart as told_apart
from holdfast.core.serial_order import partitions_of, turns
from holdfast.core.steps import Step

SECONDS_MAX: Final = 5.0  # for the search; what differs in every call is found with the first
BYTES_MAX: Final = 1 << 20  # of records of each partition that are looked at
HINT: Final = (
    "a function must depend on nothing but the message, the state and its ctx: not on the clock (ctx.time), chance "
    "(ctx.random, ctx.uuid()), the order of a set, id() or hash()"
)

Blocks = Iterable[tuple[Step, str, bytes]]  # source step, partition, records as they are logged


class _FoundError(Exception):
    """A call gave two results."""


class _Twice(Reference):
    """A reference that makes every call twice and compares what came of it."""

    def _call(self, step: Step, message: Any, apply: Callable[..., Any]) -> Any:
        entities = self._entities.get(step.index, {})
        place = told_apart(message.key)
        before = copy.deepcopy(entities.get(place))
        once, _ = self._outcome(step, message, apply)
        if before is None:
            entities.pop(place, None)
        else:
            entities[place] = before
        again, outputs = self._outcome(step, message, apply)
        if once != again:
            one, other = next((a, b) for a, b in zip(once, again, strict=True) if a != b)
            of_key = "" if message.key is None else f", key {value_text(message.key)}"
            raise _FoundError(
                f"step {step.name!r}{of_key} gives different results for the same message {value_text(message.value)}: "
                f"once {one}, again {other}"
            )
        return outputs

    def _outcome(self, step: Step, message: Any, apply: Callable[..., Any]) -> tuple[tuple[str, str], Any]:
        """What one call gives as text, its outputs and the state that it leaves, and the outputs themselves."""
        try:
            outputs = apply(step, replace(message, value=copy.deepcopy(message.value)))
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises is a result, too
            return (error_text(error), "no state"), []
        entity = self._entities.get(step.index, {}).get(told_apart(message.key))
        given = ", ".join(value_text(output.value if output.key is None else output.key) for _, output in outputs)
        state = "no state" if entity is None else f"the state {value_text(entity.state)}"
        return (given or "nothing", state), outputs

    def search(self, inputs: dict[str, dict[str, list[Any]]]) -> None:
        """Go through the records until something is found or the time is up."""
        until = time.monotonic() + SECONDS_MAX
        for now, chunks in turns(partitions_of(self.application, inputs), None, live=False):
            self._fire_timers(now)
            for chunk in chunks:
                for number, record in enumerate(chunk.records, chunk.first):
                    if time.monotonic() > until:
                        return
                    self._take(chunk, number, record)


def explained(error: NonDeterminismError, app: Application, blocks: Callable[[], Blocks]) -> NonDeterminismError:
    """The error with the step and the key that it comes from, as far as they can be found, and what to do."""
    try:
        found = _search(app, blocks())
    except Exception:  # noqa: BLE001 - the error itself matters more than its reason
        found = ""
    reason = found or (
        "no function was found that gives two results for the same message (holdfast verify looks at the whole input); "
        "was the output changed by somebody else?"
    )
    told = NonDeterminismError(f"{error}; {reason}; {HINT}")
    told.__cause__ = error
    return told


def _search(app: Application, blocks: Blocks) -> str:
    inputs: dict[str, dict[str, list[Any]]] = {}
    for step, partition, raw in blocks:
        records: Sequence[Any] = step.source.decode(raw)
        inputs.setdefault(step.name, {}).setdefault(partition, []).extend(records)
    try:
        _Twice(app).search(inputs)
    except _FoundError as found:
        return str(found)
    return ""
