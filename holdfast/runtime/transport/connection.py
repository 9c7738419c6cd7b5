"""One authenticated connection: reads, writes, and ends by itself when the other side falls silent.

Its writer and its watch are tasks of trio. So is its reader; where an inbox is given, the thread of that inbox reads
instead, and handles what it has read.
Invariant: `run` gives the reason why it ended, and never raises for what the other side or the network does; the stream
is closed then. Messages are given on in the order in which they were sent, and only while nothing was wrong before.
Not here: how it came about (dialer, listener), and what a message means (peers, control).
"""

from __future__ import annotations

import fcntl
import os
import termios
from collections.abc import Callable, Sequence
from typing import Final

import trio

from holdfast.core.errors import FrameError
from holdfast.runtime.transport.bell import Bell
from holdfast.runtime.transport.framing import FrameReader, FrameWriter, Part
from holdfast.runtime.transport.handshake import Session
from holdfast.runtime.transport.inbox import Inbox
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.outbox import Message, Outbox

BEAT: Final = 0  # the channel of empty messages that only say: I am here
READ_BYTES: Final = 1 << 16
READ_BYTES_MAX: Final = 1 << 20  # of one socket in one go, where others wait to be read by the same thread
WRITE_BYTES: Final = 1 << 16  # smaller pieces are joined to about this much, larger ones are sent as they are

CLOSED: Final = "the other side closed the connection"

OnMessage = Callable[[int, bytes], None]


class Connection:
    """Both directions of one stream. Made and run inside trio."""

    def __init__(
        self,
        stream: trio.SocketStream,
        session: Session,
        *,
        outbox: Outbox,
        bell: Bell,
        on_message: OnMessage,
        limits: Limits,
        inbox: Inbox | None = None,
        on_slow: Callable[[bool], None] = lambda slow: None,
    ) -> None:
        """`bell` is what `outbox` rings. `on_message` may raise FrameError, which ends the connection.

        With an inbox it is called by that inbox's thread, and nothing is read while that has anything else to do.
        """
        self.session = session
        self._stream = stream
        self._outbox = outbox
        self._bell = bell
        self._on_message = on_message
        self._on_slow = on_slow
        self._inbox = inbox
        self._limits = limits
        self._reader = FrameReader(session.receiving, limits.message_bytes_max)
        self._writer = FrameWriter(session.sending)
        self._scope = trio.CancelScope()
        self._reason = ""
        self._heard = trio.current_time()
        self._has_heard = False  # the inbox's thread has read something since the watch looked last
        self._token = trio.lowlevel.current_trio_token()

    def end(self, reason: str) -> None:
        """Make it end, for this reason if there was none before. An inbox gets nothing of it from now on."""
        self._reason = self._reason or reason
        self._scope.cancel()
        if self._inbox is not None:
            self._inbox.remove(self._stream.socket.fileno())  # at once: what is told now comes behind all it brought

    async def run(self, first: Sequence[Message] = ()) -> str:
        """Exchange messages, these before those of the outbox, until it ends; gives why."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, self._read)
                    nursery.start_soon(self._guarded, self._write, first)
                    nursery.start_soon(self._watch)
        finally:
            self._on_slow(False)
            await trio.aclose_forcefully(self._stream)
        return self._reason

    async def _guarded(self, task: Callable[..., object], *arguments: object) -> None:
        try:
            await task(*arguments)  # type: ignore[misc]
        except FrameError as error:
            self.end(str(error))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.end(f"the connection broke: {error.__cause__ or error}")

    async def _read(self) -> None:
        if self._inbox is not None:
            await self._let_read(self._inbox)
            return
        while True:
            data = await self._stream.receive_some(READ_BYTES)
            if not data:
                self.end(CLOSED)
                return
            self._heard = trio.current_time()
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        for channel, message in self._reader.feed(data):
            if channel != BEAT:
                self._on_message(channel, message)
            elif message:
                raise FrameError("a beat that says something")

    async def _let_read(self, inbox: Inbox) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        descriptor = self._stream.socket.fileno()
        inbox.add(descriptor, self._read_now)
        try:
            await trio.sleep_forever()
        finally:
            inbox.remove(descriptor)  # before the stream is closed, and its number perhaps another's

    def _read_now(self) -> bool:
        """Take what has come, or much of it; on the inbox's thread. False once the connection ends."""
        try:
            for _ in range(READ_BYTES_MAX // READ_BYTES):
                data = os.read(self._stream.socket.fileno(), READ_BYTES)
                if not data:
                    return self._end_soon(CLOSED)
                self._has_heard = True
                self._feed(data)
                if len(data) < READ_BYTES:
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            return self._end_soon(f"the connection broke: {error}")
        except FrameError as error:
            return self._end_soon(str(error))
        return True

    def _end_soon(self, reason: str) -> bool:
        """End it, from another thread; it is not read any more."""
        try:
            self._token.run_sync_soon(self.end, reason)
        except trio.RunFinishedError:
            pass  # the process ends
        return False

    def _has_come(self) -> bool:
        """Whether something has come since this was asked last, or waits for who is to read it."""
        unread = fcntl.ioctl(self._stream.socket.fileno(), termios.FIONREAD, bytes(4))
        heard, self._has_heard = self._has_heard, False
        return heard or any(unread)

    async def _write(self, first: Sequence[Message]) -> None:
        await self._send(first)
        self._outbox.connect(self._send_now)
        try:
            while True:
                await trio.lowlevel.checkpoint_if_cancelled()  # what is put now is another connection's
                if rest := self._outbox.take_rest():
                    await self._stream.send_all(rest)
                elif messages := self._outbox.take(WRITE_BYTES):
                    await self._send(messages)
                else:
                    with trio.move_on_after(self._limits.beat_seconds) as waiting:
                        await self._bell.wait()
                    if waiting.cancelled_caught:
                        self._outbox.put(BEAT, b"")
        finally:
            self._outbox.disconnect(self._send_now)  # before the stream is closed, and its number perhaps another's

    async def _send(self, messages: Sequence[Message]) -> None:
        for pieces in joined([p for channel, message in messages for p in self._writer.frames(channel, message)]):
            await self._stream.send_all(pieces)

    def _send_now(self, channel: int, messages: Sequence[bytes]) -> bytes:
        """Send as much as there is room for, without waiting; on whatever thread, while the writer rests."""
        framed = b"".join([piece for message in messages for piece in self._writer.frames(channel, message)])
        try:
            return framed[os.write(self._stream.socket.fileno(), framed) :]
        except OSError:  # no room; or it is broken: the writer will meet that again, and say so
            return framed

    async def _watch(self) -> None:
        """Notice silence, and an outbox that does not empty."""
        limits, interval = self._limits, min(self._limits.beat_seconds, self._limits.slow_seconds)
        taken, moved, slow, before = -1, 0.0, False, trio.current_time()
        while True:
            await trio.sleep(interval)
            now = trio.current_time()
            if now - before > interval + limits.silence_seconds / 2:
                self._heard = moved = now  # it was this process that stood still; what was sent meanwhile waits unread
            before = now
            if self._inbox is not None and self._has_come():
                self._heard = now
            if now - self._heard > limits.silence_seconds:
                self.end(f"nothing was heard for {limits.silence_seconds:g} s")
                return
            if taken != self._outbox.taken or not self._outbox.bytes_waiting:
                taken, moved = self._outbox.taken, now
            waiting, stands_still = self._outbox.bytes_waiting, now - moved > limits.slow_seconds
            if stands_still and waiting > limits.queue_bytes_max:
                self.end(f"{waiting} bytes wait for it, more than it may be behind")
                return
            was_slow, slow = slow, stands_still or waiting > limits.slow_bytes
            if slow != was_slow:
                self._on_slow(slow)


def joined(pieces: list[Part]) -> list[Part]:
    """The same bytes in fewer pieces: small ones are joined, large ones not copied."""
    made: list[Part] = []
    small: list[Part] = []
    size = 0
    for piece in pieces:
        if len(piece) < WRITE_BYTES:
            small.append(piece)
            size += len(piece)
            if size < WRITE_BYTES:
                continue
        if small:
            made.append(b"".join(small))
            small, size = [], 0
        if len(piece) >= WRITE_BYTES:
            made.append(piece)
    return [*made, b"".join(small)] if small else made
