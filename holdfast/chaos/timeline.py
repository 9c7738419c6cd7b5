"""What became of each fault: when it was noticed, decided and over; and what the pauses of a campaign were.

Pure. Moments are Unix seconds; a pause is the longest time without new output around a fault, as it was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Survived:
    """One fault that a cluster has got over."""

    name: str
    text: str
    moment: float
    detected: float | None  # when the coordinator drew a number for a new generation
    formed: tuple[float, str] | None  # when the last generation was decided, and how it was said
    flowing: float  # when outputs grew again
    pause: float

    def line(self, began: float) -> str:
        """One line of the timeline."""
        steps = [] if self.detected is None else [(self.detected, "detected")]
        if self.formed is not None:
            steps.append((self.formed[0], self.formed[1].partition(" of ")[0]))
        seen = [f"{what} +{max(0.0, at - self.moment):.3f} s" for at, what in steps]
        seen.append(f"outputs +{self.flowing - self.moment:.3f} s")
        return f"{self.moment - began:7.2f} s  {self.text:<44} {', '.join(seen)}, pause {self.pause:.3f} s"


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least such a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def pauses(survived: list[Survived]) -> Iterator[str]:
    """Yield a line for each kind of fault, the most frequent first, and one for all."""
    by_name: dict[str, list[float]] = {}
    for each in survived:
        by_name.setdefault(each.name, []).append(each.pause)
    kinds = sorted(by_name.items(), key=lambda kind: -len(kind[1]))
    if len(kinds) > 1:
        kinds.append(("all", [each.pause for each in survived]))
    for name, found in kinds:
        shown = ", ".join(f"{label} {percentile(found, share):.3f} s" for label, share in _SHOWN)
        yield f"  {name:<20}{len(found):>4}  {shown}"


_SHOWN = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
