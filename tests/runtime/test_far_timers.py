"""A timer may be due further away than any thread can wait at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast as hf
from holdfast.core.context import TIMER_TIME_MAX, Context

END_OF_YEAR_9999 = 253_402_300_799_000


@pytest.mark.parametrize("due", [END_OF_YEAR_9999, TIMER_TIME_MAX])
def test_messages_are_worked_off_while_a_timer_is_far_away(due: int, tmp_path: Path) -> None:
    def remind(message: str, seen: list[str], ctx: Context) -> int:
        ctx.set_timer(due)
        seen.append(message)
        return len(seen)

    def ring(name: str, seen: list[str], ctx: Context) -> None:
        seen.clear()

    for counts in ([1], [2]), ([3], [4]):  # and at the next start
        app = hf.Application("far")
        keyed = app.source(hf.sources.Send(), name="x").map(str).key_by(str)
        keyed.stateful(remind, state=list, on_timer=ring).reply()
        with hf.Engine(app, data=str(tmp_path / "data")) as engine:
            assert engine.query("remind", "nobody") is None  # nothing is under way: it has begun to wait
            for count in counts:
                assert engine.ask("x", "a") == count
