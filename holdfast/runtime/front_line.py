"""The line from a client of a cluster to the member that takes a source's letters, wherever that is just now.

The coordinator says which member that is; when the connection breaks, or that member says that it is not, it is asked
again, and every letter that has no fate yet is sent again, in the order in which they were put. Each has an id, its
caller's or one of this line's own, so none counts twice. Invariants: a letter is settled once: durable, answered, or
failed because the line has ended; the line's own ids rise in the order in which letters leave.
Threads: `put` is anybody's; the rest belongs to the trio run in which the line was made.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final

import trio

from holdfast.connectors.send import Send
from holdfast.core.errors import FrameError, UsageError
from holdfast.core.senders import FORGOTTEN
from holdfast.runtime.mailbox import Letter, settle, take_all
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.bell import Bell
from holdfast.runtime.transport.book import Entry, unpack_book
from holdfast.runtime.transport.channels import FATES, LETTERS
from holdfast.runtime.transport.connection import Connection
from holdfast.runtime.transport.dialer import Called, call
from holdfast.runtime.transport.handshake import UNKNOWN_CLUSTER, Identity, Role
from holdfast.runtime.transport.letters import Fate, Outcome, Sent, pack_letters, unpack_outcomes
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.outbox import Outbox
from holdfast.runtime.transport.question import ask

WHERE: Final = b"where "  # and a source's name: the coordinator's question
WINDOW: Final = 10_000  # letters on their way at once; more wait here
BYTES_AT_ONCE: Final = 1 << 20  # of letters in one message, about
LOOKS: Final = 20  # within a timeout, whether anybody was answered …
LOOK_SECONDS_MAX: Final = 1.0  # … and at least so often


class FrontLine:
    """Letters to one source."""

    def __init__(
        self,
        name: str,
        source: Send[Any],
        coordinator: Callable[[], Address | None],
        secrets: tuple[bytes, ...],
        limits: Limits,
        *,
        timeout: float | None,
        unreachable: Callable[[], Exception],
    ) -> None:
        """`coordinator` says where the coordinator listens, None while it does not.

        Where nobody is answered for `timeout` seconds, all who wait are told that it is `unreachable`.
        """
        self._name = name
        self._source = source
        self._producer = f"engine {os.urandom(8).hex()}"
        self._coordinator = coordinator
        self._secrets = secrets
        self._limits = limits
        self._timeout = timeout
        self._unreachable = unreachable
        self._settled = 0  # letters, so far
        self.is_away = True  # no member takes letters just now
        self._random = Random(os.urandom(8))
        self.refusal: Callable[[], Exception] | None = None  # why nothing new is taken; what waits still is
        self.failure: Callable[[], Exception] | None = None  # why nothing is taken any more
        self.arrived: Callable[[], None] = lambda: None
        self._bell = Bell(trio.lowlevel.current_trio_token())
        self._waiting: deque[Letter] = deque()
        self._sent: dict[int, Letter] = {}  # by ticket, in the order in which they were put
        self._ticket = 0

    # --- any thread

    def put(self, letter: Letter) -> None:
        """Send it; its payload is a record."""
        if self.refusal is not None:
            raise self.refusal()
        self.admit(letter)

    def admit(self, letter: Letter) -> None:
        """Send what was let in before anything was refused."""
        self._waiting.append(letter)
        self._bell.ring()
        self._fail_late()

    @property
    def is_empty(self) -> bool:
        """Whether no letter is without its fate."""
        return not self._waiting and not self._sent

    # --- the trio thread

    def fail(self, failure: Callable[[], Exception]) -> None:
        """The line has ended."""
        self.refusal = self.failure = failure
        left, self._sent = list(self._sent.values()), {}
        settle([(letter, failure()) for letter in left])
        self._fail_late()

    def _fail_late(self) -> None:
        """It may have ended while a letter was put: nobody else would look."""
        if self.failure is not None:
            settle([(letter, self.failure()) for letter in take_all(self._waiting)])

    async def run(self) -> None:
        """Carry letters until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._timeout is not None:
                nursery.start_soon(self._watch, self._timeout)
            await self._keep_carrying()

    async def _watch(self, patience: float) -> None:
        """Tell who waits that it is in vain. A fate that comes later is nobody's; with the same id it can be had."""
        settled, since = self._settled, trio.current_time()
        while True:
            await trio.sleep(min(patience / LOOKS, LOOK_SECONDS_MAX))
            if self.is_empty or settled != self._settled:
                settled, since = self._settled, trio.current_time()
            elif trio.current_time() - since >= patience:
                left, self._sent = [*self._sent.values(), *take_all(self._waiting)], {}
                settle([(letter, self._unreachable()) for letter in left])

    async def _keep_carrying(self) -> None:
        pause = self._limits.retry_seconds_min
        while True:
            try:
                entry = await self.where()
                if entry is not None:
                    await self._carry(entry)
                    pause = self._limits.retry_seconds_min
            except FrameError:
                pass  # nobody is there: it is asked again where to go
            await trio.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(2 * pause, self._limits.retry_seconds_max / 4)

    async def where(self) -> Entry | None:
        """Which member takes the letters now, if any is known to."""
        address = self._coordinator()
        if address is None:
            return None
        try:
            packed = await ask(address, self._secrets, WHERE + self._name.encode(), self._limits)
        except UsageError:
            return None  # the coordinator is started again just now
        return unpack_book(packed)[0] if packed else None

    async def _carry(self, entry: Entry) -> None:
        """Over one connection, until it ends."""
        own = Identity(Role.CLIENT, UNKNOWN_CLUSTER, os.urandom(16).hex(), 0)
        called = Called(entry.address, Role.PEER, entry.node, entry.incarnation)
        stream, session = await call(called, own, self._secrets, self._limits)
        bell = Bell(trio.lowlevel.current_trio_token())
        outbox = Outbox(bell.ring)

        def take(channel: int, message: bytes) -> None:
            if channel != FATES:
                raise FrameError(f"a message of channel {channel} in place of fates")
            if not self._settle(unpack_outcomes(message)):
                connection.end("it takes this source's letters no more")
            self._bell.ring()  # there is room for more

        connection = Connection(
            *(stream, session),
            outbox=outbox,
            bell=bell,
            on_message=take,
            limits=self._limits,
        )
        for ticket, letter in self._sent.items():
            self._post(outbox, [(ticket, letter)])
        self.is_away = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed, outbox)
                await connection.run()
                nursery.cancel_scope.cancel()
        finally:
            self.is_away = True

    async def _feed(self, outbox: Outbox) -> None:
        while True:
            while self._waiting and len(self._sent) < WINDOW:
                self._post(outbox, self._take())
            await self._bell.wait()

    def _take(self) -> list[tuple[int, Letter]]:
        """The next letters, with their tickets; no await from here to the outbox, so none is lost between."""
        taken: list[tuple[int, Letter]] = []
        size = 0
        while self._waiting and len(self._sent) < WINDOW and size < BYTES_AT_ONCE:
            letter = self._waiting.popleft()
            self._ticket += 1
            letter.payload = self._source.under_id(letter.payload, (self._producer, self._ticket))
            self._sent[self._ticket] = letter
            taken.append((self._ticket, letter))
            size += len(letter.payload)
        return taken

    def _post(self, outbox: Outbox, letters: list[tuple[int, Letter]]) -> None:
        sent = [Sent(ticket, letter.asks, letter.payload) for ticket, letter in letters]
        outbox.put(LETTERS, pack_letters(self._name, sent))

    def _settle(self, outcomes: list[Outcome]) -> bool:
        """Tell callers what became of their letters; whether the member still takes them."""
        settled: list[tuple[Letter, Any]] = []
        is_here = True
        for outcome in outcomes:
            if outcome.fate is Fate.ELSEWHERE:
                is_here = False
                continue
            letter = self._sent.pop(outcome.ticket, None)
            self._settled += 1
            if letter is not None:
                settled.append((letter, _result(outcome)))
        settle(settled)
        return is_here


def _result(outcome: Outcome) -> Any:
    """As a mailbox would say it."""
    if outcome.fate is Fate.FORGOTTEN:
        return FORGOTTEN
    if not outcome.images:
        return None
    return outcome.images[0] if len(outcome.images) == 1 else outcome.images
