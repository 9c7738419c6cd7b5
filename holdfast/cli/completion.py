"""`holdfast completion SHELL`: a script by which a shell completes commands, options and their choices.

Made from the parser itself, so it knows what this version knows, and asks nobody while somebody types. Where a file or
a folder may stand the shell completes files. Everything that is written into a script is quoted for its shell.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.cli import options
from holdfast.core.application import Application


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command."""

    names: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command, its options, and the words that may stand where a file could."""

    name: str
    help: str
    options: tuple[Option, ...]
    words: tuple[str, ...]


def completion(arguments: argparse.Namespace, app: Application | None) -> int:
    """Print the script."""
    print("\n".join(SHELLS[arguments.shell](commands(options.parser(with_app=app is None)))))
    return 0


def commands(parser: argparse.ArgumentParser) -> list[Command]:
    """What the parser understands and shows in its help."""
    (known,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [_command(shown.dest, shown.help or "", known.choices[shown.dest]) for shown in known._choices_actions]


def _command(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    found: list[Option] = []
    words: list[str] = []
    for action in parser._actions:
        choices = tuple(map(str, action.choices or ()))
        if not action.option_strings:
            words.extend(choices)
        elif action.help != argparse.SUPPRESS:
            found.append(Option(tuple(action.option_strings), action.help or "", action.nargs != 0, choices))
    return Command(name, summary, tuple(found), tuple(words))


def bash(known: list[Command]) -> Iterator[str]:
    """For ~/.bashrc: eval "$(holdfast completion bash)"."""
    yield "_holdfast() {"
    yield '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" i'
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield '        if [[ "${COMP_WORDS[i]}" != -* ]]; then command="${COMP_WORDS[i]}"; break; fi'
    yield "    done"
    yield '    case "$command $before" in'
    for command in known:
        for option in command.options:
            if option.takes_value:
                pattern = "|".join(_quoted(f"{command.name} {name}") for name in option.names)
                words = f"words={_quoted(' '.join(option.choices))} ;;" if option.choices else "COMPREPLY=(); return ;;"
                yield f"        {pattern}) {words}"
    yield '        *) case "$command" in'
    yield f"            '') words={_quoted(' '.join(command.name for command in known))} ;;"
    for command in known:
        named = " ".join(name for option in command.options for name in option.names)
        yield f'            {command.name}) if [[ "$word" == -* ]]; then words={_quoted(named)}; '
        yield f"                else words={_quoted(' '.join(command.words))}; fi ;;"
    yield "        esac ;;"
    yield "    esac"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$word"))'
    yield "}"
    yield "complete -o default -F _holdfast holdfast"


def zsh(known: list[Command]) -> Iterator[str]:
    """For ~/.zshrc, behind compinit: eval "$(holdfast completion zsh)"."""
    yield "#compdef holdfast"
    yield "_holdfast() {"
    yield "    local curcontext=$curcontext state line"
    yield "    _arguments -C '1: :->command' '*:: :->rest' && return"
    yield "    case $state in"
    yield "        command)"
    yield "            local -a known=("
    yield from (f"                {_quoted(f'{command.name}:{command.help}')}" for command in known)
    yield "            )"
    yield "            _describe command known ;;"
    yield "        rest)"
    yield "            case $words[1] in"
    for command in known:
        files = f"'*: :({' '.join(command.words)})'" if command.words else "'*:file:_files'"
        yield f"                {command.name}) _arguments \\"
        yield from (f"                    {text} \\" for option in command.options for text in _zsh_option(option))
        yield f"                    {files} ;;"
    yield "            esac ;;"
    yield "    esac"
    yield "}"
    yield "compdef _holdfast holdfast"


def _zsh_option(option: Option) -> Iterator[str]:
    text = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files" if option.takes_value else ""
    yield from (_quoted(f"{name}[{text}]{value}") for name in option.names)


def fish(known: list[Command]) -> Iterator[str]:
    """For ~/.config/fish/config.fish: holdfast completion fish | source."""
    for command in known:
        yield f"complete -c holdfast -n __fish_use_subcommand -f -a {command.name} -d {_fish_quoted(command.help)}"
        seen = f"complete -c holdfast -n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            yield f"{seen} -f -a {_fish_quoted(' '.join(command.words))}"
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = f" -x -a {_fish_quoted(' '.join(option.choices))}" if option.choices else ""
            needs = " -r" if option.takes_value and not option.choices else ""
            yield f"{seen} {names}{value}{needs} -d {_fish_quoted(option.help)}"


def _quoted(text: str) -> str:
    """As one word of bash and zsh, in which nothing means anything."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: Final[dict[str, Callable[[list[Command]], Iterator[str]]]] = {"bash": bash, "zsh": zsh, "fish": fish}
