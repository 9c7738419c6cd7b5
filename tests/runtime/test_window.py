"""The window of one worker: who may ask, what is answered, and that nobody who asks holds up the work."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest

import holdfast as hf
from holdfast.runtime import one_worker_answers, window
from holdfast.runtime.one_worker_answers import STATUS
from holdfast.runtime.query import QUERY, Question, pack, unpack_answer
from holdfast.runtime.window import LENGTH, Window, answering, ask


def test_a_question_is_answered_while_the_window_is_open_and_not_afterwards(tmp_path: Path) -> None:
    with answering(tmp_path, lambda question: question * 2):
        assert ask(tmp_path, b"ab") == b"abab"
        assert ask(tmp_path, b"x" * 100_000) == b"x" * 200_000

    assert ask(tmp_path, b"ab") is None


def test_two_directories_have_two_windows(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.mkdir()
    with answering(one, lambda question: b"one"), answering(other, lambda question: b"other"):
        assert (ask(one, b""), ask(other, b"")) == (b"one", b"other")


def test_where_there_can_be_no_window_the_work_goes_on_without(tmp_path: Path) -> None:
    with answering(tmp_path, lambda question: b"first"), answering(tmp_path, lambda question: b"second"):
        assert ask(tmp_path, b"") == b"first"


def test_another_user_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(tmp_path, lambda question: question):
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        monkeypatch.setattr(window, "CREDENTIALS", _Somebody())
        assert ask(tmp_path, b"ab") is None


class _Somebody:
    """Says that whoever asks is user 1."""

    size = 12

    def unpack(self, packed: bytes) -> tuple[int, int, int]:
        return 1, 1, 1


def test_who_does_not_ask_or_asks_for_too_much_holds_up_the_next_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "ASKER_SECONDS", 0.05)
    with answering(tmp_path, lambda question: question):
        for said in (b"", b"\0", LENGTH.pack(1 << 31), LENGTH.pack(5) + b"abc"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as rude:
                rude.connect(window._address(tmp_path))
                rude.sendall(said)
                assert ask(tmp_path, b"ab") == b"ab"


def test_a_window_that_is_closed_ends_its_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    opened = Window(tmp_path, lambda question: question)
    (thread,) = set(threading.enumerate()) - before

    opened.close()

    thread.join(10)
    assert not thread.is_alive()


def tally(word: str, seen: list[str]) -> int:
    seen.append(word)
    return len(seen)


def build() -> hf.Application:
    app = hf.Application("tally")
    app.source(hf.sources.Send(), name="words").key_by(str).stateful(tally, state=list).reply()
    return app


def test_an_engine_answers_commands_with_what_is_durable(tmp_path: Path) -> None:
    with hf.Engine(build(), data=tmp_path / "data") as engine:
        engine.ask("words", "a")
        engine.send("words", "a")
        told = ask(tmp_path / "data", QUERY + pack(Question("tally", b"sa")))
        status = ask(tmp_path / "data", STATUS)
        strange = ask(tmp_path / "data", b"what")

    assert told is not None
    assert status is not None
    answer, found = unpack_answer(told), json.loads(status)
    assert (answer.problem, answer.shown, answer.plain) == ("", "['a', 'a']", '["a", "a"]')
    assert (found["application"], found["pid"], found["records_here"]) == ("tally", os.getpid(), 2)
    assert found["entities"] == {"tally": 1}
    assert strange == b""


def test_an_engine_that_is_busy_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_worker_answers, "IMAGE_SECONDS", 0.05)
    goes_on = threading.Event()
    app = hf.Application("busy")
    app.source(hf.sources.Send(), name="words").map(lambda word: goes_on.wait(60)).reply()
    with hf.Engine(app, data=tmp_path / "data") as engine:
        engine.send("words", "a")
        told = ask(tmp_path / "data", QUERY + pack(Question("tally", b"sa")))
        goes_on.set()

    assert told is not None
    assert "no answer within" in unpack_answer(told).problem
