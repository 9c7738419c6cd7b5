"""Numbers in place of positions: where they suffice, and that they sort what members give as positions do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import holdfast as hf
from holdfast.core.pipeline import Pipeline
from holdfast.core.plan import SOURCES, Plan
from holdfast.core.positions import number_base
from holdfast.core.turns import Part
from holdfast.core.types import TypeRegistry


def first(message: Any, total: list[int]) -> Any:
    total.append(1)
    return message


def second(message: Any, total: list[int]) -> Any:
    return first(message, total)


def several(message: Any, total: list[int]) -> Iterator[Any]:
    yield message
    yield message


def timed(message: Any, total: list[int], ctx: hf.Context) -> Any:
    return message


def words(line: str) -> list[str]:
    return line.split()


def again(stream: Any) -> None:
    stream.key_by(str).stateful(second, state=list).sink(hf.sinks.Memory())


def built(build: Callable[[Any], Any]) -> Plan:
    app = hf.Application("numbered")
    build(app.source(hf.sources.Memory(["a b", "c"])).flat_map(words).key_by(str))
    return Plan(app)


@pytest.mark.parametrize(
    ("build", "suffice"),
    [
        (lambda s: s.stateful(first, state=list).sink(hf.sinks.Memory()), True),
        (lambda s: s.stateful(several, state=list).sink(hf.sinks.Memory()), True),
        (lambda s: s.stateful(first, state=list).flat_map(words).sink(hf.sinks.Memory()), True),
        (lambda s: again(s.stateful(first, state=list)), True),
        (lambda s: again(s.stateful(several, state=list)), False),
        (lambda s: again(s.stateful(first, state=list).flat_map(words)), False),
        (lambda s: s.stateful(timed, state=list).sink(hf.sinks.Memory()), False),
    ],
)
def test_numbers_suffice_unless_a_step_behind_another_gets_several_messages_of_one(build: Any, suffice: bool) -> None:
    assert built(build).numbers_suffice is suffice


def test_a_step_that_two_ways_lead_to_needs_positions() -> None:
    def build(stream: Any) -> None:
        counted = stream.stateful(first, state=list)
        again(counted.merge(counted.map(str)))

    assert not built(build).numbers_suffice


def pipeline(**options: Any) -> Pipeline:
    plan = built(lambda s: s.stateful(first, state=list).sink(hf.sinks.Memory()))
    for step in plan.sources + plan.sinks:
        plan.connector(step).bind(TypeRegistry())
    return Pipeline(plan, [(plan.sources[0].index, "p"), (plan.sources[0].index, "q")], TypeRegistry(), **options)


def test_numbers_sort_by_turn_partition_and_place() -> None:
    own = pipeline(exchanged=True)
    column = own.columns[own.plan.stateful[0].index][SOURCES]

    for turn, partition in ((0, 0), (0, 1), (1, 0)):
        own.compute([Part(turn, partition, 0, ["a b", "c"])], lambda part: part)

    assert column.messages == ["a", "b", "c"] * 3
    bases = [number_base(turn, partition, 2) for turn, partition in ((0, 0), (0, 1), (1, 0))]
    assert column.positions == [bases[n // 3] + n for n in range(9)]
    assert column.positions == sorted(column.positions)


def test_a_slice_that_fails_and_is_done_again_is_numbered_in_order() -> None:
    own = pipeline(exchanged=True)
    column = own.columns[own.plan.stateful[0].index][SOURCES]
    own.compute([Part(0, 0, 0, ["a b"])], lambda part: part)
    own.plan.steps[1].on_error = "skip"

    own.compute([Part(0, 0, 1, ["c", 5, "d"])], lambda part: part)  # an int can't be split

    assert column.messages == ["c", "d"]  # what was given before is dropped: the caller takes slice by slice
    assert column.positions == sorted(set(column.positions))
    assert len(column.positions) == 2


def test_careful_steps_and_a_worker_alone_have_no_numbers() -> None:
    careful = pipeline(exchanged=True, careful=frozenset({3}))

    assert pipeline(exchanged=True).numbered
    assert careful.plan.steps[3] is careful.plan.stateful[0]
    assert not careful.numbered
    assert careful.track
    assert not pipeline().numbered
