"""One question for the state of one key, and its answer: between a command, the coordinator and the key's primary.

Invariant: unpack(pack(x)) == x; other bytes are a `FrameError`. A key travels as its canonical bytes and a state as its
image, for those who have the application's classes; beside it stands what people and JSON get, for those who have not.
A state has seen everything that was durable before the question.
Not here: who is asked (coordinator_process) and how a state is shown (plain_values).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from holdfast.core import keys
from holdfast.core.entities import GONE
from holdfast.core.errors import DamagedError, FrameError, ValueTypeError
from holdfast.core.values import encode
from holdfast.runtime.plain_values import plain

if TYPE_CHECKING:  # one worker answers too, and has no use for the machine of a member
    from holdfast.worker.running import Running

QUERY: Final = b"query "  # and a packed `Question`
KEY_BYTES_MAX: Final = 1 << 20
ANSWER_BYTES_MAX: Final = (1 << 24) - (1 << 12)  # what a message to and from the coordinator holds


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked."""

    step: str
    key: bytes  # canonical


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the primary of the key's range says."""

    problem: str = ""  # why there is no answer; then nothing else counts
    elsewhere: bool = False  # the range is not this worker's now: ask again
    image: bytes | None = None  # of the state; None: the key has none
    shown: str = ""  # its repr
    plain: str = "null"  # as JSON text
    node: str = ""
    generation: int = 0
    applied: int = 0  # the state is that after this epoch …
    sealed: int = 0  # … and this is the last cut that no failure takes back


def pack(message: Question | Answer) -> bytes:
    """As it is sent."""
    return _ENCODER.encode(message)


def unpack_question(packed: bytes) -> Question:
    """What `pack` was given; FrameError for anything else."""
    question = _unpack(_QUESTIONS, packed)
    if len(question.key) > KEY_BYTES_MAX:
        raise FrameError(f"a key of {len(question.key)} bytes")
    return question


def unpack_answer(packed: bytes) -> Answer:
    """What `pack` was given; FrameError for anything else."""
    return _unpack(_ANSWERS, packed)


Reply = Callable[[Answer], object]  # any thread may call it


class Waiting:
    """Questions to one member, each until it has applied all that was logged before it was heard."""

    def __init__(self) -> None:
        self._heard: deque[tuple[Question, Reply, Running | None, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._heard)

    def hear(self, question: Question, reply: Reply, running: Running | None) -> None:
        """A question has come."""
        self._heard.append((question, reply, running, running.flow.closed if running is not None else 0))

    def serve(self, running: Running | None) -> None:
        """Answer those whose time has come. Called between events."""
        while self._heard:
            question, reply, asked, closed = self._heard[0]
            if asked is running and running is not None and not running.is_halted:
                if running.flow.applied < closed or running.flow.is_half_applied:
                    return
                reply(answer(question, running))
            else:
                reply(Answer(elsewhere=True))  # another generation, perhaps with another primary
            self._heard.popleft()


def answer(question: Question, running: Running) -> Answer:
    """The answer of a member, which stands behind a whole epoch."""
    number = keys.range_of(keys.key_hash(question.key), running.holding.routes.ranges)
    if running.formation.layout.ranges[number].primary != running.node:
        return Answer(elsewhere=True)
    registry, stored_names = running.stages.pipeline.registry, running.stages.pipeline.plan.stored_names
    book = running.holding.books.get(stored_names.get(question.step, ""))
    if book is None:
        return Answer(problem=f"there is no stateful step {question.step!r}")
    try:
        found = book.entities.get(keys.lookup(keys.parse(question.key, registry), registry))
    except DamagedError as error:  # a key of a class that the application does not have
        return Answer(problem=str(error))
    about: dict[str, Any] = {
        "node": running.node,
        "generation": running.formation.number,
        "applied": running.flow.applied,
        "sealed": running.cuts.sealed,
    }
    if found is None or found.state is GONE:
        return Answer(**about)
    try:
        image, shown = encode(found.state, registry), repr(found.state)
    except ValueTypeError as error:
        return Answer(problem=f"the state is not a value: {error}")
    shape = json.dumps(plain(found.state), ensure_ascii=False)
    if len(image) + len(shown) + len(shape) > ANSWER_BYTES_MAX // 4:
        return Answer(problem=f"the state is too large to be sent: its image has {len(image):,} bytes")
    return Answer(image=image, shown=shown, plain=shape, **about)


T = TypeVar("T")


def _unpack(decoder: msgspec.msgpack.Decoder[T], packed: bytes) -> T:
    try:
        return decoder.decode(packed)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a malformed question or answer: {error}") from error


_ENCODER: Final = msgspec.msgpack.Encoder()
_QUESTIONS: Final = msgspec.msgpack.Decoder(Question)
_ANSWERS: Final = msgspec.msgpack.Decoder(Answer)
