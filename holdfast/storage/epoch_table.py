"""The epoch table after trimming: rows of many epochs packed into one value, a few bytes an epoch.

Invariant: `unpack_rows(first, pack_rows(rows)) == rows` for consecutive rows that begin with epoch `first`, and
likewise for the rows of one partition, which may have gaps. A service makes a thousand epochs a second and keeps
their rows for ever, so they are stored as columns of small differences (msgpack packs a small number in a byte) and
compressed. Knows nothing of LMDB.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

from holdfast.core.epochs import EpochRow
from holdfast.storage.packing import pack, unpack
from holdfast.storage.partition_log import EntryRow

# Rows in one packed value: enough to compress well, few enough to be packed anew at each step of trimming.
SPAN_ROWS = 256
COMPRESSION = 6  # zlib's default; higher gains less than a percent here


def pack_rows(rows: Sequence[EpochRow]) -> bytes:
    """Pack consecutive rows."""
    times = [row.time for row in rows]
    parts = [part for row in rows for part in row.parts]
    epoch_times = [row.time for row in rows for _ in row.parts]
    columns = (
        _differences(times),
        [len(row.parts) for row in rows],
        [partition for partition, _, _, _ in parts],
        [count for _, count, _, _ in parts],
        [epoch_time - time for epoch_time, (_, _, time, _) in zip(epoch_times, parts, strict=True)],
        [nth for nth, (_, _, _, ended) in enumerate(parts) if ended],
    )
    return zlib.compress(pack(columns), COMPRESSION)


def unpack_rows(first: int, packed: bytes) -> list[EpochRow]:
    """Return the rows, of which the first is of epoch `first`."""
    columns = cast("list[list[int]]", unpack(zlib.decompress(packed)))
    differences, lengths, partitions, counts, offsets, ended = columns
    ends = set(ended)
    rows: list[EpochRow] = []
    time = at = 0
    for number, (difference, length) in enumerate(zip(differences, lengths, strict=True), first):
        time += difference
        parts: Any = tuple(
            (partitions[nth], counts[nth], time - offsets[nth], nth in ends) for nth in range(at, at + length)
        )
        rows.append(EpochRow(number, time, parts))
        at += length
    return rows


def pack_entry_rows(rows: Sequence[EntryRow]) -> bytes:
    """Pack rows of one partition, in order."""
    columns = (
        _differences([row.epoch for row in rows]),
        _differences([row.time for row in rows]),
        [row.records for row in rows],
        [row.time - row.clock for row in rows],
        [nth for nth, row in enumerate(rows) if row.ended],
    )
    return zlib.compress(pack(columns), COMPRESSION)


def unpack_entry_rows(packed: bytes) -> list[EntryRow]:
    """Return the rows of one partition."""
    epochs, times, records, offsets, ended = cast("list[list[int]]", unpack(zlib.decompress(packed)))
    ends = set(ended)
    columns = zip(accumulate(epochs), accumulate(times), records, offsets, strict=True)
    return [
        EntryRow(epoch, time, count, time - offset, nth in ends)
        for nth, (epoch, time, count, offset) in enumerate(columns)
    ]


def _differences(numbers: list[int]) -> list[int]:
    return [after - before for before, after in zip([0, *numbers], numbers, strict=False)]
