"""Emission: an emitted value becomes its consumer's own.

The first value of each type is encoded at once, so that something that is not a value is found where it is emitted and
not when it first has to cross to another worker or to disk.
"""

from __future__ import annotations

from typing import Any

from holdfast.core.copying import copy_value
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode


class Copier:
    """Copies what the steps of one segment emit."""

    def __init__(self, registry: TypeRegistry) -> None:
        self.registry = registry
        self.known: set[type] = set()

    def copy(self, value: Any) -> Any:
        """The value itself if it is deeply immutable, else a copy. ValueTypeError for what is not a value."""
        copied = copy_value(value)  # first, so that what can't be copied fails as it does in the reference
        kind = type(value)
        if kind not in self.known:
            encode(value, self.registry)
            self.known.add(kind)
        return copied
