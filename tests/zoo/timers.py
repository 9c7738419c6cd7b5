"""Timers: they fire between rounds, in the order (due, step, key, name), each with everything it causes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.streams import Stream
from tests.zoo.case import PAD, Case, is_not_pad, padded, time_of, timed

Record = tuple[int, Any]


def records_of(app: Application, records: list[Record]) -> Stream[Any]:
    source = sources.Memory(records, time=time_of)
    return app.source(source).filter(is_not_pad)


def message_of(record: Record) -> Any:
    return record[1]


def nothing_in_common(message: object) -> str:
    return "all"


def remember(message: Any, seen: list[Any], ctx: Context) -> tuple[int, int, Any]:
    seen.append(message)
    return len(seen), ctx.time, message


# --- a session ends when nothing was heard of its key for ten milliseconds


def hear(key: str, heard: list[int], ctx: Context) -> None:
    heard.append(ctx.time)
    ctx.set_timer(ctx.time + 10)


def end_session(name: str, heard: list[int], ctx: Context) -> tuple[str, list[int], int]:
    ctx.delete()
    return ctx.key, heard, ctx.time


SESSIONS = padded(
    [(0, "a"), (3, "b")],  # the chunk's time is 3, for both: timers at 13
    [(8, "a")],  # a's timer moves to 18
    [(13, "b"), (12, "a")],  # b's is due: its session ends before its next message; a's moves to 23, b's is at 23
    [(40, "a")],  # both are due, a before b, and before the message, which begins a new session
    [(41, "c")],  # nothing is due; a's and c's timers never fire
)


def sessions() -> Application:
    app = Application("sessions")
    keyed = records_of(app, SESSIONS).map(message_of).key_by(str)
    keyed.stateful(hear, state=list, on_timer=end_session).sink(sinks.Memory())
    return app


# --- the order of timers that are due in the same round


def set_timers(message: tuple[Any, dict[str, int]], state: list[str], ctx: Context) -> None:
    for name, at in message[1].items():
        ctx.set_timer(at, name)


def tell(name: str, state: list[str], ctx: Context) -> tuple[Any, str]:
    return ctx.key, name


def key_of(message: tuple[Any, dict[str, int]]) -> Any:
    return message[0]


DUE = padded(
    [
        (1, ("b", {"x": 20, "late": 90})),
        (1, ("a", {"y": 20, "x": 20})),
        (1, ("a", {"": 19, "z": 21})),
        (1, ("c", {"x": 20})),
    ],
    [(21, PAD)],
)


def order_of_timers() -> Application:
    """Two steps with the same timers: due counts before the step, the step before key and name."""
    app = Application("order-of-timers")
    keyed = records_of(app, DUE).map(message_of).key_by(key_of)
    first = keyed.stateful(set_timers, state=list, on_timer=tell, name="first").map(lambda told: ("first", told))
    second = keyed.stateful(set_timers, state=list, on_timer=tell, name="second").map(lambda told: ("second", told))
    second.merge(first).key_by(nothing_in_common).stateful(remember, state=list).sink(sinks.Memory())
    return app


# --- a timer's messages reach other entities before the next timer fires


def start(message: str, state: list[str], ctx: Context) -> None:
    ctx.set_timer(10)


def call_off(name: str, state: list[str], ctx: Context) -> tuple[str, str]:
    """What the first timer sends to the second step: each key does something else to its timer."""
    return ctx.key, "from " + ctx.key


def guard(message: tuple[str, str], state: list[str], ctx: Context) -> Any:
    key, word = message
    state.append(word)
    if word == "set":
        ctx.set_timer(11)
    elif key == "cancelled":
        ctx.cancel_timer()
    elif key == "replaced":
        ctx.set_timer(11)  # the same due time, but set anew: it waits for the next round
    elif key == "deleted":
        ctx.delete()
    return None


def sound(name: str, state: list[str], ctx: Context) -> tuple[str, list[str], int]:
    return ctx.key, state, ctx.time


GUARDED = ["cancelled", "deleted", "kept", "replaced"]
CALLED_OFF = padded([(1, key) for key in GUARDED], [(12, PAD)], [(14, PAD)])


def timers_called_off() -> Application:
    app = Application("timers-called-off")
    names = records_of(app, CALLED_OFF).map(message_of)
    calls = names.filter(lambda key: key != "kept").key_by(str).stateful(start, state=list, on_timer=call_off)
    merged = names.map(lambda key: (key, "set")).merge(calls).key_by(lambda message: message[0])
    merged.stateful(guard, state=list, on_timer=sound).sink(sinks.Memory())
    return app


# --- timers that set timers


def begin(message: int, state: list[str], ctx: Context) -> str:
    ctx.set_timer(0, "again")
    return "begun"


def again(name: str, state: list[str], ctx: Context) -> Iterator[str | None]:
    """Sets itself and others for times long past: each fires once per round, and not before the next one."""
    state.append(name)
    yield f"{name} at {ctx.time}"
    if len(state) < 4:
        ctx.set_timer(0, "again")
        ctx.set_timer(-5, "earlier")
    yield None


AGAIN = padded([(1, "go")], [(2, PAD)], [(2, PAD)], [(3, PAD)], [(3, PAD)])


def timers_that_set_timers() -> Application:
    app = Application("timers-that-set-timers")
    keyed = records_of(app, AGAIN).map(message_of).key_by(len)
    keyed.stateful(begin, state=list, on_timer=again).sink(sinks.Memory())
    return app


# --- a deleted entity's timers are gone, also when it is made anew at once


def handle(message: str, state: list[str], ctx: Context) -> str:
    if message == "delete":
        ctx.delete()
    elif message == "renew":
        ctx.delete()
        ctx.state = ["renewed"]
        ctx.set_timer(5, "new")
    else:
        state.append(message)
        ctx.set_timer(5, "old")
    return message


def fire(name: str, state: list[str], ctx: Context) -> tuple[str, int, list[str]]:
    return name, ctx.key, state


GONE = padded(
    [
        (1, (1, "set")),
        (1, (2, "set")),
        (1, (3, "set")),
        (1, (1, "delete")),
        (1, (2, "renew")),
        (1, (4, "set")),
        (1, (4, "delete")),
        (1, (4, "set again")),
    ],
    [(6, PAD)],
)


def timers_of_deleted_entities() -> Application:
    app = Application("timers-of-deleted-entities")
    keyed = records_of(app, GONE).map(message_of).key_by(lambda message: message[0]).map(lambda message: message[1])
    keyed.stateful(handle, state=list, on_timer=fire).sink(sinks.Memory())
    return app


CASES = [
    Case(
        "sessions",
        sessions,
        {"source": timed(SESSIONS)},
        {"sink": [("b", [3], 13), ("a", [3, 8, 13], 40), ("b", [13], 40)]},
    ),
    Case(
        "order of timers",
        order_of_timers,
        {"source": timed(DUE)},
        {
            "sink": [
                (number, 21, told)
                for number, told in enumerate(
                    [
                        # due 19
                        ("first", ("a", "")),
                        ("second", ("a", "")),
                        # due 20
                        ("first", ("a", "x")),
                        ("first", ("a", "y")),
                        ("first", ("b", "x")),
                        ("first", ("c", "x")),
                        ("second", ("a", "x")),
                        ("second", ("a", "y")),
                        ("second", ("b", "x")),
                        ("second", ("c", "x")),
                        # due 21
                        ("first", ("a", "z")),
                        ("second", ("a", "z")),
                    ],
                    1,
                )
            ]
        },
    ),
    Case(
        # In the second round the timers due at 10 send "from …" to the guards; of the guards' timers, due at 11, only
        # the one of "kept" is left for this round, and that of "replaced" fires in the third.
        "timers called off",
        timers_called_off,
        {"source": timed(CALLED_OFF)},
        {"sink": [("kept", ["set"], 12), ("replaced", ["set", "from replaced"], 14)]},
    ),
    Case(
        # Round 2: "again" fires and sets both. Rounds 3 and 4: "earlier", due at -5, fires first and sets both anew, so
        # "again" has to wait. Round 5: "earlier" is the fourth and sets nothing; "again" is still set, and fires.
        "timers that set timers",
        timers_that_set_timers,
        {"source": timed(AGAIN)},
        {
            "sink": [
                "begun",
                "again at 2",
                "earlier at 2",
                "earlier at 3",
                "earlier at 3",
                "again at 3",
            ]
        },
    ),
    Case(
        "timers of deleted entities",
        timers_of_deleted_entities,
        {"source": timed(GONE)},
        {
            "sink": [
                *["set", "set", "set", "delete", "renew", "set", "delete", "set again"],
                ("new", 2, ["renewed"]),
                ("old", 3, ["set"]),
                ("old", 4, ["set again"]),
            ]
        },
    ),
]
