"""Taking over the data directory of one worker for a cluster: it becomes the directory of the cluster's first worker.

    DIR                    DIR.cluster/                    DIR/
      format log state …     application/ coordinator/       application/ coordinator/
                             worker-1/ (that was DIR)        worker-1/ with log state … as they were
Nothing is copied. The last checkpoint of the one worker is the cluster's first; a log of every partition begins behind
it. Invariant: it goes on wherever it was interrupted, and until the first rename nothing has changed for one worker.
Only where nothing is to be replayed: an epoch of one worker means nothing to a cluster.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from holdfast.core.epochs import Cursor
from holdfast.core.errors import DataDirectoryError, UsageError
from holdfast.core.images import Images, unpack
from holdfast.core.types import TypeRegistry
from holdfast.recovery.events import Kept
from holdfast.recovery.generation import ROUND_BITS, Checkpoint, Formation, Holders, Layout, Member
from holdfast.recovery.wire import pack_formation, pack_kept
from holdfast.runtime.coordinator_process import CLAIMED_AS, CLEAN, RANGES
from holdfast.runtime.ledger import APPLICATION, Ledger
from holdfast.runtime.stage import FIRST, is_under_way, stage_of
from holdfast.storage.directory import DataDirectory
from holdfast.storage.files import sync_directory
from holdfast.storage.lmdb_coordinator_store import LmdbCoordinatorStore
from holdfast.storage.state import State
from holdfast.worker.checkpoint import SINK_STEP, SOURCE_STEP
from holdfast.worker.member_record import MemberRecord
from holdfast.worker.record import Record

GENERATION: Final = 1
NUMBER: Final = GENERATION << ROUND_BITS | 1  # of the checkpoint


@dataclass(frozen=True, slots=True)
class Found:
    """What one worker has left."""

    record: Record
    cursors: dict[int, Cursor]  # by partition
    sinks: int
    chunk_bytes: int


def take_over(data: Path, application: str | None = None) -> bool:
    """Make a cluster's directory of one worker's, if it is one; whether it was.

    UsageError where that can't be, DataDirectoryError where it is another application's.
    """
    stage = stage_of(data)
    if not is_under_way(data):
        if not ((data / "format").exists() or (data / "log").exists()):
            return False
        if stage.exists():
            shutil.rmtree(stage)  # nothing but what was prepared from `data`, which is still there
        with DataDirectory.open(data, create=False) as directory:
            ledger = Ledger.read(directory.state)
            if ledger is not None and application not in (None, ledger.name):
                raise DataDirectoryError(f"{data} belongs to the application {ledger.name!r}, not to {application!r}")
            _prepare(directory, stage)
        data.rename(stage / FIRST)
        sync_directory(stage)
    _count_as_first(stage)
    stage.rename(data)
    sync_directory(data.parent)
    return True


def _prepare(directory: DataDirectory, stage: Path) -> None:
    """Everything that a cluster needs beside the one worker's own."""
    found = _look(directory)
    node, incarnation = directory.state.identity().directory, directory.state.identity().incarnation
    formation = _formation(found, Member(node, incarnation, GENERATION))
    logs = directory.partitions()
    logs.adopt(pack_formation(formation), GENERATION, [(partition, 0) for partition in found.cursors])
    for partition, base in found.cursors.items():
        logs.install(partition, base, GENERATION)
    stage.mkdir()
    with DataDirectory.open(stage / "application", create=True) as application:
        ledger = directory.state.get_meta(APPLICATION)
        application.state.put_metas({APPLICATION: ledger, CLEAN: True, CLAIMED_AS: node})
    with LmdbCoordinatorStore.open(stage / "coordinator", create=True) as store:
        store.put(pack_kept(Kept(GENERATION, 1, formation, formation.checkpoint, NUMBER + 1)))
    sync_directory(stage)
    sync_directory(stage.parent)


def _look(directory: DataDirectory) -> Found:
    state, path = directory.state, directory.path
    packed = state.record()
    record = None if packed is None else Record.unpack(packed)
    again = "run it once more with --workers 1 until it ends or is stopped with Ctrl-C; then a cluster takes it over"
    if record is None or record.epoch != directory.log.tail() or record.skip or record.fired:
        raise UsageError(f"the data directory {path} is of one worker, and work is to be done again there: {again}")
    if record.spaces:
        raise UsageError(f"the data directory {path} was written with entities_in_memory: clusters don't have that yet")
    system = _system_images(state)
    sources = system.get(SOURCE_STEP)
    if sources is None or SINK_STEP not in system:
        raise UsageError(f"the data directory {path} is of an earlier form of one worker: {again}")
    cursors = {
        partition: Cursor(record.epoch, number, offset, ended, clock)
        for partition, (number, offset, ended, clock) in zip(sources.keys, sources.states, strict=True)
    }
    size = sum(len(chunk) for _, chunk in state.chunks())
    return Found(record, cursors, len(system[SINK_STEP].keys), size)


def _system_images(state: State) -> dict[str, Images]:
    """The newest images of the system's own steps."""
    found: dict[str, Images] = {}
    for _, chunk in state.chunks():
        name: Any = msgpack.unpackb(chunk, unicode_errors="surrogatepass", strict_map_key=False)[0]
        if name in (SOURCE_STEP, SINK_STEP):
            found[name] = unpack(chunk, TypeRegistry())
    return found


def _formation(found: Found, member: Member) -> Formation:
    """A generation of the one worker alone, which holds everything."""
    epoch, holders = found.record.epoch, Holders(member.node)
    ranges = tuple(range(RANGES))
    checkpoint = Checkpoint(NUMBER, epoch, None, ((member.node, ranges),), found.record.ended)
    count = len(found.cursors)
    return Formation(
        number=GENERATION,
        members=(member,),
        layout=Layout((holders,) * RANGES, (holders,) * count, (member.node,) * found.sinks),
        cut=epoch,
        in_memory=False,
        checkpoint=checkpoint,
        level=epoch,
        logs=((GENERATION, epoch),) * count,
        spans=((),) * count,
        lacking=(),
        why="taken over from one worker",
    )


def _count_as_first(stage: Path) -> None:
    """From here on the checkpoint is a member's."""
    with DataDirectory.open(stage / FIRST, create=False) as directory:
        state = directory.state
        if state.checkpoint() >= NUMBER:
            return
        found = _look(directory)
        record = MemberRecord(
            *(NUMBER, found.record.epoch, None, found.record.time, GENERATION, found.record.ended),
            *(tuple(range(RANGES)), found.chunk_bytes, 0),
        )
        state.stage(NUMBER, [])
        state.complete(NUMBER, record.pack(), 0)
