"""A zoo of small applications that every way to run holdfast must get right: the reference, the engine, simulators."""

from __future__ import annotations

from tests.zoo import entities, failures, identities, parted, replies, shapes, timers, values
from tests.zoo.case import Case, identical

__all__ = ["Case", "all_cases", "identical"]


def all_cases() -> list[Case]:
    """Every case; names are unique."""
    modules = (shapes, values, entities, failures, timers, identities, replies, parted)
    return [case for module in modules for case in module.CASES]
