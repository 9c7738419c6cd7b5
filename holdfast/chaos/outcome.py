"""How a world ended."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.chaos.counters import Counters
from holdfast.chaos.outputs import Violation


@dataclass(slots=True)
class Outcome:
    """How a world ended."""

    failure: str | None
    digest: str
    boundaries: int
    struck: list[int]  # numbers of the faults
    counters: Counters
    lines: list[str] = field(default_factory=list)  # the last of the trace


def outcome_of(play: Callable[[], None]) -> str | None:
    """Play a world to its end; return what is wrong with it."""
    try:
        play()
    except Violation as violation:
        return f"Violation: {violation}"
    except Exception as error:  # noqa: BLE001 - whatever comes out of a machine is a finding
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} (in {Path(frame.filename).name}, line {frame.lineno})"
    return None
