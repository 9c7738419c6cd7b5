"""What a member is and has when a generation begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.core.epochs import Lineage
from holdfast.worker.cuts import Token


@dataclass(frozen=True, slots=True)
class Standing:
    """As the generation before, or the disk, has left it."""

    node: str
    incarnation: int
    kept: Mapping[int, int]  # partition -> how far the own disk's log equals the adopted one, -1 not at all
    lineages: Mapping[int, Lineage]
    tokens: Mapping[int, Token]  # of the sinks at the cut, as far as known
    time: int  # of the last turn at the cut
