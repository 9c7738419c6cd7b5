"""Secrets: where they come from, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.core.errors import UsageError
from holdfast.runtime.transport.secret import FILE_VARIABLE, VARIABLE, load

NEW, OLD = "a" * 32, "b" * 64


def secret_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secret"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_no_secret_is_no_error() -> None:
    assert load(None, {}) == ()


def test_a_file_holds_one_or_the_new_and_the_old_one(tmp_path: Path) -> None:
    assert load(secret_file(tmp_path, f"{NEW}\n"), {}) == (NEW.encode(),)
    assert load(secret_file(tmp_path, f"{NEW}\n{OLD}\n"), {}) == (NEW.encode(), OLD.encode())


def test_the_environment_names_a_file_or_holds_secrets(tmp_path: Path) -> None:
    file = secret_file(tmp_path, NEW)

    assert load(None, {FILE_VARIABLE: str(file), VARIABLE: OLD}) == (NEW.encode(),)
    assert load(None, {VARIABLE: f"{NEW} {OLD}"}) == (NEW.encode(), OLD.encode())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match="chmod 600"):
        load(secret_file(tmp_path, NEW, mode), {})


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = secret_file(tmp_path, NEW)
    owner = file.stat().st_uid
    if owner == 0:
        os.chown(file, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    with pytest.raises(UsageError, match="another user"):
        load(file, {})


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)

    for place in (tmp_path / "missing", tmp_path, pipe):
        with pytest.raises(UsageError, match="secret file"):
            load(place, {})


@pytest.mark.parametrize("text", ["", "short", f"{NEW} {OLD} {NEW}", "a" * 1025, f"{NEW} short"])
def test_a_guessable_or_senseless_secret_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        load(secret_file(tmp_path, text), {})
    if text:
        with pytest.raises(UsageError):
            load(None, {VARIABLE: text})


def test_no_error_shows_a_secret(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(secret_file(tmp_path, "hunter2"), {})

    assert "hunter2" not in str(caught.value)
