"""Stopped processes are ended once the others must have given them up, and no others are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio

from holdfast.runtime.frozen import LOOK_SECONDS, Frozen, end_frozen, is_stopped


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    made = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield made
    made.kill()
    made.wait()


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


def test_who_is_stopped_at_every_look_for_too_long_is_over(process: subprocess.Popen[bytes]) -> None:
    frozen = Frozen(2 * LOOK_SECONDS)
    assert frozen.over([process.pid]) == []
    stop(process)

    assert [frozen.over([process.pid]) for _ in range(3)] == [[], [], [process.pid]]


def test_who_goes_on_in_between_is_counted_anew(process: subprocess.Popen[bytes]) -> None:
    frozen = Frozen(2 * LOOK_SECONDS)
    stop(process)
    assert [frozen.over([process.pid]) for _ in range(2)] == [[], []]

    process.send_signal(signal.SIGCONT)
    os.waitid(os.P_PID, process.pid, os.WCONTINUED | os.WNOWAIT)
    assert frozen.over([process.pid]) == []
    stop(process)

    assert [frozen.over([process.pid]) for _ in range(3)] == [[], [], [process.pid]]


def test_of_a_process_that_is_not_there_nothing_is_said() -> None:
    assert not is_stopped(2**22 + 1)


def test_the_stopped_one_of_two_is_killed_with_a_line(process: subprocess.Popen[bytes]) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    said: list[str] = []

    async def watched() -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                names = {process.pid: "worker 1", other.pid: "worker 2"}
                nursery.start_soon(end_frozen, lambda: names, LOOK_SECONDS, said.append)
                await trio.to_thread.run_sync(process.wait)
                nursery.cancel_scope.cancel()

    try:
        stop(process)
        trio.run(watched)
        assert process.returncode == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert said[0] == "worker 1 was stopped for 0.25 s: the others have given it up, so it is ended"
