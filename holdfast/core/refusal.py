"""How the encoder says that a part of a value is no value, and collects where it stands on the way out.

Not here: the limits and reasons themselves (values, objects, leaves, classes).
"""

from __future__ import annotations

from typing import Final

from holdfast.core.errors import ValueTypeError

# The first steps are enough to find the place; a value that contains itself would name two hundred.
_STEPS_MAX: Final = 12
_TEXT_CHARACTERS_MAX: Final = 40


class Refusal(ValueTypeError):  # noqa: N818 - it ends as a ValueTypeError, which is the one that users see
    """A part of a value is refused. `path` holds its steps from the inside to the outside."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def step(self, name: object, *, attribute: bool = False) -> None:
        """Add the step that led to the refused part."""
        self.path.append(f".{name}" if attribute else f"[{_short(name)}]")

    def message(self) -> str:
        """The reason and where in the value it applies."""
        steps = self.path[::-1]
        more = "…" if len(steps) > _STEPS_MAX else ""
        return f"value{''.join(steps[:_STEPS_MAX])}{more}: {self.reason}"


def _short(name: object) -> str:
    try:
        text = repr(name)
    except Exception:  # noqa: BLE001 - of a user's class; the message matters more
        text = f"a {type(name).__qualname__}"
    return text if len(text) <= _TEXT_CHARACTERS_MAX else text[:_TEXT_CHARACTERS_MAX] + "…"
