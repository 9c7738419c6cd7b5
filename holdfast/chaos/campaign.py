"""A campaign: worlds of one worker or of whole clusters, one seed each, with a planted bug or none.

Which kind of world a seed is depends on the campaign and the seed alone. A seed that fails is shrunk: its faults are
left out one by one as long as it still fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from holdfast.chaos.catalogue import MakeSubject
from holdfast.chaos.cluster_mutants import CLUSTER_MUTANTS
from holdfast.chaos.cluster_options import ClusterOptions, draw_cluster
from holdfast.chaos.cluster_world import ClusterWorld
from holdfast.chaos.counters import Counters
from holdfast.chaos.mutants import MUTANTS
from holdfast.chaos.options import Options, draw
from holdfast.chaos.outcome import Outcome
from holdfast.chaos.planting import limits, planted
from holdfast.chaos.world import World

SHRINK_RUNS_MAX = 200
SINGLE_EVERY = 4  # of mixed seeds every so many are worlds of one worker
ALL_MUTANTS = {**MUTANTS, **CLUSTER_MUTANTS}


class Kind(Enum):
    """Which worlds a campaign runs."""

    MIXED = "mixed"
    CLUSTER = "cluster"
    SINGLE = "single"


def kind_of(mutant: str | None) -> Kind:
    """The worlds in which a planted bug can show."""
    if mutant is None:
        return Kind.MIXED
    return Kind.CLUSTER if mutant in CLUSTER_MUTANTS else Kind.SINGLE


@dataclass(slots=True)
class Report:
    """What a campaign found."""

    seeds: int = 0
    boundaries: int = 0
    failures: dict[int, str] = field(default_factory=dict)  # by seed
    counters: Counters = field(default_factory=Counters)


@dataclass(frozen=True, slots=True)
class Campaign:
    """Which worlds to run."""

    applications: dict[str, MakeSubject]
    mutant: str | None = None
    kind: Kind = Kind.SINGLE

    def options(self, seed: int, kept_faults: Sequence[int] | None = None) -> Options | ClusterOptions:
        """The options of one world."""
        names = list(self.applications)
        if self.kind is Kind.SINGLE or (self.kind is Kind.MIXED and seed % SINGLE_EVERY == 0):
            return draw(seed, names, kept_faults)
        return draw_cluster(seed, names, kept_faults)

    def run(
        self,
        options: Options | ClusterOptions,
        show: Callable[[str], None] | None = None,
        *,
        until: int | None = None,
    ) -> Outcome:
        """Run one world."""
        subject = self.applications[options.application](options.seed)
        with limits(options.limits), planted(ALL_MUTANTS[self.mutant] if self.mutant is not None else None):
            if isinstance(options, ClusterOptions):
                if not subject.rests:
                    options = replace(options, common=_finite(options.common))
                return ClusterWorld(subject, options, show).run(until)
            return World(subject, options if subject.rests else _finite(options), show).run(until)

    def run_all(
        self,
        seeds: Sequence[int],
        *,
        failures_max: int = 1,
        on_failure: Callable[[Options | ClusterOptions, Outcome], None] | None = None,
        on_progress: Callable[[Report], None] | None = None,
    ) -> Report:
        """Run a world for every seed, up to so many failures; `on_progress` sees the report before each."""
        report = Report()
        for seed in seeds:
            if on_progress is not None:
                on_progress(report)
            options = self.options(seed)
            outcome = self.run(options)
            report.seeds += 1
            report.boundaries += outcome.boundaries
            report.counters.add(outcome.counters)
            if outcome.failure is not None:
                report.failures[seed] = outcome.failure
                if on_failure is not None:
                    on_failure(options, outcome)
                if len(report.failures) >= failures_max:
                    break
        return report

    def shrink(self, options: Options | ClusterOptions, outcome: Outcome) -> tuple[int, ...]:
        """The numbers of faults that a failing world still fails with; fewer if possible."""
        kept = tuple(outcome.struck)
        for _ in range(SHRINK_RUNS_MAX):
            for fault in kept:
                fewer = tuple(number for number in kept if number != fault)
                if self.run(self.options(options.seed, fewer)).failure is not None:
                    kept = fewer
                    break
            else:
                break
        return kept


def _finite(options: Options) -> Options:
    return replace(options, live=False, ends=True)
