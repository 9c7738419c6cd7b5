"""Clients of a cluster at a worker: who sends letters to sources over connections, and hears what became of them.

A mailbox is open where this member reads the source's partition in the generation that runs. Invariants: a letter that
arrives while none is open is told to go elsewhere, and so is every letter without a fate when one is closed: whether it
was logged is not known then, and its id makes a repeat harmless. A client that does not read is given up.
Threads: `open` and `close` belong to the engine, connections to trio.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import trio

from holdfast.connectors.send import Send
from holdfast.core.errors import EngineStoppedError, FrameError
from holdfast.core.replies import images_of
from holdfast.core.senders import FORGOTTEN
from holdfast.runtime.mailbox import Letter, Mailbox
from holdfast.runtime.transport.bell import Bell
from holdfast.runtime.transport.channels import FATES, LETTERS
from holdfast.runtime.transport.connection import Connection
from holdfast.runtime.transport.handshake import Session
from holdfast.runtime.transport.letters import Fate, Outcome, pack_outcomes, unpack_letters
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.outbox import Outbox


class Clients:
    """All clients that are connected to one worker."""

    def __init__(self, sources: Mapping[str, Send[Any]], limits: Limits) -> None:
        """`sources` are those that take what is sent, by name."""
        self._sources = sources
        self._limits = limits
        self._lock = threading.Lock()  # between letters that arrive and mailboxes that close
        self._open: dict[str, Mailbox] = {}  # by name of the source

    # --- the engine thread

    def open(self, source: str) -> Mailbox:
        """This member reads the source's partition from now on."""
        mailbox = Mailbox()
        with self._lock:
            self._open[source] = mailbox
        return mailbox

    def close(self) -> None:
        """It reads none any more."""
        with self._lock:
            closed, self._open = list(self._open.values()), {}
        for mailbox in closed:
            mailbox.fail(_moved)

    # --- connections

    async def have_guest(self, stream: trio.SocketStream, session: Session) -> None:
        """One client, until its connection ends."""
        line = ClientLine(trio.lowlevel.current_trio_token(), self._limits)
        line.connection = Connection(
            *(stream, session),
            outbox=line.outbox,
            bell=line.bell,
            on_message=lambda channel, message: self._take(line, channel, message),
            limits=self._limits,
        )
        await line.connection.run()

    def _take(self, line: ClientLine, channel: int, message: bytes) -> None:
        if channel != LETTERS:
            raise FrameError(f"a message of channel {channel} from a client")
        source, letters = unpack_letters(message)
        known = self._sources.get(source)
        # What is in the log must be readable for ever.
        if known is None or not all(known.is_record(sent.record) for sent in letters):
            raise FrameError(f"a letter to {source!r} that is no record of it")
        refused = []
        for sent in letters:
            letter = Letter(sent.record, line, asks=sent.asks)
            letter.waiter = sent.ticket
            with self._lock:
                mailbox = self._open.get(source)
                if mailbox is not None:
                    mailbox.put(letter)
                    continue
            refused.append((letter, _moved()))
        if refused:
            line.wake(refused)


class ClientLine:
    """One client's connection, as the front that its letters come from."""

    def __init__(self, token: trio.lowlevel.TrioToken, limits: Limits) -> None:
        self.bell = Bell(token)
        self.outbox = Outbox(self.bell.ring)
        self.connection: Connection | None = None
        self._token = token
        self._limits = limits

    def wake(self, settled: list[tuple[Letter, Any]]) -> None:
        """Tell it what became of these letters; any thread."""
        outcomes = [_outcome(letter, result) for letter, result in settled]
        if self.outbox.put(FATES, pack_outcomes(outcomes)) > self._limits.queue_bytes_max:
            try:
                self._token.run_sync_soon(self._give_up)
            except trio.RunFinishedError:
                pass

    def _give_up(self) -> None:
        if self.connection is not None:
            self.connection.end("it does not read what became of its letters")


def _outcome(letter: Letter, result: Any) -> Outcome:
    ticket: int = letter.waiter
    if isinstance(result, Exception):
        return Outcome(ticket, Fate.ELSEWHERE)
    if not letter.asks:
        return Outcome(ticket, Fate.DURABLE)
    if result is FORGOTTEN:
        return Outcome(ticket, Fate.FORGOTTEN)
    return Outcome(ticket, Fate.ANSWERED, images_of(result))


def _moved() -> EngineStoppedError:
    return EngineStoppedError("another member takes this source's letters now")


