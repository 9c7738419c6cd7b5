"""The context of one call of a stateful function or `on_timer`: what it may know and do beside message and
state.

One object per step serves all its calls, one after the other: the caller gives `begin` the call's facts, and
reads `changed` and what follows it when the function has returned. Nothing is applied here, so a call that
raises leaves nothing behind. Invariant: everything that a function gets from a context depends on (identity,
step name, key, time). No clock, no global random; timers are recorded, not kept.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

from holdfast.core.identity import Identity, draw, seed

TIMER_TIME_MAX = 2**63 - 1  # due times are stored as signed 64-bit integers


class Context:
    """`ctx`, as user functions see it; the part below the line is for the caller of the function."""

    __slots__ = (
        "_identify",
        "_place",
        "_random",
        "_seed",
        "_state",
        "_step",
        "_timers_allowed",
        "_uuid_count",
        "changed",
        "deleted",
        "key",
        "renewed",
        "time",
        "timer_changes",
    )

    def __init__(self, step: str, identify: Callable[[Any], Identity], *, timers_allowed: bool) -> None:
        self._step = step
        self._identify = identify  # turns the `place` given to `begin` into an identity, only when one is asked for
        self._timers_allowed = timers_allowed
        self.key: Any = None
        self.time = 0
        self.timer_changes: dict[str, int | None] = {}
        self._seed: int | None
        self._random: random.Random | None
        self.begin(None, 0, None, None)

    @property
    def state(self) -> Any:
        """The entity's state. Assigning replaces it; after `delete()`, assigning makes a new entity."""
        if self.deleted:
            raise RuntimeError("the entity was deleted by ctx.delete(): assign ctx.state to make a new one")
        return self._state

    @state.setter
    def state(self, value: Any) -> None:
        self.changed = True
        self.deleted = False
        self._state = value

    @property
    def random(self) -> random.Random:
        """A generator seeded by the message's identity and the step's name; one per call."""
        if self._random is None:
            self._random = random.Random(self._seed_of_call())
        return self._random

    def uuid(self) -> uuid.UUID:
        """A new identifier, the same in every run; independent of what was drawn from `random`."""
        self._uuid_count += 1
        return uuid.UUID(int=draw(self._seed_of_call(), self._uuid_count), version=4)

    def delete(self) -> None:
        """Remove the entity with its timers when the call returns; the next message of the key makes a new
        one."""
        self.changed = self.deleted = self.renewed = True
        self.timer_changes.clear()

    def set_timer(self, at: int, name: str = "") -> None:
        """Have `on_timer` called once the time is `at` (Unix milliseconds); the same name replaces."""
        if not self._timers_allowed:
            raise RuntimeError(f"step {self._step!r} has no on_timer= function that a timer could call")
        if type(at) is not int:
            raise TypeError(f"a timer's time is an int (Unix milliseconds), not {type(at).__name__}")
        if not -TIMER_TIME_MAX - 1 <= at <= TIMER_TIME_MAX:
            raise OverflowError(f"a timer's time must fit in 64 bits: {at}")
        self._change_timer(name, at)

    def cancel_timer(self, name: str = "") -> None:
        """Forget the timer of this name, if there is one."""
        self._change_timer(name, None)

    def _change_timer(self, name: str, at: int | None) -> None:
        if type(name) is not str:
            raise TypeError(f"a timer's name is a str, not {type(name).__name__}")
        if self.deleted:
            raise RuntimeError("the entity was deleted by ctx.delete(): it has no timers")
        self.changed = True
        self.timer_changes[name] = at

    def _seed_of_call(self) -> int:
        if self._seed is None:
            self._seed = seed(self._identify(self._place), self._step)
        return self._seed

    # --- for the caller of the function

    def begin(self, key: Any, time: int, state: Any, place: Any) -> None:
        """Make ready for one call. `place` is whatever `identify` turns into an identity."""
        self.key = key
        self.time = time
        self._state = state
        self._place = place
        self._seed = None
        self._random = None
        self._uuid_count = 0
        self.changed = False  # False: the rest is at its defaults and the state is the object given to `begin`
        self.deleted = False  # the entity is to be removed, with its timers
        self.renewed = False  # deleted, perhaps made anew since: timers from before the call are gone
        if self.timer_changes:
            self.timer_changes = {}  # name -> due, None = cancelled; never shared with the last call's caller
