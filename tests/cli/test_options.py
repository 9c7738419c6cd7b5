"""What the command line understands, and how it says what it does not."""

from __future__ import annotations

import pytest

from holdfast.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "app.py", "--workers", "0"], "at least one worker is needed"),
        (["run", "app.py", "--backups", "1"], "every copy lies on another worker, so this takes --workers 2"),
        (["run", "app.py", "--durability", "both"], "comes later"),
        (["chaos", "app.py", "--workers", "4"], "--workers comes later"),
        (["status", "--data", "x"], "no cluster runs in x"),
        (["status"], "say which cluster"),
        (["query", "step", "key"], "'query' comes with clusters"),
        (["grow", "2"], "'grow' comes with clusters"),
        (["shrink", "1"], "'shrink' comes with clusters"),
    ],
)
def test_what_comes_later_is_refused_in_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["run"], ["run", "app.py", "--fast"], ["chaos", "app.py", "--kills", "x"]]
)
def test_a_wrong_call_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: holdfast" in capsys.readouterr().err


def test_help_names_every_command_with_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    for word in ("run", "verify", "chaos", "inspect", "examples:", "exit codes:"):
        assert word in text
    assert "reference " not in text


@pytest.mark.parametrize("command", ["run", "verify", "chaos", "inspect"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 8
