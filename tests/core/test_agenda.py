"""The agenda against a plain set: whatever is added, removed and reached, what is due is found, and in good time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from holdfast.core.agenda import LEAST, REMOVED_FREE, Agenda, Entry

MOST = -LEAST - 1
TIMES = st.one_of(
    st.integers(0, 300),
    st.integers(0, 30_000),
    st.integers(1_700_000_000_000, 1_700_000_300_000),
    st.sampled_from([LEAST, LEAST + 1, -1, MOST - 1, MOST]),
    st.integers(LEAST, MOST),
)


class AgendaMachine(RuleBasedStateMachine):
    """Entities leave memory and come back while time goes on, mostly forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda = Agenda()
        self.entries: set[Entry] = set()
        self.count = 0

    @rule(due=TIMES)
    def add(self, due: int) -> None:
        self.count += 1
        entry = (due, b"%d" % self.count)
        self.agenda.add(*entry)
        self.entries.add(entry)

    @rule(times=st.lists(st.integers(1, 9_000), min_size=5, max_size=50), apart=st.sampled_from([1, 60, 700]))
    def go_on(self, times: list[int], apart: int) -> None:
        """Timers are set ahead of a time that goes on in small steps; what falls due comes back into memory."""
        time = max(self.agenda.floor, 0)
        for ahead in times:
            self.add(time + ahead)
            time += apart
            expected = {entry for entry in self.entries if entry[0] <= time}
            assert sorted(self.agenda.due(time)) == sorted(key for _, key in expected)
            for entry in expected:
                self.agenda.remove(*entry)
            self.entries -= expected

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(sorted(self.entries)))
        self.agenda.remove(*entry)
        self.entries.remove(entry)

    @precondition(lambda self: self.entries)
    @rule(data=st.data(), times=st.integers(1, 3 * REMOVED_FREE))
    def come_and_go(self, data: st.DataObject, times: int) -> None:
        entry = data.draw(st.sampled_from(sorted(self.entries)))
        for _ in range(times):
            self.agenda.remove(*entry)
            self.agenda.add(*entry)

    @rule(time=TIMES)
    def fall_due(self, time: int) -> None:
        assert sorted(self.agenda.due(time)) == sorted(key for due, key in self.entries if due <= time)

    @rule(time=TIMES)
    def reach(self, time: int) -> None:
        self.agenda.reach(time)

    @rule()
    def wait_for_the_earliest(self) -> None:
        """Waiting for what it says, one comes to what is due, and soon."""
        for _ in range(20):
            expected = min((due for due, _ in self.entries), default=None)
            said = self.agenda.next_due()
            if said is None or said == expected:
                assert said == expected
                return
            assert expected is not None and self.agenda.floor < said < expected
            self.agenda.reach(said)
        raise AssertionError("it was never reached")

    @invariant()
    def all_is_held_and_little_else(self) -> None:
        assert len(self.agenda) == len(self.entries)
        for slot in self.agenda.slots.values():
            assert 0 < slot.count == len(slot.entries())
            assert slot.noted <= REMOVED_FREE + slot.count


def test_what_is_due_is_found_and_nothing_else() -> None:
    quick = settings(
        max_examples=80, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(AgendaMachine, settings=quick)


def test_an_entry_takes_little_more_than_its_key() -> None:
    agenda = Agenda()
    agenda.reach(1_700_000_000_000)
    for number in range(10_000):
        agenda.add(1_700_000_000_000 + number * 997, b"%010d" % number)

    assert sum(len(slot.added) for slot in agenda.slots.values()) <= 10_000 * (10 + 12)
