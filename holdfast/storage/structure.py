"""Whether an LMDB file is sound, found out without LMDB: a damaged file can crash or hang the process that
opens it.

Invariant: a file that passes is safe to open, and every key in it is found by a search: `lmdb.verify` checks
pages, order, counters and the free list; this adds what it leaves out, the flags that change how keys are
compared and the separators of branch pages (a wrong one hides keys that are there). Values are covered by
their digests (packing).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lmdb import verify

from holdfast.core.errors import DamagedError

# LMDB 0.9 on a 64-bit machine; lmdb.verify has refused everything else before these are used.
PAGE_HEADER = struct.Struct("=QHHHH")  # page number, pad, flags, lower, upper
DATABASE = struct.Struct("=IHHQQQQQ")  # pad, flags, depth, branch, leaf and overflow pages, entries, root
NODE = struct.Struct("=HHHH")  # low and high half of the size or page, flags, key size
META_DATABASES = PAGE_HEADER.size + 24  # of the free list, then the main one, within a meta page
META_TRANSACTION = META_DATABASES + 2 * DATABASE.size + 8
BRANCH = 0x01
LEAF = 0x02
NO_PAGE = (1 << 64) - 1
SUB_DATABASE = 0x02  # node flag: the value is a named database
INTEGER_KEY = 0x08  # database flag: keys are compared as numbers, as the free list's are

Order = Callable[[bytes], Any]


def check(path: Path, place: str) -> None:
    """Raise DamagedError unless the LMDB data file at `path` is sound."""
    try:
        problems: list[str] = verify.verify(str(path), subdir=False)  # type: ignore[no-untyped-call]
        if not problems:
            with path.open("rb", buffering=0) as file:
                problems = list(_Walk(file).problems())
    except (verify.VerifyError, struct.error, IndexError, RecursionError) as error:
        raise DamagedError(place, str(error)) from error
    if problems:
        raise DamagedError(place, problems[0])


class _Walk:
    """A walk over the newest meta page's trees, branch by branch, looking at each leaf's first and last
    key.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        first = os.pread(self._descriptor, META_TRANSACTION + 8, 0)
        self._page_size: int = DATABASE.unpack_from(first, META_DATABASES)[0]
        second = os.pread(self._descriptor, META_TRANSACTION + 8, self._page_size)
        self._meta = max(first, second, key=_transaction)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        free = DATABASE.unpack_from(self._meta, META_DATABASES)
        main = DATABASE.unpack_from(self._meta, META_DATABASES + DATABASE.size)
        if free[1] != INTEGER_KEY or main[1] != 0:
            yield f"the meta page has unexpected flags {free[1]:#x} and {main[1]:#x}"
            return
        yield from self._tree(free[-1], lambda key: struct.unpack("=Q", key)[0])
        yield from self._tree(main[-1], bytes)
        for name, flags, root in self._named(main[-1]):
            if flags:
                yield f"database {name!r} has unexpected flags {flags:#x}"
            else:
                yield from self._tree(root, bytes)

    def _page(self, number: int) -> tuple[bytes, int, list[int]]:
        """Return a page, its flags and the offsets of its nodes."""
        page = os.pread(self._descriptor, self._page_size, number * self._page_size)
        _, _, flags, lower, _ = PAGE_HEADER.unpack_from(page)
        count = (lower - PAGE_HEADER.size) >> 1
        return page, flags, list(struct.unpack_from(f"={count}H", page, PAGE_HEADER.size))

    def _tree(self, root: int, order: Order) -> Iterator[str]:
        """Yield the leaves whose keys lie outside what the branches above them say."""
        pending: list[tuple[int, bytes | None, bytes | None]] = [(root, None, None)]
        while pending and root != NO_PAGE:
            number, low, high = pending.pop()
            page, flags, nodes = self._page(number)
            if flags & BRANCH:
                keys = [low] + [_key(page, node) for node in nodes[1:]] + [high]
                pending += [(_child(page, node), keys[i], keys[i + 1]) for i, node in enumerate(nodes)]
            elif nodes:
                first, last = order(_key(page, nodes[0])), order(_key(page, nodes[-1]))
                if (low is not None and first < order(low)) or (high is not None and last >= order(high)):
                    yield f"page {number} holds keys that a search would not find"

    def _named(self, root: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield (name, flags, root page) of the named databases."""
        pending = [root]
        while pending and root != NO_PAGE:
            page, flags, nodes = self._page(pending.pop())
            for node in nodes:
                if flags & BRANCH:
                    pending.append(_child(page, node))
                elif NODE.unpack_from(page, node)[2] & SUB_DATABASE:
                    key = _key(page, node)
                    record = DATABASE.unpack_from(page, node + NODE.size + len(key))
                    yield key, record[1], record[-1]


def _transaction(meta: bytes) -> int:
    return int(struct.unpack_from("=Q", meta, META_TRANSACTION)[0])


def _key(page: bytes, node: int) -> bytes:
    start = node + NODE.size
    return page[start : start + NODE.unpack_from(page, node)[3]]


def _child(page: bytes, node: int) -> int:
    low, high, top, _ = NODE.unpack_from(page, node)
    return int(low | high << 16 | top << 32)
