"""How large the epochs of a worker are: a commit's price against latency."""

from __future__ import annotations

from holdfast.worker.intake import Intake
from holdfast.worker.settings import Settings

SETTINGS = Settings(epoch_bytes_min=1000, epoch_bytes_max=4000, epoch_ms_min=10, epoch_ms_max=40)


def intake() -> Intake:
    return Intake(1, SETTINGS, live=False, times=lambda _partition, _raw: None)


def test_full_epochs_that_are_worked_off_at_once_grow_up_to_the_largest() -> None:
    sizes = []
    own = intake()
    for _ in range(4):
        sizes.append(own.bytes_wanted)
        own.worked(own.bytes_wanted, 9)
    assert sizes == [1000, 2000, 4000, 4000]


def test_epochs_whose_work_takes_long_enough_stay_as_they_are() -> None:
    own = intake()
    for milliseconds in (10, 40):
        own.worked(1000, milliseconds)
    assert own.bytes_wanted == 1000


def test_a_source_that_gives_little_makes_no_epoch_larger() -> None:
    own = intake()
    own.worked(499, 0)
    assert own.bytes_wanted == 1000


def test_epochs_whose_work_takes_too_long_shrink() -> None:
    own = intake()
    own.worked(1000, 41)
    assert own.bytes_wanted == 500
