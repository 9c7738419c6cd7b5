"""A process on a leash ends with who holds it, and only what says farewell has ended in good order."""

from __future__ import annotations

import subprocess
import sys

import pytest

from holdfast.runtime.leash import REASON_BYTES_MAX, Leash

FOLLOW = "from holdfast.runtime.leash import follow_leash, say_farewell; follow_leash(); "


def start(leash: Leash, program: str) -> subprocess.Popen[bytes]:
    return leash.start([sys.executable, "-c", program], None)


@pytest.mark.parametrize(("code", "reason"), [(0, ""), (3, "step 'count' failed: ä"), (4, "x" * REASON_BYTES_MAX)])
def test_a_process_that_says_farewell_is_believed(code: int, reason: str) -> None:
    leash = Leash()
    process = start(leash, f"{FOLLOW}say_farewell({code}, {reason!r}); import os; os._exit({code})")

    assert process.wait(timeout=60) == code
    assert leash.let_go() == (code, reason)


def test_a_reason_that_is_too_long_is_cut() -> None:
    leash = Leash()
    process = start(leash, f"{FOLLOW}say_farewell(3, 'x' * 100_000)")

    process.wait(timeout=60)
    assert leash.let_go() == (3, "x" * REASON_BYTES_MAX)


@pytest.mark.parametrize("code", [0, 3])
def test_a_code_without_a_farewell_says_nothing(code: int) -> None:
    leash = Leash()
    process = start(leash, f"{FOLLOW}import os; os._exit({code})")

    assert process.wait(timeout=60) == code
    assert leash.let_go() is None


def test_who_has_left_something_behind_that_holds_the_leash_is_not_waited_for() -> None:
    leash = Leash()
    process = start(leash, "import subprocess; print(subprocess.Popen(['sleep', '1']).pid)")

    assert process.wait(timeout=60) == 0
    assert leash.let_go() is None


def test_a_process_ends_when_its_leash_is_let_go() -> None:
    leash = Leash()
    process = start(leash, f"{FOLLOW}import time; time.sleep(600)")

    leash.let_go()

    assert process.wait(timeout=60) == 1
