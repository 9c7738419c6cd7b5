"""Faults strike where they say, and a world's options are drawn from its seed alone."""

from __future__ import annotations

from dataclasses import replace

from holdfast.chaos.faults import ANY, Fault, FaultKind, FaultList
from tests.chaos.campaign import campaign


def test_faults_strike_one_after_the_other_at_the_boundary_they_name() -> None:
    kill = Fault(FaultKind.KILL, "done AppendLog", 2, 0.0, 0.0)
    pause = Fault(FaultKind.PAUSE, ANY, 1, 5.0, 0.0)
    faults = FaultList((kill, pause), None)
    names = ["done AppendLog", "handled Ticked", "done AppendLog", "handled Ticked", "handled Ticked"]

    assert [faults.pass_boundary(name) for name in names] == [None, None, kill, pause, None]
    assert faults.struck == [0, 1]
    assert faults.over


def test_a_fault_whose_boundary_never_comes_strikes_in_the_end() -> None:
    faults = FaultList((Fault(FaultKind.KILL, "done FoldRows", 1, 0.0, 0.0),), None)

    struck = [faults.pass_boundary("handled Ticked") for _ in range(1000)]
    assert sum(fault is not None for fault in struck) == 1


def test_faults_that_are_left_out_do_not_strike() -> None:
    kill = Fault(FaultKind.KILL, ANY, 1, 0.0, 0.0)
    stop = replace(kill, kind=FaultKind.STOP)
    faults = FaultList((kill, stop), [1])

    assert faults.pass_boundary("handled Ticked") == stop
    assert faults.over


def test_options_depend_on_the_seed_alone() -> None:
    assert campaign().options(5) == campaign().options(5)
    assert campaign().options(5) != campaign().options(6)
