"""Stateful steps keep their entities under whatever names they get, and a new step never gets those of another."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from subprocess import PIPE, run

import pytest

import holdfast as hf
from holdfast.core.types import TypeRegistry
from holdfast.runtime.stored_entity import of_one_worker
from tests.repository import ROOT

Names = Sequence[tuple[str, str | None]]  # of the steps, in their order: name and `was`
KEYS = "klm"
POOL = ("a", "b", "c", "d", "a#2", "b#2")


def add(message: str, seen: list[str]) -> list[object]:
    seen.append(message)
    return [message, len(seen)]


def engine(data: Path, names: Names, limit: int | None = None) -> hf.Engine:
    """Every step counts the messages of each key, and replies with the number."""
    app = hf.Application("renames", entities_in_memory=limit)
    keyed = app.source(hf.sources.Send(), name="x").map(str).key_by(lambda message: message)
    for name, was in names:
        keyed.stateful(add, state=list, name=name, was=was).reply()
    return hf.Engine(app, data=str(data))


def asked(data: Path, names: Names, *keys: str, limit: int | None = None) -> list[list[int]]:
    """What the steps count when one life is given these keys."""
    with engine(data, names, limit) as running:
        return [[count for _, count in running.ask("x", key)] for key in keys]


def asked_and_killed(data: Path, names: Names, *keys: str) -> None:
    program = (
        "import os, signal, sys; from ast import literal_eval; from pathlib import Path\n"
        "from tests.runtime.test_renames import engine\n"
        "with engine(Path(sys.argv[1]), literal_eval(sys.argv[2])) as running:\n"
        "    for key in sys.argv[3:]:\n"
        "        running.ask('x', key)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", program, str(data), repr(names), *keys]
    done = run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=PIPE, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("limit", [None, 8], ids=["in memory", "on disk"])
def test_a_step_may_be_renamed_again_and_the_word_of_it_dropped(limit: int | None, tmp_path: Path) -> None:
    lives: list[Names] = [[("one", None)], [("two", "one")], [("two", None)], [("three", "two")], [("one", "three")]]
    for count, names in enumerate(lives, 1):
        assert asked(tmp_path / "data", names, "k", f"only in life {count}", limit=limit) == [[count], [1]]


@pytest.mark.parametrize("limit", [None, 8], ids=["in memory", "on disk"])
def test_a_new_step_under_a_freed_name_is_new(limit: int | None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    asked(data, [("one", None)], "k", limit=limit)
    asked(data, [("two", "one")], "k", limit=limit)

    assert asked(data, [("two", None), ("one", None)], "k", limit=limit) == [[3, 1]]
    assert asked(data, [("three", "two"), ("one", None)], "k", limit=limit) == [[4, 2]]


@pytest.mark.parametrize("limit", [None, 8], ids=["in memory", "on disk"])
def test_people_ask_for_steps_by_the_names_they_have_now(limit: int | None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    asked(data, [("one", None)], "k", "k", limit=limit)
    asked(data, [("two", "one")], limit=limit)
    names: Names = [("two", None), ("one", None)]
    with engine(data, names, limit) as running:
        assert running.query("two", "k") == ["k", "k"]
        assert running.query("one", "k") is None
        running.ask("x", "k")

    for name, expected in (("two", ["k"] * 3), ("one", ["k"])):
        stored = of_one_worker(data, name, "k", TypeRegistry())
        assert stored is not None
        assert stored.state == expected
        assert stored.steps == {"one", "two"}


def test_a_step_that_is_gone_is_refused_whoever_has_its_first_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    asked(data, [("one", None)], "k")
    asked(data, [("two", "one")], "k")

    with pytest.raises(hf.HoldfastError, match=r"step 'two': removed or renamed"):
        asked(data, [("one", None)], "k")
    assert asked(data, [("two", None)], "k") == [[3]]


@dataclass
class Model:
    """What is expected: the steps' names, and a dict of counts for each step that was ever added."""

    random: Random
    names: list[tuple[str, str | None]] = field(default_factory=lambda: [("a", None)])
    counts: list[dict[str, int]] = field(default_factory=lambda: [{}])

    def change(self) -> None:
        """Some steps get other names, some words of earlier names are dropped, a step may be new."""
        self.names = [(name, was if self.random.random() < 0.5 else None) for name, was in self.names]
        for index, (name, _) in enumerate(self.names):
            if self.random.random() < 0.5:
                self.names[index] = (self._free(but=index), name)
        if len(self.names) < 3 and self.random.random() < 0.4:
            self.names.append((self._free(), None))
            self.counts.append({})

    def _free(self, but: int | None = None) -> str:
        others = [pair for index, pair in enumerate(self.names) if index != but]
        taken = {name for pair in others for name in pair}
        own = self.names[but][0] if but is not None else None
        return self.random.choice([name for name in POOL if name not in taken and name != own])

    def count(self, key: str) -> list[int]:
        for counts in self.counts:
            counts[key] = counts.get(key, 0) + 1
        return [counts[key] for counts in self.counts]


@pytest.mark.parametrize("seed", range(4))
def test_entities_follow_their_steps_through_any_lives(seed: int, tmp_path: Path) -> None:
    model = Model(Random(seed))
    for life in range(8):
        keys = model.random.choices(KEYS, k=3)
        expected = [model.count(key) for key in keys]
        if life % 3 == 2:  # what was logged is done again, by the same code
            asked_and_killed(tmp_path / "data", model.names, *keys)
            continue
        assert asked(tmp_path / "data", model.names, *keys) == expected
        model.change()
