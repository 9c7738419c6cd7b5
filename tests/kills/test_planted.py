"""A harness that finds nothing proves nothing: every planted bug must be found by a few kills.

Without functions that fail: a failing call makes the engine return in its process, and finds most of the bugs as well.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kills import driver, reminders, ticker
from tests.kills.campaign import Campaign, WrongOutputError
from tests.kills.expected import expected
from tests.kills.planted import BUGS, apply_before_append, forget_timers_on_disk

AT_ONCE = 2
KILLS_MAX = 60
RECORDS = 12_000
HARMLESS_RECORDS = 1_000
SEED = 1
# Over files the log can be done without, because the input is read again: only a live source shows the loss.
SEEN_WITH_A_LIVE_SOURCE = apply_before_append.__name__
SEEN_WITH_LITTLE_MEMORY = forget_timers_on_disk.__name__


def kills_until_found(folder: Path, bug: str, outputs: dict[str, bytes]) -> tuple[int, str]:
    """Return after how many kills a bug showed, and how; (0, "") if it did not."""
    folder.mkdir()
    if bug == SEEN_WITH_A_LIVE_SOURCE:
        campaign = Campaign(folder, {}, SEED, plant=bug, module="tests.kills.ticker")
    elif bug == SEEN_WITH_LITTLE_MEMORY:
        reminders.write_input(folder, SEED, RECORDS)
        outputs = expected(reminders.app, folder)
        campaign = Campaign(folder, outputs, SEED, plant=bug, module="tests.kills.reminders")
    else:
        driver.write_inputs(folder, SEED, RECORDS, faulty=False)
        campaign = Campaign(folder, outputs, SEED, plant=bug)
    try:
        campaign.run(KILLS_MAX)
        if bug == SEEN_WITH_A_LIVE_SOURCE:
            campaign.expected = ticker.expected(folder / "data")
            campaign.check(whole=True)
    except WrongOutputError as error:
        return max(campaign.kills, 1), str(error).strip().splitlines()[-1]
    return 0, ""


def test_every_planted_bug_is_found_by_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    driver.write_inputs(tmp_path, SEED, RECORDS, faulty=False)
    outputs = expected(driver.app, tmp_path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(
            zip(BUGS, pool.map(lambda bug: kills_until_found(tmp_path / bug, bug, outputs), BUGS), strict=True)
        )

    with capsys.disabled():
        sys.stdout.write("\n")
        for bug, (kills, how) in found.items():
            after = f"after {kills} kills" if kills else "NOT FOUND"
            sys.stdout.write(f"  {bug:<34}{after:<18}{how[:90]}\n")
    assert [bug for bug, (kills, _) in found.items() if not kills] == []


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug != SEEN_WITH_A_LIVE_SOURCE])
def test_a_planted_bug_does_no_harm_while_nobody_kills(bug: str, tmp_path: Path) -> None:
    driver.write_inputs(tmp_path, SEED, HARMLESS_RECORDS, faulty=False)

    Campaign(tmp_path, expected(driver.app, tmp_path), SEED, plant=bug).run(0)
