"""Which messages are repeats, and what repeats are answered, against a model that is slow and plain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import senders as module
from holdfast.core.connector import Sent
from holdfast.core.images import pack, unpack
from holdfast.core.reference import _Ids
from holdfast.core.senders import FORGOTTEN, REPEAT, Senders
from holdfast.core.types import TypeRegistry

REGISTRY = TypeRegistry()
ids = st.tuples(st.sampled_from("abc"), st.integers(-3, 12))
# Epochs of slices of messages, each with an id or without.
epochs = st.lists(st.lists(st.lists(st.one_of(st.none(), ids), max_size=4), max_size=3), max_size=12)


def restored(senders: Senders) -> Senders:
    """What a start makes of its checkpoints: by way of the images of everything that stands."""
    after = Senders("x", senders.remembered, REGISTRY)
    senders.book.freeze(list(senders.book.entities.values()))
    images = unpack(pack(senders.step, senders.book.take_rows(1 << 60), REGISTRY), REGISTRY)
    for key, state in zip(images.keys, images.states, strict=True):
        after.book.put(key, state, None)
    after.restore()
    return after


@settings(max_examples=300, deadline=None)
@given(epochs, st.integers(1, 6), st.sets(st.integers(0, 11)))
def test_repeats_are_those_of_the_reference_whatever_slices_and_starts_do(
    epochs: list[list[list[Any]]], remembered: int, starts: set[int]
) -> None:
    senders, reference = Senders("x", remembered, REGISTRY), _Ids(remembered)
    first_answers: dict[tuple[str, int], bytes] = {}
    number = 0
    for at, epoch in enumerate(epochs):
        for part in epoch:
            records = [m if m is None else Sent(("message", number + i), *m) for i, m in enumerate(part)]
            messages = senders.judge(0, number, records)
            assert senders.again(0, number, records) == messages
            repeats = {number + i for i, m in enumerate(part) if m is not None and reference.has_met(*m)}
            assert {number + i for i, m in enumerate(messages) if m is REPEAT} == repeats
            answers: Any = {number + i: b"answer %d" % (number + i) for i in range(len(part))}
            answers = {n: answer for n, answer in answers.items() if n not in repeats}
            senders.settle(lambda partition: answers)
            for i, identity in enumerate(part):
                if identity is not None and number + i in repeats:
                    assert answers.get(number + i) in (first_answers.get(identity), FORGOTTEN)
                elif identity is not None:
                    first_answers[identity] = answers[number + i]
            number += len(part)
        senders.forget()
        reference.forget()
        if at in starts:
            senders = restored(senders)


def settle(senders: Senders, number: int, producer: str, sequence: int, answer: Any = None) -> Any:
    (message,) = senders.judge(0, number, [Sent("m", producer, sequence)])
    answers: Any = {} if message is REPEAT or answer is None else {number: answer}
    senders.settle(lambda partition: answers)
    senders.forget()
    return answers.get(number)


def test_a_repeat_is_answered_as_the_first_time() -> None:
    senders = Senders("x", 10, REGISTRY)
    settle(senders, 0, "p", 1, (b"one", b"two"))

    assert settle(senders, 1, "p", 1) == (b"one", b"two")


def test_a_repeat_within_one_slice_gets_the_same_answer() -> None:
    senders = Senders("x", 10, REGISTRY)
    messages = senders.judge(0, 0, [Sent("m", "p", 1), Sent("m", "p", 1)])
    answers: Any = {0: b"one"}
    senders.settle(lambda partition: answers)

    assert messages == ["m", REPEAT]
    assert answers == {0: b"one", 1: b"one"}


def test_a_lower_sequence_that_never_came_is_no_repeat() -> None:
    senders = Senders("x", 10, REGISTRY)
    settle(senders, 0, "p", 5)

    assert senders.judge(0, 1, [Sent("late", "p", 4)]) == ["late"]


def test_the_last_answer_of_a_producer_outlives_its_message() -> None:
    senders = Senders("x", 2, REGISTRY)
    settle(senders, 0, "quiet", 1, b"small")
    for number in range(1, 9):
        settle(senders, number, "busy", number, b"small")

    assert settle(senders, 9, "quiet", 1) == b"small"
    assert settle(senders, 10, "busy", 6) == b"small"
    assert settle(senders, 11, "busy", 5) is FORGOTTEN


def test_answers_are_forgotten_when_they_are_too_many_bytes_but_ids_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES_MAX", 100)
    senders = Senders("x", 1000, REGISTRY)
    for number in range(10):
        settle(senders, number, "p", number, b"x" * 30)

    assert settle(senders, 10, "p", 0) is FORGOTTEN
    assert settle(senders, 11, "p", 9) == b"x" * 30
    assert senders.judge(0, 12, [Sent("m", "p", 3)]) == [REPEAT]


def test_what_is_remembered_is_bounded() -> None:
    senders = Senders("x", 50, REGISTRY)
    for number in range(1000):
        settle(senders, number, f"p{number}", 1, b"x" * 2000)

    assert len(senders.book.entities) <= 100
