"""What one worker without a cluster answers to commands (window): how it is doing, and the state of a key.

Invariant: a state has seen everything that was durable before the question, as one that the process itself asks for.
Runs on the window's thread; the engine thread only takes an image where it stands between two events (desk).
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from typing import Any, Final

from holdfast.core import keys
from holdfast.core.errors import HoldfastError
from holdfast.core.values import Codec
from holdfast.runtime.desk import Desk
from holdfast.runtime.mailbox import Letter
from holdfast.runtime.plain_values import plain
from holdfast.runtime.query import ANSWER_BYTES_MAX, QUERY, Answer, Question, pack, unpack_question
from holdfast.worker.machine import Worker

STATUS: Final = b"status"
IMAGE_SECONDS: Final = 5.0  # how long the engine may take to come between two events, or to be there again


class Asked:
    """A front with one caller, who waits for so long and no longer."""

    def __init__(self) -> None:
        self.outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def wake(self, settled: list[tuple[Letter, Any]]) -> None:
        for _, result in settled:
            self.outcome.put(result)


class OneWorkerAnswers:
    """Called with a question, gives the answer."""

    def __init__(
        self, status: Callable[[], dict[str, Any]], worker: Callable[[], Worker | None], desk: Desk, codec: Codec
    ) -> None:
        self._status = status
        self._worker = worker
        self._desk = desk
        self._codec = codec

    def __call__(self, question: bytes) -> bytes:
        if question == STATUS:
            return json.dumps(self._status()).encode()
        if not question.startswith(QUERY):
            return b""
        try:
            return pack(self._state(unpack_question(question[len(QUERY) :])))
        except queue.Empty:
            return pack(Answer(problem=f"no answer within {IMAGE_SECONDS:g} s: a start or a function takes its time"))
        except HoldfastError as error:
            return pack(Answer(problem=str(error)))

    def _state(self, question: Question) -> Answer:
        front = Asked()
        key = keys.parse(question.key, self._codec.registry)
        self._desk.ask(Letter((question.step, key), front, asks=True))
        image = front.outcome.get(timeout=IMAGE_SECONDS)
        if isinstance(image, Exception):
            raise image
        worker = self._worker()
        assert worker is not None, "it has answered"
        about: dict[str, Any] = {
            "generation": worker.settings.generation,
            "applied": worker.apply.applied,
            "sealed": worker.progress.sealed,
        }
        if image is None:
            return Answer(**about)
        state = self._codec.decode(image)
        shown, shape = repr(state), json.dumps(plain(state), ensure_ascii=False)
        if len(image) + len(shown) + len(shape) > ANSWER_BYTES_MAX:
            return Answer(problem=f"the state is too large to be sent: its image has {len(image):,} bytes")
        return Answer(image=image, shown=shown, plain=shape, **about)
