"""What the faults of a cluster's world do when they strike, within what the promise covers.

Invariant: a disk is lost only while every image of the last complete checkpoint and every adopted log has another
holder whose disk has it, and never more of them than there are backups until a checkpoint has completed without the
lost ones. Everything else may happen at any moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.chaos.cluster_faults import CLUSTER_PATIENCE, ClusterFault
from holdfast.chaos.cluster_faults import ClusterFaultKind as K
from holdfast.chaos.cluster_node import ClusterNode, Standing
from holdfast.chaos.cluster_verdict import entries_of, has_checkpoint
from holdfast.chaos.coordinator_node import NAME as COORDINATOR
from holdfast.chaos.faults import FaultList
from holdfast.chaos.zombies import Zombies
from holdfast.recovery.generation import ROUND_BITS, Formation
from holdfast.recovery.messages import Phase
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import STORE

if TYPE_CHECKING:
    from holdfast.chaos.cluster_world import ClusterWorld

MACHINES_MAX = 6
WIPE_PATIENCE = 3_000  # boundaries within which a wipe that the promise does not cover yet may still come
PATIENCE_MS = 4_000.0  # within which a fault strikes, whatever happens
LATE_START_MS = 400.0
LAG_MS = (2.0, 10.0, 40.0)  # by which others lag behind one that ends
AWAY_MS = (60.0, 200.0, 1_000.0)  # mostly longer than others wait for it
ZOMBIE_MS_MAX = 600.0


class Strikes:
    """The faults of one world at work."""

    def __init__(self, world: ClusterWorld) -> None:
        options = world.options
        self.faults: FaultList[ClusterFault] = FaultList(options.faults, options.kept_faults, CLUSTER_PATIENCE)
        self.stopping = False  # a clean stop was asked for
        self.ceased = False  # nothing strikes any more, whatever the list still holds
        self._world = world
        self._random = world.streams["strikes"]
        self._wiped: list[str] = []  # nodes whose disks were lost since a checkpoint completed without them
        # (machine, how long it is away, until when this may happen, whether the damage is found only when it is read)
        self._to_wipe: tuple[ClusterNode, float, int, bool] | None = None
        self._zombies = Zombies(world.nodes, world.network, world.schedule, self._random)
        self._striking = False
        self._struck_at = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more goes wrong."""
        return self.ceased or (self.faults.over and self._to_wipe is None)

    def pass_boundary(self, name: str, here: ClusterNode | None) -> None:
        """A boundary, at one of the workers or at the coordinator."""
        if self._striking or self.ceased:
            return  # what a fault does passes boundaries as well
        self._pass(self.faults.pass_boundary(name), name, here)

    def pass_time(self) -> None:
        """Where hardly anything happens any more, faults need not wait for a boundary."""
        world = self._world
        if not self.ceased and not self.faults.over and world.schedule.now - self._struck_at > PATIENCE_MS:
            self._pass(self.faults.strike(), "no boundary", None)

    def _pass(self, fault: ClusterFault | None, name: str, here: ClusterNode | None) -> None:
        world = self._world
        self._striking = True
        if fault is not None:
            self._struck_at = world.schedule.now
            world.trace.note(world.schedule.now, f"FAULT {fault} (at {name!r} of {here.name if here else COORDINATOR})")
            self._strike(fault, here)
        if self._to_wipe is not None:
            self._try_wipe(world.boundaries)
        if not self.ceased:
            self._zombies.look(world.invariants.kept, world.counters)
        self._striking = False

    def _at(self, fault: ClusterFault) -> list[ClusterNode]:
        """The machines that a fault names."""
        nodes = self._world.nodes
        return list({number % len(nodes): nodes[number % len(nodes)] for number in fault.at}.values())

    def _strike(self, fault: ClusterFault, here: ClusterNode | None) -> None:
        world = self._world
        self._count(fault, here)
        match fault.kind:
            case K.KILL | K.POWER_LOSS:
                if here is None:
                    self._kill_coordinator(fault)
                else:
                    self._end([here], fault, power=fault.kind is K.POWER_LOSS)
            case K.KILL_SOME:
                self._end(self._at(fault), fault, power=False)
            case K.KILL_ALL:
                self._end(world.nodes, fault, power=False)
            case K.POWER_LOSS_ALL:
                self._end(world.nodes, fault, power=True)
                for file in world.files.files.values():
                    file.power_loss(self._random)
                self._kill_coordinator(fault)
            case K.KILL_COORDINATOR:
                self._kill_coordinator(fault)
            case K.WIPE | K.FLIP:
                victim = here if here is not None else self._at(fault)[0]
                until = world.boundaries + WIPE_PATIENCE
                self._to_wipe = (victim, fault.down_ms, until, fault.kind is K.FLIP)
            case K.JOIN:
                if len(world.nodes) < MACHINES_MAX:
                    world.add_node().start()
            case K.LEAVE:
                self._leave(self._at(fault)[0])
            case K.STOP:
                self.stopping = True
                world.coordinator.ask_stop()
            case _:
                self._disturb(fault, here if here is not None else self._at(fault)[0])

    def _disturb(self, fault: ClusterFault, node: ClusterNode) -> None:
        """What ends no process by itself."""
        world = self._world
        match fault.kind:
            case K.PAUSE:
                node.pause(fault.amount)
            case K.ZOMBIE:
                self._zombies.add(node, world.invariants.kept, min(fault.amount, ZOMBIE_MS_MAX))
            case K.FAILED_SYNC:
                node.sync_fails = True
            case K.LAG:
                self._outrun(node, fault)
            case K.SLOW:
                node.hardware.slow_until = world.schedule.now + fault.amount
            case K.CLOCK_JUMP:
                node.hardware.clock_offset += fault.amount
                if node.life is not None:
                    node.life.rewind_wake()
            case K.FULL_DISK:
                node.full_until = world.schedule.now + fault.amount
            case K.CUT_OFF:
                self._cut(node.name, COORDINATOR, fault.amount)
            case K.RESET:
                for name in [COORDINATOR, *(other.name for other in world.nodes if other is not node)]:
                    world.network.reset(node.name, name)
            case K.CUT | K.PART:
                one, other = [*self._at(fault), node][:2]
                world.network.block(one.name, other.name, fault.amount)
                if fault.kind is K.PART:
                    world.network.block(other.name, one.name, fault.amount)
            case _:
                assert fault.kind is K.PARTITION
                side = {node.name for node in self._at(fault)}
                if fault.count % 2:
                    side.add(COORDINATOR)
                others = [name for name in [COORDINATOR, *(n.name for n in world.nodes)] if name not in side]
                for inside in sorted(side):
                    for outside in others:
                        self._cut(inside, outside, fault.amount)

    def _outrun(self, node: ClusterNode, fault: ClusterFault) -> None:
        """What it logs and says meanwhile others apply, but have not logged when it is gone."""
        world, process = self._world, node.process
        for other in world.nodes:
            if other is not node:
                other.hardware.slow_until = world.schedule.now + fault.amount
        away_ms = fault.down_ms + self._random.choice(AWAY_MS)

        def end() -> None:
            if process == node.process:
                node.die(power=False, down_ms=away_ms)

        world.schedule.after(self._random.choice(LAG_MS), end)

    def _cut(self, one: str, other: str, milliseconds: float) -> None:
        self._world.network.block(one, other, milliseconds)
        self._world.network.block(other, one, milliseconds)

    # --- ends of processes

    def _end(self, nodes: list[ClusterNode], fault: ClusterFault, *, power: bool) -> None:
        for node in nodes:
            if node.standing not in (Standing.UP, Standing.DOWN):
                continue
            # Several that come back at once come in any order.
            node.die(power=power, down_ms=fault.down_ms + self._random.choice((0.0, 0.0, 1.0, 40.0)))
            if power:
                self._lose_outputs(node)

    def _lose_outputs(self, node: ClusterNode) -> None:
        """A file stands on the machine of the member that writes it: what was not synced goes with the power."""
        formation = self._world.invariants.kept.formation
        owners = formation.layout.sinks if formation is not None else ()
        own = {f"sink-{sink}" for sink, owner in enumerate(owners) if owner == node.name}
        files = [file for name, file in self._world.files.files.items() if name in own]
        before = [file.size for file in files]
        for file in files:
            if file.in_flight is None:  # else a process that has had its day writes it on another machine
                file.power_loss(self._random)
        if any(file.size < size for file, size in zip(files, before, strict=True)):
            self._world.counters.meet("output shortened by power loss")

    def _kill_coordinator(self, fault: ClusterFault) -> None:
        coordinator = self._world.coordinator
        if coordinator.finish is not None:
            return
        coordinator.die(power=fault.kind in (K.POWER_LOSS, K.POWER_LOSS_ALL))
        life = coordinator.life
        self._world.schedule.after(fault.down_ms, lambda: coordinator.start() if life == coordinator.life else None)

    # --- planned changes

    def _leave(self, node: ClusterNode) -> None:
        staying = [n for n in self._world.nodes if not n.leaving and n.standing is not Standing.LEFT]
        formed = self._world.invariants.kept.formation is not None  # before, nobody could be relieved of anything
        if formed and node in staying and len(staying) > 1 and self._world.coordinator.finish is None:
            node.leaving = True
            self._world.counters.meet("node asked to leave")
            self._world.coordinator.ask_leave((node.name,))

    def choose_starters(self) -> list[ClusterNode]:
        """Which machines are started after a clean stop: one more, or one less where others hold what it has."""
        world = self._world
        present = [node for node in world.nodes if node.standing is not Standing.LEFT]
        choice = self._random.random()
        if choice < 0.3 and len(world.nodes) < MACHINES_MAX:
            world.counters.meet("start with another number of workers")
            return [*present, world.add_node()]
        missing = self._random.choice(present)
        if choice < 0.6 and len(present) > 1 and self._can_do_without(missing):
            world.counters.meet("start with another number of workers")
            missing.start_later(self._random.choice((LATE_START_MS, LATE_START_MS * 10)))
            return [node for node in present if node is not missing]
        return present

    # --- lost disks

    def _try_wipe(self, boundary: int) -> None:
        assert self._to_wipe is not None
        node, down_ms, until, hidden = self._to_wipe
        world = self._world
        if boundary > until or self._world.coordinator.finish is not None:
            self._to_wipe = None
        elif node.standing in (Standing.UP, Standing.DOWN) and self._may_wipe(node):
            self._to_wipe = None
            world.trace.note(world.schedule.now, f"{'DAMAGE' if hidden else 'WIPE'} {node.name}")
            self._wiped.append(node.name)
            if hidden:
                # Found at once, by the next process: a second loss while it lay hidden would be more than is promised.
                node.damaged = True
                node.die(power=False, down_ms=down_ms)
            else:
                world.counters.meet("disk lost")
                node.wipe(down_ms)

    def _may_wipe(self, node: ClusterNode) -> bool:
        kept = self._world.invariants.kept
        formation = kept.formation
        if formation is None or kept.drawn != formation.number:
            return False  # whoever was asked may have answered already
        if kept.checkpoint is not None and not formation.lacking and not formation.lacking_logs:
            without = all(formation.member(name) is None for name in self._wiped)
            if without and kept.checkpoint.number >> ROUND_BITS == formation.number:
                self._wiped.clear()
        return len(self._wiped) < self._world.options.backups and self._can_do_without(node)

    def _can_do_without(self, node: ClusterNode) -> bool:
        """Whether the disks of others hold all that this one is a holder of."""
        kept = self._world.invariants.kept
        formation, checkpoint = kept.formation, kept.checkpoint
        if formation is None:
            return False
        others = {n.name: n.disk for n in self._world.nodes if n is not node and _is_sound(n)}
        for partition, holders in enumerate(formation.layout.partitions):
            if not any(name in others and _has_log(others[name], name, partition, formation) for name in holders.all):
                return False
        if checkpoint is None:
            return True
        present = [
            ranges
            for name, ranges in checkpoint.holders
            if name in others and has_checkpoint(others[name], checkpoint)
        ]
        held = {number for ranges in present for number in ranges}
        return len(held) == len(formation.layout.ranges)

    # --- rare situations

    def note_start(self, node: ClusterNode) -> None:
        """A process has opened its stores."""
        assert node.state is not None
        kept = self._world.invariants.kept
        prepared = node.state.prepared()
        if prepared is not None:
            known = kept.checkpoint.number if kept.checkpoint is not None else 0
            self._world.counters.meet(
                "start with a prepared checkpoint that counts" if prepared[0] == known else "staged leftovers dropped"
            )

    def _count(self, fault: ClusterFault, here: ClusterNode | None) -> None:
        meet: Callable[[str], None] = self._world.counters.meet
        kept = self._world.invariants.kept
        formation = kept.formation
        changing = formation is None or kept.drawn > formation.number
        ends_here = fault.kind in (K.KILL, K.POWER_LOSS)
        if fault.kind in (K.KILL_COORDINATOR, K.POWER_LOSS_ALL) or (here is None and ends_here):
            meet("coordinator killed during a change" if changing else "coordinator killed")
        if here is None or not ends_here:
            return
        member = here.member
        if changing or (member is not None and member.phase in (Phase.FENCED, Phase.ADOPT)):
            meet("kill during recovery")
        if member is None or member.running is None:
            return
        if member.running.staging.pending is not None:
            meet("kill between staging and completing")
        if member.running.flow.is_replaying:
            meet("kill during replay")
        if not member.running.cuts.caught_up or not member.running.logs.caught_up:
            meet("catch-up interrupted")
        if formation is not None and formation.target is not None:
            meet("planned change interrupted")


def _is_sound(node: ClusterNode) -> bool:
    return node.standing is not Standing.LEFT and not node.damaged


def _has_log(disk: MemoryDisk, name: str, partition: int, formation: Formation) -> bool:
    """Whether a disk has the whole adopted log, and has it in the recorded generation."""
    log: Any = disk.store(STORE).contents.get(("log", partition))
    if log is None or log[0] != formation.number:
        return False
    if partition not in formation.lacks_logs(name):
        return True
    tail = max((entry.epoch for entry in entries_of(disk) if entry.chunk.partition == partition), default=log[1].epoch)
    return tail >= formation.logs[partition][1]
