"""Finding the function that gives different results for the same arguments, by two traces of the reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from holdfast.core.application import Application
from holdfast.core.failures import value_text
from holdfast.core.reference import Reference
from holdfast.core.steps import Step
from holdfast.runtime.nondeterminism import HINT

Call = list[str]  # step, key, message, outputs


class TracedReference(Reference):
    """A reference that writes down every call, one JSON list a line."""

    def __init__(self, app: Application, file: TextIO) -> None:
        super().__init__(app)
        self._file = file

    def _call(self, step: Step, message: Any, apply: Callable[..., Any]) -> Any:
        text = value_text(message.value)  # before the function may change it
        outputs = super()._call(step, message, apply)
        given = [value_text(output.value) for _, output in outputs]
        key = "" if message.key is None else value_text(message.key)
        json.dump([step.name, key, text, given], self._file)
        self._file.write("\n")
        return outputs


def first_difference(one: Path, other: Path) -> Iterator[str]:
    """Yield lines about the first call that was not the same in both traces."""
    with one.open(encoding="utf-8") as first, other.open(encoding="utf-8") as second:
        for a, b in zip_longest(map(json.loads, first), map(json.loads, second)):
            if a == b:
                continue
            if a is None or b is None or a[:3] != b[:3]:
                yield f"nondeterminism: the same input leads to different calls; first at step {(a or b)[0]!r}"
                yield f"  {HINT}"
                return
            step, key, message, _ = a
            of_key = f", key {key}" if key else ""
            yield f"nondeterminism: step {step!r}{of_key} gave different results for the same message {message}"
            yield f"  once:  {', '.join(a[3]) or 'nothing'}"
            yield f"  again: {', '.join(b[3]) or 'nothing'}"
            yield f"  {HINT}"
            return
