"""The zoo through the worker's machine, over plain lists, with kind and with cruel limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

import holdfast as hf
from holdfast import sinks, sources
from holdfast.core.turns import ROUND
from holdfast.worker import apply
from holdfast.worker.settings import Settings
from tests.worker.drive import run_case
from tests.zoo import Case, all_cases, identical

KIND = Settings()
SIZES = {"a": 200, "b": 0, "c": 513}
CRUEL = Settings(
    checkpoint_ms=10,
    epoch_bytes_min=16,
    epoch_bytes_max=64,
    slice_records=1,
    rows_per_slice=1,
    replay_bytes=1,
)
TINY = replace(CRUEL, entities_in_memory=1)


def test_records_are_decoded_a_few_at_a_time_in_the_order_of_their_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "DECODED_AT_ONCE", 1000)  # bytes: parts end inside of rounds
    outputs = sinks.Memory()
    app = hf.Application("parts")
    numbers = [app.source(sources.Memory([(name, at) for at in range(count)])) for name, count in SIZES.items()]
    merged = numbers[0].merge(numbers[1]).merge(numbers[2])
    merged.key_by(lambda message: message[0]).stateful(lambda message, _: message, state=list, name="all").sink(outputs)

    rounds = range(1 + max(SIZES.values()) // ROUND)
    expected = [(name, at) for r in rounds for name, count in SIZES.items() for at in range(count)[r * ROUND :][:ROUND]]
    given, _, error = run_case(app, KIND)

    assert error is None
    assert list(given.values()) == [expected]


@pytest.mark.parametrize("settings", [KIND, CRUEL, TINY], ids=["kind", "cruel", "tiny"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_the_worker_gives_what_was_derived_by_hand(case: Case, settings: Settings) -> None:
    outputs, _, error = run_case(case.build(), settings)

    assert identical(outputs, {name: list(values) for name, values in case.expected.items()})
    assert getattr(error, "step", None) == case.stops
