"""Holding, cut by cut: how far back memory reaches, and what belongs to a checkpoint at one of several cuts."""

from __future__ import annotations

from tests.worker.test_holding import a_holding, both, in_books, in_shadow, touched


def test_memory_reaches_back_to_the_last_sealed_cut() -> None:
    first, second = both()
    book = first.books["plain"]
    for cut in (1, 2, 3):
        touched(book, 1).state.append(cut)
        second.take("a", cut, first.cut(cut).by_backup["b"])
    for holding in (first, second):
        holding.sealed(1)

    assert [(own.base, own.top) for own in (*first.remembered, *second.remembered) if own.ranges] == [(1, 3)] * 2
    first.at(1)
    assert in_books(first) == {("plain", 1): ([1], {})}


def test_a_checkpoint_holds_nothing_that_was_packed_for_a_later_cut() -> None:
    first, second = both()
    for cut in (1, 2):
        touched(first.books["plain"], 1).state.append(cut)
        second.take("a", cut, first.cut(cut).by_backup["b"])

    for holding in (first, second):
        disk = a_holding()
        for chunk in holding.chunks_upto(1):
            disk.restore(chunk)

        assert in_shadow(disk) == {("plain", 1): ([1], {})}


def test_what_was_packed_behind_a_checkpoint_is_kept_for_the_next() -> None:
    first, _ = both()
    packed = []
    for cut in (1, 2):
        touched(first.books["plain"], cut).state.append(cut)
        packed.append(first.cut(cut).all)

    first.written(1)

    assert first.chunks_upto(2) == packed[1]
