"""What a worker is told before it starts: limits and the circumstances of its start."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.errors import HoldfastError


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits with the reasons for their values; tests and the simulator draw cruel ones."""

    generation: int = 1
    checkpoint_ms: int = 1000  # work done again after a crash, against what a checkpoint costs
    epoch_bytes_min: int = 16 * 1024  # a commit costs as much as about 700 messages: smaller is all commit
    epoch_bytes_max: int = 512 * 1024  # larger epochs add latency and hardly any throughput (measured)
    epoch_ms_min: int = 10  # work of one epoch below which they are made larger: a commit costs about half of one ms
    epoch_ms_max: int = 40  # work of one epoch beyond which epochs are made smaller
    epochs_in_flight: int = 3  # logged but not yet applied: one at work, one committed, one on its way
    undelivered_max: int = 16  # epochs applied ahead of the slowest sink
    slice_records: int = 512  # locality: larger slices leave the cache, smaller ones pay per slice (measured)
    rows_per_slice: int = 4000  # of a checkpoint, encoded between two epochs: about a millisecond
    replay_bytes: int = 1024 * 1024  # of the log, read at a time
    cut_ms: int = 50  # between cuts of a cluster: work done again when a member is lost, against what a cut costs
    cut_ms_max: int = 250  # where cuts are large
    cut_rows_per_ms: int = 32  # a row costs about 4 µs, here and at its backup: an eighth of the time
    backups: int = 0  # of each hash range and log, where there are enough members
    unsealed_max: int = 200  # epochs closed ahead of the last sealed cut
    entities_in_memory: int | None = None
    careful: frozenset[int] = frozenset()  # steps that work carefully (or, sinks, encode at once) from the start
    stop_before: tuple[int, int, bool] | None = None  # (epoch, and the place in it), then end with `stop_error`
    stop_error: HoldfastError | None = None

    def cut_ms_after(self, rows: int) -> int:
        """How long after a cut of so many changed entities the next one is asked for."""
        return max(self.cut_ms, min(self.cut_ms_max, rows // self.cut_rows_per_ms))
