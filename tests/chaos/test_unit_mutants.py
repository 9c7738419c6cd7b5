"""Planted bugs that worlds seldom or never show are found by tests of the machines: each goes red without its rule.

Some of these rules bound how long something takes; others are covered by second ones in a whole cluster
(docs/simulator.md says by which), and still are what the machines promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.chaos.cluster_mutants import CLUSTER_MUTANTS
from holdfast.chaos.planting import planted
from tests.recovery import test_changes, test_coordinator, test_logs, test_reports, test_statuses
from tests.replication import test_progress
from tests.worker import (
    test_cluster_ends,
    test_cuts,
    test_deliver,
    test_holding,
    test_holding_cuts,
    test_keeping,
    test_member,
    test_member_status,
    test_staging,
)


def _patching(test: Callable[[pytest.MonkeyPatch], None]) -> Callable[[], None]:
    """A test that changes constants, called as one that changes none."""

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            test(patch)

    return run


FOUND_BY: dict[str, Callable[..., Any]] = {
    "orders-of-other-lives": test_member.test_orders_for_another_life_and_old_orders_are_ignored,
    "old-orders-obeyed": test_member.test_orders_for_another_life_and_old_orders_are_ignored,
    "repeats-unanswered": test_member.test_an_order_that_comes_again_is_answered_again_because_the_answer_may_be_lost,
    "stop-not-awaited": test_coordinator.test_a_stop_ends_only_when_all_have_heard_of_it,
    "half-update-set-kept": _patching(
        test_holding.test_a_part_of_an_update_set_is_forgotten_where_another_generation_begins
    ),
    "chunks-not-taken-back": test_holding.test_what_was_packed_behind_the_cut_returned_to_is_in_no_checkpoint,
    "stale-log-counts": test_logs.test_what_a_holder_has_from_a_generation_long_ago_does_not_come_back_with_it,
    "sealed-before-delivered": test_progress.test_a_cut_is_not_sealed_before_it_is_delivered,
    "cut-inside-epoch-sealed": test_cuts.test_what_lies_inside_an_epoch_is_never_sealed,
    "half-snapshot-counts": test_holding.test_a_snapshot_in_parts_counts_when_all_of_it_is_here,
    "lacking-counts-as-held": test_cuts.test_a_new_backup_holds_nothing_before_it_has_the_snapshot,
    "rounds-ordered-again": test_coordinator.test_a_round_of_an_earlier_life_is_given_up,
    "timers-while-stopping": test_member.test_a_due_timer_opens_an_epoch_only_for_who_has_heard_that_sources_go_on,
    "rests-before-replay": test_member_status.test_who_has_yet_to_work_off_its_log_again_is_not_at_rest,
    "memory-not-reaching": test_member.test_memory_that_does_not_reach_back_to_the_cut_is_forgotten,
    "given-up-ranges-kept": (
        test_holding.test_what_a_disk_still_has_of_ranges_that_were_given_up_is_dropped_before_their_snapshot
    ),
    "half-arrived-kept": (
        test_holding.test_what_a_disk_still_has_of_ranges_that_were_given_up_is_dropped_before_their_snapshot
    ),
    "answers-of-other-rounds": test_staging.test_answers_to_a_round_that_was_given_up_count_for_nothing,
    "memory-at-any-cut": test_reports.test_memory_counts_at_the_cuts_that_it_reaches,
    "any-checkpoint-on-disk": test_reports.test_another_checkpoint_on_a_disk_does_not_count,
    "stale-reports": test_reports.test_a_report_for_an_earlier_number_does_not_count_and_is_asked_for_again,
    "caught-up-without-logs": test_member_status.test_a_backup_has_caught_up_when_it_has_both_the_logs_and_the_images,
    "caught-up-without-images": test_member_status.test_a_backup_has_caught_up_when_it_has_both_the_logs_and_the_images,
    "chunks-of-lost-memory-kept": (
        test_holding.test_what_was_packed_is_in_no_checkpoint_once_its_memory_was_given_up
    ),
    "busy-and-silent": test_member.test_a_member_that_always_has_work_tells_how_far_it_has_got_nevertheless,
    "timers-behind-stop": test_cluster_ends.test_no_timer_fires_in_a_turn_behind_the_call_that_fails,
    "snapshot-held-in-part": test_member.test_a_snapshot_is_held_once_its_last_part_is_here,
    "undo-dropped-early": test_holding_cuts.test_memory_reaches_back_to_the_last_sealed_cut,
    "chunks-of-later-cuts-written": test_holding_cuts.test_a_checkpoint_holds_nothing_that_was_packed_for_a_later_cut,
    "checkpoint-while-lacking": (
        test_coordinator.test_a_checkpoint_is_ordered_of_all_and_counts_when_the_record_of_it_is_durable
    ),
    "delivered-when-handed-out": test_deliver.test_an_epoch_is_delivered_once_every_sink_has_all_of_it,
    "older-work-counts": test_statuses.test_who_still_works_in_an_older_generation_is_not_at_work,
    "changed-before-checkpoint": (
        test_changes.test_a_layout_on_its_way_is_changed_behind_a_checkpoint_of_its_own_generation
    ),
    "any-checkpoint-covers": (
        test_changes.test_a_checkpoint_covers_everything_if_nothing_was_applied_or_ended_or_failed_since
    ),
    "answered-in-parts": test_keeping.test_where_an_epoch_ends_early_nobody_is_answered_and_nothing_is_forgotten,
    "forgotten-in-parts": test_keeping.test_where_an_epoch_ends_early_nobody_is_answered_and_nothing_is_forgotten,
}


@pytest.mark.parametrize("bug", FOUND_BY)
def test_a_test_of_the_machines_goes_red_without_the_rule(bug: str) -> None:
    FOUND_BY[bug]()

    with planted(CLUSTER_MUTANTS[bug]), pytest.raises((AssertionError, LookupError)):
        FOUND_BY[bug]()
