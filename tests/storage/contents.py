"""A data directory with something of everything in it, and all that can be read from one, for comparison."""

from __future__ import annotations

from pathlib import Path
from random import Random

from holdfast.core.epochs import Chunk, Cursor, Epoch, LogEntry
from holdfast.storage.directory import DataDirectory
from holdfast.storage.partition_log import PartitionLog

EPOCHS = 60
TRIMMED = 20
ROWS = 600
PARTITIONS = range(5)
LONG_KEY = b"long" * 200


def epoch(number: int) -> Epoch:
    """Return an epoch that its number determines: sometimes of two partitions, sometimes large, sometimes
    empty.
    """
    random = Random(number)
    size = random.choice([0, 30, 300, 3000, 9000])
    chunks = [Chunk(0, number * 10, 3, number * 5, {"byte": number * 99}, False, random.randbytes(size))]
    if number % 3 == 0:
        chunks.append(Chunk(4, number, 1, number * 5 - 1, None, number == EPOCHS, random.randbytes(20)))
    return Epoch(number, 2, number * 5, tuple(chunks))


def checkpoint_chunks(checkpoint: int) -> list[bytes]:
    """Return the chunks that a checkpoint's number determines."""
    random = Random(-checkpoint)
    return [random.randbytes(size) for size in (10, 7000, 0, 500)]


def row(number: int) -> tuple[int, bytes, bytes]:
    """Return a row that its number determines."""
    key = LONG_KEY + b"%d" % number if number % 50 == 0 else b"key-%d" % number
    return number % 3, key, Random(number).randbytes(number % 90)


def entries(log: PartitionLog, partition: int, count: int, generation: int) -> list[LogEntry]:
    """Return entries that go on where a partition's log ends, which determines them: some large, some empty."""
    found = []
    end = log.cursor(partition, log.lineages()[partition].tail)
    for _ in range(count):
        random = Random(end.epoch * 10 + partition)
        raw = random.randbytes(random.choice([0, 30, 300, 3000, 9000, 40_000]))
        chunk = Chunk(partition, end.number, random.randrange(9), end.epoch * 7, {"byte": end.number}, False, raw)
        found.append(LogEntry(end.epoch + random.choice([1, 1, 1, 2]), generation, end.epoch * 7, chunk))
        end = end.after(found[-1])
    return found


def append(log: PartitionLog, partitions: tuple[int, ...], count: int) -> None:
    """Append to logs, in one transaction."""
    generation = log.adopted()[0]
    log.append([entry for partition in partitions for entry in entries(log, partition, count, generation)])


def fill_partitions(log: PartitionLog) -> None:
    """Make logs that were trimmed, cut off, installed and dropped."""
    log.adopt(b"formation 1", 1, [(partition, 0) for partition in (0, 1, 2)])
    for _ in range(8):
        append(log, (0, 1, 2), 3)
    log.trim(9, [0, 1, 2])
    log.adopt(b"formation 3", 3, [(0, 20), (1, 17)])
    log.install(3, Cursor(15, 150, {"byte": 15}, False, 1), 3)
    append(log, (0, 1, 3), 5)
    log.trim(18, [0, 1, 3])
    append(log, (0, 3), 1)


def fill(path: Path, *, sync: bool = True) -> None:
    """Make a data directory."""
    with DataDirectory.open(path, create=True, sync=sync) as directory:
        log, state = directory.log, directory.state
        state.put_metas({"application": "app", "generation": 3, "partitions": ["a", "b"]})
        for first in range(1, EPOCHS, 10):
            log.append([epoch(number) for number in range(first, first + 10)])
        state.stage(1, checkpoint_chunks(1))
        state.complete(1, b"record of 1", 0)
        state.fold([row(number) for number in range(ROWS)], (1, 2))
        state.fold([(*row(number)[:2], None) for number in range(0, ROWS, 7)], (1, 4))
        log.trim(TRIMMED)
        state.stage(2, checkpoint_chunks(2))
        state.complete(2, b"record of 2", 0)
        state.stage(3, checkpoint_chunks(3))
        state.prepare(3, b"record of 3")
        state.put_meta("last", "value")
        fill_partitions(directory.partitions())


def go_on(directory: DataDirectory) -> None:
    """Write a bit more of everything, as the next life would."""
    log, state = directory.log, directory.state
    last = log.tail()
    log.append([epoch(last + 1)])
    log.trim(TRIMMED + 10)
    log.append([epoch(last + 2)])
    checkpoint, record = state.prepared() or (0, b"")
    state.complete(checkpoint, record, checkpoint)
    state.stage(checkpoint + 1, checkpoint_chunks(checkpoint + 1))
    state.complete(checkpoint + 1, b"record", checkpoint)
    state.fold([row(number) for number in range(0, ROWS, 5)], (2, 1))
    state.put_meta("more", [checkpoint])
    logs = directory.partitions()
    append(logs, (0, 1, 3), 2)
    logs.adopt(b"formation 4", 4, [(0, 22), (1, 99), (4, 0)])
    append(logs, (0, 1, 4), 2)
    logs.trim(21, [0, 1, 4])


def read_all(directory: DataDirectory) -> list[object]:
    """Read everything; two directories are equal if this is. Raises DamagedError as the worker would meet
    it.
    """
    log, state = directory.log, directory.state
    epochs: list[Epoch] = []
    while log.base() + len(epochs) < log.tail():
        epochs += log.read(log.base() + len(epochs), 20_000)
    wanted = [row(number) for number in range(ROWS + 20)]
    images = [state.load(step, [key for of, key, _ in wanted if of == step]) for step in range(4)]
    meta = [state.get_meta(name) for name in ("application", "generation", "partitions", "last", "more", "none")]
    return [
        (log.base(), log.tail(), epochs, list(log.rows())),
        (state.checkpoint(), state.record(), list(state.chunks()), state.manifest()),
        (state.prepared(), _read_partitions(directory.partitions())),
        (state.folded(), images, list(state.all_rows()), state.size()),
        (meta, state.identity().directory, state.identity().generation),
    ]


def _read_partitions(log: PartitionLog) -> list[object]:
    lineages = log.lineages()
    held = [log.read(partition, lineage.base.epoch, 1 << 40) for partition, lineage in lineages.items()]
    return [log.adopted(), lineages, held, [list(log.rows(partition)) for partition in PARTITIONS], log.size()]
