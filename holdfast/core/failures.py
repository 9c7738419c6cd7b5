"""What is told of a failed call: the texts of an error and a message, and the dead letter made of them.

Invariant: these texts are equal in every run and every sink can write them, so that dead letters keep the
promise as all other outputs do. Addresses (`<Order object at 0x7f…>`) and the order inside sets are not part
of a value; they are taken out and sorted. What is done about a failure (`on_error`) is decided by whoever
runs the step.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from holdfast.core.errors import StoppedError

_NO_COPY = re.compile(r"cannot pickle '.*' object$")  # how Python says that a copy can't be made
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+(?=>)")


@dataclass(frozen=True, slots=True)
class Origin:
    """The record behind a message. A timer has none: no source, no partition, no offset."""

    source: str = ""
    partition: str = ""
    offset: int | None = None  # the record's number in its partition, from 0


TIMER_ORIGIN = Origin()


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed call; the texts are `error_text` and `value_text`."""

    origin: Origin
    step: str
    key: str  # "" where the message had no key
    error: str
    message: str

    def dead_letter(self) -> dict[str, object]:
        """What an `on_error` sink gets."""
        return {
            "source": self.origin.source,
            "partition": self.origin.partition,
            "offset": self.origin.offset,
            "step": self.step,
            "key": self.key,
            "error": self.error,
            "message": self.message,
        }

    def stopped(self) -> StoppedError:
        """What ends a run under `on_error="stop"`."""
        return StoppedError(
            source=self.origin.source,
            partition=self.origin.partition,
            offset=self.origin.offset,
            step=self.step,
            key=self.key or None,
            error=self.error,
            message=self.message,
        )


class Skipped:
    """Calls that failed and ended nothing, by step; those of a slice count once it is over, for it may be done again."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.untold: dict[int, Failure] = {}  # of each step whose failures nobody keeps, the first since it was taken
        self._of_slice: list[tuple[int, Failure | None]] = []

    def note(self, step: int, failure: Failure, *, is_kept: bool) -> None:
        """A call of this step failed; `is_kept` if a dead letter says so."""
        self._of_slice.append((step, None if is_kept else failure))

    def drop_slice(self) -> None:
        """Forget what was noted in this slice."""
        self._of_slice.clear()

    def settle(self) -> None:
        """The slice is over."""
        for step, failure in self._of_slice:
            self.counts[step] += 1
            if failure is not None:
                self.untold.setdefault(step, failure)
        self._of_slice.clear()


SAMPLE_LETTER = Failure(Origin("source", "0", 0), "step", "", "ValueError: example", "'message'").dead_letter()


def error_text(error: BaseException) -> str:
    """`TypeName: text`, or the name alone where there is no text."""
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - a text must be had of any error
        text = f"<str() raised {type(failure).__name__}>"
    if _NO_COPY.match(text):
        text += " (messages must be values: docs/writing-applications.md lists them)"
    return _writable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def value_text(value: object) -> str:
    """`repr(value)`, without addresses, and with the elements of sets sorted."""
    try:
        return _writable(_repr(value))
    except Exception as failure:  # noqa: BLE001 - a text must be had of any message
        return f"<repr() of {type(value).__name__} raised {type(failure).__name__}>"


def _writable(text: str) -> str:
    return _ADDRESS.sub("", text).encode("utf-8", "backslashreplace").decode("utf-8")


def _repr(value: object) -> str:
    """As `repr`, but looks through the built-in containers for sets, whose order differs from run to run."""
    kind = type(value)
    if kind is set or kind is frozenset:
        elements = sorted(_repr(element) for element in value)  # type: ignore[attr-defined]
        inner = "{" + ", ".join(elements) + "}"
        if kind is frozenset:
            return f"frozenset({inner})" if elements else "frozenset()"
        return inner if elements else "set()"
    if kind is list:
        return "[" + ", ".join(_repr(element) for element in value) + "]"  # type: ignore[attr-defined]
    if kind is tuple:
        items = [_repr(element) for element in value]  # type: ignore[attr-defined]
        return f"({items[0]},)" if len(items) == 1 else "(" + ", ".join(items) + ")"
    if kind is dict:
        return "{" + ", ".join(f"{_repr(k)}: {_repr(v)}" for k, v in value.items()) + "}"  # type: ignore[attr-defined]
    return repr(value)
