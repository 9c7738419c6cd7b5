"""Reply steps pass messages on as if they were not there, and what was sent twice under one id has no effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from holdfast import sinks, sources
from holdfast.connectors.memory import MemorySource
from holdfast.core.application import Application
from holdfast.core.connector import Sent
from tests.zoo.case import Case


def tally(word: str, seen: list[str]) -> tuple[str, int]:
    if word == "bad":
        raise ValueError(word)
    seen.append(word)
    return word, len(seen)


def seen_so_far(word: str, seen: list[str]) -> list[str]:
    seen.append(word)
    return seen


def mark(seen: list[str]) -> list[str]:
    seen.append("marked")
    return seen


def length(word: str) -> int:
    return len(word)


def twice(word: str) -> Iterator[str]:
    yield word
    yield word


def passed_on() -> Application:
    """With a key and without, before a fan-out and behind it, at the end of a stream and in its middle."""
    app = Application("replies-passed-on", on_error="skip")
    words = app.source(sources.Memory(["a", "bad", "b"])).reply()
    words.flat_map(twice).reply().sink(sinks.Memory(), name="twice")
    tallied = words.key_by(length).reply().stateful(tally, state=list).reply()
    tallied.reply()
    tallied.sink(sinks.Memory(), name="tallied")
    return app


def replied_state() -> Application:
    """What passes a reply step belongs to the step behind it: it may be changed there, the state stays."""
    app = Application("replied-state")
    seen = app.source(sources.Memory(["a", "b", "c"])).key_by(lambda word: 0).stateful(seen_so_far, state=list)
    seen.reply().map(mark).sink(sinks.Memory())
    return app


class Remembering(MemorySource[Any]):
    """Records with ids, as `sources.Send` gives them: (message, producer, sequence), or a message alone."""

    remembered = 1000

    def decode(self, raw: bytes) -> list[Any]:
        return [Sent(*record) if type(record) is tuple else record for record in super().decode(raw)]


SENT = [("a", "p", 1), ("b", "p", 3), ("a", "p", 1), "a", ("a", "q", 1), ("c", "p", 2), ("b", "p", 3), ("bad", "p", 4)]
SENT += [*[(f"w{n}", "p", 10 + n) for n in range(70)], ("bad", "p", 4), *[(f"w{n}", "p", 10 + n) for n in range(70)]]


def sent_again() -> Application:
    """`bad` fails and is skipped; sent again it is a repeat, and doesn't fail again."""
    app = Application("sent-again", on_error=sinks.Memory())
    app.source(Remembering(SENT), name="sent").key_by(lambda word: 0).stateful(tally, state=list).reply().sink(
        sinks.Memory(), name="tallied"
    )
    return app


PLAIN = [record for record in SENT if "bad" not in record]


def everything(record: object) -> int:
    return 0


def counted(record: object, seen: list[int]) -> int:
    """Takes whatever it is given: were that the mark of a repeat, it would count."""
    seen.append(1)
    return len(seen)


def sent_again_plainly() -> Application:
    """Repeats where whole blocks become messages at once, because no place, reply or dead letter is asked for."""
    app = Application("sent-again-plainly")
    for name in ("keyed", "split", "stateless"):
        words = app.source(Remembering(PLAIN), name=name)
        if name == "stateless":
            words.map(str.upper).sink(sinks.Memory(), name="upper")
        elif name == "keyed":
            words.key_by(everything).stateful(counted, state=list).sink(sinks.Memory(), name="counted")
        else:
            doubled = words.flat_map(twice).key_by(str).stateful(tally, state=list, name="both")
            doubled.sink(sinks.Memory(), name="by word")
    return app


def replied_only() -> Application:
    """No sink at all: who asks is answered."""
    app = Application("replied-only", on_error="skip")
    app.source(Remembering(SENT), name="sent").reply().key_by(length).stateful(tally, state=list).reply()
    return app


def as_sent(records: Iterable[Any]) -> list[Any]:
    return [Sent(*record) if type(record) is tuple else record for record in records]


LETTER = {
    "source": "sent",
    "partition": "0",
    "offset": 7,
    "step": "tally",
    "key": "0",
    "error": "ValueError: bad",
    "message": "'bad'",
}

CASES = [
    Case(
        "replies-passed-on",
        passed_on,
        {"source": ["a", "bad", "b"]},
        {"twice": ["a", "a", "bad", "bad", "b", "b"], "tallied": [("a", 1), ("b", 2)]},
    ),
    Case(
        "replied-state",
        replied_state,
        {"source": ["a", "b", "c"]},
        {"sink": [["a", "marked"], ["a", "b", "marked"], ["a", "b", "c", "marked"]]},
    ),
    Case(
        "sent-again",
        sent_again,
        {"sent": as_sent(SENT)},
        {
            "tallied": list(zip(["a", "b", "a", "a", "c", *[f"w{n}" for n in range(70)]], range(1, 76), strict=True)),
            "sink-2": [LETTER],
        },
    ),
    Case(
        "sent-again-plainly",
        sent_again_plainly,
        dict.fromkeys(("keyed", "split", "stateless"), as_sent(PLAIN)),
        {
            "counted": list(range(1, 76)),
            "by word": [
                *[("a", 1), ("a", 2), ("b", 1), ("b", 2), ("a", 3), ("a", 4), ("a", 5), ("a", 6), ("c", 1), ("c", 2)],
                *[(f"w{n}", count) for n in range(70) for count in (1, 2)],
            ],
            "upper": ["A", "B", "A", "A", "C", *[f"W{n}" for n in range(70)]],
        },
    ),
    Case("replied-only", replied_only, {"sent": as_sent(SENT)}, {}),
]
