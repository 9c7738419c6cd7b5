"""The reference gives the hand-derived outputs of the zoo, whatever is done to states between messages."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.core import values
from holdfast.core.reference import Reference, RunStoppedError
from holdfast.core.types import TypeRegistry, collect
from tests.zoo import Case, all_cases, identical

CASES = all_cases()


def outputs_of(case: Case, reload: Callable[[Any], Any] | None = None) -> dict[str, list[Any]]:
    """What the reference puts out, up to where it stops if the case says that it does."""
    reference = Reference(case.build(), reload=reload)
    if case.stops is None:
        return reference.run(case.inputs)
    with pytest.raises(RunStoppedError) as stopped:
        reference.run(case.inputs)
    assert stopped.value.step == case.stops
    return stopped.value.outputs


def test_cases_have_names_of_their_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 14


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_are_those_derived_by_hand(case: Case) -> None:
    outputs = outputs_of(case)
    assert outputs.keys() == case.expected.keys()
    for sink, expected in case.expected.items():
        assert identical(outputs[sink], list(expected)), (sink, outputs[sink])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_running_twice_gives_the_same(case: Case) -> None:
    assert identical(outputs_of(case), outputs_of(case))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_states_can_be_copied_between_messages(case: Case) -> None:
    assert identical(outputs_of(case, reload=copy.deepcopy), outputs_of(case))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_states_can_be_encoded_and_decoded_between_messages(case: Case) -> None:
    steps = case.build().steps
    functions = [step.function for step in steps if step.function is not None]
    factories = [step.state_factory for step in steps if isinstance(step.state_factory, type)]
    registry = TypeRegistry(collect(functions, factories))
    assert identical(
        outputs_of(case, reload=lambda state: values.decode(values.encode(state, registry), registry)), outputs_of(case)
    )
