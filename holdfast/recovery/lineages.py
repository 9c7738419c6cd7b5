"""stub"""
from __future__ import annotations
from holdfast.core.epochs import Lineage


def agreement(lineage: Lineage, spans: tuple[tuple[int, int], ...], tail: int) -> int:
    """."""
    return min(lineage.tail, tail)
