"""The state of one key as the last complete checkpoint of a data directory holds it; nobody runs the directory.

Invariant: nothing is changed, and everything read is checked. What was logged behind the checkpoint is not in it.
Steps are asked for and told by the names that they had at the last start, whatever their entities are stored under.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from holdfast.core import keys
from holdfast.core.entities import canonical_of
from holdfast.core.images import unpack, unpack_row
from holdfast.core.types import TypeRegistry
from holdfast.core.values import decode
from holdfast.recovery.wire import unpack_kept
from holdfast.runtime.ledger import stored_names_in
from holdfast.storage.inspection import coordinator_record, stored_state
from holdfast.storage.lmdb_state import LmdbState
from holdfast.worker.holding import VOID_STEP
from holdfast.worker.member_record import MemberRecord
from holdfast.worker.record import Record

NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class Stored:
    """What was found."""

    state: Any  # NOTHING: the key has none
    epoch: int  # of the checkpoint
    steps: frozenset[str]  # that have any entity in it


def of_one_worker(data: Path, step: str, key: Any, registry: TypeRegistry) -> Stored | None:
    """In the directory of one worker; None before the first checkpoint."""
    with stored_state(data) as state:
        packed = state.record() if state is not None else None
        if state is None or packed is None:
            return None
        record = Record.unpack(packed)
        names = stored_names_in(state)
        stored = names.get(step, "")
        found, steps = _in_chunks(state, stored, key, registry, 0)
        if found is NOTHING and stored in record.spaces:
            (row,) = state.load(record.spaces[stored], [canonical_of(keys.lookup(key))])
            found = NOTHING if row is None else decode(unpack_row(row)[0], registry)
        return Stored(found, record.epoch, _named(names, steps.union(record.spaces)))


def of_cluster(data: Path, step: str, key: Any, registry: TypeRegistry) -> Stored | None:
    """In the directories of a cluster's workers; None before the first checkpoint."""
    packed = coordinator_record(data / "coordinator")
    kept = unpack_kept(packed) if packed is not None else None
    if kept is None or kept.checkpoint is None or kept.formation is None:
        return None
    number = keys.range_of(keys.key_hash(keys.canonical(key)), len(kept.formation.layout.ranges))
    with stored_state(data / "application") as known:
        names = {} if known is None else stored_names_in(known)
    steps: frozenset[str] = frozenset()
    for path in sorted(data.glob("worker-*")):
        with stored_state(path) as state:
            record = state.record() if state is not None else None
            if state is None or record is None:
                continue
            own = MemberRecord.unpack(record)
            if own.checkpoint != kept.checkpoint.number:
                continue
            found, there = _in_chunks(state, names.get(step, ""), key, registry, number)
            steps |= there
            if number in own.ranges:
                return Stored(found, own.epoch, _named(names, steps))
    return None


def _named(names: dict[str, str], steps: Iterable[str]) -> frozenset[str]:
    """Steps by the names that people know, of those that anything is stored under."""
    known = {stored: name for name, stored in names.items()}
    return frozenset(known.get(stored, stored) for stored in steps)


def _in_chunks(
    state: LmdbState, step: str, key: Any, registry: TypeRegistry, number: int
) -> tuple[Any, frozenset[str]]:
    """The newest image of a key, and all steps that have any, both by stored names. `number` is the key's range."""
    lookup, found, steps = keys.lookup(key), NOTHING, set()
    for chunk in _chunks(state):
        name = msgpack.unpackb(chunk, unicode_errors="surrogatepass", strict_map_key=False)[0]
        steps.add(name)
        if name == VOID_STEP and number in unpack(chunk, registry).keys:
            found = NOTHING
        if name != step:
            continue
        images = unpack(chunk, registry)
        if lookup in images.removed:
            found = NOTHING
        if lookup in images.keys:
            found = images.states[images.keys.index(lookup)]
    return found, frozenset(name for name in steps if not name.startswith("$"))


def _chunks(state: LmdbState) -> Iterator[bytes]:
    for _, chunk in state.chunks():
        yield chunk
