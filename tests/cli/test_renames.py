"""Renamed steps keep their state where one worker's directory becomes a cluster's, and in clusters."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.cli.command import holdfast, last_line, running, wait_for, write
from tests.cli.test_take_over import CLUSTER, COUNTER, run_for_a_while

STEP = ".stateful(count, state=list)"


def named(name: str, was: str | None = None) -> str:
    return COUNTER.replace(STEP, f".stateful(count, state=list, name={name!r}, was={was!r})")


def and_a_new_count(text: str) -> str:
    """The same with a step that has the first one's first name."""
    once = text.replace("(\n    app.source(hf.sources.Generator(numbers))\n    .key_by(key)", "(\n    keyed")
    added = 'keyed.stateful(count, state=list, name="count").sink(hf.sinks.JsonLines("other.jsonl"), name="other")\n'
    keyed = "keyed = app.source(hf.sources.Generator(numbers)).key_by(key)\n"
    assert once != text
    return once.replace("(\n    keyed", f"{keyed}(\n    keyed") + added


def test_a_step_keeps_its_state_through_renames_by_one_worker_and_a_cluster(tmp_path: Path) -> None:
    lives = [
        (4_000, named("count"), ()),
        (8_000, named("two", "count"), ()),
        (14_000, named("two"), CLUSTER),
        (20_000, named("three", "two"), CLUSTER),
        (26_000, and_a_new_count(named("three")), CLUSTER),
        (32_000, and_a_new_count(named("four", "three")), ("--workers", "1")),
    ]
    for size, text, options in lives:
        write(tmp_path, text)
        run_for_a_while(tmp_path, size, *options)

    lines = (tmp_path / "output.jsonl").read_text().splitlines()
    assert lines == [f"[{number},{number // 7 + 1}]" for number in range(len(lines))]
    added = [json.loads(line) for line in (tmp_path / "other.jsonl").read_text().splitlines()]
    first = added[0][0]
    assert [number for number, _ in added] == list(range(first, len(lines)))
    assert [count for _, count in added] == [index // 7 + 1 for index in range(len(added))]
    for name, counted in (("four", len(lines)), ("count", len(added))):
        found = holdfast(tmp_path, "query", name, str((len(lines) - 1) % 7), "--data", "d", "--as", "literal", "--json")
        assert found.returncode == 0, found.stderr
        assert len(json.loads(found.stdout)["state"]) == (counted - 1) // 7 + 1


def test_a_renamed_step_is_asked_by_its_new_name_in_a_running_cluster(tmp_path: Path) -> None:
    write(tmp_path, named("count"))
    run_for_a_while(tmp_path, 4_000, *CLUSTER)
    write(tmp_path, named("two", "count"))

    with running(tmp_path, "run", "app.py", "--data", "d", *CLUSTER) as process:
        wait_for(tmp_path / "output.jsonl", 8_000)
        found = holdfast(tmp_path, "query", "two", "3", "--data", "d", "--as", "literal", "--json")
        refused = holdfast(tmp_path, "query", "count", "3", "--data", "d", "--as", "literal")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["state"]) > 4_000 // len("[1000,143]\n") // 7
    assert refused.returncode == 2
    assert "count" in last_line(refused.stderr)
