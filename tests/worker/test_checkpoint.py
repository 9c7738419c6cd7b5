"""Checkpoints under changes that go on while they are written: what counts on disk is the state of the cut."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest

from holdfast.core.entities import Book, Entity, Rows
from holdfast.core.errors import ValueTypeError
from holdfast.core.images import unpack
from holdfast.core.types import TypeRegistry
from holdfast.worker import checkpoint
from holdfast.worker import effects as do
from holdfast.worker.checkpoint import Checkpoints
from holdfast.worker.fold import Folding
from holdfast.worker.record import Record
from holdfast.worker.settings import Settings

KEYS = 8


class Desk:
    """Checkpoints of one step, onto a disk that is a dict."""

    def __init__(self, rows_per_slice: int) -> None:
        self.registry = TypeRegistry()
        self.book = Book(make_state=list, takes_key=False, timed=False, registry=self.registry, step="step")
        folding = Folding({}, self.registry)
        self.checkpoints = Checkpoints(
            {"step": self.book}, [], self.registry, Settings(rows_per_slice=rows_per_slice), folding
        )
        self.disk: dict[int, list[bytes]] = {}
        self.drops = 0

    def change(self, key: int, value: int) -> None:
        book = self.book
        entity = book.entities.get(key) or book.make(key)
        if entity.mark != book.interval:
            book.touch(entity)
        entity.state.append(value)

    def delete(self, key: int) -> None:
        book = self.book
        if key in book.entities:
            entity: Entity = book.entities[key]
            if entity.mark != book.interval:
                book.touch(entity)
            book.remove(entity)

    def begin(self, number: int) -> None:
        record = Record(number, number, 0, False, 0, 1, False, False, 0, {})
        self.carry_out(self.checkpoints.begin(record, Rows(), {}))

    def slice(self) -> None:
        self.carry_out(self.checkpoints.slice())

    def carry_out(self, orders: list[do.Effect]) -> None:
        for order in orders:
            match order:
                case do.StageChunks(number, chunks):
                    self.disk.setdefault(number, []).extend(chunks)
                    self.carry_out(self.checkpoints.chunks_staged(number, len(chunks)))
                case do.SyncSinks(number):
                    self.carry_out(self.checkpoints.sinks_synced(number))
                case do.CompleteCheckpoint(number, _, drop_before):
                    self.drops += drop_before > 0
                    self.disk = {n: chunks for n, chunks in self.disk.items() if n >= drop_before}
                    self.carry_out(self.checkpoints.completed(number))

    def stored(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for number in sorted(self.disk):
            for chunk in self.disk[number]:
                images = unpack(chunk, self.registry)
                if images.step == "step":
                    for key in images.removed:
                        found.pop(key, None)
                    found.update(zip(images.keys, images.states, strict=True))
        return found

    def state(self) -> dict[int, Any]:
        return {key: copy.deepcopy(entity.state) for key, entity in self.book.entities.items()}


@pytest.mark.parametrize("seed", range(60))
def test_compaction_loses_nothing_that_changes_while_it_runs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "ROWS_FREE", 0)
    random = Random(seed)
    desk = Desk(random.choice([1, 2, 100]))

    def disturb(chance: float, value: int) -> None:
        for key in range(KEYS):
            if random.random() < chance:
                (desk.delete(key) if random.random() < 0.2 else desk.change(key, value))

    for key in range(KEYS):
        desk.change(key, 0)
    for number in range(1, 25):
        expected = desk.state()
        desk.begin(number)
        while desk.checkpoints.writing is not None:
            disturb(0.15, number)
            desk.slice()
        assert desk.stored() == expected
        disturb(0.3, -number)
    assert desk.drops


def test_the_disk_holds_a_few_times_the_live_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "ROWS_FREE", 0)
    desk = Desk(3)
    for number in range(1, 60):
        for key in range(KEYS):
            desk.change(key, number)
        desk.begin(number)
        while desk.checkpoints.writing is not None:
            desk.slice()
        rows = sum(len(unpack(chunk, desk.registry).keys) for chunks in desk.disk.values() for chunk in chunks)
        assert rows <= 8 * KEYS


def test_a_slice_is_no_longer_than_it_may_be_also_in_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "ROWS_FREE", -100)
    desk = Desk(3)
    for key in range(40):
        desk.change(key, 1)
    for number in (1, 2):
        desk.begin(number)
        while desk.checkpoints.writing is not None:
            desk.slice()

    sizes = [len(unpack(chunk, desk.registry).keys) for chunk in desk.disk[2]]
    assert max(sizes) <= 3
    assert sum(sizes) > 3


def test_a_state_that_is_no_value_names_its_step() -> None:
    desk = Desk(3)
    desk.change(1, 1)
    desk.book.entities[1].state.append(object())

    desk.begin(1)
    with pytest.raises(ValueTypeError, match=r"step 'step', key .*: its state is not a value"):
        desk.slice()
