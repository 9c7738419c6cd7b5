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
        (["chaos", "app.py", "--scenario", "power"], "is for several workers; for one: mixed, random"),
        (["status", "--data", "x"], "there is no data directory at x"),
        (["status"], "say which cluster"),
        (["query", "step", "key"], "say of what"),
        (["grow", "2"], "'grow' comes later: start the run again"),
        (["shrink", "1"], "'shrink' comes later: start the run again"),
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
    ("arguments", "said"),
    [
        ([], "COMMAND is missing; 'holdfast --help' shows"),
        (["fly"], "COMMAND 'fly' is unknown"),
        (["rum"], "did you mean run?"),
        (["run"], "APP is missing; 'holdfast run --help' shows"),
        (["run", "app.py", "--fast"], "--fast is no option of 'holdfast run'"),
        (["run", "app.py", "--frehs"], "did you mean --fresh?"),
        (["run", "app.py", "--fres"], "did you mean --fresh?"),  # never taken for it: it deletes
        (["run", "app.py", "--worker=2"], "did you mean --workers?"),
        (["run", "app.py", "--workers"], "argument --workers: expected one argument"),
        (["run", "app.py", "--workers", "two"], "argument --workers: invalid int value: 'two'"),
        (["run", "app.py", "other.py"], "'other.py' is too much for 'holdfast run'"),
        (["run", "app.py", "--durability", "discs"], "did you mean disk?"),
        (["chaos", "app.py", "--scenario", "radnom"], "did you mean random?"),
        (["chaos", "app.py", "--kills", "x"], "argument --kills: invalid"),
        (["new"], "NAME is missing"),
    ],
)
def test_a_wrong_call_ends_with_two_and_one_line_that_helps(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("holdfast: error: ")
    assert error.count("\n") == 1


def test_help_names_every_command_with_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    for word in ("run", "verify", "chaos", "inspect", "new", "completion", "examples:", "exit codes:"):
        assert word in text
    assert "reference " not in text


@pytest.mark.parametrize("command", ["run", "verify", "chaos", "inspect"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 8
