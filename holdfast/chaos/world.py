"""A world: one seed's nodes, inputs, outputs and faults, from the first start until the promise is judged.

Phases: faults strike until their list is over; then everything is healed and must come to its end within a
bound; then the stores are opened once more and must have nothing to do; then the verdict. One node now; a
cluster has several, a network between them and a coordinator, all on the one schedule.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.chaos import verdict
from holdfast.chaos.counters import Counters
from holdfast.chaos.node import Node
from holdfast.chaos.options import Options
from holdfast.chaos.outcome import Outcome, outcome_of
from holdfast.chaos.outputs import FileOutput, ForgetfulOutput, NumberedOutput, Output, Violation
from holdfast.chaos.planting import Ground
from holdfast.chaos.schedule import Schedule, Streams
from holdfast.chaos.subject import Build, SimulatedSink, Subject, open_inputs
from holdfast.chaos.trace import Trace
from holdfast.core.entities import Book, Entity
from holdfast.core.errors import StoppedError
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.worker.machine import Worker
from holdfast.worker.settings import Settings

# Within so many boundaries a healed world must come to its end; an epoch of one record takes about fifty.
HEALED_BOUNDARIES_MAX = 5_000
HEALED_BOUNDARIES_PER_RECORD = 100
HEALED_MS_MAX = 3_600_000.0
LOOKS_AT_END_MS = 50.0  # how often it is asked whether a live input is exhausted


class World:
    """Everything of one seed."""

    def __init__(self, subject: Subject, options: Options, show: Callable[[str], None] | None = None) -> None:
        self.options = options
        self.streams = Streams(options.seed)
        self.schedule = Schedule()
        self.counters = Counters()
        self.trace = Trace(show)
        self.disk = MemoryDisk()
        self._until: int | None = None
        self._mended = False  # the application was stopped by a failure, which it skips from now on
        self._counted: tuple[object, bool] = (None, False)  # (state of the log, whether all input is in it)
        self.records = subject.records(options)
        self._subject = subject
        self._opened = open_inputs(self.records, options, self.streams["inputs"])
        self.inputs = [one for _, partitions in self._opened.values() for one in partitions]
        build = self.build()
        self.outputs = [self._output(number, sink) for number, sink in enumerate(build.sinks)]
        self.node = Node(
            self.schedule,
            self.streams,
            options,
            inputs=self.inputs,
            outputs=self.outputs,
            disk=self.disk,
            make_worker=self._worker,
            trace=self.trace,
            counters=self.counters,
        )

    def run(self, until: int | None = None) -> Outcome:
        """Run until the end and judge it; or only `until` so many boundaries have passed."""
        self._until = until
        ground = Ground()
        ground.before(Book, "touch", self._note_touched)

        def play() -> None:
            self._until_finished()
            self._open_once_more()
            self._judge()

        try:
            failure = outcome_of(play)
        finally:
            ground.clear()
        node = self.node
        lines = self.trace.lines() if failure is not None else []
        return Outcome(
            failure, self.trace.digest(), node.boundaries, node.faults.struck, self.counters, lines
        )

    def _note_touched(self, book: Book, entity: Entity) -> None:
        if entity.mark == book.cut:
            self.counters.meet("early encode")

    # --- making it

    def build(self) -> Build:
        """The application anew, as at the start of a process."""
        sources = {name: source for name, (source, _) in self._opened.items()}
        return Build(self._subject, self.options, sources, mended=self._mended)

    def _output(self, number: int, sink: SimulatedSink) -> Output:
        match sink.kind:
            case "file":
                return FileOutput(self.disk.file(f"sink-{number}"), self.counters)
            case "numbered":
                return NumberedOutput(sink.image, self.counters)
            case _:
                return ForgetfulOutput(sink.image, self.counters)

    def _worker(self, settings: Settings, state: MemoryState) -> Worker:
        build = self.build()
        steps = {step.name: step.index for step in build.plan.sources}
        partitions = [
            (steps[source], one.name) for source, (_, opened) in self._opened.items() for one in opened
        ]
        return Worker(build.plan, partitions, settings, build.registry)

    # --- running it

    def _until_finished(self) -> None:
        self.node.start()
        if not self.options.ends:
            self.schedule.after(LOOKS_AT_END_MS, self._stop_when_exhausted)
        healed: tuple[int, float] | None = None
        while not self._finished():
            if self.node.finish is not None:
                self._start_again()
            if not self.schedule.step():
                raise Violation("nothing is left to happen, and it has not come to its end")
            if self._until is not None and self.node.boundaries >= self._until:
                raise Violation(f"not looked at beyond {self._until} boundaries")
            if healed is None and self.node.faults.over:
                healed = (self.node.boundaries, self.schedule.now)
            if healed is not None and (
                self.node.boundaries - healed[0] > self._boundaries_max()
                or self.schedule.now - healed[1] > HEALED_MS_MAX
            ):
                raise Violation(f"not at its end {self.schedule.now - healed[1]:.0f} ms after the last fault")

    def _boundaries_max(self) -> int:
        records = sum(len(one.arrivals) for one in self.inputs)
        return HEALED_BOUNDARIES_MAX + HEALED_BOUNDARIES_PER_RECORD * records

    def _finished(self) -> bool:
        finish = self.node.finish
        if finish is None:
            return False
        if finish.error is not None:
            return not (self.options.mends and isinstance(finish.error, StoppedError))
        return finish.ended or self._exhausted()

    def _start_again(self) -> None:
        """After a clean stop that was a fault, or when what stopped the application is mended."""
        assert self.node.finish is not None
        if self.node.finish.error is not None:
            self.counters.meet("mended after a stop")
            self._mended = True
        self.node.finish = None
        self.schedule.after(self.streams["world"].choice((0.0, 100.0, 10_000.0)), self.node.start)

    def _exhausted(self) -> bool:
        """Whether a live input that never ends has given everything, and all of it is logged."""
        as_of = (self.node.process, self.disk.log.mark)
        if self._counted[0] != as_of:
            self._counted = (as_of, self._all_is_logged())
        return not self.options.ends and self._counted[1]

    def _all_is_logged(self) -> bool:
        logged = [0] * len(self.inputs)
        for row in MemoryLog(self.disk).rows():
            for partition, count, _, _ in row.parts:
                logged[partition] += count
        return logged == [len(one.arrivals) for one in self.inputs]

    def _stop_when_exhausted(self) -> None:
        if self._exhausted():
            self.node.ask_stop()
        self.schedule.after(LOOKS_AT_END_MS * 4, self._stop_when_exhausted)

    def _open_once_more(self) -> None:
        """What has come to its end has nothing to do, and comes to the same end."""
        first = self.node.finish
        assert first is not None
        rows = list(MemoryLog(self.disk).rows())
        self.node.start()
        if not self.options.ends:
            self.node.ask_stop()
        before = self.node.boundaries
        while self.node.finish is None:
            if not self.schedule.step() or self.node.boundaries - before > self._boundaries_max():
                raise Violation("started once more, it does not come to its end")
        if (self.node.finish.ended, str(self.node.finish.error)) != (first.ended, str(first.error)):
            raise Violation(f"started once more, it ends with {self.node.finish} and not with {first}")
        if first.ended and list(MemoryLog(self.disk).rows()) != rows:
            raise Violation("started once more, it logs more epochs")

    def _judge(self) -> None:
        assert self.node.finish is not None
        if self.node.finish.error is None and not self._all_is_logged():
            raise Violation("it came to its end and has not read everything")
        build = self.build()
        rows = list(MemoryLog(self.disk).rows())
        if not build.plan.live:
            verdict.judge_rounds(rows, [len(one.arrivals) for one in self.inputs])
        snapshots = self.node.snapshots
        expected = verdict.expect(build, self.records, rows, {snapshot.epoch for snapshot in snapshots})
        verdict.judge_error(self.node.finish.error, expected)
        verdict.judge_outputs(self.outputs, expected, whole=True)
        for snapshot in snapshots:
            verdict.judge_snapshot(build, snapshot, rows, expected)
