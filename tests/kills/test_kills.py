"""SIGKILL at every named point and at random moments; what was written stays right, and is all there in the end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.runtime.points import KILL_POINTS
from tests.kills import driver, reminders, ticker
from tests.kills.campaign import Campaign
from tests.kills.expected import expected

AT_ONCE = 2  # campaigns side by side: one for each core of a small machine
KILLS = 105
KILLS_MIN = 200  # of all campaigns of one run
AT_EACH_POINT_MIN = 10
PROGRESS_SHARE_MIN = 0.6  # the other kills hit a run that was still catching up, or was to be hit at once
RECORDS = 30_000  # enough for all kills of a campaign
LIVE_KILLS = 30
REMINDERS_KILLS = 20
REMINDERS_RECORDS = 4_000
NIGHTLY_ROUNDS = 25


def campaigns(folder: Path, seeds: Sequence[int]) -> list[Campaign]:
    """Campaigns side by side over the same input, all at their end."""
    made = []
    for seed in seeds:
        own = folder / str(seed)
        own.mkdir(parents=True)
        driver.write_inputs(own, seeds[0], RECORDS)
        made.append(Campaign(own, {}, seed))
    outputs = expected(driver.app, made[0].folder)
    for campaign in made:
        campaign.expected = outputs
    with ThreadPoolExecutor(len(made)) as pool:
        list(pool.map(lambda campaign: campaign.run(KILLS), made))
    return made


def histogram(ended: Sequence[Campaign]) -> Iterator[str]:
    struck: Counter[str] = sum((campaign.struck for campaign in ended), Counter())
    yield f"{struck.total()} kills, {sum(c.progressed for c in ended)} behind new records; struck while at"
    for place, count in struck.most_common():
        yield f"  {place:<28}{count:>5}  {'#' * (60 * count // struck.total())}"


def assert_enough(ended: Sequence[Campaign], kills_min: int) -> None:
    points: Counter[str] = sum((campaign.points for campaign in ended), Counter())
    kills = sum(campaign.kills for campaign in ended)
    assert kills >= kills_min
    assert {point: points[point] for point in KILL_POINTS if points[point] < AT_EACH_POINT_MIN} == {}
    assert sum(campaign.progressed for campaign in ended) >= PROGRESS_SHARE_MIN * kills


def test_the_output_is_right_after_every_kill_and_whole_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = campaigns(tmp_path, range(1, 1 + AT_ONCE))

    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(histogram(ended)) + "\n")
    assert_enough(ended, KILLS_MIN)


@pytest.mark.nightly
@pytest.mark.parametrize("round_", range(NIGHTLY_ROUNDS))
def test_the_output_is_right_after_thousands_of_kills(
    round_: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = 1000 + round_ * AT_ONCE
    ended = campaigns(tmp_path, range(first, first + AT_ONCE))

    with capsys.disabled():
        sys.stdout.write(f"\nseeds from {first}\n" + "\n".join(histogram(ended)) + "\n")
    assert_enough(ended, KILLS_MIN)


def test_what_a_live_source_gave_is_right_after_kills(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, {}, 1, module="tests.kills.ticker")

    campaign.run(LIVE_KILLS)

    campaign.expected = ticker.expected(tmp_path / "data")
    campaign.check(whole=True)
    assert campaign.kills == LIVE_KILLS


def test_timers_of_entities_that_wait_on_disk_fire_after_kills(tmp_path: Path) -> None:
    reminders.write_input(tmp_path, 1, REMINDERS_RECORDS)
    campaign = Campaign(tmp_path, expected(reminders.app, tmp_path), 1, module="tests.kills.reminders")

    campaign.run(REMINDERS_KILLS)

    assert campaign.kills == REMINDERS_KILLS
    assert campaign.progressed >= PROGRESS_SHARE_MIN * REMINDERS_KILLS
