"""Applications made for the simulator: what goes wrong in them goes wrong late and seldom.

The repository's zoo and random applications mostly fail at their first records, before there is a checkpoint
to return to. States are histories, so that a loss and a repetition can't make up for each other.
Deterministic, like every application.
"""

from __future__ import annotations

from holdfast.chaos.subject import Subject
from holdfast.connectors.memory import MemorySink, MemorySource
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.serial_order import At
from holdfast.core.turns import ROUND

RECORDS = 150
ACCOUNTS = 47
HOT = 3  # of the accounts get half of the records

History = list[tuple[int, int]]


def account(record: int) -> int:
    """Hot accounts and cold ones."""
    return record % HOT if record % 2 else record % ACCOUNTS


def book(record: int, history: History) -> tuple[int, int, int]:
    """Fails after it has written."""
    history.append((record, len(history)))
    if record % 53 == 17:
        raise ValueError("not covered")
    return record, len(history), sum(number for number, _ in history[-3:])


def audit(booking: tuple[int, int, int], seen: dict[str, int]) -> list[int] | None:
    """Fails in the middle of a change, at other records than `book`."""
    record, length, total = booking
    seen["count"] = seen.get("count", 0) + 1
    if record % 67 == 41:
        raise ValueError("does not add up")
    seen["total"] = seen.get("total", 0) + total * length
    return [record, seen["count"], seen["total"]]


def late_failures() -> Application:
    """Two keyed steps that fail at a few records, beyond the first checkpoints."""
    app = Application("late-failures", on_error="skip")
    bookings = app.source(MemorySource([0])).key_by(account).stateful(book, state=list)
    bookings.key_by(_decade).stateful(audit, state=dict).sink(MemorySink())
    return app


def _decade(booking: tuple[int, int, int]) -> str:
    return f"decade {booking[0] // 10}"


def visit(record: int, history: History, ctx: Context) -> tuple[int, History]:
    """Entities come and go: some are deleted at once, some are made anew in the same call."""
    history.append((record, len(history)))
    found = list(history)
    if record % 5 == 0:
        ctx.delete()
    if record % 15 == 0:
        ctx.state = [(record, -1)]
    return record, found


def _guest(record: int) -> tuple[str, int]:
    """More of them than fit in memory; some come often."""
    return ("guest", record % 5 if record % 3 else record * 7 % 61)


def comings_and_goings() -> Application:
    """One keyed step whose entities are deleted and made again all the time."""
    app = Application("comings-and-goings")
    app.source(MemorySource([0])).key_by(_guest).stateful(visit, state=list).sink(MemorySink())
    return app


def promise(record: tuple[int, int], open_until: dict[str, int], ctx: Context) -> None:
    """Sets a timer a little ahead of its own partition's time."""
    open_until["last"] = record[1]
    ctx.set_timer(ctx.time + record[1] % 30, f"timer {record[1] % 3}")


def fall_due(name: str, open_until: dict[str, int], ctx: Context) -> tuple[str, int, int]:
    """Says when it fires."""
    return name, open_until["last"], ctx.time


def _third(record: tuple[int, int]) -> int:
    return record[1] % 3


def uneven_clocks() -> Application:
    """Timers over partitions whose clocks are far apart; the one that is ahead ends first."""
    app = Application("uneven-clocks")
    keyed = app.source(MemorySource([(0, 0)])).key_by(_third)
    keyed.stateful(promise, state=dict, on_timer=fall_due).sink(MemorySink())
    return app


def remind(record: tuple[int, int], reminders: dict[str, int], ctx: Context) -> tuple[int, int]:
    """Sets timers that are due at the next turn; what stops everything are first records of rounds."""
    reminders["set"] = reminders.get("set", 0) + 1
    ctx.set_timer(ctx.time + 1, f"reminder {record[1] % 4}")
    if record[1] % ROUND == 0 and record[1]:
        raise ValueError("can't be promised")
    return record[1], reminders["set"]


def remember(name: str, reminders: dict[str, int], ctx: Context) -> tuple[str, int]:
    """Counts, and now and then sets a timer that is due already: it must wait for the next turn."""
    reminders["rung"] = reminders.get("rung", 0) + 1
    if reminders["rung"] % 2:
        ctx.set_timer(ctx.time, "again")
    return name, reminders["rung"]


def stops_among_timers() -> Application:
    """Stops at records before which timers have fired."""
    app = Application("stops-among-timers")
    keyed = app.source(MemorySource([(0, 0)])).key_by(_third)
    keyed.stateful(remind, state=dict, on_timer=remember).sink(MemorySink())
    return app


def sign(record: list[int]) -> list[int]:
    """Changes the very record, and then fails at some."""
    record.append(len(record))
    if record[0] % 31 == 11:
        raise ValueError("not signed")
    return record


def _length(record: list[int]) -> int:
    return record[0] % 4


def collect(record: list[int], kept: list[list[int]]) -> list[list[int]]:
    """Keeps the message and gives what it keeps."""
    kept.append(record)
    return kept[-2:]


def spoilt_records() -> Application:
    """The first step changes its records, also those before one at which it fails."""
    app = Application("spoilt-records", on_error="skip")
    app.source(MemorySource([[0]])).map(sign).key_by(_length).stateful(collect, state=list).sink(MemorySink())
    return app


def workloads() -> list[Subject]:
    """All of them, with their inputs."""
    one = {"source": {"0": list(range(RECORDS))}}
    two = {"source": {"a": list(range(RECORDS)), "b": list(range(RECORDS, 2 * RECORDS - 40))}}
    ahead = [At(50_000 + number, (50_000 + number, number)) for number in range(10)]
    behind = [At(40 * number, (40 * number, number)) for number in range(260)]
    return [
        Subject("late failures", late_failures, two),
        Subject("comings and goings", comings_and_goings, one),
        Subject("stops among timers", stops_among_timers, {"source": {"0": behind}}),
        Subject("spoilt records", spoilt_records, {"source": {"0": [[number] for number in range(RECORDS)]}}),
        Subject("uneven clocks", uneven_clocks, {"source": {"ahead": ahead, "behind": behind}}),
    ]
