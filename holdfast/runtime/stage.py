"""The stage: the folder beside a data directory in which a cluster's is prepared of it (`take_over`).

Invariant: it bears the name of the data directory that it replaces, and holds what was that one as its first worker's.
What is prepared there is the matter of `take_over`; every start asks only whether one was left half-way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FIRST: Final = "worker-1"


def stage_of(data: Path) -> Path:
    """Where the stage of a data directory is."""
    return data.with_name(f"{data.name}.cluster")


def is_under_way(data: Path) -> bool:
    """Whether a directory was being taken over when that was interrupted."""
    return not data.exists() and (stage_of(data) / FIRST).is_dir()
