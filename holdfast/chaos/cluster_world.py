"""A cluster's world: one seed's machines, network, coordinator and faults, from the first start to the verdict.

Phases: faults strike until their list is over; then everything is healed and must come to its end within a bound; then
all is started once more and must have nothing to do; then the verdict. What a fault does is `cluster_strikes`'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.chaos import verdict
from holdfast.chaos.channel import Work
from holdfast.chaos.cluster_audit import Audit
from holdfast.chaos.cluster_holders import check_holders
from holdfast.chaos.cluster_invariants import ClusterInvariants
from holdfast.chaos.cluster_node import ClusterNode, Standing
from holdfast.chaos.cluster_options import ARRIVALS_MS_MAX, ClusterOptions
from holdfast.chaos.cluster_strikes import Strikes
from holdfast.chaos.cluster_verdict import Ledger, judge_answers, judge_images, records_of
from holdfast.chaos.coordinator_node import CoordinatorNode
from holdfast.chaos.counters import Counters
from holdfast.chaos.farewells import Farewells
from holdfast.chaos.hardware import Hardware
from holdfast.chaos.inputs import Input
from holdfast.chaos.network import Network
from holdfast.chaos.outcome import Outcome, outcome_of
from holdfast.chaos.outputs import FileOutput, ForgetfulOutput, NumberedOutput, Output, Violation
from holdfast.chaos.schedule import Schedule, Streams
from holdfast.chaos.subject import Build, Records, SimulatedSink, Subject, open_inputs
from holdfast.chaos.trace import Trace
from holdfast.recovery import effects as coordinator_effects
from holdfast.recovery.config import Config
from holdfast.recovery.coordinator import Coordinator
from holdfast.recovery.events import Kept
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.worker import cluster_effects, cluster_events, effects
from holdfast.worker.member import Member

# Within so much a healed world must come to its end.
HEALED_BOUNDARIES_MAX = 30_000
HEALED_BOUNDARIES_PER_RECORD = 100
HEALED_MS_MAX = 180_000.0  # where a hop takes 60 ms and every tenth one 600, an epoch of one record takes a second
OPENED_ONCE_MORE = 0.4  # of the worlds
FORMED_MS = 1_500.0  # by then a cluster has begun its work, as a rule
SUPERVISOR_MS = 700.0  # how often it is looked at who is to be started, asked or ended


class ClusterWorld:
    """Everything of one seed."""

    def __init__(
        self, subject: Subject, options: ClusterOptions, show: Callable[[str], None] | None = None
    ) -> None:
        self.options = options
        self.streams = Streams(options.seed)
        self.schedule = Schedule()
        self.counters = Counters()
        self.trace = Trace(show)
        self.boundaries = 0
        self.network = Network(self.schedule, self.streams, options.network, self.counters)
        self.records = deal_out(subject.records(options.common), options.partitions)
        self._subject = subject
        self._opened = open_inputs(self.records, options.common, self.streams["inputs"])
        self.inputs = [_hurried(one) for _, partitions in self._opened.values() for one in partitions]
        self.files = MemoryDisk()  # outputs stand on a machine of their own
        self._mended = False
        self._builds: dict[tuple[int, bool], Build] = {}  # by machine
        self._until: int | None = None
        build = self.build()
        self._live = build.plan.live
        self.outputs = [self._output(number, sink) for number, sink in enumerate(build.sinks)]
        self.nodes: list[ClusterNode] = []
        self.coordinator = self._make_coordinator()
        self.invariants = ClusterInvariants(self.nodes, self.counters)
        self.farewells = Farewells(self.invariants)
        self.audit = Audit(self.invariants, options.ranges, build.registry)
        self.ledger = Ledger()
        self.strikes = Strikes(self)
        for _ in range(options.workers):
            self.add_node()

    # --- making it

    def build(self) -> Build:
        """The application anew, as at the start of a process."""
        sources = {name: source for name, (source, _) in self._opened.items()}
        return Build(self._subject, self.options.common, sources, mended=self._mended)

    def _output(self, number: int, sink: SimulatedSink) -> Output:
        match sink.kind:
            case "file":
                return FileOutput(self.files.file(f"sink-{number}"), self.counters)
            case "numbered":
                return NumberedOutput(sink.image, self.counters)
            case _:
                return ForgetfulOutput(sink.image, self.counters)

    def _hardware(self, name: str) -> Hardware:
        options = self.options
        drift = self.streams[f"{name} drift"].uniform(-options.drift, options.drift)
        latencies = options.common.latencies_ms
        return Hardware(self.schedule, self.streams, latencies, prefix=f"{name} ", drift=drift)

    def add_node(self) -> ClusterNode:
        """One more machine, which is not started."""
        number = len(self.nodes) + 1
        node = ClusterNode(
            *(number, self.schedule, self.streams, self.network, self._hardware(f"n{number}")),
            inputs=self.inputs,
            outputs=self.outputs,
            at_once=self.options.at_once,
            tick_ms=self.options.common.tick_ms,
            status_ms=self.options.status_ms,
            beat_ms=self.options.beat_ms,
            make_member=lambda: self._make_member(number),
            trace=self.trace,
            counters=self.counters,
            company=self,
        )
        self.nodes.append(node)
        return node

    def _make_member(self, number: int) -> Member:
        """The machine of a process. Its application is made once for each machine, for making it costs a lot."""
        built = (number, self._mended)
        build = self._builds.get(built)
        if build is None:
            build = self._builds[built] = self.build()
        steps = {step.name: step.index for step in build.plan.sources}
        partitions = [
            (steps[source], one.name) for source, (_, opened) in self._opened.items() for one in opened
        ]
        return Member(build.plan, partitions, self.options.common.settings, build.registry)

    def _make_coordinator(self) -> CoordinatorNode:
        options = self.options
        config = Config(
            workers=options.workers,
            partitions=len(self.inputs),
            sinks=len(self.outputs),
            live=self._live,
            ranges=options.ranges,
            backups=options.backups,
            checkpoint_ms=options.common.settings.checkpoint_ms,
            collect_ms=options.collect_ms,
            waiting_ms=options.waiting_ms,
        )
        return CoordinatorNode(
            *(self.schedule, self.streams, self.network, self._hardware("coordinator")),
            tick_ms=options.coordinator_tick_ms,
            make=lambda: Coordinator(config),
            trace=self.trace,
            counters=self.counters,
            watcher=self,
        )

    # --- running it

    def run(self, until: int | None = None) -> Outcome:
        """Run until the end and judge it; or only `until` so many boundaries have passed."""
        self._until = until

        def play() -> None:
            finish = self._until_finished()
            if self.streams["world"].random() < OPENED_ONCE_MORE:
                self._open_once_more(finish)
            self._judge(finish)

        failure = outcome_of(play)
        lines = self.trace.lines() if failure is not None else []
        return Outcome(
            failure, self.trace.digest(), self.boundaries, self.strikes.faults.struck, self.counters, lines
        )

    def start_all(self, nodes: Sequence[ClusterNode]) -> None:
        """The coordinator and these machines come up."""
        self.coordinator.start()
        for node in nodes:
            node.start_later(self.streams["world"].choice((0.0, 0.0, 5.0, 60.0)))

    def _until_finished(self) -> coordinator_effects.Finish:
        self.start_all(self.nodes)
        self.schedule.after(SUPERVISOR_MS, self._supervise)
        healed: tuple[int, float] | None = None
        while not self._finished():
            if not self.schedule.step():
                raise Violation("nothing is left to happen, and it has not come to its end")
            if self._until is not None and self.boundaries >= self._until:
                raise Violation(f"not looked at beyond {self._until} boundaries")
            if healed is None and self.strikes.over:
                healed = (self.boundaries, self.schedule.now)
                self.trace.note(self.schedule.now, "HEALED")
                self.network.heal()
            if healed is not None and (
                self.boundaries - healed[0] > self._boundaries_max()
                or self.schedule.now - healed[1] > HEALED_MS_MAX
            ):
                raise Violation(
                    f"not at its end {self.schedule.now - healed[1]:.0f} ms after the last fault; the coordinator"
                    f" waits for {self.coordinator.waiting!r}"
                )

        assert self.coordinator.finish is not None
        return self.coordinator.finish

    def _boundaries_max(self) -> int:
        records = sum(len(one.arrivals) for one in self.inputs)
        return HEALED_BOUNDARIES_MAX + HEALED_BOUNDARIES_PER_RECORD * records

    @property
    def _at_rest(self) -> bool:
        return self.coordinator.finish is not None and all(node.standing is not Standing.UP for node in self.nodes)

    def _finished(self) -> bool:
        finish = self.coordinator.finish
        if finish is None or not self._at_rest:
            return False
        if finish.error is not None:
            return self._mended or not self.options.common.mends
        return finish.ended or (not self.options.common.ends and self._all_is_worked_off())

    def _supervise(self) -> None:
        """What stands around a cluster does: starts who should be there, ends who is left over, asks again."""
        self.schedule.after(SUPERVISOR_MS, self._supervise)
        self.strikes.pass_time()
        finish = self.coordinator.finish
        if finish is not None:
            for node in self.nodes:
                if node.standing is Standing.UP:
                    node.die(power=False, down_ms=None)
                node.process += 1  # nobody starts any more
            if self._at_rest and not self._finished():
                self._start_again()
            return
        for node in self.nodes:
            if node.standing is Standing.FINISHED:
                node.start()
        leaving = tuple(node.name for node in self.nodes if node.leaving and node.standing is not Standing.LEFT)
        if leaving:
            self.coordinator.ask_leave(leaving)
        if self.strikes.stopping or self._may_stop():
            self.coordinator.ask_stop()

    def _may_stop(self) -> bool:
        """Whether live inputs that never end have given everything; a stop before anything is formed does nothing."""
        common, coordinator = self.options.common, self.coordinator
        formed = coordinator.machine is not None and self.schedule.now - coordinator.started_at > FORMED_MS
        return not common.ends and formed and self._all_is_logged()

    def _start_again(self) -> None:
        """After a clean stop that was a fault, or when what stopped the application is mended."""
        finish = self.coordinator.finish
        assert finish is not None
        if finish.error is not None:
            self.counters.meet("mended after a stop")
            self._mended = True
        self.strikes.stopping = False
        self.trace.note(self.schedule.now, "all is started again")
        self.start_all(self.strikes.choose_starters())

    def _open_once_more(self, first: coordinator_effects.Finish) -> None:
        """What has come to its end has nothing to do, and comes to the same end."""
        self.strikes.ceased, self.strikes.stopping = True, False
        rows, end = self.table(), self._end_of(first)
        self.start_all([node for node in self.nodes if node.standing is not Standing.LEFT])
        began, before = self.schedule.now, self.boundaries
        while not (self.coordinator.finish is not None and self._at_rest):
            if not self.schedule.step() or self.schedule.now - began > HEALED_MS_MAX:
                raise Violation(
                    f"started once more, it does not come to its end; it waits for {self.coordinator.waiting!r}"
                )
            if self.boundaries - before > self._boundaries_max():
                raise Violation("started once more, it does not come to its end")
        stopped = self.coordinator.finish.error is None and not self.options.common.ends
        if self._end_of(self.coordinator.finish) != end and not stopped:
            raise Violation(f"started once more, it ends with {self.coordinator.finish} and not with {first}")
        if first.ended and self.table() != rows:
            raise Violation("started once more, it logs more epochs")

    def _end_of(self, finish: coordinator_effects.Finish) -> object:
        """How it ended, and before which record; of the calls that fail in a record's wake any may be named."""
        checkpoint = self.coordinator.kept.checkpoint
        return finish.ended, finish.error is None, checkpoint.limit if checkpoint is not None else None

    # --- what is logged

    def disks(self) -> dict[str, MemoryDisk]:
        """All disks, by name of the node."""
        return {node.name: node.disk for node in self.nodes}

    def table(self) -> Any:
        """The epoch table of the whole cluster."""
        for node in self.nodes:
            self.ledger.take(node.disk)
        return self.ledger.table(self.coordinator.kept.formation, self.disks())

    def _all_is_logged(self) -> bool:
        """Whether the logs of the recorded generation's primaries have all records."""
        formation, disks = self.coordinator.kept.formation, self.disks()
        if formation is None:
            return False
        for partition, holders in enumerate(formation.layout.partitions):
            disk = next((disks[node] for node in holders.all if node in disks), None)
            if disk is None or records_of(disk, partition) < len(self.inputs[partition].arrivals):
                return False
        return True

    def _all_is_worked_off(self) -> bool:
        checkpoint, rows = self.coordinator.kept.checkpoint, self.table()
        if rows and (checkpoint is None or checkpoint.limit is not None or checkpoint.epoch < rows[-1].number):
            return False
        return self._all_is_logged()

    # --- boundaries

    def ordered(self, node: ClusterNode, effect: Any) -> None:
        self.invariants.ordered(node, effect)
        self.farewells.ordered(node, effect)
        name = effect.envelope.message if isinstance(effect, cluster_effects.SendPeer) else effect
        self._boundary(f"ordered {type(name).__name__}", node)

    def told(self, node: ClusterNode, effect: effects.TellSource) -> None:
        self.invariants.told(node, effect)

    def done(self, node: ClusterNode, work: Work[Any]) -> None:
        self.invariants.done(node, work.order)
        self._boundary(f"done {type(work.order).__name__}", node)

    def handled(self, node: ClusterNode, event: Any, given: Sequence[Any]) -> None:
        self.invariants.handled(node, event)
        if isinstance(event, cluster_events.PeerSent):
            event = event.envelope.message
        elif isinstance(event, cluster_events.Ordered):
            event = event.order.order
        self._boundary(f"handled {type(event).__name__}", node)

    def started(self, node: ClusterNode) -> None:
        self.strikes.note_start(node)

    def lost_disk(self, node: ClusterNode) -> None:
        self.ledger.take(node.disk)

    def is_relieved(self, node: ClusterNode) -> bool:
        return self.farewells.is_relieved(node)

    def coordinator_ordered(self, effect: coordinator_effects.Effect) -> None:
        self.invariants.coordinator_ordered(effect)
        self.farewells.coordinator_ordered(effect, self.coordinator.machine)
        what = effect.order.order if isinstance(effect, coordinator_effects.Tell) else effect
        self._boundary(f"coordinator ordered {type(what).__name__}", None)

    def coordinator_stored(self, kept: Kept) -> None:
        machine = self.coordinator.machine
        before = self.invariants.kept
        shunned = machine.quarrels.shunned(machine.now) if machine is not None else ()
        if before.formation is not None and not shunned and self.invariants.was_begun_by_all(before.formation):
            check_holders(before.formation, kept.formation)
        self.invariants.coordinator_stored(kept)
        if kept.checkpoint is not None and kept.formation is not None and kept.checkpoint != before.checkpoint:
            self.audit.counts(kept.checkpoint, kept.formation)
        self._boundary("coordinator stored", None)

    def coordinator_handled(self, event: Any) -> None:
        self._boundary(f"coordinator handled {type(event).__name__}", None)

    def _boundary(self, name: str, node: ClusterNode | None) -> None:
        self.boundaries += 1
        self.strikes.pass_boundary(name, node)

    # --- the verdict

    def _judge(self, finish: coordinator_effects.Finish) -> None:
        rows = self.table()
        lengths = [len(one.arrivals) for one in self.inputs]
        logged = [0] * len(lengths)
        for row in rows:
            for partition, count, _, _ in row.parts:
                logged[partition] += count
        if finish.error is None and logged != lengths:
            raise Violation(f"it came to its end and has logged {logged} of {lengths}")
        build = self.build()
        if not build.plan.live and finish.error is None:
            verdict.judge_rounds(rows, lengths)
        expected = verdict.expect(build, self.records, rows, set(self.invariants.images))
        # Members meet the failing calls of one record in any order, and the one that is told first is named.
        if finish.error != expected.error and finish.error not in expected.others:
            raise Violation(f"ended with {finish.error!r}, the reference with {expected.error!r}")
        verdict.judge_outputs(self.outputs, expected, whole=True)
        judge_answers(self.invariants.answers, build, self.records, expected)
        self.audit.judge(expected)
        for cut, ranges in self.invariants.images.items():
            if len(ranges) == self.options.ranges:
                judge_images(cut, ranges.values(), expected)


def deal_out(records: Records, partitions: int) -> Records:
    """Sources of one partition get several, among which its records are dealt out."""
    dealt = {}
    for source, parts in records.items():
        if len(parts) == 1 and partitions > 1:
            (whole,) = parts.values()
            parts = {str(number): whole[number::partitions] for number in range(partitions)}
        dealt[source] = parts
    return dealt


def _hurried(one: Input) -> Input:
    """The same input, with all its records within a few seconds."""
    last = max(one.arrivals, default=0.0)
    if last <= ARRIVALS_MS_MAX:
        return one
    arrivals = tuple(time * ARRIVALS_MS_MAX / last for time in one.arrivals)
    return Input(one.source, one.name, arrivals, one.ends, one.notices_end)
