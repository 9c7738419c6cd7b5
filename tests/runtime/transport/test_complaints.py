"""Lines about others: each of them, but never a flood."""

from __future__ import annotations

from holdfast.runtime.transport.complaints import LINES_MAX, SECONDS, Complaints
from tests.runtime.transport.network import Lines


def test_a_flood_is_counted_and_told_when_it_is_over() -> None:
    lines = Lines()
    now = [0.0]
    complain = Complaints(lines.report, lambda: now[0])
    for number in range(LINES_MAX + 5):
        complain(f"line {number}")
    now[0] = SECONDS + 1
    complain("later")

    assert lines == [*(f"line {number}" for number in range(LINES_MAX)), "… and 5 more lines of this kind", "later"]
