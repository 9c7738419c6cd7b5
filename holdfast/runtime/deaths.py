"""What is said when processes of a cluster die: one line for each recovery, and few however many die. Pure.

    worker 2 died (SIGKILL) and is started again; generation 5 after 34 ms, outputs flow again after 80 ms
Invariant: every death is in some line; in a loop of deaths the lines become rarer, and count.
Not here: what follows from a death (supervisor), and how a recovery goes (recovery).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, cast

from holdfast.recovery.coordinator import State
from holdfast.recovery.recoveries import Kind
from holdfast.runtime.notice import Notice

COORDINATOR: Final = "coordinator"
PLANNED: Final = Kind.PLANNED.value
RUN: Final = State.RUN.value
PATIENCE_MS: Final = 3_000  # how long a line waits for the recovery that it tells of
PAUSE_MS: Final = 1_000  # between two lines, doubled while processes go on dying …
PAUSE_MS_MAX: Final = 16_000  # … up to this
CALM_MS: Final = 20_000  # without a death: lines may follow each other again
EARLY_MS: Final = 100  # the coordinator may see a connection break before the supervisor sees the end


class Deaths:
    """Deaths that were not told of yet, and the recovery that is waited for."""

    def __init__(self) -> None:
        self._ends: Counter[tuple[str, str]] = Counter()  # (name, how)
        self._since = 0  # the first of them
        self._last = 0  # the latest death of all
        self._silent_until = 0
        self._pause = PAUSE_MS
        self._unfinished = 0  # the time of deaths that were told of before outputs flowed again

    def died(self, now: int, name: str, how: str) -> None:
        """A process has died, and is started again."""
        if now - self._last > CALM_MS:
            self._pause = PAUSE_MS
        self._last = now
        if not self._ends:
            self._since = now
        self._ends[name, how] += 1

    @property
    def wants_status(self) -> bool:
        """Whether it is worth asking how the cluster is doing."""
        return bool(self._ends or self._unfinished)

    def tell(self, now: int, status: Mapping[str, Any] | None) -> Notice | None:
        """What is to be said now, as the coordinator describes the cluster; None of it: it does not answer."""
        if self._ends:
            return self._tell_deaths(now, status)
        if not self._unfinished:
            return None
        found = _recovery(status, self._unfinished)
        if found is None or found["ms"]["flowing"] is None:
            return None
        self._unfinished = 0
        told = f"outputs flow again after {found['ms']['flowing']} ms, in generation {found['generation']}"
        return Notice(told, "recovered", **found["ms"], generation=found["generation"])

    def _tell_deaths(self, now: int, status: Mapping[str, Any] | None) -> Notice | None:
        if now < self._silent_until:
            return None
        alone = {name for name, _ in self._ends} == {COORDINATOR}
        found = _recovery(status, self._since)
        flows = status is not None and (found["ms"]["flowing"] is not None if found is not None else _flows(status))
        is_known = flows and (alone or found is not None)
        if not is_known and now - self._since < PATIENCE_MS:
            return None
        told = f"{self._who()} started again"
        if flows:
            self._unfinished = 0
        if found is not None and flows:
            told += f"; {_phases(found)}"
        elif alone:
            told += "; data flows on without it, a change of members waits for it"
        elif not flows:
            waiting = status["waiting"] if status is not None else "the coordinator does not answer"
            told += f"; outputs do not flow yet{f': {waiting}' if waiting else ''}"
            self._unfinished = self._since
        notice = self._notice(told, found["ms"] | {"generation": found["generation"]} if found is not None else {})
        self._silent_until = now + self._pause
        self._pause = min(2 * self._pause, PAUSE_MS_MAX)
        return notice

    def rest(self) -> Notice | None:
        """At the end: deaths that are in no line yet."""
        return self._notice(f"{self._who()} started again", {}) if self._ends else None

    def _notice(self, told: str, recovery: Mapping[str, Any]) -> Notice:
        """The line about all deaths that were not told of yet."""
        fields = {
            "processes": sorted({name for name, _ in self._ends}),
            "ends": sorted({how for _, how in self._ends}),
            "deaths": self._ends.total(),
        }
        self._ends.clear()
        return Notice(told, "restarted", level="warning", **fields, **recovery)

    def _who(self) -> str:
        """Who ended how, and the verb that goes with it."""
        names_by_end: dict[str, list[str]] = {}
        for (name, how), count in sorted(self._ends.items()):
            names_by_end.setdefault(f"({how}){f' {count} times' if count > 1 else ''}", []).append(name)
        parts = [f"{' and '.join(names)} died {how}" for how, names in names_by_end.items()]
        several = len({name for name, _ in self._ends}) > 1
        return f"{', '.join(parts)} and {'are' if several else 'is'}"


def _recovery(status: Mapping[str, Any] | None, since: int) -> Mapping[str, Any] | None:
    """The first recovery that may be of deaths since then."""
    for found in status["recoveries"] if status is not None else []:
        flowing = found["ms"]["flowing"]
        is_later = flowing is None or found["detected"] + flowing >= since - EARLY_MS
        if is_later and found["kind"] != PLANNED:
            return cast("Mapping[str, Any]", found)
    return None


def _flows(status: Mapping[str, Any]) -> bool:
    """Whether no recovery is under way: who died was no member."""
    recoveries = status["recoveries"]
    return status["state"] == RUN and (not recoveries or recoveries[-1]["ms"]["flowing"] is not None)


def _phases(recovery: Mapping[str, Any]) -> str:
    return (
        f"generation {recovery['generation']} after {recovery['ms']['chosen']} ms, "
        f"outputs flow again after {recovery['ms']['flowing']} ms"
    )
