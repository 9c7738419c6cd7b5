"""The checks that users run on connectors of their own: good ones pass, each broken one fails in one sentence."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import holdfast as hf
from holdfast import testing

ROWS: dict[str, list[Any]] = {"a": [{"n": n} for n in range(40)], "b": [(n, "x" * n) for n in range(7)], "empty": []}


class Table:
    """A source that keeps the contract."""

    live = False

    def partitions(self) -> list[str]:
        return list(ROWS)

    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        first = 0 if offset is None else offset["next"]
        for number, row in enumerate(ROWS[partition][first:], first + 1):
            yield row, {"next": number}


class AsyncTable(Table):
    async def partitions(self) -> list[str]:  # type: ignore[override]
        return list(ROWS)

    async def read(self, partition: str, offset: Any) -> AsyncIterator[tuple[Any, Any]]:  # type: ignore[override]
        for item in super().read(partition, offset):
            await asyncio.sleep(0)
            yield item


class LiveTable(Table):
    """Waits at its end, as a live source does."""

    live = True

    def partitions(self) -> list[str]:
        return ["a"]

    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        yield from super().read(partition, offset)
        threading.Event().wait()


class OneThread(Table):
    """Keeps something in its generator that belongs to one thread."""

    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        with closing(sqlite3.connect(":memory:")) as connection:
            for item in super().read(partition, offset):
                connection.execute("SELECT 1")
                yield item


@pytest.mark.parametrize("source", [Table, AsyncTable, OneThread])
def test_a_source_that_keeps_the_contract_passes(source: type[Table]) -> None:
    testing.check_source(source)


def test_a_live_source_passes_with_the_number_of_its_records() -> None:
    testing.check_source(LiveTable, records=40)


def test_our_own_sources_keep_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(f'{{"n":{n}}}\n' for n in range(100)))
    testing.check_source(lambda: hf.sources.JsonLines(path))
    testing.check_source(lambda: hf.sources.TextFile(path))
    testing.check_source(lambda: hf.sources.Memory(range(100)))
    testing.check_source(lambda: hf.sources.Generator(lambda: range(100)), records=100)


class SkipsOne(Table):
    """Goes on one record too late."""

    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        first = 0 if offset is None else offset + 1
        yield from ((row, number) for number, row in enumerate(ROWS[partition][first + (first > 0) :], first))


class IgnoresOffset(Table):
    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        yield from super().read(partition, None)


class OffsetBefore(Table):
    """Gives the offset of the record instead of the one after it."""

    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        first = offset or 0
        yield from ((row, number) for number, row in enumerate(ROWS[partition][first:], first))


class Restless(Table):
    counter = itertools.count()

    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        yield from ((next(self.counter), n) for n in range(5))


class TogetherBad(Table):
    """One place for all partitions."""

    def __init__(self) -> None:
        self.place = 0

    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        self.place = 0 if offset is None else offset
        while self.place < len(ROWS[partition]):
            row = ROWS[partition][self.place]
            self.place += 1
            yield row, self.place


class Silent(LiveTable):
    live = False


class Unknown(Table):
    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        yield object(), 1


class Moving(Table):
    counter = itertools.count()

    def partitions(self) -> list[str]:
        return [f"partition {next(self.counter)}"]


class Nothing(Table):
    def partitions(self) -> list[str]:
        return ["empty"]


class NoPartition(Table):
    def partitions(self) -> list[str]:
        return []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (SkipsOne, r"partition 'a': read on after record 1, offset 0, it gave {'n': 2}"),
        (IgnoresOffset, r"partition 'a': read on after record 1, offset {'next': 1}, it gave {'n': 0}"),
        (OffsetBefore, r"read on after record 1, offset 0, it gave {'n': 0}, {'n': 1}, {'n': 2}, … *, but {'n': 1}"),
        (Restless, "must not depend on when it is read"),
        (TogetherBad, "gave other records while the other partitions were read"),
        (Silent, "gave 40 records and then nothing for 0.5 s"),
        (LiveTable, "say with records= how many it gives"),
        (Moving, "they must be the same"),
        (Nothing, "the source gave no record"),
        (NoPartition, r"partitions\(\) gave none"),
    ],
)
def test_a_source_that_breaks_the_contract_fails_in_one_sentence(source: type[Table], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        testing.check_source(source, seconds=0.5)


def test_a_record_that_is_no_value_is_named() -> None:
    with pytest.raises(hf.HoldfastError, match="object"):
        testing.check_source(Unknown)


# --- sinks: lines of a file, the number of an output is the number of its line


class Lines:
    """Flushes nothing early and tells from the file what it has."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resume(self, partition: str, token: Any) -> int | None:
        text = self.path.read_bytes() if self.path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        with self.path.open("ab") as file:
            file.truncate(len(whole))
        return whole.count(b"\n")

    def write(self, partition: str, first_number: int, outputs: Sequence[str]) -> None:
        with self.path.open("a", buffering=1) as file:
            for output in outputs:
                file.write(output + "\n")

    def flush(self, partition: str) -> Any:
        return {"size": self.path.stat().st_size if self.path.exists() else 0}


class AsyncLines(Lines):
    async def resume(self, partition: str, token: Any) -> int | None:  # type: ignore[override]
        return super().resume(partition, token)

    async def write(self, partition: str, first_number: int, outputs: Sequence[str]) -> None:  # type: ignore[override]
        super().write(partition, first_number, outputs)


class CannotTell(Lines):
    def resume(self, partition: str, token: Any) -> int | None:
        super().resume(partition, token)
        return None


class Encoding(Lines):
    """Writes something else than it was given."""

    def encode(self, value: str) -> str:
        return value.upper()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize("sink", [Lines, AsyncLines, CannotTell])
def test_a_sink_that_keeps_the_contract_passes(sink: type[Lines], tmp_path: Path) -> None:
    path = tmp_path / "lines"
    testing.check_sink(lambda: sink(path), read=lambda: lines(path), kills=8)


def test_a_sink_writes_what_its_encode_gives(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    outputs = [f"{number:03}" for number in range(20)]
    testing.check_sink(lambda: Encoding(path), outputs, read=lambda: lines(path))
    with pytest.raises(AssertionError, match="'OUTPUT 1' as number 1, where 'output 1' was written"):
        testing.check_sink(lambda: Encoding(tmp_path / "other"), read=lambda: lines(tmp_path / "other"))


class Forgets(Lines):
    """Keeps in memory what only a flush writes, and forgets to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.kept: list[str] = []

    def write(self, partition: str, first_number: int, outputs: Sequence[str]) -> None:
        self.kept += outputs


class Repeats(Lines):
    """Tells too little, so that outputs are written twice."""

    def resume(self, partition: str, token: Any) -> int | None:
        has = super().resume(partition, token)
        assert has is not None
        return has if token is not None or has == 0 else has - 1


class Torn(Lines):
    """Takes half a line for a whole one."""

    def resume(self, partition: str, token: Any) -> int | None:
        return len(self.path.read_text().split("\n")) if self.path.exists() and self.path.stat().st_size else 0


class Fails(Lines):
    def write(self, partition: str, first_number: int, outputs: Sequence[str]) -> None:
        raise TimeoutError("no route to the store")


class Wavers(Lines):
    def resume(self, partition: str, token: Any) -> int | None:
        return super().resume(partition, token) or None


class Hangs(Lines):
    def flush(self, partition: str) -> Any:
        threading.Event().wait()


class OddToken(Lines):
    def flush(self, partition: str) -> Any:
        return object()


@pytest.mark.parametrize(
    ("sink", "complaint"),
    [
        (Forgets, r"resume\(\) gave 0 after a crash, but flush\(\) had come back at output 6"),
        (Repeats, r"resume\(\) gave 7, but only 6 outputs were ever written"),
        (Torn, "resume.. gave 5, but only 4 outputs were ever written"),
        (Fails, r"sink Fails: write\(\) raised|sink Fails can't be written: no route"),
        (Hangs, r"did not come back from a call for 0.5 s"),
        (OddToken, "object"),
    ],
)
def test_a_sink_that_breaks_the_contract_fails_in_one_sentence(
    sink: type[Lines], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    with pytest.raises(AssertionError, match=complaint):
        testing.check_sink(lambda: sink(path), read=lambda: lines(path), seconds=0.5)


def test_a_sink_that_can_tell_only_sometimes_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="sometimes gives a number and sometimes None"):
        testing.check_sink(lambda: Wavers(tmp_path / "lines"))


def test_a_store_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\n")
    with pytest.raises(AssertionError, match=r"the store is not empty: before anything was written resume\(\) gave 1"):
        testing.check_sink(lambda: Lines(path))


def test_a_check_leaves_no_process_behind(tmp_path: Path) -> None:
    testing.check_sink(lambda: Lines(tmp_path / "lines"))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
