"""Shell completion: each shell, asked what may follow, knows the commands, their options and their choices."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from holdfast.cli import completion, options
from holdfast.cli.main import main

BASH = """
source /dev/stdin <<'SCRIPT'
{script}
SCRIPT
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_holdfast
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(words: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    text = BASH.format(script=script("bash", capsys), words=words)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


def test_every_command_and_option_of_the_help_is_known_and_nothing_hidden() -> None:
    known = {command.name: command for command in completion.commands(options.parser(with_app=True))}

    assert {"run", "verify", "chaos", "inspect", "new", "completion"} <= set(known)
    assert "reference" not in known
    names = {name for option in known["run"].options for name in option.names}
    assert {"--data", "--workers", "--help"} <= names
    assert "--capture" not in names


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("holdfast ch", ["chaos"]),
        ("holdfast run app.py --durability ''", ["disk", "backups", "both"]),
        ("holdfast run --fr", ["--fresh"]),
        ("holdfast chaos app.py --scenario reco", ["recovery"]),
        ("holdfast completion z", ["zsh"]),
        ("holdfast run app.py --data ''", []),  # the shell's own turn: files
        ("holdfast run ''", []),
    ],
)
def test_bash_completes_what_may_follow(words: str, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert completed(words, capsys) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell} here")

    done = subprocess.run([path, "-n", "/dev/stdin"], input=text, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_fish_completes_what_may_follow(capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    text = script("fish", capsys)

    def answers(typed: str) -> list[str]:
        command = ["fish", "--no-config", "-c", f"{text}\ncomplete -C {typed!r}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    assert answers("holdfast ch") == ["chaos"]
    assert answers("holdfast run --fr") == ["--fresh"]
    assert set(answers("holdfast run app.py --durability ")) == {"disk", "backups", "both"}


def test_help_texts_with_quotes_and_brackets_stay_one_word() -> None:
    option = completion.Option(("--x",), "it's [a]: test", True, ())
    known = [completion.Command("run", "don't", (option,), ())]

    assert r"it's \[a\]\: test" in " ".join(shlex.split("\n".join(completion.zsh(known)), comments=True))
    assert r"-d 'it\'s [a]: test'" in "\n".join(completion.fish(known))


def test_an_unknown_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fisch"]) == 2
    assert "did you mean fish?" in capsys.readouterr().err
