"""The options of one world, drawn from its seed: application, sizes, latencies, kinds of sinks, faults.

Every seed draws its own subset ("swarm"): worlds that are all alike would leave rare combinations rare. Each
size lists the product's default first and its cruel values after it. Nothing here depends on more than the
seed and the application.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from holdfast.chaos.faults import Fault, draw_faults
from holdfast.chaos.schedule import Streams
from holdfast.worker.settings import Settings

CHECKPOINT_MS = (1000, 0, 1, 5, 20, 100, 100_000)
EPOCH_BYTES = (262_144, 1, 50, 500, 5_000)
EPOCH_MS_MAX = (40, 0, 5)
EPOCHS_IN_FLIGHT = (3, 1, 2, 8)
UNDELIVERED_MAX = (16, 1, 2)
SLICE_RECORDS = (128, 1, 2, 7, 30, 1000)
ROWS_PER_SLICE = (4000, 1, 3, 20)
REPLAY_BYTES = (1_048_576, 1, 500)
ENTITIES_IN_MEMORY = (None, None, None, 1, 5, 20, 40, 80)
TICK_MS = (5.0, 20.0, 100.0)
COPIES = (1, 2, 4, 8)
BROKEN = (0, 0, 0, 0, 0, 0, 3, 50)
RECORDS_MAX = (130, 5, 30, 70, 400)
# Milliseconds that a work takes on average; "machine" is the handling of an event.
LATENCIES_MS = {
    "log": (2.0, 0.1, 15.0, 100.0),
    "state": (3.0, 0.1, 20.0, 200.0),
    "rows": (0.3, 0.05, 10.0, 50.0),
    "sync": (3.0, 0.1, 20.0, 200.0),
    "sink": (0.5, 0.05, 10.0, 100.0),
    "source": (0.1, 0.01, 5.0, 50.0),
    "machine": (0.2, 0.0, 0.01, 5.0),
}
# Constants of the product that only large inputs would ever reach.
LIMITS = {
    "holdfast.worker.checkpoint.ROWS_FREE": (20_000, 0, 5, 50),
    "holdfast.worker.cut.LOG_BYTES_MAX": (64 * 1024 * 1024, 64 * 1024 * 1024, 1, 500),
    "holdfast.worker.fold.FOLD_ROWS": (2_000, 1, 3),
    "holdfast.core.pipeline.CAREFUL_SLICES": (64, 1, 3),
    "holdfast.core.outlets.LEARN": (64, 1, 5),
}
# So often an epoch waits for its entities again and again; by themselves the sizes above seldom meet.
SHORT_OF_MEMORY = 0.15
MEMORY_SETTINGS: dict[str, tuple[Any, ...]] = {
    "entities_in_memory": (5, 20, 40, 80),
    "slice_records": (1, 2, 7),
    "checkpoint_ms": (1, 20, 100, 1000),
    "epoch_bytes_min": (500, 5_000),
    "epoch_bytes_max": (5_000, 262_144),
}
MEMORY_ROWS_MS = (2.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that is drawn before a world begins."""

    seed: int
    application: str
    copies: int  # of its input, one after the other …
    records_max: int  # … and so many records of each partition
    untimed: bool  # records lose the times they have: the logged clock counts
    broken: int  # every so many records one can't be decoded; 0 for none
    strict: bool  # whatever fails stops the application
    mends: bool  # after a stop the application is mended: what stopped it is skipped from then on
    live: bool  # the records arrive over time
    ends: bool  # a live input says when it is over; otherwise a stop is asked for at the end
    notices_end: bool  # a finite input says so with its last record
    sinks: tuple[str, ...]  # kinds of the sinks, in order, repeated as needed
    columns: bool  # the sinks offer encode_column
    settings: Settings
    limits: dict[str, int]
    tick_ms: float
    latencies_ms: dict[str, float]
    faults: tuple[Fault, ...]
    kept_faults: tuple[int, ...] | None  # of these only the ones with these numbers; None for all

    def lines(self) -> list[str]:
        """Return the options as text, one a line."""
        shown = [
            f"seed {self.seed}, application {self.application!r}, strict {self.strict}, mends {self.mends}",
            f"{self.copies} x its input, {self.records_max} records of a partition",
            f"broken {self.broken}, untimed {self.untimed}",
            f"live {self.live}, ends {self.ends}, notices end {self.notices_end}",
            f"sinks {self.sinks}, columns {self.columns}, tick {self.tick_ms} ms",
            str(self.settings),
            f"limits {self.limits}",
            f"latencies {self.latencies_ms}",
        ]
        for number, fault in enumerate(self.faults):
            kept = self.kept_faults is None or number in self.kept_faults
            shown.append(f"fault {number}: {fault}" + ("" if kept else " (left out)"))
        return shown


def draw(seed: int, applications: Sequence[str], kept_faults: Sequence[int] | None = None) -> Options:
    """Draw a world's options. An application is one of `applications`."""
    streams = Streams(seed)
    random = streams["options"]
    live = random.random() < 0.5
    settings, latencies_ms = _draw_settings(random), _draw_latencies(random)
    if random.random() < SHORT_OF_MEMORY:
        drawn: dict[str, Any] = {name: random.choice(values) for name, values in MEMORY_SETTINGS.items()}
        settings = replace(settings, **drawn)
        latencies_ms["rows"] = random.choice(MEMORY_ROWS_MS)
    return Options(
        seed=seed,
        application=random.choice(applications),
        copies=random.choice(COPIES),
        records_max=random.choice(RECORDS_MAX),
        untimed=random.random() < 0.4,
        broken=random.choice(BROKEN),
        strict=random.random() < 0.15,
        mends=random.random() < 0.7,
        live=live,
        ends=not live or random.random() < 0.6,
        notices_end=random.random() < 0.5,
        sinks=tuple(random.choices(("file", "numbered", "forgetful"), weights=(6, 2, 2), k=3)),
        columns=random.random() < 0.5,
        settings=settings,
        limits={name: random.choice(choices) for name, choices in LIMITS.items()},
        tick_ms=_often_default(random, TICK_MS),
        latencies_ms=latencies_ms,
        faults=draw_faults(streams["faults"]),
        kept_faults=None if kept_faults is None else tuple(kept_faults),
    )


def _draw_settings(random: Random) -> Settings:
    epoch_bytes_max = random.choice(EPOCH_BYTES)
    return Settings(
        checkpoint_ms=random.choice(CHECKPOINT_MS),
        epoch_bytes_min=min(random.choice(EPOCH_BYTES), epoch_bytes_max),
        epoch_bytes_max=epoch_bytes_max,
        epoch_ms_max=random.choice(EPOCH_MS_MAX),
        epochs_in_flight=random.choice(EPOCHS_IN_FLIGHT),
        undelivered_max=random.choice(UNDELIVERED_MAX),
        slice_records=random.choice(SLICE_RECORDS),
        rows_per_slice=random.choice(ROWS_PER_SLICE),
        replay_bytes=random.choice(REPLAY_BYTES),
        entities_in_memory=random.choice(ENTITIES_IN_MEMORY),
    )


def _draw_latencies(random: Random) -> dict[str, float]:
    return {name: _often_default(random, choices) for name, choices in LATENCIES_MS.items()}


def _often_default(random: Random, choices: Sequence[float]) -> float:
    return choices[0] if random.random() < 0.4 else random.choice(choices)
