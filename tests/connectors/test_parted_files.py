"""Files in partitions: each output in the file of its key, in order, once; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import xxhash

import holdfast as hf
from holdfast import testing
from holdfast.core.errors import ApplicationError, UsageError
from tests.cli.command import holdfast, last_line, write, write_lines

APP = """
import holdfast as hf


def split(line: str) -> list[str]:
    return line.split()


def count(word: str, state: list[int]) -> tuple[str, int]:
    state.append(0)
    return word, len(state)


def word(output: tuple[str, int]) -> str:
    return output[0]


app = hf.Application("count")
counts = app.source(hf.sources.TextFile("input.txt")).flat_map(split).key_by(str).stateful(count, state=list)
counts.sink(hf.sinks.JsonLines("out/{partition}.jsonl", partitions=4, by=word))
"""


def counted(folder: Path) -> dict[str, str]:
    """What APP must write, by file; partitions are equal parts of the hash interval."""
    totals: dict[str, int] = {}
    files = {f"{number}.jsonl": "" for number in range(4)}
    for word in (folder / "input.txt").read_text().split():
        totals[word] = totals.get(word, 0) + 1
        files[f"{xxhash.xxh3_64_intdigest(b's' + word.encode()) * 4 >> 64}.jsonl"] += f'["{word}",{totals[word]}]\n'
    return files


def written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "out").iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, APP)
    write_lines(tmp_path, 500)
    return tmp_path


def test_each_output_goes_to_the_file_of_its_key_in_order(folder: Path) -> None:
    done = holdfast(folder, "run", "app.py")

    assert done.returncode == 0, done.stderr
    assert written(folder) == counted(folder)
    assert all(written(folder).values())


@pytest.mark.parametrize("point", ["in-sink-write:3", "between-apply-and-delivery:2", "before-completion:1"])
def test_a_run_that_was_killed_goes_on_in_every_file(folder: Path, point: str) -> None:
    assert holdfast(folder, "run", "app.py", HOLDFAST_KILL=point, HOLDFAST_PACE="1:400").returncode < 0

    done = holdfast(folder, "run", "app.py")

    assert done.returncode == 0, done.stderr
    assert written(folder) == counted(folder)


def test_one_of_the_files_cut_short_is_told(folder: Path) -> None:
    assert holdfast(folder, "run", "app.py").returncode == 0
    path = folder / "out" / "2.jsonl"
    path.write_text(path.read_text()[:-5])

    done = holdfast(folder, "run", "app.py")

    assert done.returncode == 4
    assert "out/2.jsonl' is shorter than at the checkpoint" in last_line(done.stderr)


@pytest.mark.parametrize("command", [("verify", "app.py"), ("verify", "app.py", "--workers", "2")])
def test_every_file_is_compared_by_verify(folder: Path, command: tuple[str, ...]) -> None:
    done = holdfast(folder, *command)

    assert done.returncode == 0, done.stderr
    assert last_line(done.stdout) == "IDENTICAL"
    assert all(f"sink 'sink', partition {number}: " in done.stdout for number in range(4))
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("partitions=8, by=word", "the sink 'sink' has 8 partitions now and was started with 4 partitions"),
        ("partitions=1, by=word", "the sink 'sink' has 1 partition now and was started with 4 partitions"),
        (None, "the sink 'sink' has no partitions now and was started with 4 partitions"),
    ],
)
@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one worker", "cluster"])
def test_another_number_of_partitions_is_refused(
    folder: Path, now: str | None, said: str, workers: tuple[str, ...]
) -> None:
    assert holdfast(folder, "run", "app.py", *workers).returncode == 0
    old = '"out/{partition}.jsonl", partitions=4, by=word'
    write(folder, APP.replace(old, '"out.jsonl"' if now is None else f'"out/{{partition}}.jsonl", {now}'))

    done = holdfast(folder, "run", "app.py", *workers)

    assert done.returncode == 4
    assert said in last_line(done.stderr)


def test_fresh_deletes_every_file(folder: Path) -> None:
    assert holdfast(folder, "run", "app.py").returncode == 0
    write_lines(folder, 10)

    done = holdfast(folder, "run", "app.py", "--fresh")

    assert done.returncode == 0, done.stderr
    assert written(folder) == counted(folder)


def test_a_file_of_somebody_else_is_refused_and_kept(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "3.jsonl").write_text("precious\n")

    done = holdfast(folder, "run", "app.py")

    assert done.returncode == 2
    assert "3.jsonl exists and this data directory did not write it" in last_line(done.stderr)
    assert written(folder) == {"3.jsonl": "precious\n"}


def test_a_folder_that_is_a_file_is_refused(folder: Path) -> None:
    (folder / "out").write_text("no folder\n")

    done = holdfast(folder, "run", "app.py")

    assert done.returncode == 2
    assert "is not a folder" in last_line(done.stderr)


@pytest.mark.parametrize("kind", [hf.sinks.JsonLines, hf.sinks.TextFile])
@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("out.txt", {"partitions": 4, "by": str}, "the path must contain {partition}"),
        ("{partition}.txt", {}, "{partition} in the path needs partitions= and by="),
        ("{partition}.txt", {"by": str}, "{partition} in the path needs partitions= and by="),
        ("out.txt", {"by": str}, "by= needs partitions="),
        ("{partition}.txt", {"partitions": 4}, "partitions= needs by="),
        ("{partition}.txt", {"partitions": 0, "by": str}, "partitions=0 must be an int from 1 to 4096"),
        ("{partition}.txt", {"partitions": True, "by": str}, "partitions=True must be an int"),
        ("{partition}.txt", {"partitions": 4.0, "by": str}, "partitions=4.0 must be an int"),
        ("{partition}.txt", {"partitions": 5000, "by": str}, "partitions=5000 must be an int from 1 to 4096"),
        ("{partition}.txt", {"partitions": 4, "by": "word"}, "'word' is not a function"),
        ("{partition}.txt", {"partitions": 4, "by": lambda: 1}, "can't be called with (message)"),
    ],
)
def test_what_is_given_wrongly_is_refused_at_once(
    kind: Callable[..., object], path: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ApplicationError) as refused:
        kind(path, **options)

    assert said in str(refused.value)
    assert kind.__name__ in str(refused.value)


def test_a_sink_of_dead_letters_whose_by_cant_take_them_is_refused() -> None:
    letters = hf.sinks.JsonLines("{partition}.jsonl", partitions=2, by=lambda letter: letter["customer"])

    with pytest.raises(ApplicationError, match="can't write a dead letter"):
        hf.Application("letters", on_error=letters)


def test_dead_letters_can_be_parted() -> None:
    letters = hf.sinks.JsonLines("{partition}.jsonl", partitions=2, by=lambda letter: letter["step"])
    app = hf.Application("letters", on_error=letters)
    app.source(hf.sources.Memory([1])).map(lambda n: 1 // 0).sink(hf.sinks.Memory())

    assert [letter["step"] for letter in testing.run(app, {"source": [1]})["sink-2"]] == ["map"]


@pytest.mark.parametrize("key", ["w", b"w", 7, True, date(2026, 1, 1), ("w", 7)])
def test_every_key_has_its_partition(key: object) -> None:
    sink = hf.sinks.JsonLines("{partition}", partitions=3, by=lambda message: key)

    assert 0 <= sink.partition_of("anything") < 3


def test_a_message_without_a_key_is_an_error_of_the_sinks_step(folder: Path) -> None:
    write(folder, APP.replace("return output[0]", "return output[0] if output[1] < 20 else None"))

    done = holdfast(folder, "run", "app.py")

    assert done.returncode == 3
    assert "step 'sink'" in last_line(done.stderr)
    assert "a key can't be None" in last_line(done.stderr)


def test_a_folder_that_cant_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sink = hf.sinks.JsonLines(tmp_path / "file" / "out" / "{partition}", partitions=3, by=str)

    with pytest.raises(UsageError, match="the output folder"):
        sink.part(0).open(None, 0, owned=True)
