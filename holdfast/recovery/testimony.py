"""What a decision is taken from: who reports, what the cluster is to be, and what is wished for.

Plain data without rules; `cuts`, `logs` and `decide` judge it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.recovery.generation import Formation
from holdfast.recovery.messages import Failure, Report


@dataclass(frozen=True, slots=True)
class Reporter:
    """A worker that has promised, and what it holds."""

    incarnation: int
    report: Report


Reporters = Mapping[str, Reporter]  # by node


@dataclass(frozen=True, slots=True)
class Shape:
    """What is to be laid out."""

    ranges: int  # counts at the first start only: it is fixed for ever
    backups: int
    partitions: int
    sinks: int
    live: bool  # whether any source is live
    workers: int  # how many the first generation needs


@dataclass(frozen=True, slots=True)
class Wish:
    """What the next generation is to be like, as far as what is held allows it."""

    number: int  # durable, and promised by every reporter
    leaving: frozenset[str] = frozenset()  # nodes that are to hold nothing, once others have what they hold
    shunned: frozenset[str] = frozenset()  # nodes that others can't reach: they are left out wherever that is possible
    careful: frozenset[int] = frozenset()
    failure: Failure | None = None
    on_disk: bool = False  # a cut in memory will not do: an output has lost what it had there
    why: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be decided from these reports; the reason names what has to come."""

    reason: str


def is_member(record: Formation, node: str, reporter: Reporter) -> bool:
    """Whether it is the very life of the node that takes part in the recorded generation."""
    member = record.member(node)
    return member is not None and member.incarnation == reporter.incarnation


def listed(nodes: Iterable[str]) -> str:
    """Nodes as a person is told them."""
    names = sorted(nodes)
    return " or ".join(f"node {name}" for name in names) if names else "a node that was never recorded"


def runs(numbers: Iterable[int]) -> str:
    """Numbers as a person is told them: 3, 7-9."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
