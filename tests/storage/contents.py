"""A data directory with something of everything in it, and all that can be read from one, for comparison."""

from __future__ import annotations

from pathlib import Path
from random import Random

from holdfast.core.epochs import Chunk, Epoch
from holdfast.storage.directory import DataDirectory

EPOCHS = 60
TRIMMED = 20
ROWS = 600
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
        state.put_meta("last", "value")


def go_on(directory: DataDirectory) -> None:
    """Write a bit more of everything, as the next life would."""
    log, state = directory.log, directory.state
    last = log.tail()
    log.append([epoch(last + 1)])
    log.trim(TRIMMED + 10)
    log.append([epoch(last + 2)])
    checkpoint = state.checkpoint() + 1
    state.stage(checkpoint, checkpoint_chunks(checkpoint))
    state.complete(checkpoint, b"record", checkpoint)
    state.fold([row(number) for number in range(0, ROWS, 5)], (2, 1))
    state.put_meta("more", [checkpoint])


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
        (state.folded(), images, list(state.all_rows()), state.size()),
        (meta, state.identity().directory, state.identity().generation),
    ]
