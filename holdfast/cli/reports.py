"""What a process says on stderr: for people, or one line an event for programs (`--log text`, `--log json`).

Every message of a command goes through one `Reports`, so that whoever collects the lines of many processes can read
all of them. Outputs, reports and verdicts are stdout's and don't come here.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from holdfast.cli.colour import Colour, paint
from holdfast.core.errors import HoldfastError
from holdfast.runtime.notice import NOTE, Level, Notice

Form = Literal["people", "text", "json"]
FORMS: Final[tuple[Form, ...]] = ("text", "json")  # that can be asked for; people's is what is said otherwise
FAILED: Final = "failed"  # the event of an error that ends a command
_WARNINGS: Final = ("note: ", "…")  # how a plain line begins that somebody should look at
_COLOURS: Final = {"warning": Colour.WARNING, "error": Colour.ERROR}


class Heard(logging.Handler):
    """What is logged, by connectors of connections that come and go, is said as everything else is."""

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        notice = getattr(record, "notice", None)
        if notice is not None:
            self._report(notice)
            return
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self._report(Notice(record.getMessage(), "connection", level=level))

    @classmethod
    def by(cls, report: Callable[[str], None]) -> None:
        """From now on `report` says it."""
        logging.getLogger("holdfast").handlers = [cls(report)]


class Reports:
    """Takes lines from any thread and writes each at once."""

    def __init__(self, form: Form = "people") -> None:
        self.form = form
        self.failure = ""  # what ended the command, once it has been said
        self._application = ""
        self._member = ""

    def introduce(self, application: str, member: str = "") -> None:
        """From now on lines say whose they are; `member` is which process of a cluster speaks."""
        self._application, self._member = application, member

    def __call__(self, line: str) -> None:
        """Say it."""
        notice = line if isinstance(line, Notice) else Notice(line, NOTE, level=_level_of(line))
        self._write(self._for_people(notice) if self.form == "people" else self._for_programs(notice))

    def say_block(self, lines: Sequence[str], notice: Notice) -> None:
        """Several lines for people, which are one event for programs."""
        if self.form == "people":
            self._write("\n".join(lines))
        else:
            self._write(self._for_programs(notice))

    def fail(self, error: Exception, code: int, *, debug: bool) -> None:
        """Say what ended the command: in one line, with `debug` also what led to it."""
        is_ours = isinstance(error, HoldfastError)
        what = "error" if is_ours else "error inside holdfast (--debug shows where)"
        text = str(error) if is_ours else f"{type(error).__name__}: {error}"
        self.failure = text
        trace = "".join(traceback.format_exception(error)) if debug else ""
        if self.form == "people":
            begin = paint(f"holdfast: {what}:", Colour.ERROR, sys.stderr)
            self._write(f"{trace}{begin} {_one_line(text)}")
            return
        fields: dict[str, Any] = {"error": type(error).__name__, "exit_code": code, **_facts(error)}
        if debug:
            fields["traceback"] = trace
        self._write(self._for_programs(Notice(text, FAILED, level="error", **fields)))

    def _for_people(self, notice: Notice) -> str:
        colour = _COLOURS.get(notice.level)
        line = _one_line(f"{self._member}: {notice}" if self._member else notice)
        return f"holdfast: {line if colour is None else paint(line, colour, sys.stderr)}"

    def _for_programs(self, notice: Notice) -> str:
        known = {
            "time": _now(),
            "level": notice.level,
            "event": notice.event,
            "application": self._application,
            "member": self._member,
            "message": str(notice),
            **notice.fields,
        }
        fields = {name: value for name, value in known.items() if value != ""}
        if self.form == "json":
            return json.dumps(fields, ensure_ascii=False, default=str)
        begin = [fields.pop("time"), fields.pop("level").upper().ljust(7), fields.pop("event")]
        message = fields.pop("message", "")
        told = [f"{name}={_word(value)}" for name, value in fields.items()]
        return _one_line(" ".join([*begin, *told, message]))

    @staticmethod
    def _write(text: str) -> None:
        # One call of write, so that lines of processes that share a file don't run into each other.
        if sys.stderr is not None:
            with suppress(OSError):  # nobody reads it any more, or it is full: no reason to end a run
                sys.stderr.write(text + "\n")
                sys.stderr.flush()


def _level_of(line: str) -> Literal["info", "warning"]:
    return "warning" if line.startswith(_WARNINGS) else "info"


def _facts(error: Exception) -> dict[str, Any]:
    """What an error knows beside its text: the source, step and key of a failed call, the place of a damage."""
    return {name: value for name, value in vars(error).items() if isinstance(value, str | int) and name != "error"}


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds // 10**6:03}Z"


def _word(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\n') else text


def _one_line(text: str) -> str:
    """Whatever is said stays on its line."""
    return text.replace("\r", "\\r").replace("\n", "\\n")
