"""Writing the sinks for the worker machine: files at once in the engine thread, a user's own sinks by a thread each.

Invariant: what is ordered of one sink happens in the order given. `sync` alone may run beside a write.
What a sink has already and how it tells is the connector's matter.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from holdfast.connectors.contract import UserSink
from holdfast.connectors.interface import InterruptedWriteError, OpenSink, Writer
from holdfast.runtime.clock import now
from holdfast.runtime.points import WRITING, Probe, half
from holdfast.worker.effects import Deliver, TakeToken
from holdfast.worker.events import Delivered, TokenTaken


class Delivery(Protocol):
    """One open sink."""

    @property
    def idle(self) -> bool:
        """Whether nothing that was ordered is still to be answered."""

    def deliver(self, order: Deliver) -> Delivered | None:
        """Write outputs; return the answer, or None: it will be posted."""

    def take_token(self, order: TakeToken) -> TokenTaken | None:
        """Say where the sink stands; return the answer, or None: it will be posted."""

    def sync(self) -> None:
        """Make durable what was written; any thread may call it."""

    def finish(self) -> None:
        """Check that nothing stands behind the last output."""

    def hurry(self) -> None:
        """The run is to end: who is away is not waited for much longer."""

    def close(self) -> None:
        """Work off what was ordered and let go of the sink."""


class DirectDelivery:
    """Writes where it is told to."""

    idle = True

    def __init__(self, sink: int, writer: Writer, probe: Probe) -> None:
        self._sink = sink
        self._writer = writer
        self._probe = probe

    def deliver(self, order: Deliver) -> Delivered:
        write(self._writer, self._probe, order)
        return Delivered(now(), self._sink, order.first + order.count - 1)

    def take_token(self, order: TakeToken) -> TokenTaken:
        return TokenTaken(now(), self._sink, order.checkpoint, self._writer.token())

    def sync(self) -> None:
        self._writer.sync()

    def finish(self) -> None:
        self._writer.finish()

    def hurry(self) -> None:
        """Nobody is waited for."""

    def close(self) -> None:
        self._writer.close()


class ThreadedDelivery:
    """Writes in a thread of its own, so that a slow sink holds up no other and no computing."""

    def __init__(self, sink: int, writer: Writer, probe: Probe, post: Callable[[Any], None]) -> None:
        self._sink = sink
        self._writer = writer
        self._probe = probe
        self._post = post
        self._orders: queue.SimpleQueue[Deliver | TakeToken | None] = queue.SimpleQueue()
        self._handed_out = 0
        self._done = 0
        self._thread = threading.Thread(target=self._guarded, name=f"holdfast-sink-{sink}", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        return self._handed_out == self._done

    def deliver(self, order: Deliver) -> None:
        self._hand_out(order)

    def take_token(self, order: TakeToken) -> None:
        self._hand_out(order)

    def sync(self) -> None:
        self._writer.sync()

    def finish(self) -> None:
        assert self.idle
        self._writer.finish()

    def hurry(self) -> None:
        hurry = getattr(self._writer, "hurry", None)
        if hurry is not None:
            hurry()

    def close(self) -> None:
        self._orders.put(None)
        interrupt = getattr(self._writer, "interrupt", None)
        if interrupt is not None:
            interrupt()
        self._thread.join()
        self._writer.close()

    def _hand_out(self, order: Deliver | TakeToken) -> None:
        self._handed_out += 1
        self._orders.put(order)

    def _guarded(self) -> None:
        try:
            while (order := self._orders.get()) is not None:
                self._carry_out(order)
                self._done += 1
        except InterruptedWriteError:
            pass
        except BaseException as error:  # noqa: BLE001 - a user's sink may raise anything, the engine thread says so
            self._post(error)

    def _carry_out(self, order: Deliver | TakeToken) -> None:
        if isinstance(order, Deliver):
            write(self._writer, self._probe, order)
            self._post(Delivered(now(), self._sink, order.first + order.count - 1))
        else:
            self._post(TokenTaken(now(), self._sink, order.checkpoint, self._writer.token()))


def write(writer: Writer, probe: Probe, order: Deliver) -> None:
    """Write one delivery; a probe may want to stop in the middle of it."""
    if probe.halves_write():
        cut = half(order.payload)
        writer.write(order.first, cut, order.count if isinstance(order.payload[0], bytes) else len(cut))
    probe.passed(WRITING)
    writer.write(order.first, order.payload, order.count)


def open_delivery(sink: OpenSink, number: int, writer: Writer, probe: Probe, post: Callable[[Any], None]) -> Delivery:
    """Return what writes this sink in the way that suits it."""
    if isinstance(sink, UserSink) or getattr(sink, "threaded", False):
        return ThreadedDelivery(number, writer, probe, post)
    return DirectDelivery(number, writer, probe)
