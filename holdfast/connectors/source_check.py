"""Whether a source keeps the contract: what the engine relies on, tried on the source itself.

A source that passes gives the same records and offsets at every reading, goes on after any of its offsets in a
new object as in a new process, and ends where it ended. Each check says in one sentence what was expected.
Nothing here is used by a run.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from holdfast.connectors.contract import UserSource, as_source
from holdfast.connectors.interface import OpenSource, Reader
from holdfast.core.errors import HoldfastError
from holdfast.core.types import TypeRegistry

# Offsets after which reading is tried to go on; of a longer partition that many, evenly chosen.
RESUMED_MAX = 24
_BLOCK_BYTES = 1 << 16
_STEPS = (1, 3, 64)  # records asked for at a time, in turn


@dataclass(frozen=True, slots=True)
class Given:
    """One record as it is logged, and the offset after it as it comes back from the disk."""

    raw: bytes
    place: bytes  # the image of a user's own offset
    offset: Any = field(compare=False)


class SourceCheck:
    """The checks of one source; `factory` makes a new object of it over the same data."""

    def __init__(
        self, factory: Callable[[], object], *, records: int | None, types: Iterable[type], seconds: float
    ) -> None:
        self._factory = factory
        self._records = records
        self._types = set(types)
        self._seconds = seconds

    def run(self) -> None:
        """Raise AssertionError at the first check that fails."""
        source = self._made()
        names = source.partitions()
        assert names, "partitions() gave none: a source needs at least one partition"
        again = self._made().partitions()
        assert again == names, f"partitions() gave {names}, and of a second object {again}: they must be the same"
        assert self._records is not None or not source.live, (
            "the source is live, so that it may not end: say with records= how many it gives, "
            "or with `live = False` in its class that it ends"
        )
        whole = {name: self._whole(name) for name in names}
        assert any(whole.values()), "the source gave no record: check it over data that has some"
        for name in names:
            self._resumes(name, whole[name])
            self._is_told(name, whole[name])
        self._keeps_partitions_apart(names, whole)

    def _made(self) -> Any:
        source: OpenSource = as_source(self._factory())
        source.bind(TypeRegistry(self._types))
        return source

    def _whole(self, name: str) -> list[Given]:
        """A partition's records, read twice."""
        place = f"partition {name!r}"
        source = self._made()
        first = self._read(source, name, None, self._records)
        if self._records is not None and not source.live:
            assert len(first) <= self._records, f"{place} gave more than {self._records} records"
        assert first == self._read(self._made(), name, None, self._records), (
            f"{place}, read from the start a second time, gave other records or offsets: "
            "what a source gives must not depend on when it is read"
        )
        return first

    def _resumes(self, name: str, whole: list[Given]) -> None:
        for count in chosen(len(whole)):
            self._resumes_after(name, whole, count)

    def _resumes_after(self, name: str, whole: list[Given], count: int) -> None:
        place = f"partition {name!r}: read on after record {count}, offset {self._shown(whole, count)},"
        offset = whole[count - 1].offset
        source = self._made()
        if isinstance(source, UserSource):
            self._tell(source, name, whole[count - 1])
        missing = len(whole) - count
        if not missing and source.live:
            return  # it waits for what comes next
        rest = self._read(source, name, offset, missing if source.live else None)
        expected = whole[count:]
        assert [given.raw for given in rest] == [given.raw for given in expected], (
            f"{place} it gave {self._texts(rest)}, but {self._texts(expected)} follows"
        )
        assert rest == expected, f"{place} it gave the right records with other offsets than before"

    def _is_told(self, name: str, whole: list[Given]) -> None:
        """As in a run: beside the reading, sometimes late, and again from the start of the next life."""
        source = self._made()
        if not isinstance(source, UserSource) or not source.acknowledges or not whole:
            return
        reading = Reading(source, name, None, self._seconds)
        found: list[Given] = []
        try:
            while len(found) < len(whole):
                found += reading.take(1)
                self._tell(source, name, found[-1])
                self._tell(source, name, found[len(found) // 2])
        finally:
            reading.close()
        assert found == whole, f"partition {name!r} gave other records while it was told what is durable"
        self._tell(self._made(), name, whole[-1])

    def _tell(self, source: UserSource, name: str, given: Given) -> None:
        try:
            source.acknowledge(name, given.offset)
        except HoldfastError as error:
            raise AssertionError(str(error)) from error

    def _keeps_partitions_apart(self, names: list[str], whole: dict[str, list[Given]]) -> None:
        source = self._made()
        readings = {name: Reading(source, name, None, self._seconds) for name in names if whole[name]}
        found: dict[str, list[Given]] = {name: [] for name in readings}
        try:
            for turn in range(min(8, max(len(given) for given in whole.values()))):
                for name, reading in readings.items():
                    if turn < len(whole[name]):
                        found[name] += reading.take(1)
        finally:
            for reading in readings.values():
                reading.close()
        for name, given in found.items():
            assert given == whole[name][: len(given)], (
                f"partition {name!r} gave other records while the other partitions were read: "
                "each read() must keep its own place"
            )

    def _read(self, source: Any, name: str, offset: Any, count: int | None) -> list[Given]:
        """So many records, or all up to the end."""
        reading = Reading(source, name, offset, self._seconds)
        found: list[Given] = []
        try:
            while count is None or len(found) < count:
                step = _STEPS[len(found) % len(_STEPS)]
                taken = reading.take(step if count is None else min(step, count - len(found)))
                if not taken:
                    break
                found += taken
        finally:
            reading.close()
        return found

    def _shown(self, whole: list[Given], count: int) -> str:
        """The offset as the user knows it."""
        source, offset = self._made(), whole[count - 1].offset
        return repr(source.user_offset(offset)) if isinstance(source, UserSource) else repr(offset)

    def _texts(self, given: list[Given]) -> str:
        source = self._made()
        texts = [repr(record) for one in given[:3] for record in source.decode(one.raw)]
        return ", ".join(texts) + (", …" if len(given) > 3 else "") if texts else "nothing"


class Reading:
    """One partition open for reading, in a thread of its own as in a run: users keep things of one thread there."""

    def __init__(self, source: Any, name: str, offset: Any, seconds: float) -> None:
        self._source = source
        self._name = name
        self._seconds = seconds
        self._reader = source.open(name, offset)
        self._given = 0
        self._asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[list[Given] | Exception] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"check-source-{name}", daemon=True).start()

    def take(self, count: int) -> list[Given]:
        """At least one record and at most so many; none at the end."""
        self._asked.put(count)
        try:
            answer = self._answers.get(timeout=self._seconds)
        except queue.Empty:
            raise AssertionError(
                f"partition {self._name!r} gave {self._given} records and then nothing for {self._seconds:g} s, "
                "neither a record nor its end"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """No more is asked for."""
        self._asked.put(None)
        self._reader.close()

    def _work(self) -> None:
        try:
            while (count := self._asked.get()) is not None:
                self._answers.put(self._read(self._reader, count))
        except Exception as error:  # noqa: BLE001 - a user's source may raise anything
            self._answers.put(error)

    def _read(self, reader: Reader, count: int) -> list[Given]:
        block = reader.read(count, _BLOCK_BYTES)
        if block is None:
            return []
        assert len(self._source.decode(block.raw)) == block.count
        found, start = [], 0
        for number in range(1, block.count + 1):
            end = self._source.cut(block.raw, start, 1)
            offset: Any = msgpack.unpackb(msgpack.packb(reader.offset_after(self._given + number)))
            place = b""
            if isinstance(self._source, UserSource):
                # Whether the end was met already says nothing here: a kill may come before it is.
                place, offset = offset[0], [offset[0], False]
            found.append(Given(block.raw[start:end], place, offset))
            start = end
        self._given += block.count
        return found


def chosen(count: int) -> list[int]:
    """Numbers from 1 to `count`, with both ends; all of them where they are few."""
    if count <= RESUMED_MAX:
        return list(range(1, count + 1))
    return sorted({1 + index * (count - 1) // (RESUMED_MAX - 1) for index in range(RESUMED_MAX)})
