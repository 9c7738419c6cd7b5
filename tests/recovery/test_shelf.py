"""Shelf: what is durable is what the store has said to be, write by write."""

from __future__ import annotations

from holdfast.recovery.events import Kept
from holdfast.recovery.shelf import Shelf


def test_an_answer_to_another_write_does_not_make_this_one_durable() -> None:
    shelf = Shelf()
    first = shelf.put(Kept(drawn=1))
    shelf.stored(first.ticket)
    shelf.put(Kept(drawn=2))

    shelf.stored(first.ticket)
    assert (shelf.kept.drawn, shelf.pending) == (1, Kept(drawn=2))

    shelf.stored(first.ticket + 1)
    assert (shelf.kept.drawn, shelf.pending) == (2, None)
