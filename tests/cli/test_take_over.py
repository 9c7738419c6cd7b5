"""One worker's data directory becomes a cluster's, whatever interrupts that; and where it can't, one line says why."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from holdfast.core.errors import UsageError
from holdfast.runtime import take_over
from holdfast.runtime.stage import is_under_way
from holdfast.storage.directory import DataDirectory
from tests.cli.command import COUNT, append, counted, holdfast, last_line, running, wait_for, write, write_lines

# Every number with how many came before it, by seven keys.
COUNTER = """
import time

import holdfast as hf


def numbers():
    for number in range(1_000_000):
        yield number
        time.sleep(0.0005)


def key(number: int) -> int:
    return number % 7


def count(number: int, seen: list[int]) -> tuple[int, int]:
    seen.append(1)
    return number, len(seen)


app = hf.Application("counter")
(
    app.source(hf.sources.Generator(numbers))
    .key_by(key)
    .stateful(count, state=list)
    .sink(hf.sinks.JsonLines("output.jsonl"))
)
"""
TWO_SINKS = COUNT.replace("(\n    app.source", "words = (\n    app.source").replace(
    '    .sink(hf.sinks.JsonLines("output.jsonl"))\n)',
    ')\nwords.sink(hf.sinks.JsonLines("output.jsonl"))\nwords.sink(hf.sinks.JsonLines("more.jsonl"))',
)
CLUSTER = ("--workers", "2", "--backups", "1")


def run_for_a_while(folder: Path, size: int, *options: str, number: int = signal.SIGINT) -> None:
    with running(folder, "run", "app.py", "--data", "d", *options) as process:
        wait_for(folder / "output.jsonl", size)
        process.send_signal(number)
        process.communicate(timeout=60)


def test_a_live_application_goes_on_with_more_workers_where_one_stopped_and_back_again(tmp_path: Path) -> None:
    write(tmp_path, COUNTER)
    run_for_a_while(tmp_path, 10_000)
    for size, options in ((30_000, CLUSTER), (50_000, ("--workers", "1"))):
        run_for_a_while(tmp_path, size, *options)

    lines = (tmp_path / "output.jsonl").read_text().splitlines()
    assert lines == [f"[{number},{number // 7 + 1}]" for number in range(len(lines))]
    assert (tmp_path / "d" / "worker-1" / "log").is_dir()


def test_work_that_is_to_be_done_again_is_one_workers_to_do(tmp_path: Path) -> None:
    write(tmp_path, COUNTER)
    run_for_a_while(tmp_path, 10_000, number=signal.SIGKILL)

    refused = holdfast(tmp_path, "run", "app.py", "--data", "d", *CLUSTER)

    assert refused.returncode == 2
    assert "run it once more with --workers 1" in last_line(refused.stderr)
    run_for_a_while(tmp_path, 20_000)
    run_for_a_while(tmp_path, 30_000, *CLUSTER)
    lines = (tmp_path / "output.jsonl").read_text().splitlines()
    assert lines == [f"[{number},{number // 7 + 1}]" for number in range(len(lines))]


def test_another_applications_directory_is_not_touched(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 30)
    assert holdfast(tmp_path, "run", "app.py", "--data", "d").returncode == 0
    write(tmp_path, COUNT.replace('Application("count")', 'Application("other")'))

    refused = holdfast(tmp_path, "run", "app.py", "--data", "d", *CLUSTER)

    assert refused.returncode == 4
    assert "belongs to the application 'count'" in last_line(refused.stderr)
    assert (tmp_path / "d" / "format").exists()


OWNED = """
from pathlib import Path

import holdfast as hf


class Owned:
    def claim(self, owner: str) -> None:
        with Path("owners.txt").open("a") as file:
            file.write(f"{owner}\\n")

    def resume(self, partition, token):
        return token or 0

    def write(self, partition, first_number, outputs):
        self.number = first_number + len(outputs) - 1

    def flush(self, partition):
        return getattr(self, "number", 0)


app = hf.Application("owned")
app.source(hf.sources.TextFile("input.txt", follow=True)).sink(Owned())
"""


def test_sinks_are_claimed_by_the_same_owner_as_before(tmp_path: Path) -> None:
    write(tmp_path, OWNED)
    write_lines(tmp_path, 30)
    owners = tmp_path / "owners.txt"
    claimed = []
    for options in ((), CLUSTER):
        owners.unlink(missing_ok=True)
        with running(tmp_path, "run", "app.py", "--data", "d", *options) as process:
            wait_for(owners)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        claimed += owners.read_text().splitlines()

    assert len(claimed) >= 2
    assert len(set(claimed)) == 1


class InterruptedHereError(Exception):
    pass


def stop_at(monkeypatch: pytest.MonkeyPatch, step: str) -> Callable[[], None]:
    """Have the taking over be interrupted before a step; gives how to mend that."""

    def interrupt(*arguments: object, **named: object) -> NoReturn:
        raise InterruptedHereError

    if step.startswith("rename"):
        rename, name = Path.rename, step.split()[1]

        def rename_or_not(self: Path, to: Path) -> Path:
            return rename(self, to) if self.name != name else interrupt()

        monkeypatch.setattr(Path, "rename", rename_or_not)
    elif step == "count":
        monkeypatch.setattr(take_over, "_count_as_first", interrupt)
    else:
        monkeypatch.setattr(take_over, "LmdbCoordinatorStore", interrupt)
    return monkeypatch.undo


@pytest.mark.parametrize(
    "step", ["coordinator", "rename d", "count", "rename d.cluster"]
)
def test_a_taking_over_that_was_interrupted_goes_on(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    write_lines(tmp_path, 30)
    assert holdfast(tmp_path, "run", "app.py", "--data", "d").returncode == 0
    data = tmp_path / "d"
    with DataDirectory.open(data, create=False) as directory:
        node = directory.state.identity().directory

    mend = stop_at(monkeypatch, step)
    with pytest.raises((InterruptedHereError, AttributeError)):
        take_over.take_over(data)
    mend()
    if data.exists():  # nothing has changed for one worker
        assert holdfast(tmp_path, "run", "app.py", "--data", "d").returncode == 0

    assert is_under_way(data) is not data.exists()
    assert take_over.take_over(data)
    assert not take_over.take_over(data)
    assert not (tmp_path / "d.cluster").exists()
    with DataDirectory.open(data / "worker-1", create=False) as directory:
        assert directory.state.identity().directory == node
        assert directory.state.checkpoint() == take_over.NUMBER


def test_a_finished_run_is_finished_for_a_cluster_as_well_and_its_states_are_there(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 30)
    append(tmp_path / "input.txt", "a b\n")
    assert holdfast(tmp_path, "run", "app.py", "--data", "d").returncode == 0

    done = holdfast(tmp_path, "run", "app.py", "--data", "d", *CLUSTER)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)
    assert "was finished before" in done.stderr
    assert holdfast(tmp_path, "query", "count", "a", "--data", "d").stdout == "[0]\n"


def test_what_holds_nothing_of_one_worker_is_left_alone(tmp_path: Path) -> None:
    assert not take_over.take_over(tmp_path / "d")
    (tmp_path / "d").mkdir()
    assert not take_over.take_over(tmp_path / "d")
    with DataDirectory.open(tmp_path / "e", create=True):
        pass
    with pytest.raises(UsageError, match="to be done again"):
        take_over.take_over(tmp_path / "e")


def nodes_told(folder: Path, *options: str) -> tuple[list[str | None], list[str | None]]:
    """The nodes of sources and of sinks as a coordinator without workers tells them."""
    command = ("coordinator", "app.py", "--data", "d", "--listen", "127.0.0.1:0", *options)
    with running(folder, *command) as process:
        wait_for(folder / "d" / "coordinator.address")
        told = json.loads(holdfast(folder, "status", "--data", "d", "--json").stdout)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert "error" not in said
    sources, sinks = ([own["node"] for own in told[kind]] for kind in ("sources", "sinks"))
    return sources, sinks


def test_a_coordinator_tells_how_it_is_while_a_new_sink_has_no_place_yet(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 30)
    assert holdfast(tmp_path, "run", "app.py", "--data", "d").returncode == 0
    assert take_over.take_over(tmp_path / "d")
    write(tmp_path, TWO_SINKS)

    _, sinks = nodes_told(tmp_path, "--accept-code")

    assert len(sinks) == 2
    assert sinks.count(None) == 1


def test_a_coordinator_tells_how_it_is_while_a_source_that_nothing_was_read_of_has_no_place_yet(tmp_path: Path) -> None:
    write(tmp_path, OWNED)
    (tmp_path / "input.txt").touch()
    assert holdfast(tmp_path, "run", "app.py", "--data", "d", "--seconds", "0.1").returncode == 0
    assert take_over.take_over(tmp_path / "d")

    sources, sinks = nodes_told(tmp_path)

    assert (sources, len(sinks)) == ([None], 1)
