"""How a bug is planted: methods are replaced while a world runs and put back afterwards.

Invariant: after `planted` everything is as it was, so the product needs no switches and mutants can follow
one another in one process. The bugs themselves stand in `mutants`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any


class Ground:
    """Where bugs are planted; remembers what stood there."""

    def __init__(self) -> None:
        self._stood: list[tuple[Any, str, Any]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put what `make` makes of the original in its place."""
        original = getattr(owner, name)
        self._stood.append((owner, name, original))
        setattr(owner, name, make(original))

    def instead(self, owner: Any, name: str, other: Callable[..., Any]) -> None:
        """Call something else."""
        self.replace(owner, name, lambda original: other)

    def before(self, owner: Any, name: str, first: Callable[..., Any]) -> None:
        """Call `first` with the same arguments, then the original."""

        def make(original: Any) -> Any:
            def changed(*given: Any, **named: Any) -> Any:
                first(*given, **named)
                return original(*given, **named)

            return changed

        self.replace(owner, name, make)

    def after(self, owner: Any, name: str, then: Callable[..., Any]) -> None:
        """Call the original; what counts is what `then` makes of its result and the arguments."""

        def make(original: Any) -> Any:
            def changed(*given: Any, **named: Any) -> Any:
                return then(original(*given, **named), *given, **named)

            return changed

        self.replace(owner, name, make)

    def clear(self) -> None:
        """Put everything back."""
        while self._stood:
            owner, name, original = self._stood.pop()
            setattr(owner, name, original)


Plant = Callable[[Ground], None]


def instead_property(ground: Ground, owner: type, name: str, other: Callable[[Any], Any]) -> None:
    """Read something else."""
    ground.replace(owner, name, lambda original: property(other))


@dataclass(frozen=True, slots=True)
class Mutant:
    """One rule less."""

    rule: str  # that is missing
    plant: Plant


class Mutants(dict[str, Mutant]):
    """Mutants by name."""

    def enter(self, name: str, rule: str) -> Callable[[Plant], Plant]:
        """Enter the function that follows."""

        def entered(plant: Plant) -> Plant:
            assert name not in self, f"there are two mutants {name!r}"
            self[name] = Mutant(rule, plant)
            return plant

        return entered


@contextmanager
def planted(mutant: Mutant | None) -> Iterator[None]:
    """Live without the mutant's rule, or with all of them."""
    ground = Ground()
    try:
        if mutant is not None:
            mutant.plant(ground)
        yield
    finally:
        ground.clear()


@contextmanager
def limits(values: Mapping[str, int]) -> Iterator[None]:
    """Live with other constants: `module.NAME` -> value."""
    ground = Ground()
    try:
        for path, value in values.items():
            module, _, name = path.rpartition(".")
            ground.replace(importlib.import_module(module), name, partial(_constant, value))
        yield
    finally:
        ground.clear()


def _constant(value: int, original: int) -> int:
    return value
