"""Columns between members: exact round trips in every form, and refusal of everything else."""

from __future__ import annotations

import sys
from random import Random
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import keys
from holdfast.core.errors import FrameError, ValueTypeError
from holdfast.core.positions import TIMER, Column, merge
from holdfast.core.types import TypeRegistry
from holdfast.replication.columns import Form, pack_column, unpack_column
from tests.core import value_domain
from tests.core.value_domain import same, steady
from tests.replication.frame_fuzz import changed, samples

ENOUGH = 10_000
NIGHTLY = 1_000_000

numbers = st.integers(0, 300) | st.integers(0, 2**63 - 1)
paths = st.lists(st.integers(0, 300), max_size=20)
record_positions = st.tuples(numbers, st.integers(0, 3), numbers, paths).map(lambda parts: (*parts[:3], *parts[3]))
timer_positions = st.tuples(
    numbers, st.integers(-(2**63), 2**63 - 1), st.integers(0, 9), st.binary(max_size=4), value_domain.any_text, paths
).map(lambda parts: (parts[0], TIMER, *parts[1:5], *parts[5]))
uniform_positions = st.tuples(st.integers(0, 1), st.integers(0, 1), numbers, st.integers(0, 9))
position_lists = st.sampled_from(
    [record_positions, uniform_positions, timer_positions, record_positions | timer_positions, numbers]
)
lookups = st.sampled_from(
    [
        value_domain.any_text,
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        value_domain.numbers,
        st.integers(0, 9),
        (value_domain.any_text | value_domain.numbers | st.tuples(st.integers()) | st.booleans()).map(keys.lookup),
    ]
)
plain_messages = st.sampled_from(
    [st.text(st.characters(exclude_categories=["Cs"])), value_domain.any_text, st.integers(), st.binary(max_size=5)]
).flatmap(lambda one: st.lists(one, max_size=6))


@st.composite
def columns(draw: st.DrawFn) -> Column:
    made = Column()
    made.messages = draw(value_domain.columns | plain_messages)
    count = len(made.messages)
    made.positions = draw(st.lists(draw(position_lists), min_size=count, max_size=count))
    if draw(st.booleans()):
        made.keys = draw(st.lists(draw(lookups), min_size=count, max_size=count))
    if count and set(map(type, made.messages)) == {str} and draw(st.booleans()):
        made.keys = list(made.messages)
    return made


def column(positions: list[Any], messages: list[Any], lookups: list[Any] | None = None) -> Column:
    made = Column()
    made.keys, made.messages, made.positions = lookups or [], messages, positions
    return made


def is_numbered(sent: Column) -> bool:
    return bool(sent.positions) and type(sent.positions[0]) is int


def equal(one: Column, other: Column) -> bool:
    return (
        same(one.keys, other.keys) and same(one.messages, other.messages) and same(one.positions, other.positions)
    )


@given(columns())
@settings(steady, max_examples=200)
def test_every_column_comes_back_the_same(sent: Column) -> None:
    packed = pack_column(sent, TypeRegistry())

    assert equal(unpack_column(packed, TypeRegistry(), numbered=is_numbered(sent)), sent)


@pytest.mark.parametrize(
    ("sent", "forms"),
    [
        (column([(0, 0, 1), (0, 0, 2)], ["a", "b"], ["a", "b"]), (Form.MESSAGES, Form.STRINGS, Form.PLACES)),
        (column([(0, 0, 1), (0, 0, 2)], [1, 2], ["a", "b"]), (Form.STRINGS, Form.INTS, Form.PLACES)),
        (column([(0, 0, 1), (0, 0, 2, 0)], [b"1", b"2"]), (Form.NONE, Form.BYTES, Form.FLAT)),
        (column([(0, TIMER, 9, 1, b"sa", "", 0)], [1.5], [7]), (Form.INTS, Form.VALUES, Form.VALUES)),
        (column([(0, 0, 1)], [True], ["a"]), (Form.STRINGS, Form.VALUES, Form.PLACES)),
        (column([(0, 0, 1)], [True], [1]), (Form.INTS, Form.VALUES, Form.PLACES)),
        (column([(0, 0, 1), (0, 0, 2)], [1, True], ["a", 1]), (Form.VALUES, Form.VALUES, Form.PLACES)),
        (column([(0, 0, *range(30))], ["\ud800"], ["a"]), (Form.VALUES, Form.VALUES, Form.VALUES)),
        (column([(0, 0, 1)], [2**64], [2**64]), (Form.VALUES, Form.VALUES, Form.VALUES)),
        (column([(0, 0, *range(30))], ["a"], [b"ba"]), (Form.VALUES, Form.STRINGS, Form.FLAT)),
        (column([], []), (Form.NONE, Form.VALUES, Form.FLAT)),
        (column([7, 2**40], ["a", "b"], ["a", "b"]), (Form.MESSAGES, Form.STRINGS, Form.NUMBERS)),
    ],
    ids=lambda found: repr(found) if isinstance(found, tuple) else "",
)
def test_a_column_takes_the_plainest_form_that_is_exact(sent: Column, forms: tuple[Form, ...]) -> None:
    packed = pack_column(sent, TypeRegistry())

    assert tuple(packed[2:5]) == forms
    assert equal(unpack_column(packed, TypeRegistry(), numbered=is_numbered(sent)), sent)


def test_numbers_are_refused_where_they_are_not_as_many_as_messages_or_stand_for_nothing() -> None:
    packed = pack_column(column([1, 2], [b"a", b"b"]), TypeRegistry())
    one_less = msgspec.msgpack.decode(packed)
    one_less[3] = one_less[3][:8]

    with pytest.raises(FrameError, match="not as many as messages"):
        unpack_column(msgspec.msgpack.encode(one_less), TypeRegistry(), numbered=True)
    for sent, numbered in ((column([1], ["a"]), False), (column([(0, 0, 1)], ["a"]), True)):
        with pytest.raises(FrameError, match="the other way round"):
            unpack_column(pack_column(sent, TypeRegistry()), TypeRegistry(), numbered=numbered)


def test_words_take_few_bytes() -> None:
    words = [f"word{number % 300}" for number in range(1000)]
    sent = column([(0, 0, 10_000 + n // 10, n % 10) for n in range(1000)], words, list(words))

    assert len(pack_column(sent, TypeRegistry())) < 13 * 1000


def test_what_is_no_value_is_refused_as_everywhere() -> None:
    with pytest.raises(ValueTypeError, match="range is not a value"):
        pack_column(column([(0, 0, 1)], [range(3)]), TypeRegistry())


def test_a_class_that_only_its_module_leads_to_is_found_by_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hidden_away")
    exec("class Hidden:\n    pass", vars(module))
    monkeypatch.setitem(sys.modules, "hidden_away", module)
    message = module.Hidden()
    message.amount = 3
    packed = pack_column(column([(0, 0, 1)], [message]), TypeRegistry())

    found = unpack_column(packed, TypeRegistry()).messages[0]

    assert type(found) is module.Hidden
    assert found.amount == 3


def test_a_class_that_this_application_lacks_is_named() -> None:
    packed = pack_column(column([(0, 0, 1)], [value_domain.Total(1)]), TypeRegistry())
    strange = packed.replace(b"Total", b"Tatol")

    with pytest.raises(FrameError, match="no class 'Tatol'"):
        unpack_column(strange, TypeRegistry())


@pytest.mark.parametrize(
    "fields",
    [
        ((4, 1, 6), None, ["a"], [0, 0], None),
        ((4, 1, 6), None, ["a"], [0, TIMER, 0], None),
        ((4, 1, 6), None, ["a"], [0, 0, [1, 2]], None),
        ((4, 1, 6), None, ["a"], [0] * 17, None),
        ((4, 1, 7), None, ["a"], ([3], [0, 0]), None),
        ((4, 1, 7), None, ["a"], ([3], [0, TIMER, 0]), None),
        ((4, 1, 7), None, ["a", "b"], ([-1, 4], [0, 0, 0]), None),
        ((4, 1, 7), None, ["a", "b"], ([3], [0, 0, 0]), None),
        ((1, 1, 6), [], ["a"], [0, 0, 0], None),
        ((1, 1, 6), [1], ["a"], [0, 0, 0], None),
        ((3, 1, 6), [b"ba"], ["a"], [0, 0, 0], None),
        ((4, 5, 6), None, None, [0, 0, 0], None),
        ((4, 1, 6), None, ["a"], [0, 0, True], None),
        ((4, 1, 6), None, ["a"], [0, 0, 0], {"a": 1}),
        ((4, 0, 6), None, b"\xc1", [0, 0, 0], None),
    ],
    ids=repr,
)
def test_what_can_not_be_is_refused(fields: object) -> None:
    with pytest.raises(FrameError):
        unpack_column(msgspec.msgpack.encode(fields), TypeRegistry())


@pytest.mark.parametrize(
    "position",
    [
        [0, 0, 1],
        (0, 0),
        (0, 0, "a"),
        (0, 0, 1, True),
        (0, TIMER, 1),
        (0, TIMER, 1, 1, "a", ""),
        (0, TIMER, 1, 1, b"a", "", b""),
    ],
    ids=repr,
)
def test_a_position_that_can_not_be_compared_is_refused(position: Any) -> None:
    forced = column([(0, TIMER, 2, 1, b"sa", ""), position], ["a", "b"])
    if position[1:2] != (TIMER,) and type(position) is tuple and len(position) > 2:
        forced.positions.reverse()

    with pytest.raises(FrameError):
        unpack_column(pack_column(forced, TypeRegistry()), TypeRegistry())


@pytest.mark.parametrize("count", [ENOUGH, pytest.param(NIGHTLY, marks=pytest.mark.nightly)])
def test_hostile_columns_are_refused_or_can_be_merged(count: int) -> None:
    columns_sent = samples(columns())
    packed = [pack_column(sent, TypeRegistry()) for sent in columns_sent]
    random = Random(1)
    registry = TypeRegistry()
    positions = [(0, 0, 0), (0, TIMER, 0, 0, b"s", "")]
    taken = 0
    for _ in range(count):
        hostile = changed(random.choice(packed), packed, random)
        for numbered, own in ((False, positions), (True, [0, 1])):
            try:
                found = unpack_column(hostile, registry, numbered=numbered)
            except FrameError:
                continue
            taken += 1
            assert len(found.keys) in (0, len(found.messages))
            merge([found, column(own, [1, 2], [1, 2] if found.keys else None)])

    assert taken > count // 100
