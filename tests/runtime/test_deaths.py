"""The lines about processes that died: one for a recovery, rarer ones in a loop, none lost."""

from __future__ import annotations

from typing import Any

from holdfast.runtime.deaths import CALM_MS, PATIENCE_MS, Deaths

KILLED = "SIGKILL"


def recovery(detected: int, flowing: int | None = 80, kind: str = "failure", generation: int = 5) -> dict[str, Any]:
    ms = {"chosen": 34, "returned": 50, "replayed": 60, "flowing": flowing}
    return {"generation": generation, "kind": kind, "why": ["a node is lost"], "detected": detected, "ms": ms}


def status(*recoveries: dict[str, Any], waiting: str = "", state: str = "run") -> dict[str, Any]:
    return {"state": state, "waiting": waiting, "recoveries": list(recoveries)}


def test_a_death_is_one_line_with_the_recovery_once_outputs_flow_again() -> None:
    deaths = Deaths()
    deaths.died(1_000, "worker 2", KILLED)

    assert deaths.tell(1_050, status(recovery(0), recovery(1_002, None))) is None
    assert deaths.tell(1_200, status(recovery(0), recovery(1_002))) == (
        "worker 2 died (SIGKILL) and is started again; "
        "generation 5 after 34 ms, outputs flow again after 80 ms"
    )
    assert not deaths.wants_status


def test_several_that_die_together_are_in_one_line() -> None:
    deaths = Deaths()
    for name in ("worker 1", "worker 3"):
        deaths.died(1_000, name, KILLED)

    line = deaths.tell(1_200, status(recovery(1_002)))

    assert line is not None
    assert line.startswith("worker 1 and worker 3 died (SIGKILL) and are started again; generation 5")


def test_a_recovery_that_takes_long_is_told_twice_with_what_is_waited_for() -> None:
    deaths = Deaths()
    deaths.died(1_000, "worker 2", KILLED)
    long = 1_000 + PATIENCE_MS

    assert deaths.tell(long, status(recovery(1_002, None), waiting="waiting for node b", state="collect")) == (
        "worker 2 died (SIGKILL) and is started again; outputs do not flow yet: waiting for node b"
    )
    assert deaths.tell(long + 100, status(recovery(1_002, None))) is None
    assert deaths.tell(long + 900, status(recovery(1_002, 3_900))) == (
        "outputs flow again after 3900 ms, in generation 5"
    )
    assert not deaths.wants_status


def test_who_was_no_member_is_only_started_again() -> None:
    deaths = Deaths()
    deaths.died(1_000, "worker 2", KILLED)

    assert deaths.tell(1_500, status(recovery(0))) is None
    line = deaths.tell(1_000 + PATIENCE_MS, status(recovery(0), recovery(1_500, kind="planned")))
    assert line == "worker 2 died (SIGKILL) and is started again"


def test_of_the_coordinator_it_is_said_that_data_flows_on() -> None:
    deaths = Deaths()
    deaths.died(1_000, "coordinator", KILLED)

    assert deaths.tell(1_100, None) is None
    line = deaths.tell(1_400, status())
    assert line is not None
    assert "coordinator died (SIGKILL) and is started again; data flows on without it" in line


def test_in_a_loop_of_deaths_lines_become_rare_and_every_death_is_counted() -> None:
    deaths, said, told, now = Deaths(), [], 0, 0
    for now in range(0, 60_000, 200):
        deaths.died(now, "worker 2", KILLED)
        line = deaths.tell(now + 100, status(recovery(now)))
        if line is not None:
            said.append(line)
            told += line.fields["deaths"]
    last = deaths.tell(now + 100_000, status(recovery(now)))
    assert last is not None

    assert len(said) <= 8
    assert told + last.fields["deaths"] == 300
    assert "died (SIGKILL) 5 times" in said[1]

    deaths.died(now + 100_000 + CALM_MS, "worker 2", KILLED)
    assert deaths.tell(now + 100_100 + CALM_MS, status(recovery(now + 100_000 + CALM_MS))) is not None


def test_what_was_not_told_before_the_end_is_told_at_the_end() -> None:
    deaths = Deaths()
    deaths.died(1_000, "worker 2", KILLED)

    assert deaths.rest() == "worker 2 died (SIGKILL) and is started again"
    assert deaths.rest() is None


def test_that_outputs_flow_again_is_not_told_twice() -> None:
    deaths = Deaths()
    deaths.died(1_000, "worker 2", KILLED)
    long = 1_000 + PATIENCE_MS
    assert deaths.tell(long, status(recovery(1_002, None))) is not None
    deaths.died(long + 100, "worker 2", KILLED)

    assert deaths.tell(long + 5_000, status(recovery(1_002, 6_000))) is not None
    assert not deaths.wants_status
