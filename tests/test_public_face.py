"""What `import holdfast as hf` shows, and that importing it does nothing else."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import pytest

import holdfast as hf
from holdfast import sinks, sources, testing

FACES = (hf, sinks, sources, testing)
# Submodules show up as attributes of the package as soon as something imported them.
SUBMODULES = {module.name for module in pkgutil.iter_modules(hf.__path__)}


def public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")} - {"annotations"}


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_everything_visible_is_listed_and_the_list_is_sorted(face: ModuleType) -> None:
    assert list(face.__all__) == sorted(face.__all__)
    assert all(hasattr(face, name) for name in face.__all__)
    # The door to the reference holds a function, whose annotations need names that are not ours to give away.
    if face is not testing:
        assert public(dir(face)) - SUBMODULES == public(face.__all__) - SUBMODULES


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_everything_public_says_what_it_is_for(face: ModuleType) -> None:
    assert [name for name in public(face.__all__) if not getattr(face, name).__doc__] == []


def test_importing_loads_no_shell_and_no_database() -> None:
    heavy = "{'trio', 'lmdb', 'holdfast.runtime', 'holdfast.cli'}"
    program = f"import sys, holdfast; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_version_is_that_of_the_installed_package() -> None:
    assert version("holdfast") == hf.__version__
