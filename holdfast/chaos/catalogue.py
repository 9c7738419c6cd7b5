"""Where a campaign finds applications: the repository's zoo, random ones, or somebody's own.

The zoo belongs to the repository's tests, which are not shipped; it is looked up by name, so an installed
holdfast simulates whatever `module:name` says: a `Subject`, or a function from a seed to one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from holdfast.chaos.schedule import Streams
from holdfast.chaos.subject import Subject
from holdfast.chaos.workloads import workloads
from holdfast.core.errors import UsageError

RANDOM = "random"
EVERYTHING = "zoo+random"

STEPS_MAX = 100
# A timer of theirs sets itself again at once: with live sources epoch follows upon epoch without an end.
RESTLESS = {"failing timer skipped", "failing timer stops"}

MakeSubject = Callable[[int], Subject]  # from the world's seed


def catalogue(choice: str) -> dict[str, MakeSubject]:
    """The applications that `choice` names: `zoo+random`, `random`, one of the zoo, or `module:name`."""
    if ":" in choice:
        return {choice: _own(choice)}
    own = {subject.name: _always(subject) for subject in workloads()}
    if choice in own:
        return {choice: own[choice]}
    zoo = {case.name: _always(_subject(case)) for case in _repository("tests.zoo").all_cases() if fits(case)}
    if choice == EVERYTHING:
        # Random ones are half of all: each is new, while one of the zoo differs only in its faults.
        randoms = {f"{RANDOM}-{number}": _random for number in range(len(zoo))}
        return {
            **zoo,
            **randoms,
            **{f"{name}-{again}": make for name, make in own.items() for again in range(4)},
        }
    if choice.startswith(RANDOM):
        return {choice: _random}
    if choice not in zoo:
        raise UsageError(
            f"no application {choice!r}; there are {RANDOM}, {', '.join([*own, *zoo])}, or module:name"
        )
    return {choice: zoo[choice]}


def fits(case: Any) -> bool:
    """Whether a case of the zoo is small enough to be built anew for every start of a process."""
    return len(case.build().steps) <= STEPS_MAX


def _repository(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            "the zoo is part of holdfast's repository: run there, or give --app module:name"
        ) from error


def _always(subject: Subject) -> MakeSubject:
    return lambda seed: subject


def _subject(case: Any) -> Subject:
    inputs = {
        source: given if isinstance(given, Mapping) else {"0": list(given)}
        for source, given in case.inputs.items()
    }
    return Subject(case.name, case.build, inputs, rests=case.name not in RESTLESS)


def _random(seed: int) -> Subject:
    case = _repository("tests.zoo.random_apps").draw(Streams(seed)["application"])
    return _subject(case)


def _own(choice: str) -> MakeSubject:
    module, _, name = choice.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if isinstance(found, Subject):
        return _always(found)
    if callable(found):
        return found  # type: ignore[no-any-return]
    raise UsageError(f"{choice} is neither a Subject nor a function that makes one")
