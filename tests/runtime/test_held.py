"""An output that somebody else holds is waited for: for a while by one worker, for as long as it takes in a cluster."""

from __future__ import annotations

import fcntl
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.connectors.file_writer import FileWriter
from holdfast.core.errors import OutputHeldError
from holdfast.runtime import held
from holdfast.runtime.deliveries import Delivery, DirectDelivery
from holdfast.runtime.held import WaitingDelivery, opened
from holdfast.runtime.points import Probe
from holdfast.worker.effects import Deliver, TakeToken
from holdfast.worker.events import Delivered, TokenTaken

SECONDS_MAX = 30.0
FIRST, SECOND = Deliver(0, 1, 1, 2, (b"one\n", b"two\n")), Deliver(0, 2, 3, 1, (b"three\n",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "out.txt"
    made.touch()
    return made


class Holder:
    """Has the file, as a process that was given up and does not know."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_RDWR)
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def let_go(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


@pytest.fixture
def holder(path: Path) -> Iterator[Holder]:
    made = Holder(path)
    yield made
    made.let_go()


def writer(path: Path) -> FileWriter:
    return FileWriter(str(path), None, 0, owned=True)


def test_one_worker_waits_for_a_holder_that_ends(path: Path, holder: Holder) -> None:
    timer = threading.Timer(0.05, holder.let_go)
    timer.start()

    opened(lambda: writer(path)).close()

    timer.join()


def test_one_worker_gives_up_a_holder_that_stays(
    path: Path, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "HELD_SECONDS", 0.02)

    with pytest.raises(OutputHeldError, match="being written by another"):
        opened(lambda: writer(path))


class Waiting:
    """A delivery of a file that is held, and what it says and answers."""

    def __init__(self, path: Path) -> None:
        self.said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.tries = threading.Semaphore(0)
        self._path = path
        self.delivery = WaitingDelivery(self._open, self.answers.put, self.said.put)

    def _open(self) -> Delivery:
        self.tries.release()
        return DirectDelivery(0, writer(self._path), Probe())


def test_what_was_ordered_meanwhile_is_written_once_the_file_is_free(path: Path, holder: Holder) -> None:
    waiting = Waiting(path)
    waiting.delivery.deliver(FIRST)
    waiting.delivery.take_token(TakeToken(0, 7))
    waiting.delivery.deliver(SECOND)
    assert waiting.tries.acquire(timeout=SECONDS_MAX)
    assert waiting.tries.acquire(timeout=SECONDS_MAX)
    assert path.read_bytes() == b""

    holder.let_go()

    first, token, second = (waiting.answers.get(timeout=SECONDS_MAX) for _ in range(3))
    assert isinstance(first, Delivered)
    assert isinstance(token, TokenTaken)
    assert isinstance(second, Delivered)
    assert (first.last, token.token, second.last) == (2, 8, 3)
    waiting.delivery.close()
    assert waiting.delivery.idle
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_what_the_holder_still_wrote_is_compared_and_not_written_again(path: Path, holder: Holder) -> None:
    waiting = Waiting(path)
    waiting.delivery.deliver(FIRST)
    assert waiting.tries.acquire(timeout=SECONDS_MAX)
    os.pwrite(holder.file, b"one\ntw", 0)  # it wakes up, and is killed in the middle of a write

    holder.let_go()

    assert waiting.answers.get(timeout=SECONDS_MAX).last == 2
    waiting.delivery.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_whoever_is_closed_while_it_waits_writes_nothing(path: Path, holder: Holder) -> None:
    waiting = Waiting(path)
    waiting.delivery.deliver(FIRST)
    assert waiting.tries.acquire(timeout=SECONDS_MAX)

    waiting.delivery.close()
    holder.let_go()

    assert waiting.answers.empty()
    assert path.read_bytes() == b""


def test_a_long_wait_is_said_once_and_so_is_its_end(
    path: Path, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "HELD_SECONDS", 0.0)
    waiting = Waiting(path)
    assert "being written by another process or sink: waiting" in waiting.said.get(timeout=SECONDS_MAX)
    holder.let_go()
    assert waiting.said.get(timeout=SECONDS_MAX) == "the output that was waited for is free"
    waiting.delivery.close()
    assert waiting.said.empty()


def test_any_other_error_of_opening_reaches_the_engine(path: Path, holder: Holder) -> None:
    waiting = Waiting(path)
    assert waiting.tries.acquire(timeout=SECONDS_MAX)
    path.unlink()
    path.mkdir()

    error = waiting.answers.get(timeout=SECONDS_MAX)

    assert "is a directory" in str(error)
    waiting.delivery.close()
