"""`--metrics`: what Prometheus gets of one worker and of a cluster, and what is refused."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.command import COUNT, TICKER, holdfast, last_line, running, wait_for, write, write_lines

Samples = dict[str, list[tuple[dict[str, str], float]]]
EVERYWHERE = {
    "holdfast_records_total",
    "holdfast_outputs_total",
    "holdfast_lag_epochs",
    "holdfast_latency_seconds_bucket",
    "holdfast_reached_epoch",
    "holdfast_checkpoint_epoch",
    "holdfast_disk_bytes",
    "holdfast_workers",
    "holdfast_generation",
    "holdfast_process_memory_bytes",
}


def scraped(address: str) -> Samples:
    with urllib.request.urlopen(address, timeout=30) as answer:
        text = answer.read().decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    while "metrics at" not in (line := process.stderr.readline()):
        assert line, "it has ended"
    (address,) = re.findall(r"http://\S+", line)
    return str(address)


@pytest.mark.parametrize(("options", "workers"), [((), 1), (("--workers", "2", "--backups", "1"), 2)])
def test_metrics_of_a_run_can_be_scraped_while_it_works(tmp_path: Path, options: tuple[str, ...], workers: int) -> None:
    write(tmp_path, TICKER)
    call = ("run", "app.py", *options, "--data", "d", "--metrics", "127.0.0.1:0")
    with running(tmp_path, *call) as process:
        address = address_of(process)
        wait_for(tmp_path / "ticks.txt", 20_000)
        found = scraped(address)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert set(found) >= EVERYWHERE
    ((labels, records),) = found["holdfast_records_total"]
    assert labels["source"] == "source"
    assert records > 1_000
    assert ({"state": "member"}, float(workers)) in found["holdfast_workers"]
    assert len(found["holdfast_process_memory_bytes"]) == workers
    counted = sum(count for labels, count in found["holdfast_latency_seconds_bucket"] if labels["le"] == "+Inf")
    assert 0 < counted <= records + 1_000


def test_a_place_that_is_taken_or_is_none_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    write(tmp_path, COUNT)
    write_lines(tmp_path, 3)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        for options in ((), ("--workers", "2")):
            done = holdfast(tmp_path, "run", "app.py", *options, "--metrics", place)
            assert done.returncode == 2
            assert f"metrics can't be served on {place}" in last_line(done.stderr)
    assert "is not an address" in holdfast(tmp_path, "run", "app.py", "--metrics", "here").stderr


def test_every_name_is_documented_and_every_documented_name_exists(tmp_path: Path) -> None:
    """Checked against what a status without anything in it gives: families stand there with no samples."""
    from holdfast.runtime.metric_families import families
    from holdfast.runtime.one_worker_status import NOTHING
    from tests.repository import ROOT

    told = {f"{family.name}{'_total' if family.type == 'counter' else ''}" for family in families(NOTHING)}
    text = (ROOT / "docs" / "operating.md").read_text()

    assert told == set(re.findall(r"`(holdfast_\w+)`", text))
