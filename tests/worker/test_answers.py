"""What senders are told by a machine that is killed, stopped and driven cruelly, against the reference."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from holdfast import sinks
from holdfast.core.application import Application
from holdfast.core.failures import Origin
from holdfast.core.reference import Reference
from holdfast.core.replies import images_of
from holdfast.core.senders import FORGOTTEN
from holdfast.core.types import TypeRegistry
from holdfast.core.values import decode
from holdfast.worker.settings import Settings
from tests.worker.drive import Driver, Live, outputs_of
from tests.zoo import identical
from tests.zoo.replies import Remembering, as_sent, length, tally, twice

SEEDS = 60
NIGHTLY_SEEDS = 2000
AT_ONCE = 50  # to a test: collecting thousands of tests takes longer than many of them


def draw_records(random: Random) -> list[Any]:
    """Words with ids and without; rising ids, repeats near and far, ids out of order."""
    words = ["a", "b", "bad", "ccc", "dd"]
    records: list[Any] = []
    sequences: Counter[str] = Counter()
    for _ in range(random.choice([5, 60, 300])):
        chance = random.random()
        given = [record for record in records if type(record) is tuple]
        if chance < 0.2:
            records.append(random.choice(words))
        elif chance < 0.45 and given:
            records.append(random.choice(given[-random.choice([3, 1000]) :]))
        else:
            producer = random.choice("pqr")
            sequences[producer] += random.choice([1, 1, 2, -2])
            records.append((random.choice(words), producer, sequences[producer]))
    return records


def picky(word: str) -> str:
    if word == "dd":
        raise ValueError(word)
    return word


def application(records: list[Any], remembered: int, entities_in_memory: int | None) -> Application:
    source = Remembering(records)
    source.remembered = remembered
    app = Application("answers", on_error="skip", entities_in_memory=entities_in_memory)
    words = app.source(Live(source), name="sent").reply().map(picky)
    tallied = words.flat_map(twice).reply().key_by(length).stateful(tally, state=list)
    words.key_by(length).stateful(tally, state=list, name="again").reply().sink(sinks.Memory(), name="again")
    tallied.reply().sink(sinks.Memory(), name="tallied")
    return app


def check(seed: int) -> None:
    random = Random(seed)
    records = draw_records(random)
    remembered, limit = random.choice([1, 3, 20, 1000]), random.choice([None, None, 1, 9])
    settings = Settings(
        checkpoint_ms=random.choice([1, 10, 60, 1000]),
        epoch_bytes_min=random.choice([1, 100, 5000]),
        epoch_bytes_max=random.choice([100, 20000]),
        slice_records=random.choice([1, 7, 128]),
        rows_per_slice=random.choice([1, 5, 4000]),
        entities_in_memory=limit,
    )
    registry = TypeRegistry()
    driver = Driver(application(records, remembered, limit), registry, settings, random=random)
    driver.kills = [random.randrange(1, 150) if random.random() < 0.7 else 10**6 for _ in range(random.randrange(6))]
    driver.stops = [random.randrange(1, 200) for _ in range(random.randrange(4))]

    assert driver.run() == (None, True)

    reference = Reference(application(records, remembered, limit))
    expected = reference.run({"sent": as_sent(records)}, driver.disk.rows)
    assert identical(outputs_of(driver), expected)
    first: dict[Any, Any] = {}  # id -> what it was answered at first
    for number, record in enumerate(records):
        answer = driver.disk.answers[0, number]
        replies = reference.replies.get(Origin("sent", "0", number))
        identity = record[1:] if type(record) is tuple else None
        if replies is not None:  # every message that is applied has some
            assert [decode(image, registry) for image in images_of(answer)] == replies
            first[identity] = answer
        else:
            assert identity is not None
            assert answer is FORGOTTEN or answer == first[identity]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_senders_are_told_what_the_reference_says_and_always_the_same(seed: int) -> None:
    check(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("start", range(SEEDS, NIGHTLY_SEEDS, AT_ONCE))
def test_many_senders_are_told_what_the_reference_says(start: int) -> None:
    for seed in range(start, min(start + AT_ONCE, NIGHTLY_SEEDS)):
        check(seed)
