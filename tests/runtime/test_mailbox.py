"""Letters keep their order, are given again to the next life unless they were logged, and are settled once."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.errors import EngineStoppedError
from holdfast.runtime.mailbox import Letter, Mailbox

MANY = 1 << 20


class Told:
    """A front that keeps what its callers are told."""

    def __init__(self) -> None:
        self.settled: list[tuple[bytes, Any]] = []
        self.calls = 0

    def wake(self, settled: list[tuple[Letter, Any]]) -> None:
        self.calls += 1
        self.settled += [(letter.payload, result) for letter, result in settled]


def filled(letters: str, told: Told) -> Mailbox:
    """A mailbox with a letter for each character; capitals ask."""
    mailbox = Mailbox()
    mailbox.reopen(0)
    for name in letters:
        mailbox.put(Letter(name.encode(), told, asks=name.isupper()))
    return mailbox


def taken(mailbox: Mailbox, records_max: int = MANY, bytes_max: int = MANY) -> tuple[bytes, int, object] | None:
    event = mailbox.take(records_max, bytes_max, 0)
    return None if event is None else (event.raw, event.count, event.offset)


def test_letters_are_taken_in_order_and_within_the_limits() -> None:
    mailbox = filled("abcde", Told())

    assert taken(mailbox, records_max=2) == (b"ab", 2, 2)
    assert taken(mailbox, bytes_max=1) == (b"c", 1, 3)
    assert taken(mailbox) == (b"de", 2, 5)
    assert taken(mailbox) is None


def test_who_waits_for_letters_is_told_of_the_first_alone() -> None:
    told = Told()
    mailbox = filled("", told)
    knocks: list[int] = []
    mailbox.arrived = lambda: knocks.append(len(mailbox.waiting))
    assert taken(mailbox) is None

    for name in (b"a", b"b"):
        mailbox.put(Letter(name, told, asks=False))

    assert knocks == [1]
    assert taken(mailbox) == (b"ab", 2, 2)


def test_senders_wait_until_it_is_durable_and_askers_until_they_are_answered() -> None:
    told = Told()
    mailbox = filled("aBcD", told)
    taken(mailbox)

    mailbox.acknowledge(3)
    assert told.settled == [(b"a", None), (b"c", None)]
    mailbox.answer(2, {1: b"to B"})
    assert told.settled[2:] == [(b"B", b"to B")]
    mailbox.acknowledge(4)
    mailbox.answer(4, {})
    assert told.settled[3:] == [(b"D", None)]
    assert told.calls == 3


def test_what_was_taken_and_is_not_logged_is_given_to_the_next_life_in_its_order() -> None:
    told = Told()
    mailbox = filled("abCd", told)
    taken(mailbox, records_max=3)

    mailbox.reopen(1)  # one of the three is in the log

    assert told.settled == [(b"a", None)]
    assert taken(mailbox) == (b"bCd", 3, 4)
    mailbox.answer(4, {2: b"to C"})
    assert told.settled[1:] == [(b"b", None), (b"d", None), (b"C", b"to C")]


def test_a_replay_tells_nobody_twice() -> None:
    told = Told()
    mailbox = filled("AB", told)
    taken(mailbox)
    mailbox.answer(1, {0: b"to A"})

    mailbox.answer(1, {0: b"to A"})  # the next life does it again, and goes on to what its log holds
    mailbox.answer(2, {1: b"to B"})
    mailbox.reopen(2)

    assert told.settled == [(b"A", b"to A"), (b"B", b"to B")]
    assert taken(mailbox) is None


def test_when_it_ends_everybody_is_told_and_nothing_more_is_taken() -> None:
    told = Told()
    mailbox = filled("aBcD", told)
    taken(mailbox, records_max=3)
    mailbox.acknowledge(2)
    told.settled.clear()

    mailbox.fail(lambda: EngineStoppedError("over"))

    assert sorted(name for name, _ in told.settled) == [b"B", b"D", b"c"]
    assert {type(result) for _, result in told.settled} == {EngineStoppedError}
    with pytest.raises(EngineStoppedError, match="over"):
        mailbox.put(Letter(b"e", told, asks=False))


def test_a_letter_that_was_let_in_before_the_end_is_told_of_it() -> None:
    """Between the look at the refusal and the putting the engine may end."""
    told = Told()
    mailbox = filled("", told)
    mailbox.fail(lambda: EngineStoppedError("over"))

    mailbox.admit(Letter(b"a", told, asks=False))

    assert [(name, str(error)) for name, error in told.settled] == [(b"a", "over")]
