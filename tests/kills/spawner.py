"""Starts a killed application again and again without paying for its imports each time.

`python -m tests.kills.spawner MODULE` imports an application once and then forks a process for every line of JSON on
its stdin: {"argv": […], "env": {…}}. That process is the `holdfast` command from then on; no store was opened before
the fork. Answers, a line each: {"pid": n} when it was forked and {"status": n} when it has ended, as `os.waitid` says.
The dead are buried with the next request, so that a process id is never another's when the test kills.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import sys
from typing import Any, NoReturn

PLANT = "HOLDFAST_PLANT"  # a bug of tests/kills/planted.py that the process is to have


def main() -> None:
    app = importlib.import_module(sys.argv[1]).app
    importlib.import_module("holdfast.cli.running")
    gc.freeze()
    child = 0
    for line in sys.stdin:
        if child:
            os.waitpid(child, 0)
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            be_the_command(app, request)
        tell({"pid": child})
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        tell({"status": -ended.si_status if ended.si_code == os.CLD_KILLED else ended.si_status})
    if child:
        os.waitpid(child, 0)


def be_the_command(app: Any, request: dict[str, Any]) -> NoReturn:
    os.environ.update(request["env"])
    output = os.open("run.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()  # whoever finds that this hangs ends it by SIGABRT and reads where
    if os.environ.get(PLANT):
        importlib.import_module("tests.kills.planted").plant(os.environ[PLANT])
    from holdfast.cli.main import main as holdfast

    code = holdfast(request["argv"], app)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def tell(answer: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
