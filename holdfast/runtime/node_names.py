"""Names of nodes for people: an id of 32 digits says nothing to who started `worker-2`.

Invariant: only what is told to people changes; nodes whose directory nobody knows keep their ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.storage.folder import DATA, read_format

_NODE = re.compile(r"node ([0-9a-f]{32})")


def directory_names(data: Path) -> dict[str, str]:
    """The nodes of a supervisor's folder."""
    found = {}
    for path in data.glob("worker-*"):
        with suppress(HoldfastError):  # whose directory it is finds its own worker out
            node = read_format(path, DATA)
            if node is not None:
                found[node] = path.name
    return found


def named(text: str, names: Mapping[str, str]) -> str:
    """The text with names for nodes."""
    return _NODE.sub(lambda match: names.get(match[1], match[0]), text)
