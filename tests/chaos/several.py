"""An application in which one message becomes several between keyed steps, and nothing else needs positions.

The zoo and the random ones have none such: all that have several messages of one in front of a keyed step also merge
streams, look at the time or reply. Only for kept worlds: one more application would change what every seed draws.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.chaos.subject import Subject
from holdfast.connectors.memory import MemorySink, MemorySource
from holdfast.core.application import Application

NAME = f"{__name__}:SEVERAL"
RECORDS = 60

History = list[int]


def spread(record: int, history: History) -> Iterator[tuple[int, int]]:
    """Three messages for keys that lie far apart, in falling order."""
    history.append(record)
    for key in (2, 1, 0):
        yield 7 * key + record % 5, record + len(history)


def first(message: tuple[int, int]) -> int:
    return message[0]


def last_digit(record: int) -> int:
    return record % 10


def follow(message: tuple[int, int], history: History) -> tuple[int, int, int]:
    """Says what came before at this key."""
    history.append(message[1])
    return (*message, sum(history[-3:]))


def several() -> Application:
    """From one keyed step to another, and in the order of the messages to a sink."""
    app = Application("several")
    spreading = app.source(MemorySource([0])).key_by(last_digit).stateful(spread, state=list)
    spreading.key_by(first).stateful(follow, state=list).sink(MemorySink())
    return app


SEVERAL = Subject("several", several, {"source": {"0": list(range(RECORDS))}})
