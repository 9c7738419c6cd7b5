"""The processes of the crash-image tests: one that works under the shim, one that reads images.

`work DIRECTORY COUNT SEED sync|no-sync` does COUNT operations and acknowledges each to the shim when it has
returned. `expect DIRECTORY COUNT SEED` prints what can be read after 0, 1, … COUNT operations, a digest a
line. `read` prints the same for every directory named on stdin, or what went wrong. LMDB may take a process
down over a damaged file, which is why the images are read in a process of its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from hashlib import blake2b
from pathlib import Path
from random import Random

from holdfast.core.epochs import Cursor
from holdfast.core.errors import DamagedError
from holdfast.storage.directory import DataDirectory
from holdfast.storage.partition_log import PartitionLog
from tests.storage.contents import PARTITIONS, append, checkpoint_chunks, epoch, read_all, row


def operate(directory: DataDirectory, random: Random) -> None:
    """Do one operation: one transaction."""
    log, state = directory.log, directory.state
    what = random.choice(["append"] * 5 + ["trim", "stage", "prepare", "complete", "fold", "meta"] + ["partitions"] * 9)
    if what == "append":
        log.append([epoch(log.tail() + nth) for nth in range(1, random.randint(2, 6))])
    elif what == "trim":
        log.trim_step(log.base() + random.randint(1, 8))
    elif what == "partitions":
        operate_on_partitions(directory.partitions(), random)
    elif what == "stage":
        prepared = state.prepared() or (0, b"")
        state.stage(max(state.checkpoint(), prepared[0]) + 1, checkpoint_chunks(random.randrange(99)))
    elif what == "prepare":
        if state.prepared() is None:
            state.prepare(state.checkpoint() + 1, b"prepared")
    elif what == "complete":
        checkpoint = (state.prepared() or (state.checkpoint() + 1, b""))[0]
        state.complete(checkpoint, b"record %d" % checkpoint, max(0, checkpoint - random.randrange(3)))
    elif what == "fold":
        step, key, image = row(random.randrange(900))
        state.fold([(step, key, random.choice([None, image])), row(random.randrange(900))], (1, 1))
    else:
        state.put_meta("last", random.randrange(1000))


def operate_on_partitions(log: PartitionLog, random: Random) -> None:
    held = sorted(log.lineages())
    what = random.choice(["append"] * 5 + ["adopt", "install", "trim", "trim"])
    if what == "append":
        append(log, tuple(random.sample(held, random.randint(1, len(held)))), random.randint(1, 3))
    elif what == "adopt":
        logs = [(partition, log.lineages()[partition].tail - random.randrange(5)) for partition in held]
        log.adopt(b"formation %d" % random.randrange(99), log.adopted()[0] + 1, logs)
    elif what == "install":
        base = Cursor(random.randrange(40), random.randrange(400))
        log.install(random.choice(PARTITIONS), base, log.adopted()[0])
    else:
        keep = [partition for partition in held if partition == held[0] or random.random() < 0.9]
        log.trim_step(random.randrange(60), keep)


def digest_of(directory: DataDirectory) -> str:
    return blake2b(repr(read_all(directory)).encode(), digest_size=12).hexdigest()


def work(path: Path, count: int, seed: int, *, sync: bool) -> None:
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    random = Random(seed)
    with DataDirectory.open(path, create=False, sync=sync) as directory:
        shim.shim_acknowledge(ctypes.c_uint64(0))
        for number in range(1, count + 1):
            operate(directory, random)
            shim.shim_acknowledge(ctypes.c_uint64(number))


def expect(path: Path, count: int, seed: int) -> None:
    random = Random(seed)
    with DataDirectory.open(path, create=False, sync=False) as directory:
        for number in range(count + 1):
            if number:
                operate(directory, random)
            sys.stdout.write(digest_of(directory) + "\n")


def read() -> None:
    for line in sys.stdin:
        try:
            with DataDirectory.open(line.rstrip("\n"), create=False, wait=0, sync=False) as directory:
                said = digest_of(directory)
        except DamagedError as error:
            said = str(error).replace("\n", " ")
        sys.stdout.write(said + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read()
    elif sys.argv[1] == "expect":
        expect(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        work(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sync=sys.argv[5] == "sync")
