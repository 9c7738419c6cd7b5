"""Desk: where callers in this process meet the engine thread: a mailbox for each source they send to, and questions.

Invariant: the desk outlives the lives of the machine. What lies on it when a life ends is taken up by the next one, and
failed when none follows. A question is answered when all that was in the log when it was heard is applied, so a caller
sees what it sent before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from holdfast.core import keys
from holdfast.core.cache import CachedBook
from holdfast.core.entities import GONE, canonical_of
from holdfast.core.errors import UsageError
from holdfast.core.images import unpack_row
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode
from holdfast.runtime.lane import Lane
from holdfast.runtime.mailbox import Letter, Mailbox, settle, take_all
from holdfast.storage.state import State
from holdfast.worker.machine import Worker


class Desk:
    """The callers' side of one engine."""

    def __init__(self, sources: list[str]) -> None:
        """`sources` are the names of those that take what is sent."""
        self.mailboxes = {name: Mailbox() for name in sources}
        self.lanes: dict[str, Lane] = {}  # before the mailboxes of sources with an intake function
        self.failure: Callable[[], Exception] | None = None
        self.is_closing = False  # what lies here is still taken, then the engine is to end
        self._asked: deque[Letter] = deque()  # questions: (step, key)
        self._heard: deque[tuple[int, Letter]] = deque()  # each with the epoch that must be applied before
        self._post: Callable[[Any], None] | None = None

    # --- any thread

    def ask(self, question: Letter) -> None:
        """Put a question; its payload is (step, key)."""
        if self.failure is not None:
            raise self.failure()
        self._asked.append(question)
        post = self._post
        if post is not None:
            post(Knock())
        self._fail_late()

    def _fail_late(self) -> None:
        """The engine may have ended while a question was put: nobody else would look."""
        if self.failure is not None:
            settle([(letter, self.failure()) for letter in take_all(self._asked)])

    def close(self, failure: Callable[[], Exception]) -> None:
        """Take nothing more; the engine ends once nothing lies here."""
        for mailbox in self.mailboxes.values():
            mailbox.refusal = failure
        self.is_closing = True
        post = self._post
        if post is not None:
            post(Knock())

    # --- the engine thread

    def attach(self, post: Callable[[Any], None]) -> None:
        """A life begins; `post` wakes it."""
        self._post = post
        for mailbox in self.mailboxes.values():
            mailbox.is_hungry = False
            mailbox.arrived = lambda: post(Knock())
        if self._asked or self._heard or self.is_closing:
            post(Knock())

    def fail(self, failure: Callable[[], Exception]) -> None:
        """The engine has ended."""
        self.failure, self._post = failure, None
        for mailbox in self.mailboxes.values():
            mailbox.fail(failure)
        for lane in self.lanes.values():
            lane.fail(failure)
        left = [letter for _, letter in self._heard] + take_all(self._asked)
        self._heard.clear()
        settle([(letter, failure()) for letter in left])

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies here that the machine has not taken."""
        on_its_way = any(not lane.is_empty for lane in self.lanes.values())
        return not on_its_way and not any(mailbox.waiting for mailbox in self.mailboxes.values())

    @property
    def has_questions(self) -> bool:
        """Whether any question waits for its answer."""
        return bool(self._asked or self._heard)

    def answer_questions(self, worker: Worker, state: State, registry: TypeRegistry) -> None:
        """Answer those whose time has come. Called between events."""
        while self._asked:
            logged = max(worker.intake.closed, worker.returning.tail)
            self._heard.append((logged, self._asked.popleft()))
        if not worker.running or not worker.returning.is_over or worker.work.under_way is not None:
            return
        answered: list[tuple[Letter, Any]] = []
        while self._heard and self._heard[0][0] <= worker.apply.applied:
            _, letter = self._heard.popleft()
            try:
                answered.append((letter, image_of(worker, state, registry, *letter.payload)))
            except Exception as error:  # noqa: BLE001 - the caller's mistake, and the caller hears of it
                answered.append((letter, error))
        settle(answered)


class Knock:
    """Posted by a caller: something lies on the desk."""


def image_of(worker: Worker, state: State, registry: TypeRegistry, step: str, key: Any) -> bytes | None:
    """The entity of a key as it is now."""
    index = next((s.index for s in worker.plan.stateful if s.name == step), None)
    if index is None:
        known = ", ".join(repr(s.name) for s in worker.plan.stateful) or "none"
        raise UsageError(f"there is no stateful step {step!r}; there are: {known}")
    book = worker.pipeline.books[index]
    lookup = keys.lookup(key, registry)
    if not isinstance(book, CachedBook):
        entity = book.entities.get(lookup)
        return None if entity is None or entity.state is GONE else encode(entity.state, registry)
    entity = book.find(lookup)
    if entity is not None:
        return encode(entity.state, registry)
    (row,) = state.load(worker.folding.spaces[worker.plan.stored_names[step]], [canonical_of(lookup)])
    return None if row is None or book.is_deleted(lookup) else unpack_row(row)[0]
