"""What the command line understands, with its help; and the one sentence for what it will understand later."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import holdfast
from holdfast.chaos.cluster_scenarios import SCENARIOS as CLUSTER_SCENARIOS
from holdfast.cli.reports import FORMS, Form
from holdfast.core.errors import UsageError

LATER = {
    "grow": "add workers to a running cluster",
    "shrink": "take workers out of a running cluster",
}

EXAMPLES = """\
examples:
  holdfast new my-project
  holdfast run examples/word_count.py:app
  holdfast run word_count:app --data /var/lib/word-count
  holdfast verify examples/word_count.py
  holdfast chaos examples/word_count.py --kills 20 --seed 7
  holdfast inspect ./holdfast-data/word-count

exit codes: 0 done, 1 a difference was found, 2 wrong call, 3 stopped while running,
4 data directory unusable, 130 Ctrl-C, 143 SIGTERM. docs/running.md says more.
"""
APP_HELP = "the application: path/to/file.py:app or module:app (':app' may be left out where there is only one)"
RUN_HELP = """\
Run an application until its inputs are worked off, or for ever if one is live. Started again it goes on
where it stopped. Ctrl-C ends it cleanly: what was read is worked off and kept in a checkpoint; a second
Ctrl-C ends it at once, which loses nothing either.
"""
COORDINATOR_HELP = """\
Form a cluster over several machines: workers join with 'holdfast worker APP --join HOST:PORT'. It keeps
who is a member and who holds what, and is not on the way of messages. On one machine 'holdfast run APP
--workers N' starts everything.
"""
WORKER_HELP = """\
Join a cluster. Started again with the same data directory it takes part again; with an empty one it is a
new worker.
"""
STATUS_HELP = """\
Say how a cluster is doing: members and what each of them holds, generation, lag, checkpoint, and how long
the last recoveries took; of a data directory that nobody runs, what it holds.
"""
QUERY_HELP = """\
Print the state that a stateful step has for a key: of a running cluster as it is now, with everything that
was durable before the question; of a directory that nobody runs as of its last checkpoint. KEY is text unless
--as says otherwise: --as literal 17, --as literal "('eu', 3)", --as uuid, --as date 2026-11-24.
"""
VERIFY_HELP = """\
Run the application and the reference on the same input and compare all outputs byte by byte. Everything
happens in a scratch folder: the application's own data and outputs are not touched. The last line of
stdout is IDENTICAL, or DIFFERS after the first difference.
"""
CHAOS_HELP = """\
Run the application in a scratch folder, kill it again and again with SIGKILL, start it again, and compare
its outputs with the reference's. With several workers other things are done to their processes as well.
Prints a timeline, and with several workers what each fault cost. The last line of stdout is IDENTICAL, or
DIFFERS after the first difference.
"""
NEW_HELP = """\
Make a small project that runs: an application, its input, a test. The folder may not hold anything yet.
"""
COMPLETION_HELP = """\
Print a script by which a shell completes commands and options:
  bash:  eval "$(holdfast completion bash)"             in ~/.bashrc
  zsh:   eval "$(holdfast completion zsh)"              in ~/.zshrc, behind compinit
  fish:  holdfast completion fish | source              in ~/.config/fish/config.fish
"""
SHELLS = ("bash", "zsh", "fish")
SCENARIOS = {
    "mixed": "half of them at named points, also while recovering, half at random moments (default)",
    "random": "at random moments",
    "points": "at the named points in turn (docs/chaos.md lists them)",
    "delivery": "between applying and delivering, and in the middle of a sink's write",
    "checkpoint": "before, in and after the writing of a checkpoint, and while the log is trimmed",
    "recovery": "two of three before the killed run has caught up",
}


_REQUIRED = "the following arguments are required: "
_NO_CHOICE = re.compile(r"argument (.+?): invalid choice: '(.*)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        if message.startswith(_REQUIRED):
            message = f"{message.removeprefix(_REQUIRED)} is missing"
        elif (found := _NO_CHOICE.match(message)) is not None:
            what, given, choices = found.groups()
            known = re.findall(r"[\w-]+", choices)
            message = f"{what.removeprefix('argument ')} {given!r} is unknown{closest(given, known)}"
        raise UsageError(f"{message}; '{self.prog} --help' shows what can be given")


def closest(given: str, known: Iterable[str]) -> str:
    """What may have been meant, as the end of a sentence; empty where nothing is like it."""
    found = get_close_matches(given, list(known), n=1)
    return f": did you mean {found[0]}?" if found else ""


def scenarios() -> str:
    """The lists of scenarios, for the end of a help."""
    lines = ["scenarios of one worker, kills ...", *(f"  {name:<13}{text}" for name, text in SCENARIOS.items())]
    lines += ["", "scenarios of several workers, what is struck:"]
    lines += [f"  {name:<13}{scenario.text}" for name, scenario in CLUSTER_SCENARIOS.items()]
    return "\n".join(lines)


def parser(*, with_app: bool) -> argparse.ArgumentParser:
    """Return the parser; `with_app` where the command line says which application is meant."""
    top = Parser(
        prog="holdfast" if with_app else None,
        description="Stateful Python message processing that survives crashes with identical results.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"holdfast {holdfast.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    _add_run(_command(commands, "run", "run an application", RUN_HELP, with_app=with_app))
    _add_verify(_command(commands, "verify", "compare with the reference", VERIFY_HELP, with_app=with_app))
    chaos = _command(commands, "chaos", "kill, restart and compare", CHAOS_HELP, with_app=with_app)
    chaos.epilog = scenarios()
    _add_chaos(chaos)
    inspect_help = "Say what a data directory holds and check every digest in it."
    inspect = _command(commands, "inspect", "look into a data directory", inspect_help, with_app=False)
    inspect.add_argument("data", metavar="DIR", type=Path)
    inspect.add_argument("--json", action="store_true", help="one JSON object instead of text")
    _add_coordinator(_command(commands, "coordinator", "form a cluster", COORDINATOR_HELP, with_app=with_app))
    _add_worker(_command(commands, "worker", "join a cluster", WORKER_HELP, with_app=with_app))
    _add_status(_command(commands, "status", "how a cluster is doing", STATUS_HELP, with_app=False))
    _add_query(_command(commands, "query", "the state of one key", QUERY_HELP, with_app=False))
    new = _command(commands, "new", "make a project that runs", NEW_HELP, with_app=False)
    new.add_argument(
        "name", metavar="NAME", type=Path, help="the folder, and with its last part the application's name"
    )
    shell = _command(commands, "completion", "complete commands in a shell", COMPLETION_HELP, with_app=False)
    shell.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    _add_reference(_command(commands, "reference", None, "", with_app=with_app))
    for name, text in LATER.items():
        _command(commands, name, f"{text} (comes later)", "", with_app=False)
    return top


def parse(argv: Sequence[str] | None, *, with_app: bool) -> argparse.Namespace:
    """Return the arguments; UsageError when they are wrong, SystemExit when help was asked for."""
    top = parser(with_app=with_app)
    arguments, unknown = top.parse_known_args(argv)
    if unknown and arguments.command not in LATER:
        refuse_unknown(top, arguments.command, unknown[0])
    return arguments


def form_of(argv: Sequence[str]) -> Form:
    """In which form messages are wanted, also where the rest of the call is wrong."""
    for form in FORMS:
        if f"--log={form}" in argv or ("--log", form) in pairwise(argv):
            return form
    return "people"


def refuse_unknown(top: argparse.ArgumentParser, command: str, given: str) -> NoReturn:
    """Say that this command takes no such thing, and which one may have been meant."""
    (commands,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    own = commands.choices[command]
    if not given.startswith("-"):
        raise UsageError(f"{given!r} is too much for '{own.prog}'; '{own.prog} --help' shows what it takes")
    known = [name for action in own._actions if action.help != argparse.SUPPRESS for name in action.option_strings]
    name = given.partition("=")[0]
    raise UsageError(
        f"{name} is no option of '{own.prog}'{closest(name, known)}; '{own.prog} --help' shows what it takes"
    )


def refuse(arguments: argparse.Namespace, app: object) -> NoReturn:
    """Say that a command comes later."""
    raise UsageError(
        f"'{arguments.command}' comes later: start the run again with another --workers, which keeps all that was done"
    )


def check_later(arguments: argparse.Namespace) -> None:
    """Say that an option's value comes later, or can't be."""
    if arguments.workers < 1:
        raise UsageError(f"--workers {arguments.workers}: at least one worker is needed")
    if arguments.backups < 0:
        raise UsageError(f"--backups {arguments.backups}: how many copies, 0 or more")
    if arguments.backups and arguments.backups >= arguments.workers:
        raise UsageError(
            f"--backups {arguments.backups}: every copy lies on another worker, so this takes --workers "
            f"{arguments.backups + 1} or more"
        )
    usual = "both" if arguments.backups else "disk"
    if arguments.durability not in (None, usual):
        raise UsageError(f"--durability {arguments.durability}: comes later; it is {usual!r} here")


def _command(
    commands: Any, name: str, summary: str | None, description: str, *, with_app: bool
) -> argparse.ArgumentParser:
    known: dict[str, Any] = {} if summary is None else {"help": summary}
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **known,
    )
    command.add_argument("--debug", action="store_true", help="show errors with their traceback")
    command.add_argument("--log", choices=FORMS, help="say on stderr one line an event: text, or json for programs")
    if with_app:
        command.add_argument("app", metavar="APP", help=APP_HELP)
    return command


def _add_process(command: argparse.ArgumentParser) -> None:
    """What processes of a cluster have in common."""
    command.add_argument("--data", type=Path, metavar="DIR", help="data directory of this process")
    command.add_argument(
        "--secret-file", type=Path, metavar="FILE", help="the cluster's secret; needed beyond this machine"
    )
    command.add_argument("--leashed", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("--capture", type=Path, help=argparse.SUPPRESS)


def _add_coordinator(command: argparse.ArgumentParser) -> None:
    _add_process(command)
    command.add_argument("--listen", required=True, metavar="HOST:PORT", help="where workers find it; port 0: any")
    command.add_argument("--accept-code", action="store_true", help="do outstanding work again with changed code")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="how many the first start waits for (1)")
    command.add_argument("--backups", type=int, default=0, metavar="B", help="copies of every entity (0)")
    _add_metrics(command)


def _add_worker(command: argparse.ArgumentParser) -> None:
    _add_process(command)
    command.add_argument("--join", required=True, metavar="HOST:PORT", help="the coordinator")
    command.add_argument("--listen", metavar="HOST:PORT", help="where other workers reach this one (127.0.0.1:0)")


def _add_status(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, metavar="DIR", help="of the cluster, on this machine")
    command.add_argument("--coordinator", metavar="HOST:PORT", help="where it listens")
    command.add_argument("--secret-file", type=Path, metavar="FILE", help="the cluster's secret")
    command.add_argument("--json", action="store_true", help="one JSON object on one line (docs/clusters.md)")
    command.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")


def _add_metrics(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--metrics", metavar="HOST:PORT", help="serve metrics for Prometheus there (docs/operating.md); port 0: any"
    )


def _add_query(command: argparse.ArgumentParser) -> None:
    command.add_argument("step", metavar="STEP", help="name of the stateful step")
    command.add_argument("key", metavar="KEY", help="the key, as text unless --as says otherwise")
    command.add_argument(
        "--as",
        dest="key_as",
        choices=("str", "literal", "uuid", "date"),
        default="str",
        help="what KEY is; literal: a Python literal of int, bool, bytes, str, or a tuple of them (str)",
    )
    command.add_argument("--app", metavar="APP", help="where a stopped run's states are of its own classes")
    command.add_argument("--data", type=Path, metavar="DIR", help="of the cluster or worker, on this machine")
    command.add_argument("--coordinator", metavar="HOST:PORT", help="where it listens")
    command.add_argument("--secret-file", type=Path, metavar="FILE", help="the cluster's secret")
    command.add_argument("--json", action="store_true", help="one JSON object on one line (docs/clusters.md)")


def _add_cluster(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", type=int, default=1, metavar="N", help="how many worker processes (1)")
    command.add_argument(
        "--backups", type=int, default=0, metavar="B", help="copies of every entity on other workers (0)"
    )
    command.add_argument(
        "--durability", choices=("disk", "backups", "both"), help="what durable means (disk; with backups: both)"
    )


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, metavar="DIR", help="data directory (./holdfast-data/<application>)")
    command.add_argument("--fresh", action="store_true", help="delete the data directory and its outputs first")
    command.add_argument("--accept-code", action="store_true", help="do outstanding work again with changed code")
    # For verify and chaos: a scratch folder where sinks write, and how long live sources are read.
    command.add_argument("--capture", type=Path, help=argparse.SUPPRESS)
    command.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    _add_metrics(command)
    _add_cluster(command)


def _add_seconds(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seconds", type=float, metavar="S", help="end an application with live sources after this time (10)"
    )
    command.add_argument("--keep", type=Path, metavar="DIR", help="use this new folder as scratch and leave it")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is less than 0")
    return number


def _add_verify(command: argparse.ArgumentParser) -> None:
    _add_cluster(command)
    _add_seconds(command)


def _add_chaos(command: argparse.ArgumentParser) -> None:
    names = tuple(dict.fromkeys([*SCENARIOS, *CLUSTER_SCENARIOS]))
    command.add_argument("--kills", type=_count, default=10, metavar="K", help="how many kills or other faults (10)")
    command.add_argument("--seed", type=int, default=1, metavar="S", help="of all random choices (1)")
    scenario = "which faults come; the names stand below (mixed)"
    command.add_argument("--scenario", choices=names, default="mixed", metavar="NAME", help=scenario)
    _add_cluster(command)
    _add_seconds(command)


def _add_reference(command: argparse.ArgumentParser) -> None:
    """Not for users: the other half of `verify`, in a process of its own with another hash seed."""
    command.add_argument("--scratch", type=Path, required=True)
    command.add_argument("--trace", type=Path)
