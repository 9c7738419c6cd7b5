"""Engines in front of clusters, as far as they go without processes: what is refused, found, and sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import holdfast as hf
from holdfast.connectors.send import Send
from holdfast.core.connector import Sent as SentRecord
from holdfast.core.errors import FrameError, UnreachableError, UsageError
from holdfast.core.types import TypeRegistry
from holdfast.runtime import whereabouts
from holdfast.runtime.front_line import FrontLine
from holdfast.runtime.mailbox import Letter
from holdfast.runtime.transport.letters import (
    Fate,
    Outcome,
    Sent,
    pack_letters,
    pack_outcomes,
    unpack_letters,
    unpack_outcomes,
)
from holdfast.runtime.transport.limits import Limits
from tests.kills import front

naturals = st.integers(0, 2**63 - 1)
letters = st.lists(st.builds(Sent, naturals, st.booleans(), st.binary(max_size=20)), max_size=5)
outcomes = st.lists(
    st.builds(Outcome, naturals, st.sampled_from(Fate), st.lists(st.binary(max_size=9), max_size=3).map(tuple)),
    max_size=5,
)


def nameless() -> hf.Application:
    app = hf.Application("nameless")
    app.source(hf.sources.Send(), name="words").reply()
    return app


@given(st.text(max_size=9), letters)
def test_letters_come_out_of_their_bytes_as_they_went_in(source: str, given: list[Sent]) -> None:
    assert unpack_letters(pack_letters(source, given)) == (source, given)


@given(outcomes)
def test_fates_come_out_of_their_bytes_as_they_went_in(given: list[Outcome]) -> None:
    assert unpack_outcomes(pack_outcomes(given)) == given


@given(st.binary(max_size=40) | outcomes.map(pack_outcomes) | letters.map(lambda some: pack_letters("x", some)))
def test_other_bytes_are_refused(packed: bytes) -> None:
    for unpack in (unpack_letters, unpack_outcomes):
        try:
            unpack(packed)
        except FrameError:
            pass


def test_a_fate_that_this_version_has_not_is_refused() -> None:
    packed = pack_outcomes([Outcome(1, Fate.ELSEWHERE)]).replace(b"\x93\x01\x03\x90", b"\x93\x01\x09\x90")

    with pytest.raises(FrameError, match="fate"):
        unpack_outcomes(packed)


@given(st.none() | st.text() | st.integers() | st.lists(st.none()))
def test_a_record_gets_an_id_only_where_it_has_none(message: Any) -> None:
    source: Send[Any] = Send()
    source.bind(TypeRegistry())
    without, under_own = source.record(message, None), source.record(message, ("till", 7))

    assert source.decode(source.under_id(without, ("engine", 3))) == [SentRecord(message, "engine", 3)]
    assert source.under_id(under_own, ("engine", 3)) == under_own
    assert source.is_record(without)
    assert source.is_record(under_own)


@pytest.mark.parametrize("raw", [b"", b"\xc0", b"\xc0\xc0", b"\xc0\xc0\x01\x01", b"\xc0\x01\x01", b"\xff" * 3])
def test_bytes_that_would_spoil_the_log_are_no_record(raw: bytes) -> None:
    source: Send[Any] = Send()
    source.bind(TypeRegistry())

    assert not source.is_record(raw)


class Heard:
    """A front that keeps what its callers are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def wake(self, settled: list[tuple[Letter, Any]]) -> None:
        self.told += [(letter.payload, str(result)) for letter, result in settled]


def test_letters_wait_for_a_member_as_long_as_they_may_and_no_longer() -> None:
    async def main() -> list[Any]:
        callers = Heard()
        line = FrontLine(
            *("words", Send(), lambda: None, (), Limits()), timeout=60.0, unreachable=lambda: UnreachableError("gone")
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.run)
            line.put(Letter(b"first", callers, asks=True))
            await trio.sleep(55)
            assert callers.told == []
            await trio.sleep(10)
            assert callers.told == [(b"first", "gone")]
            assert line.is_empty
            line.put(Letter(b"second", callers, asks=False))
            await trio.sleep(55)
            assert len(callers.told) == 1
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        return callers.told

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))[1:] == [(b"second", "gone")]


@pytest.mark.parametrize("timeout", [0, -1, "5", True])
def test_a_timeout_that_is_no_time_is_refused(timeout: Any) -> None:
    with pytest.raises(UsageError, match="timeout"):
        hf.Engine(front.app, coordinator="127.0.0.1:1", timeout=timeout)


def test_an_application_is_found_where_a_module_has_it() -> None:
    assert whereabouts.target_of(front.app) == "tests.kills.front:app"


@pytest.mark.parametrize("names", [["__main__"], ["__main__", "__mp_main__"], ["__mp_main__", "__main__"]])
def test_an_application_of_the_program_itself_is_found_by_its_file(
    names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = ModuleType("__main__")
    program.__file__ = str(tmp_path / "service.py")
    program.own = nameless()  # type: ignore[attr-defined]
    for name in names:  # the second is multiprocessing's, for the same module
        monkeypatch.setitem(sys.modules, name, program)

    assert whereabouts.target_of(program.own) == f"{tmp_path / 'service.py'}:own"


def test_an_application_without_a_name_is_refused_for_several_workers(tmp_path: Path) -> None:
    engine = hf.Engine(nameless(), data=tmp_path / "data", workers=2)

    with pytest.raises(UsageError, match="make it a global of a module"):
        engine.open()


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"workers": True},
        {"workers": 2, "backups": 2},
        {"backups": 1},
        {"workers": "2"},
        {"coordinator": "127.0.0.1:1", "data": "somewhere"},
        {"coordinator": "127.0.0.1:1", "workers": 2},
        {"coordinator": "nowhere"},
    ],
)
def test_options_that_do_not_go_together_are_refused(options: Any) -> None:
    with pytest.raises(UsageError):
        hf.Engine(front.app, **options)


def test_an_application_with_a_bound_on_its_memory_is_refused() -> None:
    app = hf.Application("bounded", entities_in_memory=10)
    app.source(hf.sources.Send(), name="words").reply()

    with pytest.raises(UsageError, match="entities_in_memory"):
        hf.Engine(app, workers=2)


def test_a_file_that_begins_an_engine_when_a_worker_imports_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "eager.py").write_text(
        "import holdfast as hf\n"
        "app = hf.Application('eager')\n"
        "app.source(hf.sources.Send(), name='words').reply()\n"
        "hf.Engine(app, data='data', workers=2).open()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "holdfast", "coordinator", "eager.py:app", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env=os.environ | {whereabouts.IMPORTING: "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == UsageError.exit_code
    assert 'if __name__ == "__main__"' in ran.stderr
