"""Simulated sources keep what the machine is promised of sources."""

from __future__ import annotations

from holdfast.chaos.inputs import Input, OpenInput, SimulatedSource


def opened(
    count: int, *, live: bool, ends: bool = True, notices_end: bool = True, now: float = 0.0
) -> OpenInput:
    source = SimulatedSource({"0": list(range(count))}, live=live)
    arrivals = tuple(10.0 * number for number in range(count))
    return OpenInput(Input(source, "0", arrivals, ends, notices_end), None, lambda: now)


def test_a_finite_input_gives_exactly_what_is_asked_or_ends() -> None:
    finite = opened(5, live=False)
    assert [finite.read(3)[1::2], finite.read(2)[1::2]] == [(3, False), (2, True)]

    late = opened(4, live=False, notices_end=False)
    assert [late.read(4)[1::2], late.read(4)[1::2]] == [(4, False), (0, True)]


def test_a_live_input_gives_what_has_arrived_and_waits_for_the_rest() -> None:
    live = opened(5, live=True, now=25.0)

    assert live.ready() == 0.0
    assert live.read(100)[1::2] == (3, False)
    assert live.ready() == 30.0


def test_a_live_input_that_never_ends_never_says_so() -> None:
    live = opened(1, live=True, ends=False)

    assert live.read(100)[1::2] == (1, False)
    assert live.ready() is None
