"""A value as JSON can show it, for people and scripts: readable, and not to be read back.

Invariant: `json.dumps` takes what it gives. Sets stand in a fixed order; what JSON has no form for stands as its text.
Not here: images, which are exact (core.values).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """The value in objects, arrays, strings, numbers, true, false and null."""
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, set | frozenset):
        return sorted((plain(element) for element in value), key=repr)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(element) for name, element in zip(value._fields, value, strict=True)}
    if isinstance(value, list | tuple) or type(value).__name__ == "deque":
        return [plain(element) for element in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name)) for name in names if hasattr(value, name)}
    if hasattr(value, "__dict__"):
        return {name: plain(element) for name, element in vars(value).items()}
    return str(value)


def _mapping(value: Mapping[Any, Any]) -> Any:
    """An object where all keys are texts, else pairs."""
    if all(type(key) is str for key in value):
        return {key: plain(element) for key, element in value.items()}
    return [[plain(key), plain(element)] for key, element in value.items()]
