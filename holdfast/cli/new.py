"""`holdfast new NAME`: a project that runs, to be changed into one's own. Nothing that stands is touched."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from holdfast.cli.skeleton import files
from holdfast.core.application import Application
from holdfast.core.errors import UsageError


def new(arguments: argparse.Namespace, app: Application | None) -> int:
    """Write the project and say what to do with it."""
    folder: Path = arguments.name
    name = folder.absolute().name
    Application(name)  # refuses what no application can be called
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; give a new folder, nothing is written over")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files(name).items():
            with (folder / file).open("x", encoding="utf-8") as opened:
                opened.write(text)
    except OSError as error:
        raise UsageError(f"{folder} can't be made: {error.strerror}") from error
    print(f"{folder} is a project with an application, its input and a test. Try it:")
    print(f"  cd {os.fspath(folder)!r}" if " " in str(folder) else f"  cd {folder}")
    for line in ("python app.py run", "python app.py chaos --kills 3"):
        print(f"  {line}")
    return 0
