"""Outputs that somebody else still holds: a process that is about to end, or one that was given up and does not know.

Two may never write one file. One worker alone gives a killed predecessor the time it needs to end. In a cluster the
predecessor may be stopped, or cut off from everybody: his successor waits for as long as it takes, says so, and goes on
with everything else. Whatever the predecessor still writes stands before the successor looks at what stands.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from holdfast.connectors.interface import Writer
from holdfast.core.errors import OutputHeldError
from holdfast.runtime.deliveries import Delivery
from holdfast.runtime.notice import Notice
from holdfast.worker.effects import Deliver, TakeToken

HELD_SECONDS = 5.0  # a killed process lets go of its locks only when it has wholly ended
POLL_SECONDS = 0.02


def opened(open_writer: Callable[[], Writer]) -> Writer:
    """Open a sink, waiting for its holder to end; OutputHeldError if he does not."""
    deadline = time.monotonic() + HELD_SECONDS
    while True:
        try:
            return open_writer()
        except OutputHeldError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(POLL_SECONDS)


class WaitingDelivery:
    """Takes orders at once, and works them off in a thread of its own as soon as the sink could be opened."""

    def __init__(
        self, open_delivery: Callable[[], Delivery], post: Callable[[Any], None], report: Callable[[str], None]
    ) -> None:
        """`open_delivery` raises OutputHeldError for as long as somebody else holds the sink."""
        self._open = open_delivery
        self._post = post
        self._report = report
        self._orders: queue.SimpleQueue[Deliver | TakeToken | None] = queue.SimpleQueue()
        self._handed_out = 0
        self._done = 0
        self._closing = threading.Event()
        self._delivery: Delivery | None = None
        self._thread = threading.Thread(target=self._guarded, name="holdfast-held-sink", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        return self._handed_out == self._done and (self._delivery is None or self._delivery.idle)

    def deliver(self, order: Deliver) -> None:
        self._hand_out(order)

    def take_token(self, order: TakeToken) -> None:
        self._hand_out(order)

    def sync(self) -> None:
        if self._delivery is not None:  # else nothing was written yet
            self._delivery.sync()

    def finish(self) -> None:
        assert self._delivery is not None
        self._delivery.finish()

    def hurry(self) -> None:
        """Whoever holds the output is not waited for: it ends by itself."""

    def close(self) -> None:
        """Work off what was ordered, if that can be done, and let go of the sink."""
        self._closing.set()
        self._orders.put(None)
        self._thread.join()
        if self._delivery is not None:
            self._delivery.close()

    def _hand_out(self, order: Deliver | TakeToken) -> None:
        self._handed_out += 1
        self._orders.put(order)

    def _guarded(self) -> None:
        try:
            self._delivery = delivery = self._wait()
            while delivery is not None and (order := self._orders.get()) is not None:
                answer = delivery.deliver(order) if isinstance(order, Deliver) else delivery.take_token(order)
                if answer is not None:
                    self._post(answer)
                self._done += 1
        except BaseException as error:  # noqa: BLE001 - the engine thread says what it was
            self._post(error)

    def _wait(self) -> Delivery | None:
        """Until the sink is free; None where that is not wanted any more."""
        said, deadline = "", time.monotonic() + HELD_SECONDS
        while not self._closing.is_set():
            try:
                delivery = self._open()
            except OutputHeldError as error:
                if not said and time.monotonic() >= deadline:
                    said = f"{error}: waiting for it to let go"
                    self._report(Notice(said, "output_held", level="warning"))
                self._closing.wait(POLL_SECONDS)
                continue
            if said:
                self._report(Notice("the output that was waited for is free", "output_free"))
            return delivery
        return None
