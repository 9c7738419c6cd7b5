"""Seeds and contexts: what a call may draw depends on the message's identity and the step's name only."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import msgpack
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.context import Context
from holdfast.core.identity import Identity, MessageIdentity, TimerIdentity, seed

PATHS = st.lists(st.integers(0, 5), max_size=4).map(tuple)
NUMBERS = st.integers(0, 3)
NAMES = st.sampled_from(["a", "b", "ab", "\ud800", ""])
IDENTITIES: st.SearchStrategy[Identity] = st.one_of(
    st.builds(MessageIdentity, NAMES, NUMBERS, NUMBERS, PATHS),
    st.builds(TimerIdentity, NAMES, st.sampled_from([b"", b"a", b"ab"]), st.integers(-2, 2), NAMES, PATHS),
)


def context_at(identity: Identity, step: str = "step", *, timers_allowed: bool = True) -> Context:
    context = Context(step, lambda place: place, timers_allowed=timers_allowed)
    context.begin("key", 7, ["state"], identity)
    return context


@given(st.tuples(IDENTITIES, NAMES), st.tuples(IDENTITIES, NAMES))
def test_seeds_differ_where_identity_or_step_differ(left: tuple[Identity, str], right: tuple[Identity, str]) -> None:
    assert (seed(*left) == seed(*right)) == (left == right)


def test_the_seed_is_what_the_documents_say() -> None:
    packed: bytes = msgpack.packb(["message", "lines", 2, 5, [1, 0], "count"])
    assert seed(MessageIdentity("lines", 2, 5, (1, 0)), "count") == xxhash.xxh3_128_intdigest(packed)
    packed = msgpack.packb(["timer", "count", b"skey", 9, "name", [3], "other"])
    assert seed(TimerIdentity("count", b"skey", 9, "name", (3,)), "other") == xxhash.xxh3_128_intdigest(packed)


def test_a_child_is_one_step_further_on_the_path() -> None:
    assert MessageIdentity("s", 0, 1, (4,)).child(2) == MessageIdentity("s", 0, 1, (4, 2))
    assert TimerIdentity("s", b"k", 1, "t").child(2) == TimerIdentity("s", b"k", 1, "t", (2,))


@given(IDENTITIES)
def test_identifiers_do_not_depend_on_what_else_is_drawn(identity: Identity) -> None:
    plain, busy = context_at(identity), context_at(identity)
    wanted = [plain.uuid(), plain.uuid()]
    drawn = []
    for _ in range(2):
        busy.random.random()
        drawn.append(busy.uuid())
    assert drawn == wanted
    assert len({*wanted}) == 2
    assert [(type(one), one.version) for one in wanted] == [(UUID, 4)] * 2


def test_a_context_begins_each_call_anew() -> None:
    context = context_at(MessageIdentity("s", 0, 0))
    first = (context.uuid(), context.random.random(), context.random.random())
    context.begin("key", 7, None, MessageIdentity("s", 0, 1))
    second = (context.uuid(), context.random.random(), context.random.random())
    context.begin("key", 7, None, MessageIdentity("s", 0, 0))
    assert (context.uuid(), context.random.random(), context.random.random()) == first != second
    assert random.Random(seed(MessageIdentity("s", 0, 0), "step")).random() == first[1]


def test_nothing_is_drawn_for_who_does_not_ask() -> None:
    def identify(place: Any) -> Identity:
        raise AssertionError("not asked for")

    context = Context("step", identify, timers_allowed=True)
    context.begin("key", 7, ["state"], None)
    assert (context.key, context.time, context.state, context.changed) == ("key", 7, ["state"], False)
    context.set_timer(5)
    context.delete()


def test_the_state_is_replaced_by_assigning() -> None:
    context = context_at(MessageIdentity("s", 0, 0))
    context.state = "other"
    assert (context.state, context.changed, context.deleted) == ("other", True, False)


def test_after_deleting_only_a_new_state_makes_an_entity() -> None:
    context = context_at(MessageIdentity("s", 0, 0))
    context.set_timer(5, "before")
    context.delete()
    assert (context.changed, context.deleted, context.renewed, context.timer_changes) == (True, True, True, {})
    with pytest.raises(RuntimeError, match=r"assign ctx\.state"):
        _ = context.state
    with pytest.raises(RuntimeError, match="it has no timers"):
        context.set_timer(5)
    with pytest.raises(RuntimeError, match="it has no timers"):
        context.cancel_timer()
    context.state = "new"
    context.set_timer(6, "after")
    assert (context.state, context.deleted, context.renewed) == ("new", False, True)
    assert context.timer_changes == {"after": 6}


def test_timers_are_recorded_by_name() -> None:
    context = context_at(MessageIdentity("s", 0, 0))
    context.set_timer(5)
    context.set_timer(6)
    context.set_timer(-1, "other")
    context.cancel_timer("gone")
    changes = context.timer_changes
    assert changes == {"": 6, "other": -1, "gone": None}
    context.begin("key", 7, None, MessageIdentity("s", 0, 0))
    assert context.timer_changes == {}
    assert changes == {"": 6, "other": -1, "gone": None}


@pytest.mark.parametrize("at", [1.0, "1", None, True])
def test_the_time_of_a_timer_is_an_int(at: Any) -> None:
    with pytest.raises(TypeError, match="a timer's time is an int"):
        context_at(MessageIdentity("s", 0, 0)).set_timer(at)


def test_the_time_of_a_timer_has_64_bits() -> None:
    context = context_at(MessageIdentity("s", 0, 0))
    context.set_timer(2**63 - 1)
    context.set_timer(-(2**63))
    for at in (2**63, -(2**63) - 1):
        with pytest.raises(OverflowError, match="64 bits"):
            context.set_timer(at)


def test_the_name_of_a_timer_is_a_str() -> None:
    context = context_at(MessageIdentity("s", 0, 0))
    with pytest.raises(TypeError, match="a timer's name is a str"):
        context.set_timer(1, name=None)  # type: ignore[arg-type]


def test_timers_need_an_on_timer_function() -> None:
    context = context_at(MessageIdentity("s", 0, 0), "mine", timers_allowed=False)
    with pytest.raises(RuntimeError, match="step 'mine' has no on_timer="):
        context.set_timer(1)
