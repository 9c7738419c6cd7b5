"""A worker that was given up and wakes up again does not end the cluster, whatever its sinks say of its successor."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.cli.command import POLL_SECONDS, SECONDS_MAX, running, wait_for, write

FENCED = """
import os
import time
from pathlib import Path

import holdfast as hf

OWNER, OUTPUT = Path("owner"), Path("output.txt")


class Fenced:
    \"\"\"Takes outputs from its newest writer only.\"\"\"

    def partitions(self):
        return ["0"]

    def encode(self, value):
        return f"{value}\\n"

    def resume(self, partition, token):
        OWNER.write_text(str(os.getpid()))
        OUTPUT.touch()
        return len(OUTPUT.read_text().splitlines())

    def write(self, partition, first, outputs):
        time.sleep(0.1)  # so that it is mostly here that the process is stopped
        if OWNER.read_text() != str(os.getpid()):
            raise RuntimeError("somebody else writes")
        with OUTPUT.open("a") as file:
            file.writelines(outputs)

    def flush(self, partition):
        return None


def ticks():
    for tick in range(1_000_000):
        yield tick
        time.sleep(0.001)


app = hf.Application("fenced")
app.source(hf.sources.Generator(ticks)).sink(Fenced())
"""


def test_a_sink_that_refuses_a_writer_that_was_given_up_does_not_end_the_cluster(tmp_path: Path) -> None:
    write(tmp_path, FENCED)
    output, owner = tmp_path / "output.txt", tmp_path / "owner"
    cluster = ("--workers", "2", "--backups", "1", "--data", "d")
    with running(tmp_path, "run", "app.py", *cluster, HOLDFAST_SILENCE="2") as process:
        wait_for(output, 100)
        zombie = int(owner.read_text())
        process.send_signal(signal.SIGSTOP)  # it would end who stands still before that one wakes up
        os.kill(zombie, signal.SIGSTOP)
        try:
            wait_until_other(owner, zombie)
            wait_for(output, output.stat().st_size + 1)
        finally:
            with suppress(ProcessLookupError):
                os.kill(zombie, signal.SIGCONT)
            process.send_signal(signal.SIGCONT)
        wait_for(output, output.stat().st_size + 1_000)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=SECONDS_MAX)[1]

    assert process.returncode == 130, said
    lines = output.read_text().splitlines()
    assert lines == [str(tick) for tick in range(len(lines))]


def wait_until_other(owner: Path, zombie: int) -> None:
    """Until somebody else has opened the sink."""
    deadline = time.monotonic() + SECONDS_MAX
    while owner.read_text() in ("", str(zombie)):
        assert time.monotonic() < deadline, "nobody took the sink over"
        time.sleep(POLL_SECONDS)
