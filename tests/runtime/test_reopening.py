"""A sink is gone on with from a cut in memory only where all that was written up to it certainly stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast import sinks
from holdfast.connectors.contract import as_sink
from holdfast.connectors.interface import OpenSink
from holdfast.core.errors import OutputShortError
from holdfast.runtime import reopening
from holdfast.runtime.reopening import LostDelivery, boot_id, reopen
from holdfast.worker import effects
from holdfast.worker.cluster_events import OutputLost

BOOT, LATER = "this boot", "the boot after"


def written(path: Path) -> tuple[OpenSink, object]:
    """A file with two outputs that nobody has synced, and the token that was taken then."""
    sink = as_sink(sinks.TextFile(path))
    writer = reopen(sink, effects.OpenSink(0, None, 0), BOOT)
    assert writer is not None
    writer.write(1, [b"one\n", b"two\n"], 2)
    token = writer.token()
    writer.close()
    return sink, token


def test_after_a_kill_it_is_gone_on_with_where_it_stands(tmp_path: Path) -> None:
    sink, token = written(tmp_path / "out")

    writer = reopen(sink, effects.OpenSink(0, token, 2, synced=False), BOOT)

    assert writer is not None
    writer.write(3, [b"three\n"], 1)
    writer.close()
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\nthree\n"


def test_after_a_power_loss_what_was_not_synced_is_not_certain_even_where_the_length_is_right(tmp_path: Path) -> None:
    sink, token = written(tmp_path / "out")
    (tmp_path / "out").write_bytes(b"one\n\0\0\0\0")

    assert reopen(sink, effects.OpenSink(0, token, 2, synced=False), LATER) is None


def test_a_file_that_is_too_short_for_a_cut_in_memory_is_not_gone_on_with(tmp_path: Path) -> None:
    sink, token = written(tmp_path / "out")
    (tmp_path / "out").write_bytes(b"one\n")

    assert reopen(sink, effects.OpenSink(0, token, 2, synced=False), BOOT) is None
    with pytest.raises(OutputShortError):
        reopen(sink, effects.OpenSink(0, token, 2), BOOT)


def test_what_a_checkpoint_has_synced_is_certain_in_every_boot(tmp_path: Path) -> None:
    sink, token = written(tmp_path / "out")

    writer = reopen(sink, effects.OpenSink(0, token, 2), LATER)

    assert writer is not None
    writer.close()


def test_where_the_system_tells_no_boots_apart_nothing_unsynced_is_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reopening, "BOOT_ID", tmp_path / "none")
    assert boot_id() == ""
    sink, _ = written(tmp_path / "out")

    assert reopen(sink, effects.OpenSink(0, (8, ""), 2, synced=False), boot_id()) is None


class Table:
    """A sink of the user's own, which keeps what it was given up to its flush."""

    def __init__(self, has: int) -> None:
        self.has = has

    def resume(self, partition: str, token: object) -> int:
        return self.has

    def write(self, partition: str, first: int, outputs: list[object]) -> None:
        self.has = first + len(outputs) - 1

    def flush(self, partition: str) -> object:
        return "flushed"


def test_a_sink_without_files_that_has_less_than_the_cut_says_is_not_gone_on_with() -> None:
    assert reopen(as_sink(Table(5)), effects.OpenSink(0, None, 5, synced=False), BOOT) is not None
    assert reopen(as_sink(Table(4)), effects.OpenSink(0, None, 5, synced=False), BOOT) is None


def test_in_place_of_a_lost_output_is_one_that_tells_so_and_takes_no_orders() -> None:
    told: list[Any] = []

    lost = LostDelivery(3, told.append)
    lost.deliver(effects.Deliver(3, 1, 1, 1, (b"x",)))
    lost.take_token(effects.TakeToken(3, 7))
    lost.sync()
    lost.close()

    assert [(type(event), event.sink) for event in told] == [(OutputLost, 3)]
    assert lost.idle
