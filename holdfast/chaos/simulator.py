"""Thousands of worlds, one seed each: `python -m holdfast.chaos.simulator --seeds 0..999`.

A seed that fails prints its options, the last things that happened and the command that shows it again; its
faults are then left out one by one as long as it still fails. The clock here only measures the campaign; no
world ever sees it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence

from holdfast.chaos.campaign import ALL_MUTANTS, Campaign, Kind, Report, kind_of
from holdfast.chaos.catalogue import EVERYTHING, MakeSubject, catalogue
from holdfast.chaos.cluster_options import ClusterOptions
from holdfast.chaos.counters import CLUSTER_SITUATIONS, SITUATIONS
from holdfast.chaos.options import Options
from holdfast.chaos.outcome import Outcome
from holdfast.core.errors import UsageError

SHOWN_LINES = 40
ALL = "all"
PROGRESS_SECONDS = 15.0


def parse_seeds(text: str) -> list[int]:
    """`7`, `0..999` or several of these with commas between."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dots, last = part.partition("..")
        seeds.extend(range(int(first), int(last) + 1) if dots else [int(first)])
    return seeds


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m holdfast.chaos.simulator", description="Worlds, one seed each."
    )
    parser.add_argument(
        "--seeds", type=parse_seeds, default=parse_seeds("0..99"), help="7, 0..999 or 1,5,8..9"
    )
    parser.add_argument(
        "--app", default=EVERYTHING, help="zoo+random (default), random, one of the zoo, module:name"
    )
    parser.add_argument(
        "--mutant",
        choices=[*ALL_MUTANTS, ALL],
        metavar="BUG",
        help="plant a bug that must be found (their names stand in docs/simulator.md), or `all`, one by one",
    )
    kinds = parser.add_mutually_exclusive_group()
    for kind, meaning in ((Kind.CLUSTER, "whole clusters only"), (Kind.SINGLE, "one worker only")):
        kinds.add_argument(f"--{kind.value}", dest="kind", action="store_const", const=kind, help=meaning)
    parser.add_argument("--failures", type=int, default=1, help="go on until so many seeds have failed")
    parser.add_argument("--faults", help="only the faults with these numbers, with one seed: 0,3 (or none)")
    parser.add_argument("--until", type=int, help="look at one seed up to this boundary")
    parser.add_argument("--verbose", action="store_true", help="show everything that happens")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; 0 if no seed failed, 1 otherwise."""
    given = parse_arguments(arguments)
    try:
        applications = catalogue(given.app)
    except UsageError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if given.mutant == ALL:
        return _try_mutants(applications, given.seeds)
    kind = given.kind or kind_of(given.mutant)
    campaign = Campaign(applications, given.mutant, kind)
    if len(given.seeds) == 1:
        return _show_one(campaign, given)
    started = time.perf_counter()
    report = campaign.run_all(
        given.seeds,
        failures_max=given.failures,
        on_failure=lambda o, out: _explain(campaign, o, out, given),
        on_progress=_Progress(len(given.seeds)),
    )
    seconds = time.perf_counter() - started
    print(
        f"{report.seeds} seeds, {report.seeds - len(report.failures)} clean, {report.boundaries} boundaries,"
        f" {report.seeds / seconds:.1f} seeds/s"
    )
    if not report.failures:
        print(f"95 % sure that fewer than {3 / report.seeds:.2g} of all seeds fail")
    if given.verbose or not report.failures:
        for situation, meaning in (SITUATIONS | CLUSTER_SITUATIONS).items():
            print(f"{report.counters[situation]:8}  {situation}: {meaning}")
    return 1 if report.failures else 0


class _Progress:
    """Tells those who wait how far a long campaign has got."""

    def __init__(self, seeds: int) -> None:
        self._seeds = seeds
        self._started = self._told = time.monotonic()

    def __call__(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        print(
            f"{report.seeds} of {self._seeds} seeds after {now - self._started:.0f} s, {len(report.failures)} failed",
            file=sys.stderr,
            flush=True,
        )


def _try_mutants(applications: dict[str, MakeSubject], seeds: Sequence[int]) -> int:
    """Print for every mutant after how many seeds it is caught; 1 if one survives."""
    survivors = 0
    print("| mutant | the rule that is missing | seeds | found as |\n|---|---|---|---|")
    for name, mutant in ALL_MUTANTS.items():
        report = Campaign(applications, name, kind_of(name)).run_all(seeds)
        found = next(iter(report.failures.values()), "survived").partition(" (in ")[0]
        survivors += not report.failures
        print(f"| {name} | {mutant.rule} | {report.seeds} | {found[:80].replace('|', '/')} |", flush=True)
    return 1 if survivors else 0


def _show_one(campaign: Campaign, given: argparse.Namespace) -> int:
    """Run one seed and tell everything about it."""
    kept = None
    if given.faults is not None:
        kept = tuple(int(number) for number in given.faults.split(",") if number.isdigit())
    options = campaign.options(given.seeds[0], kept)
    print("\n".join(options.lines()))
    outcome = campaign.run(options, print if given.verbose else None, until=given.until)
    print(f"digest {outcome.digest}, {outcome.boundaries} boundaries, faults that struck: {outcome.struck}")
    if outcome.failure is None:
        print("IDENTICAL")
        return 0
    if not given.verbose:
        print("\n".join(outcome.lines[-SHOWN_LINES:]))
    print(outcome.failure)
    return 1


def _explain(
    campaign: Campaign, options: Options | ClusterOptions, outcome: Outcome, given: argparse.Namespace
) -> None:
    """Print what a reader needs to see a failure again, with as few faults as it still fails with."""
    print(f"--- seed {options.seed} fails: {outcome.failure}")
    kept = campaign.shrink(options, outcome)
    fewer = campaign.options(options.seed, kept)
    outcome = campaign.run(fewer)
    print("\n".join(fewer.lines()))
    print("\n".join(outcome.lines[-SHOWN_LINES:]))
    print(outcome.failure)
    again = ["--seeds", str(options.seed), "--app", given.app, "--faults", ",".join(map(str, kept)) or "none"]
    if given.kind:
        again.append(f"--{given.kind.value}")
    if given.mutant:
        again += ["--mutant", given.mutant]
    print(f"again: python -m holdfast.chaos.simulator {shlex.join(again)}")


if __name__ == "__main__":
    sys.exit(main())
