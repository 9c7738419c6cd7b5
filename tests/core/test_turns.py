"""Turns of epochs against the serial order of the reference, which has all records in hand."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

import holdfast as hf
from holdfast.core import serial_order
from holdfast.core.application import Application
from holdfast.core.epochs import EpochRow
from holdfast.core.serial_order import At
from holdfast.core.turns import ROUND, DecodedChunk, turns_of

Times = list[int | None]
Parts = list[tuple[int, int, list[Any], int]]  # (partition, first, records, time)


@dataclass
class Drawn:
    """Partitions with or without times of their own, and how they were cut into epochs."""

    partitions: list[list[int]]
    times: list[Times | None]
    epochs: list[tuple[list[DecodedChunk], int]]  # chunks and the logged time
    rows: list[EpochRow]


def draw(random: Random, *, live: bool) -> Drawn:
    """As an intake would log it."""
    lengths = [random.choice([0, 1, 63, 64, 65, 128, 200]) for _ in range(random.randrange(1, 4))]
    timed = random.random() < 0.5
    drawn = Drawn([list(range(n)) for n in lengths], [], [], [])
    for length in lengths:
        drawn.times.append([random.randrange(1000) for _ in range(length)] if timed else None)
    taken, clocks, epoch_time = [0] * len(lengths), [0] * len(lengths), 0
    clock = 100
    ended = [False] * len(lengths)
    while not all(ended):
        clock += random.choice([-20, 0, 5, 40])
        rounds = random.randrange(1, 4)
        chunks: list[DecodedChunk] = []
        parts = []
        for index, length in enumerate(lengths):
            if ended[index] or (live and random.random() < 0.3):
                continue
            count = min(length - taken[index], random.randrange(90) if live else rounds * ROUND)
            first, end = taken[index], taken[index] + count
            times = drawn.times[index]
            own = clock if times is None else max((t for t in times[first:end] if t is not None), default=0)
            clocks[index] = max(clocks[index], own)
            taken[index] = end
            # Some sources learn of their end only when they are asked once more.
            ended[index] = end == length and (live or count < rounds * ROUND or random.random() < 0.5)
            records = drawn.partitions[index][first:end]
            part_times = None if times is None else times[first:end]
            chunks.append(DecodedChunk(index, first, records, part_times, clocks[index]))
            parts.append((index, count, clocks[index], ended[index]))
        alarm = clock if live and random.random() < 0.2 else 0
        epoch_time = max([epoch_time, alarm, *(chunk.time for chunk in chunks)])
        drawn.epochs.append((chunks, epoch_time))
        drawn.rows.append(EpochRow(len(drawn.rows) + 1, epoch_time, tuple(parts)))
    return drawn


def of_the_engine(drawn: Drawn, *, live: bool) -> list[tuple[int, Parts]]:
    """Each turn's time and parts, epoch after epoch."""
    found: list[tuple[int, Parts]] = []
    clocks: dict[int, int] = {}
    time = 0
    for chunks, logged in drawn.epochs:
        for turn in turns_of(chunks, live=live, clocks=clocks, time=max(time, logged if live else 0)):
            time = turn.time
            parts = [(p.partition, p.first, list(p.records), turn.part_times[p.partition]) for p in turn.parts]
            found.append((time, parts))
    return found


def of_the_reference(drawn: Drawn, rows: list[EpochRow] | None, *, live: bool) -> list[tuple[int, Parts]]:
    app = Application("turns")
    app.source(hf.sources.Memory([])).sink(hf.sinks.Memory())
    inputs = {
        str(index): records if (times := drawn.times[index]) is None else list(map(At, times, records))  # type: ignore[arg-type]
        for index, records in enumerate(drawn.partitions)
    }
    partitions = serial_order.partitions_of(app, {"source": inputs})
    names = {id(partition): index for index, partition in enumerate(partitions)}
    return [
        (time, [(names[id(c.partition)], c.first, c.records, c.time) for c in chunks if c.records])
        for time, chunks in serial_order.turns(partitions, rows, live=live)
    ]


@pytest.mark.parametrize("seed", range(150))
@pytest.mark.parametrize("live", [False, True], ids=["finite", "live"])
def test_turns_of_epochs_are_those_of_the_reference(seed: int, live: bool) -> None:
    drawn = draw(Random(seed), live=live)

    assert of_the_engine(drawn, live=live) == of_the_reference(drawn, drawn.rows, live=live)


@pytest.mark.parametrize("seed", range(60))
def test_rounds_of_records_with_times_do_not_depend_on_the_cuts(seed: int) -> None:
    drawn = draw(Random(seed), live=False)
    if drawn.times[0] is not None:
        assert of_the_engine(drawn, live=False) == of_the_reference(drawn, None, live=False)


def test_an_epoch_of_live_sources_without_records_is_a_turn() -> None:
    (turn,) = turns_of([], live=True, clocks={}, time=70)

    assert (turn.time, turn.parts) == (70, [])


def test_an_epoch_of_files_without_records_is_no_turn() -> None:
    ended = DecodedChunk(0, 64, [], None, 90)

    assert list(turns_of([ended], live=False, clocks={}, time=70)) == []


def test_an_undecodable_record_has_no_time() -> None:
    chunk = DecodedChunk(0, 0, ["a", "b"], [None, None], 90)
    clocks: dict[int, int] = {}

    (turn,) = turns_of([chunk], live=False, clocks=clocks, time=0)

    assert (turn.time, clocks) == (0, {0: 0})
