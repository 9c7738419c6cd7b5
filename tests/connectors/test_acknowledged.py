"""Sources that are told what is durable: never too early, in the end of everything, and whatever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

import holdfast as hf
from chaos.cluster_kills import children
from holdfast import testing
from holdfast.core.errors import ProcessingError
from holdfast.runtime.engine_thread import Options
from tests.cli.command import holdfast, running, write
from tests.connectors.killing import Killing, count_lines, ended_cleanly, wait_until
from tests.runtime.engine import ended, run, started

RECORDS = 300
ITEMS = 1500
CLUSTER_KILLS = 5

# A queue that forgets what was acknowledged: what is told too early is lost for ever.
QUEUE = """
import sqlite3
import time

import holdfast as hf


class Queue:
    def partitions(self):
        return ["queue"]

    def read(self, partition, offset):
        queue = sqlite3.connect("queue.db", timeout=60)
        last = offset or 0
        while True:
            rows = queue.execute("SELECT id, item FROM queue WHERE id > ? ORDER BY id", [last]).fetchall()
            for last, item in rows:
                yield item, last
            if not rows:
                time.sleep(0.002)

    def acknowledge(self, partition, offset):
        with sqlite3.connect("queue.db", timeout=60) as queue:
            queue.execute("DELETE FROM queue WHERE id <= ?", [offset])


def numbered(item, state):
    state.append(0)
    return item, len(state)


app = hf.Application("queue")
app.source(Queue()).key_by(lambda item: item[-1]).stateful(numbered, state=list).sink(hf.sinks.JsonLines("out.jsonl"))
"""


class Numbers:
    """Two partitions of numbers; keeps what it was told."""

    live = False

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.starts: list[tuple[str, Any]] = []

    def partitions(self) -> list[str]:
        return ["a", "b"]

    def read(self, partition: str, offset: Any) -> Any:
        self.starts.append((partition, offset))
        return ((number, number + 1) for number in range(offset or 0, RECORDS))

    def acknowledge(self, partition: str, offset: Any) -> Any:
        self.told.append((partition, offset))

    def told_of(self, partition: str) -> list[int]:
        return [offset for name, offset in self.told if name == partition]


class AsyncNumbers(Numbers):
    async def read(self, partition: str, offset: Any) -> AsyncIterator[tuple[int, int]]:
        for item in super().read(partition, offset):
            yield item

    async def acknowledge(self, partition: str, offset: Any) -> None:
        self.told.append((partition, offset))


class LiveNumbers(Numbers):
    live = True


def build(source: Numbers) -> hf.Application:
    app = hf.Application("acknowledged")
    app.source(source).sink(hf.sinks.Memory())
    return app


@pytest.mark.parametrize("kind", [Numbers, AsyncNumbers, LiveNumbers])
def test_a_source_is_told_of_all_that_it_gave_in_order(kind: type[Numbers], tmp_path: Path) -> None:
    source = kind()

    assert run(build(source), tmp_path / "data").error is None

    for partition in "ab":
        offsets = source.told_of(partition)
        assert offsets == sorted(offsets)
        assert offsets[-1] == RECORDS


def test_a_source_behind_an_intake_function_is_told_its_own_offsets(tmp_path: Path) -> None:
    source = LiveNumbers()
    app = hf.Application("acknowledged")
    app.source(source).intake(lambda number: -number).sink(hf.sinks.Memory())

    assert run(app, tmp_path / "data").error is None

    assert source.told_of("a")[-1] == source.told_of("b")[-1] == RECORDS


def test_the_next_start_tells_again_what_the_last_one_may_have_kept_to_itself(tmp_path: Path) -> None:
    assert run(build(Numbers()), tmp_path / "data").error is None
    again = Numbers()

    assert run(build(again), tmp_path / "data").finished_before

    assert again.told == [("a", RECORDS), ("b", RECORDS)]
    assert again.starts == []


def test_a_source_that_is_slow_to_hear_holds_up_nothing(tmp_path: Path) -> None:
    release = threading.Event()

    class Slow(LiveNumbers):
        def read(self, partition: str, offset: Any) -> Iterator[tuple[int, int]]:
            yield from super().read(partition, offset)
            if partition == "a":
                release.set()  # all was taken while the first call was still out

        def acknowledge(self, partition: str, offset: Any) -> None:
            release.wait(60)
            super().acknowledge(partition, offset)

    source = Slow()

    assert run(build(source), tmp_path / "data").error is None

    assert source.told_of("a")[-1] == RECORDS
    assert len(source.told) < RECORDS


def test_what_a_source_raises_ends_the_run_with_its_name(tmp_path: Path) -> None:
    class Deaf(LiveNumbers):
        def read(self, partition: str, offset: Any) -> Iterator[tuple[int, int]]:
            yield from super().read(partition, offset)
            threading.Event().wait()

        def acknowledge(self, partition: str, offset: Any) -> None:
            raise ConnectionError("nobody listens")

    engine = started(build(Deaf()), Options(tmp_path / "data"))
    outcome = ended(engine)

    assert isinstance(outcome.error, ProcessingError)
    said = str(outcome.error)
    assert said.startswith("source Deaf: acknowledge() raised ConnectionError: nobody listens, partition '")
    assert run(build(Numbers()), tmp_path / "data").error is None


def test_the_last_call_may_fail_as_well(tmp_path: Path) -> None:
    class Late(Numbers):
        def acknowledge(self, partition: str, offset: Any) -> None:
            if offset == RECORDS:
                time.sleep(0.2)  # the run has ended by then
                raise ConnectionError("gone")

    outcome = run(build(Late()), tmp_path / "data")

    assert "acknowledge() raised ConnectionError: gone" in str(outcome.error)


def test_the_check_tells_a_source_as_a_run_does() -> None:
    testing.check_source(Numbers)
    testing.check_source(AsyncNumbers)

    class Hasty(Numbers):
        def acknowledge(self, partition: str, offset: Any) -> None:
            raise RuntimeError("not now")

    with pytest.raises(AssertionError, match=r"acknowledge\(\) raised RuntimeError: not now"):
        testing.check_source(Hasty)


def fill(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "queue.db", timeout=60)) as queue, queue:
        queue.execute("PRAGMA journal_mode=WAL")
        queue.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT)")


def put(folder: Path, first: int, end: int) -> None:
    with closing(sqlite3.connect(folder / "queue.db", timeout=60)) as queue, queue:
        queue.executemany("INSERT INTO queue (item) VALUES (?)", [(f"item {n}",) for n in range(first, end)])


def left(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "queue.db", timeout=60)) as queue:
        return int(queue.execute("SELECT count(*) FROM queue").fetchone()[0])


def expected() -> str:
    lines, counts = [], dict.fromkeys("0123456789", 0)
    for number in range(ITEMS):
        counts[str(number)[-1]] += 1
        lines.append(f'["item {number}",{counts[str(number)[-1]]}]\n')
    return "".join(lines)


def test_a_queue_that_forgets_what_was_acknowledged_loses_nothing_however_often_it_is_killed(tmp_path: Path) -> None:
    write(tmp_path, QUEUE)
    fill(tmp_path)
    output = tmp_path / "out.jsonl"
    killing = Killing(tmp_path, lambda first, end: put(tmp_path, first, end), count_lines(output), ITEMS)

    killing.survive(5)

    assert output.read_text() == expected()
    assert left(tmp_path) == 0


def test_a_queue_loses_nothing_while_workers_are_killed(tmp_path: Path) -> None:
    write(tmp_path, QUEUE)
    fill(tmp_path)
    output, random = tmp_path / "out.jsonl", Random(1)
    killing = Killing(tmp_path, lambda first, end: put(tmp_path, first, end), count_lines(output), ITEMS)
    with running(tmp_path, "run", "app.py", "--workers", "2", "--backups", "1") as process:
        for kill in range(CLUSTER_KILLS):
            killing.wait_for((kill + 1) * ITEMS // (CLUSTER_KILLS + 1), process)
            workers = [pid for pid, role in children(process.pid) if role == "worker"]
            os.kill(random.choice(workers), signal.SIGKILL)
        killing.wait_for(ITEMS, process)
        wait_until(lambda: left(tmp_path) == 0, process)
        ended_cleanly(process)

    assert output.read_text() == expected()


def test_an_acknowledgement_that_fails_is_one_line_of_a_cluster_as_well(tmp_path: Path) -> None:
    write(tmp_path, QUEUE.replace('queue.execute("DELETE FROM queue WHERE id <= ?", [offset])', 'raise OSError("no")'))
    fill(tmp_path)
    put(tmp_path, 0, 50)

    for arguments in ((), ("--workers", "2")):
        done = holdfast(tmp_path, "run", "app.py", "--data", f"data{len(arguments)}", "--fresh", *arguments)
        (tmp_path / "out.jsonl").unlink(missing_ok=True)

        assert done.returncode == 3, done.stderr
        assert "source Queue: acknowledge() raised OSError: no" in done.stderr
