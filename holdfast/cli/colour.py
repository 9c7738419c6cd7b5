"""Colour on a terminal, and nothing but the text anywhere else.

Anywhere else is a pipe, a file, a terminal that calls itself dumb, and wherever NO_COLOR is set to something
(https://no-color.org).
"""

from __future__ import annotations

import os
from enum import Enum
from typing import TextIO


class Colour(Enum):
    """What a colour says; the value is what a terminal is told."""

    ERROR = "1;31"
    WARNING = "33"
    GOOD = "1;32"
    HEADING = "1"


def paint(text: str, colour: Colour, stream: TextIO) -> str:
    """The text as it should go to that stream."""
    return f"\x1b[{colour.value}m{text}\x1b[0m" if shows_colour(stream) else text


def shows_colour(stream: TextIO) -> bool:
    """Whether whoever reads the stream sees colours and wants them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
