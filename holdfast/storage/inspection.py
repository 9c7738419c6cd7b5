"""What a data directory holds, with every digest checked: the data behind `holdfast inspect`.

Invariant: nothing in the directory changes but the process id in its lock. A directory in use is refused,
because what a running worker writes meanwhile can't be told from damage. All problems are found that can be:
one damaged epoch, chunk or row doesn't hide another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from holdfast.core.errors import DamagedError
from holdfast.storage.directory import has_partitions
from holdfast.storage.environment import is_there
from holdfast.storage.folder import COORDINATOR, DATA, FORMAT_VERSION, DirectoryLock, find_out, marks_of, refuse_foreign
from holdfast.storage.lmdb_coordinator_store import readonly_record
from holdfast.storage.lmdb_log import LmdbLog, open_log
from holdfast.storage.lmdb_log import pieces as pieces_of
from holdfast.storage.lmdb_partition_log import NAME, LmdbPartitionLog, open_partition_log
from holdfast.storage.lmdb_state import LmdbState, open_state
from holdfast.storage.marks import Marks


@dataclass(slots=True)
class Partition:
    """What the log holds and held of one partition of a source."""

    index: int
    records: int = 0  # ever logged
    held: int = 0  # of them not trimmed
    ended: bool = False


@dataclass(slots=True)
class PartitionLogReport:
    """What a member of a cluster holds of one partition's log."""

    partition: int
    held: bool  # whether there is a log, not just an epoch table
    adopted: int = 0  # the generation
    base: int = 0
    tail: int = 0
    entries: int = 0
    entry_bytes: int = 0
    rows: int = 0  # of the epoch table


@dataclass(slots=True)
class Report:
    """What a data directory holds. Numbers of what could not be read are as if it were empty; see
    `problems`.
    """

    path: str
    format_version: int = FORMAT_VERSION
    directory: str = ""  # its id
    incarnation: int = 0
    generation: int = 0
    meta: dict[str, object] = field(default_factory=dict)
    tail: int = 0  # last epoch logged
    base: int = 0  # last epoch trimmed
    log_bytes: int = 0  # of the raw records that are held
    partitions: list[Partition] = field(default_factory=list)
    checkpoint: int = 0
    checkpoints: list[tuple[int, int, int]] = field(default_factory=list)  # (number, chunks, bytes)
    record: bytes | None = None  # of the last complete checkpoint; only `glance` gives it
    prepared: int = 0  # a checkpoint that is whole and does not count yet
    folded: tuple[int, int] = (0, 0)
    rows: dict[int, int] = field(default_factory=dict)  # step -> rows
    disk_bytes: dict[str, int] = field(default_factory=dict)  # environment -> size of its file
    adopted: int = 0  # the latest generation that the partition log adopted
    partition_logs: list[PartitionLogReport] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def note(self) -> Iterator[None]:
        """Take a DamagedError down as a problem."""
        try:
            yield
        except DamagedError as error:
            self.problems.append(str(error))


def inspect(path: str | Path, meta: tuple[str, ...] = ()) -> Report:
    """Read and check all that the data directory at `path` holds; `meta` names the records to show.

    Raises UsageError, DirectoryInUseError and FormatError; damage is in the report.
    """
    path = Path(path)
    refuse_foreign(path, DATA, create=False)
    lock = DirectoryLock(path, wait=0, only_read=True)
    try:
        report = Report(str(path))
        with report.note():
            report.directory = find_out(path, DATA) or ""
        if not report.directory:
            return report
        with _marks(path, "marks", DATA.environments, report) as marks:
            _inspect_environments(path, report, marks, meta)
        with report.note():
            if has_partitions(path):
                with _marks(path, marks_of(NAME), (NAME,), report) as marks:
                    _inspect_partitions(path, report, marks)
        return report
    finally:
        lock.release()


def glance(path: str | Path, meta: tuple[str, ...] = ()) -> Report:
    """What a data directory holds as far as few reads tell; nothing is checked but what is read.

    Raises as `inspect` does, and DamagedError.
    """
    path = Path(path)
    refuse_foreign(path, DATA, create=False)
    lock = DirectoryLock(path, wait=0, only_read=True)
    try:
        report = Report(str(path), directory=find_out(path, DATA) or "")
        if not report.directory:
            return report
        with _marks(path, "marks", DATA.environments, report) as marks:
            if not all(is_there(path / name, marks.read(name)) for name in DATA.environments):
                return report
            log = open_log(path / "log", marks, report.directory, readonly=True)
            report.tail, report.base = log.tail(), log.base()
            log.close()
            state = open_state(path / "state", marks, (FORMAT_VERSION, report.directory), readonly=True)
            report.incarnation, report.generation = state.identity().incarnation, state.identity().generation
            report.meta = {name: value for name in meta if (value := state.get_meta(name)) is not None}
            report.checkpoint, report.record = state.checkpoint(), state.record()
            state.close()
        return report
    finally:
        lock.release()


@contextmanager
def stored_state(path: Path) -> Iterator[LmdbState | None]:
    """The state in a data directory that nobody runs, to read from; None before the first start was over.

    Raises UsageError, DirectoryInUseError, FormatError and DamagedError.
    """
    refuse_foreign(path, DATA, create=False)
    lock = DirectoryLock(path, wait=0, only_read=True)
    try:
        directory = find_out(path, DATA)
        if directory is None:
            yield None
            return
        with _marks(path, "marks", DATA.environments, Report(str(path))) as marks:
            if not is_there(path / "state", marks.read("state")):
                yield None
                return
            state = open_state(path / "state", marks, (FORMAT_VERSION, directory), readonly=True)
            try:
                yield state
            finally:
                state.close()
    finally:
        lock.release()


def coordinator_record(path: Path) -> bytes | None:
    """The record in a coordinator's folder that nobody runs, None before the first.

    Raises UsageError, DirectoryInUseError, FormatError and DamagedError.
    """
    refuse_foreign(path, COORDINATOR, create=False)
    lock = DirectoryLock(path, wait=0, only_read=True)
    try:
        if find_out(path, COORDINATOR) is None:
            return None
        marks = Marks(path / "marks", COORDINATOR.environments, readonly=True)
        try:
            return readonly_record(path, marks)
        finally:
            marks.close()
    finally:
        lock.release()


@contextmanager
def _marks(path: Path, file: str, names: tuple[str, ...], report: Report) -> Iterator[Marks]:
    """Open a file of marks; note what of it can't be read, and how large its environments are."""
    marks = Marks(path / file, names, readonly=True)
    try:
        for name in names:
            mark = marks.read(name)
            if mark.unreadable:
                report.problems.append(f"damaged data at {file}, {name}: {mark.unreadable} of 2 slots can't be read")
            data = path / name / "data.mdb"
            report.disk_bytes[name] = data.stat().st_size if data.exists() else 0
        yield marks
    finally:
        marks.close()


def _inspect_environments(path: Path, report: Report, marks: Marks, meta: tuple[str, ...]) -> None:
    # An environment whose creation did not end is not looked at: it will be made anew.
    has_log, has_state = (is_there(path / name, marks.read(name)) for name in ("log", "state"))
    if has_log:
        with report.note():
            log = open_log(path / "log", marks, report.directory, readonly=True)
            try:
                _inspect_log(report, log)
            finally:
                log.close()
    if has_state:
        with report.note():
            state = open_state(path / "state", marks, (FORMAT_VERSION, report.directory), readonly=True)
            try:
                _inspect_state(report, state, meta)
            finally:
                state.close()
    if has_state and not has_log:
        report.problems.append("damaged data at log: it is empty, and it is made before the state, which is there")


def _inspect_log(report: Report, log: LmdbLog) -> None:
    report.tail, report.base = log.tail(), log.base()
    partitions: dict[int, Partition] = {}
    with report.note():
        for row in log.rows():
            for index, count, _, ended in row.parts:
                partition = partitions.setdefault(index, Partition(index))
                partition.records += count
                partition.ended |= ended
    whole = True
    pieces = 0
    for number in range(report.base + 1, report.tail + 1):
        problems = len(report.problems)
        with report.note():
            (epoch,) = log.read(number - 1, 1)
            for chunk in epoch.chunks:
                partitions.setdefault(chunk.partition, Partition(chunk.partition)).held += chunk.count
                report.log_bytes += len(chunk.raw)
                pieces += pieces_of(len(chunk.raw))
        whole &= len(report.problems) == problems
    if whole and pieces != (found := log.pieces_held()):
        report.problems.append(f"damaged data at log, records: {found} pieces are there instead of {pieces}")
    report.partitions = [partitions[index] for index in sorted(partitions)]


def _inspect_partitions(path: Path, report: Report, marks: Marks) -> None:
    if not is_there(path / NAME, marks.read(NAME)):
        return
    log = open_partition_log(path / NAME, marks, report.directory, readonly=True)
    try:
        report.adopted = log.adopted()[0]
        for partition in log.partitions():
            report.partition_logs.append(_inspect_partition(report, log, partition))
        for number in log.batches():
            with report.note():
                log.check_batch(number)
    finally:
        log.close()


def _inspect_partition(report: Report, log: LmdbPartitionLog, partition: int) -> PartitionLogReport:
    lineage = log.lineages().get(partition)
    found = PartitionLogReport(partition, held=lineage is not None)
    if lineage is not None:
        found.adopted, found.base, found.tail = lineage.adopted, lineage.base.epoch, lineage.tail
        entries = log.held(partition)
        found.entries, found.entry_bytes = len(entries), sum(each.size for each in entries)
    with report.note():
        found.rows = sum(1 for _ in log.rows(partition))
    return found


def _inspect_state(report: Report, state: LmdbState, meta: tuple[str, ...]) -> None:
    identity = state.identity()
    report.incarnation, report.generation = identity.incarnation, identity.generation
    report.meta = {name: value for name in meta if (value := state.get_meta(name)) is not None}
    report.checkpoint, report.folded = state.checkpoint(), state.folded()
    with report.note():
        state.record()
    with report.note():
        report.prepared = (state.prepared() or (0, b""))[0]
    for index in range(state.prepared_chunks()):
        with report.note():
            state.chunk(report.prepared, index)
    for checkpoint, count in state.manifest():
        size = 0
        for index in range(count):
            with report.note():
                size += len(state.chunk(checkpoint, index))
        report.checkpoints.append((checkpoint, count, size))
    found, expected = state.chunk_pieces()
    if found < expected:  # More are there while a checkpoint is staged.
        report.problems.append(f"damaged data at state, chunks: {found} pieces are there instead of {expected}")
    problems = [str(problem) for problem in state.row_problems()]
    report.problems += problems
    if not problems:
        for step, _, _ in state.all_rows():
            report.rows[step] = report.rows.get(step, 0) + 1


def to_json(report: Report) -> dict[str, object]:
    """Return the report as what `json.dumps` takes."""
    shown = asdict(report)
    del shown["record"]
    return shown


def to_lines(report: Report) -> list[str]:
    """Return the report as text for people."""
    held = sum(partition.held for partition in report.partitions)
    lines = [
        f"data directory  {report.path}",
        f"format          {report.format_version}, id {report.directory or 'none yet'}",
        f"life            incarnation {report.incarnation}, generation {report.generation}",
        *(f"{name:<15} {value}" for name, value in report.meta.items()),
        f"epochs          {report.base + 1} to {report.tail} in the log, {report.base} trimmed",
        f"records         {held} in the log, {report.log_bytes} bytes",
    ]
    for partition in report.partitions:
        end = ", ended" if partition.ended else ""
        lines.append(f"  partition {partition.index}   {partition.records} records, {partition.held} held{end}")
    lines.append(f"checkpoint      {report.checkpoint or 'none yet'}")
    for number, chunks, size in report.checkpoints:
        lines.append(f"  of {number}   {chunks} chunks, {size} bytes")
    if report.prepared:
        lines.append(f"prepared        {report.prepared}, which does not count yet")
    for step, count in sorted(report.rows.items()):
        lines.append(f"  step {step}   {count} rows")
    if report.partition_logs:
        lines.append(f"adopted         generation {report.adopted}")
    for log in report.partition_logs:
        table = f"{log.rows} rows in the epoch table"
        epochs = f"epochs {log.base + 1} to {log.tail}, {log.entry_bytes} bytes, generation {log.adopted}, "
        lines.append(f"  log of {log.partition}   {epochs if log.held else ''}{table}")
    lines += [f"on disk         {name} {size} bytes" for name, size in report.disk_bytes.items()]
    lines += [f"PROBLEM         {problem}" for problem in report.problems]
    if not report.problems:
        lines.append("every digest matches")
    return lines
