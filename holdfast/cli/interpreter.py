"""The interpreter that a worker process needs: a fixed hash seed, assertions, and settings for one busy thread.

A fixed seed makes the order of sets the same in every life of an application. It can only be chosen when the
interpreter starts, so the process puts itself in its own place before the user's code is imported, and keeps its id.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from typing import NoReturn

from holdfast.core.errors import UsageError

HASH_SEED = "0"
# Commands that run user code as a worker does.
WORKERS = frozenset({"run", "worker", "coordinator"})
# Says which process has already put itself in its own place, so that one that ignores the environment is noticed.
REPLACED = "HOLDFAST_REPLACED"
# A commit's thread gets the interpreter this much sooner from a busy engine thread: 5 ms is the default.
SWITCH_SECONDS = 0.0005
# Young collections cost little and find little in a stream; full ones walk all live entities.
GC_THRESHOLDS = (50_000, 20, 100)


def check() -> None:
    """Refuse an interpreter that leaves assertions out: they guard the promise."""
    if sys.flags.optimize:
        raise UsageError("python -O leaves out the assertions that guard the data; run without -O and PYTHONOPTIMIZE")


def end_when_interrupted() -> None:
    """Have a Ctrl-C end the process without a word while it still loads its modules, and has nothing to tidy up.

    An exception that comes there can turn into any other. Whoever started the process without Ctrl-C gets none.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_now)


def end_when_told_to() -> None:
    """Have SIGINT and SIGTERM end the process at once, also where it was started with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_now)


def raise_when_told_to_end() -> None:
    """Have a Ctrl-C raise KeyboardInterrupt again, and a SIGTERM SystemExit: children and scratch folders are ended."""
    if signal.getsignal(signal.SIGINT) is _end_now:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _end_now(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)


def have_streams() -> None:
    """Have a place for what is said where the process was started without stdout or stderr."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def begin() -> None:
    """Have a worker's process put itself in its own place before it has loaded anything that it would load twice.

    Only where the first argument says already that it is one, and it was not done before; `fix_hash_seed` comes again.
    """
    if sys.argv[1:2] and sys.argv[1] in WORKERS and os.environ.get(REPLACED) != str(os.getpid()):
        fix_hash_seed()


def fix_hash_seed() -> None:
    """Go on in this process with the fixed hash seed, by starting the interpreter anew unless it has it."""
    if not sys.flags.hash_randomization and os.environ.get("PYTHONHASHSEED") == HASH_SEED:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return
    if os.environ.get(REPLACED) == str(os.getpid()):
        raise UsageError("the hash seed can't be fixed because Python ignores the environment; run without -E and -I")
    _flush()
    # A Ctrl-C while the interpreter starts anew waits until it can be answered.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    environment = os.environ | {"PYTHONHASHSEED": HASH_SEED, REPLACED: str(os.getpid())}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def tune() -> None:
    """Set the interpreter up for a worker. Never in a process that belongs to the user."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)


def end(code: int) -> NoReturn:
    """End the process without taking apart what is in memory: with millions of entities that takes seconds."""
    atexit._run_exitfuncs()
    try:
        _flush()
    except OSError:  # nobody reads it any more, or it is full
        pass
    os._exit(code)


def _flush() -> None:
    """Write out what was printed; a stream that was closed before the start may be None."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def drop_stdout() -> None:
    """Nobody reads stdout any more; keep the interpreter from trying again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def own_command(*, with_module: bool) -> tuple[str, ...]:
    """Return the command that starts this program again, without its arguments."""
    if with_module:
        return (sys.executable, "-m", "holdfast")
    return (sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - (len(sys.argv) - 1)])
