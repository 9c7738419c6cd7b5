"""The shadow at every cut equals a model of the primaries."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.core.entities import Entity, Rows
from holdfast.core.images import pack
from holdfast.core.types import TypeRegistry
from holdfast.replication.shadow import Image, Shadow

REGISTRY = TypeRegistry()
PRIMARIES = ("a", "b")
Content = dict[int, int]


def chunk_of(content: dict[int, int], removed: list[int], step: str = "step") -> bytes:
    rows = Rows()
    for key, value in content.items():
        rows.add(Entity(key, value))
    rows.removed = list(removed)
    return pack(step, rows, REGISTRY)


def range_of(key: Any) -> int:
    """Even keys are of range 0 (of a), odd ones of range 1 (of b)."""
    return int(key) % 2


def content_of(shadow: Shadow) -> Content:
    return {key: image.state for images in shadow.entities.values() for key, image in images.items()}


class ShadowMachine(RuleBasedStateMachine):
    """Two primaries that change, cut and send; update sets of one may run ahead of the other's."""

    def __init__(self) -> None:
        super().__init__()
        self.shadow = Shadow(REGISTRY, lambda step: range_of)
        self.shadow.begin(0, PRIMARIES)
        self.now: Content = {}
        self.touched: set[int] = set()
        self.at_cut: dict[int, Content] = {0: {}}
        self.epoch = 0
        self.under_way: dict[str, deque[tuple[int, tuple[bytes, ...]]]] = {p: deque() for p in PRIMARIES}

    @rule(key=st.integers(0, 7), value=st.one_of(st.none(), st.integers(0, 99)))
    def change(self, key: int, value: int | None) -> None:
        self.touched.add(key)
        if value is None:
            self.now.pop(key, None)
        else:
            self.now[key] = value

    @rule()
    def cut(self) -> None:
        self.epoch += 1
        self.at_cut[self.epoch] = dict(self.now)
        for number, primary in enumerate(PRIMARIES):
            own = [key for key in self.touched if key % 2 == number]
            chunk = chunk_of({k: self.now[k] for k in own if k in self.now}, [k for k in own if k not in self.now])
            self.under_way[primary].append((self.epoch, (chunk,) if own else ()))
        self.touched.clear()

    @rule(primary=st.sampled_from(PRIMARIES))
    def take(self, primary: str) -> None:
        if self.under_way[primary]:
            cut, chunks = self.under_way[primary].popleft()
            self.shadow.take(primary, cut, chunks)
            assert self.shadow.tops[primary] == cut

    @rule()
    def fold(self) -> None:
        """What all have sent may be sealed."""
        self.shadow.fold(min(self.shadow.tops.values()))

    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        cut = data.draw(st.integers(self.shadow.base, min(self.shadow.tops.values())))
        self.shadow.at(cut)
        self.shadow.begin(cut, PRIMARIES)
        self.epoch, self.now, self.touched = cut, dict(self.at_cut[cut]), set()
        for waiting in self.under_way.values():
            waiting.clear()

    @rule(ranges=st.sets(st.integers(0, 1)), data=st.data())
    def give_up_and_receive(self, ranges: set[int], data: st.DataObject) -> None:
        """Ranges go and come back at a return, as roles change."""
        self.come_back(data)
        given = list(self.shadow.give_up(ranges))
        assert {key: image.state for _, key, image in given} == {k: v for k, v in self.now.items() if k % 2 in ranges}
        assert not any(range_of(key) in ranges for key in content_of(self.shadow))
        for step, key, image in given:
            self.shadow.receive(step, key, image)

    @invariant()
    def it_stands_at_its_base(self) -> None:
        assert content_of(self.shadow) == self.at_cut[self.shadow.base]


TestShadow = ShadowMachine.TestCase
TestShadow.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True, database=None)


def test_a_later_update_set_replaces_what_an_earlier_one_held() -> None:
    shadow = Shadow(REGISTRY, lambda step: range_of)
    shadow.begin(4, ["a"])
    shadow.take("a", 5, (chunk_of({2: 1, 4: 1}, []),))
    shadow.take("a", 7, (chunk_of({2: 9}, [4]),))
    shadow.fold(6)
    assert content_of(shadow) == {2: 1, 4: 1}
    shadow.fold(7)
    assert content_of(shadow) == {2: 9}


def test_nothing_is_given_up_while_update_sets_wait() -> None:
    shadow = Shadow(REGISTRY, lambda step: range_of)
    shadow.begin(0, ["a"])
    shadow.take("a", 1, (chunk_of({2: 1}, []),))
    with pytest.raises(AssertionError):
        list(shadow.give_up({0}))


def test_timers_come_with_their_images() -> None:
    shadow = Shadow(REGISTRY, lambda step: range_of)
    rows = Rows(timed=True)
    rows.keys, rows.states, rows.timers = [2], [1], [{"t": 5}]
    shadow.put(pack("timed", rows, REGISTRY))

    assert shadow.entities["timed"] == {2: Image(1, {"t": 5})}
