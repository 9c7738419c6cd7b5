"""Finding the application that a user means by `path/to/file.py:app` or `module:app`.

Everything that can go wrong here is the user's to mend, so each case is one line that says what and where.
A file is imported under its stem, with its folder first on the path, as `python file.py` would have it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import CodeType, ModuleType

from holdfast.core.application import Application
from holdfast.core.errors import HoldfastError, UsageError
from holdfast.core.streams import KeyedStream

DEFAULT_NAME = "app"
LIBRARIES = ("stdlib", "purelib", "platlib")  # an error that comes from there was caused elsewhere


def load(target: str) -> Application:
    """Import the module that `target` names and return its application."""
    place, _, name = target.partition(":")
    if not place:
        raise UsageError(f"APP is path/to/file.py:app or module:app, not {target!r}")
    if Path(place).is_dir() and not Path(place, "__init__.py").exists():
        raise UsageError(f"{place} is a folder; name a file in it: {os.path.join(place, 'app.py')}:{DEFAULT_NAME}")
    if Path(place).is_file() and not place.endswith(".py"):
        raise UsageError(f"{place} is no Python file; APP is path/to/file.py:app or module:app")
    module = _import_file(place) if place.endswith(".py") else _import_module(place)
    return _find(module, place, name)


def _import_file(place: str) -> ModuleType:
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"there is no file {place}")
    sys.path.insert(0, str(path.parent.absolute()))
    name = path.stem
    loader = _FromSource(name, str(path.absolute()))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes find their own module
    try:
        loader.exec_module(module)
    except HoldfastError as error:
        raise UsageError(f"{_where(error, place)}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"{place} can't be imported: {_reason(error, place)}") from error
    return module


class _FromSource(importlib.machinery.SourceFileLoader):
    """Compiles the file each time, as `python file.py` does.

    Byte code that was kept counts while the file's size and the second of its last change are the same: who changes a
    digit and starts again within a second would run what stood there before.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import_module(place: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or place
        if place == missing or place.startswith(missing + "."):
            hint = f"; did you mean {place}.py:{DEFAULT_NAME}?" if Path(place + ".py").is_file() else ""
            raise UsageError(f"there is no module {missing!r} here or among the installed ones{hint}") from error
        raise UsageError(f"{place} can't be imported: {_reason(error, place)}") from error
    except HoldfastError as error:
        raise UsageError(f"{_where(error, place)}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"{place} can't be imported: {_reason(error, place)}") from error


def is_under_way() -> bool:
    """Whether an application's module is being imported right now by `load`."""
    frame = sys._getframe()
    while (back := frame.f_back) is not None:
        frame = back
        if frame.f_code is load.__code__:
            return True
    return False


def _find(module: ModuleType, place: str, name: str) -> Application:
    applications = {key: value for key, value in vars(module).items() if isinstance(value, Application)}
    known = f"; it has {', '.join(sorted(applications))}" if applications else ""
    if not name:
        distinct = list({id(value): value for value in applications.values()}.values())
        if len(distinct) == 1:
            return distinct[0]
        if DEFAULT_NAME in applications:
            return applications[DEFAULT_NAME]
        if not distinct:
            raise UsageError(f"{place} defines no hf.Application")
        raise UsageError(f"{place} defines several applications: say which, {place}:{min(applications)}")
    if not hasattr(module, name):
        raise UsageError(f"{place} has no {name!r}{known}")
    if name not in applications:
        kind = type(getattr(module, name)).__name__
        raise UsageError(f"{name!r} in {place} is no hf.Application but {kind!r}{known}")
    return applications[name]


def _where(error: BaseException, place: str) -> str:
    """The line of the user's own code that an error came from, as file:line."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{_short(error.filename)}:{error.lineno}"
    libraries = (str(Path(__file__).parent.parent), *(sysconfig.get_path(name) for name in LIBRARIES), "<frozen")
    frames = list(reversed(traceback.extract_tb(error.__traceback__)))
    for frame in frames:
        if not frame.filename.startswith(libraries):
            return f"{_short(frame.filename)}:{frame.lineno}"
    return place


def _reason(error: BaseException, place: str) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{said} ({_where(error, place)}){_hint(error)}"


def _hint(error: BaseException) -> str:
    """What may have been meant, where a name is not there."""
    if not isinstance(error, AttributeError) or error.name is None:
        return ""
    if hasattr(KeyedStream, error.name):
        if error.obj is None:
            return "; .sink(…) is the end of a stream and gives nothing"
        if isinstance(error.obj, tuple):
            return "; .branch(…) gives two streams: yes, no = stream.branch(…)"
    names = {name.casefold(): name for name in dir(error.obj) if not name.startswith("_")}
    found = get_close_matches(error.name.casefold(), names, n=1)
    return f"; did you mean {names[found[0]]}?" if found else ""


def _short(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
