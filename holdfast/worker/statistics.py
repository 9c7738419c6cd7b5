"""What a worker tells about itself: for progress, the summary and tests; nothing is decided by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """What a worker has done in this life."""

    records: int
    outputs: int
    skipped: dict[str, int]  # step -> calls that failed and were skipped or became dead letters
    epochs: int
    checkpoints: int
    entities: int
    replayed: int
    epoch: int  # applied
    sealed: int
    resumed_from: int  # epoch of the checkpoint
