"""What workers tell for people: its bytes, and the sums that survive whoever told them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import FrameError
from holdfast.runtime.latencies import BUCKETS, Latencies
from holdfast.runtime.observation import BYTES_MAX, Observation, Process
from holdfast.runtime.observations import Observations
from holdfast.worker.statistics import MemberStatistics

NOTHING = MemberStatistics(1, {}, {}, 0, 0, {}, {}, 0, 0, 0, 0, 0, 0, 0, 0, 0)
PROCESS = Process(pid=1, cpu_seconds=0.5, memory_bytes=1, descriptors=3)
counts = st.integers(0, 1 << 62)
pairs = st.dictionaries(st.integers(0, 99), st.tuples(counts, counts), max_size=3)
by_name = st.dictionaries(st.text(max_size=5), counts, max_size=3)
statistics = st.builds(
    MemberStatistics,
    *(counts, pairs, pairs, counts, counts, by_name, by_name),
    *([counts] * 9),
)


def observation(own: MemberStatistics | None = NOTHING, **fields: Any) -> Observation:
    made = Observation(
        name="worker-1",
        host="here",
        process=PROCESS,
        statistics=own,
        latency_counts=(1, 2, *[0] * (len(BUCKETS) - 1)),
        latency_seconds=0.25,
        disk_bytes={"log": 4096},
        links={},
        slow=(),
    )
    return msgspec.structs.replace(made, **fields)


@given(st.none() | statistics)
def test_what_is_unpacked_equals_what_was_packed(own: MemberStatistics | None) -> None:
    assert Observation.unpack(observation(own).pack()) == observation(own)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(packed: bytes) -> None:
    with pytest.raises(FrameError):
        Observation.unpack(packed)


@given(st.data())
def test_a_changed_byte_is_refused_or_read_as_another_observation(data: st.DataObject) -> None:
    packed = bytearray(observation().pack())
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] = data.draw(st.integers(0, 255))
    try:
        found = Observation.unpack(bytes(packed))
    except FrameError:
        return
    assert isinstance(found, Observation)


def test_one_that_is_too_large_is_refused() -> None:
    with pytest.raises(FrameError):
        Observation.unpack(bytes(BYTES_MAX + 1))


def test_counts_go_on_where_the_next_owner_of_a_partition_is_and_nothing_is_counted_twice() -> None:
    all_of_them = Observations()
    first = replace(NOTHING, records={0: (100, 150)}, outputs={0: (10, 40)}, skipped={"count": 2}, replayed=3)
    all_of_them.take("a", observation(first).pack())
    second = replace(NOTHING, generation=2, records={0: (140, 200)}, outputs={0: (35, 60)}, skipped={"count": 1})
    all_of_them.take("b", observation(second).pack())

    found = all_of_them.totals()

    assert (found["records"], found["records_here"]) == (200, 100)
    assert (found["outputs"], found["outputs_here"]) == (60, 50)
    assert (found["skipped_here"], found["replayed_here"]) == ({"count": 3}, 3)


def test_lag_is_that_of_the_members_of_the_newest_generation() -> None:
    all_of_them = Observations()
    old = replace(NOTHING, unapplied=1_000, closed=5)
    ahead = replace(NOTHING, generation=2, closed=20, applied=18, delivered=15, sealed=10, unapplied=7, undelivered=9)
    behind = replace(ahead, applied=16, sealed=9, unapplied=1, undelivered=1)
    for node, own in (("a", old), ("b", ahead), ("c", behind)):
        all_of_them.take(node, observation(own).pack())

    assert all_of_them.totals()["lag"] == {
        "records_unapplied": 8,
        "records_undelivered": 10,
        "epochs_unapplied": 4,
        "epochs_undelivered": 5,
        "epochs_unsealed": 11,
    }


def test_latencies_count_every_record_once_also_where_its_epoch_was_lost_and_read_again() -> None:
    found = Latencies()
    found.closed(1, 10)
    found.closed(2, 20)
    found.delivered(1)
    found.closed(2, 25)  # a generation without the first one's second epoch
    found.closed(3, 1)
    found.delivered(9)

    assert sum(found.counts) == 10 + 25 + 1
    assert found.next_epoch is None
    assert len(found.counts) == len(BUCKETS) + 1
