"""Rules that must hold in a cluster after every event, checked against all disks and machines at once.

I1 what is delivered of an epoch, or told its source, is on every disk that must have it · I3 logs go back to the last
complete checkpoint, and what was delivered or told is never lost from them · I5 a generation is recorded before anybody
hears of it, and has one content · I7 no return goes behind a sealed cut that is in memory, or the last complete
checkpoint; what is called sealed is delivered, held by all backups and logged by all holders · I8 images are equal at
all holders when a generation begins. I6 is the verdict's, I2 and I4 are the machines' and show in these; disks are read
in cluster_audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.chaos.cluster_node import ClusterNode
from holdfast.chaos.cluster_verdict import base_of, entries_of, images_of, records_of
from holdfast.chaos.counters import Counters
from holdfast.chaos.inputs import records_before
from holdfast.chaos.outputs import Violation
from holdfast.chaos.verdict import Held
from holdfast.core.replies import Answer
from holdfast.recovery import effects as coordinator_effects
from holdfast.recovery.events import Kept
from holdfast.recovery.generation import Checkpoint, Formation
from holdfast.recovery.messages import Announce, Ask, Phase, Run
from holdfast.replication.messages import Envelope, Opening, Stage, UpdateSet
from holdfast.storage.memory_partition_log import STORE
from holdfast.worker import cluster_effects, cluster_events, effects
from holdfast.worker.member import Member
from holdfast.worker.running import Running

Entry = tuple[int, int, int]  # generation, first record, records


class ClusterInvariants:
    """What the history of all must never show."""

    def __init__(self, nodes: Sequence[ClusterNode], counters: Counters) -> None:
        """`nodes` grows with the cluster."""
        self.kept = Kept()
        self.images: dict[int, dict[int, Held]] = {}  # cut returned to -> range -> what it held
        self.delivered = 0  # the last epoch of which something was handed to a sink
        self._nodes = nodes
        self._counters = counters
        self._formations: dict[int, Formation] = {}
        self._frozen: dict[tuple[int, int], Entry] = {}  # (partition, epoch) of what was delivered
        self._unseen: set[tuple[int, int]] = set()  # trimmed on all disks before anything was delivered
        self._begun: dict[str, tuple[int, int]] = {}  # node -> (incarnation, generation) last seen at its beginning
        self._sealed: dict[str, tuple[int, int]] = {}  # node -> (generation, the last cut that it called sealed)
        self._order_numbers: dict[str, int] = {}
        self.answers: dict[tuple[int, int], Answer] = {}  # (partition, record) -> what its sender was told
        self._told: dict[int, int] = {}  # partition -> records that its source was told it may forget
        self._without_output: set[int] = set()  # generations in which an output was found to lack what the cut says

    def node(self, name: str) -> ClusterNode | None:
        """The machine that goes by this name."""
        return next((node for node in self._nodes if node.name == name), None)

    def was_begun_by_all(self, formation: Formation) -> bool:
        """Whether every member has returned to this generation's cut."""
        begun = [(member.incarnation, formation.number) for member in formation.members]
        return [self._begun.get(member.node) for member in formation.members] == begun

    # --- the coordinator

    def coordinator_ordered(self, effect: coordinator_effects.Effect) -> None:
        """The coordinator has given an order."""
        if not isinstance(effect, coordinator_effects.Tell):
            return
        before = self._order_numbers.get(effect.node, 0)
        if effect.order.number < before:
            raise Violation(f"order {effect.order.number} to {effect.node} after order {before}")
        self._order_numbers[effect.node] = effect.order.number
        match effect.order.order:
            case Ask(promise):
                if self.kept.drawn < promise:
                    raise Violation(f"I5: {promise} is asked for, {self.kept.drawn} is the last number drawn durably")
            case Announce(formation):
                if self.kept.formation != formation:
                    raise Violation(f"I5: generation {formation.number} is announced before it is recorded")
            case Run(complete=complete) if complete:
                known = self.kept.checkpoint.number if self.kept.checkpoint is not None else 0
                if complete > known:
                    raise Violation(f"checkpoint {complete} is called complete before it is recorded")
            case _:
                pass

    def coordinator_stored(self, kept: Kept) -> None:
        """A record of the coordinator's is durable."""
        before, self.kept = self.kept, kept
        if kept.drawn < before.drawn:
            raise Violation(f"I5: number {kept.drawn} is drawn after {before.drawn}")
        if before.checkpoint is not None and (
            kept.checkpoint is None or kept.checkpoint.epoch < before.checkpoint.epoch
        ):
            raise Violation(f"checkpoint {before.checkpoint} was complete, now it is {kept.checkpoint}")
        formation, checkpoint = kept.formation, kept.checkpoint
        if formation is not None and checkpoint is not None and checkpoint != before.checkpoint:
            self._check_ended(formation, checkpoint)
        if formation is None or formation == before.formation:
            return
        known = self._formations.setdefault(formation.number, formation)
        if known != formation or (before.formation is not None and formation.number <= before.formation.number):
            raise Violation(f"I5: generation {formation.number} has two contents, or comes late")
        epoch = checkpoint.epoch if checkpoint is not None else 0
        if formation.cut < epoch:
            raise Violation(f"I7: generation {formation.number} returns to {formation.cut}, behind {epoch}")
        self._check_logs(formation)
        # Epochs behind the level were logged nowhere: what they are now is not what a cut in memory made of them.
        self.images = {cut: held for cut, held in self.images.items() if cut <= formation.level}
        if before.formation is not None:
            self._check_cut(before.formation, formation)
            self._count_change(before.formation, formation)

    def _check_ended(self, formation: Formation, checkpoint: Checkpoint) -> None:
        """Nothing is logged behind the checkpoint that is said to be that of the end, unless a call failed there."""
        if not checkpoint.ended or checkpoint.limit is not None:
            return
        holders = {name for holders in formation.layout.partitions for name in holders.all}
        for node in filter(None, map(self.node, sorted(holders))):
            behind = [entry.epoch for entry in entries_of(node.disk) if entry.epoch > checkpoint.epoch]
            if behind:
                raise Violation(f"{checkpoint} is that of the end, and {node.name} has logged epochs {behind}")

    def _check_logs(self, formation: Formation) -> None:
        """What was delivered must be in the adopted logs."""
        for (partition, epoch), entry in self._frozen.items():
            if epoch > formation.cut and epoch > formation.logs[partition][1]:
                raise Violation(
                    f"I3: generation {formation.number} goes on with a log of partition {partition} that ends at"
                    f" {formation.logs[partition][1]}; {entry} of epoch {epoch} was delivered"
                )

    def _check_cut(self, before: Formation, formation: Formation) -> None:
        """The newest cut that somebody who is there knows to be sealed is returned to, if it is in memory."""
        stayed: list[Member] = []
        for member in formation.members:
            old = before.member(member.node)
            node = self.node(member.node)
            machine = node.member if node is not None else None
            if old is None or machine is None or old.incarnation != member.incarnation != 0:
                continue
            if machine.incarnation == member.incarnation and machine.holding is not None and machine.cuts is not None:
                stayed.append(machine)
        sealed = max((m.cuts.sealed for m in stayed if m.cuts is not None and _took_part(m, before)), default=0)
        if formation.cut >= max(sealed, before.cut) or (formation.cut >= sealed and not formation.in_memory):
            return
        if before.number in self._without_output and not formation.in_memory:
            return
        remembered = {
            number
            for machine in stayed
            if machine.holding is not None and machine.holding.returned_in >= _since(before, machine.node)
            for one in machine.holding.remembered
            if one.base <= sealed <= one.top
            for number in one.ranges
        }
        if len(remembered) == len(formation.layout.ranges):
            raise Violation(
                f"I7: generation {formation.number} returns to {formation.cut}; {sealed} is sealed and in memory"
            )
        self._counters.meet("return behind a sealed cut")

    def _count_change(self, before: Formation, formation: Formation) -> None:
        if formation.in_memory:
            self._counters.meet("return in memory")
            for old, new in zip(before.layout.ranges, formation.layout.ranges, strict=True):
                if old.primary != new.primary and formation.member(old.primary) is None:
                    self._counters.meet("promotion")
                    if not self.was_begun_by_all(before):
                        self._counters.meet("promotion during recovery")
                    break
        else:
            self._counters.meet("return to a checkpoint")
        if formation.lacking or formation.lacking_logs:
            self._counters.meet("catch-up")
        if not any(name in self._begun and self._begun[name][1] == before.number for name in self._names(before)):
            self._counters.meet("two recoveries chained")
        if formation.limit is not None:
            self._counters.meet("stopped at a failing record")
        if formation.careful:
            self._counters.meet("careful generation")
        if formation.cut < self.delivered:
            self._counters.meet("start behind delivered output")

    @staticmethod
    def _names(formation: Formation) -> list[str]:
        return [member.node for member in formation.members]

    # --- workers

    def ordered(self, node: ClusterNode, effect: Any) -> None:
        """A member has given an order."""
        match effect:
            case effects.Deliver():
                self._freeze(node, effect.epoch)
            case effects.Acknowledge():
                self._check_told(node, effect.partition, effect.upto)
            case effects.Answer():
                self._check_told(node, effect.partition, effect.first + effect.count)
                self._check_answers(effect)
            case cluster_effects.TrimEntries():
                checkpoint = self.kept.checkpoint.epoch if self.kept.checkpoint is not None else 0
                if effect.upto > checkpoint:
                    raise Violation(f"I3: {node.name} trims to {effect.upto}, the checkpoint is at {checkpoint}")
            case effects.StageChunks():
                running = node.member.running if node.member is not None else None
                pending = running.staging.pending if running is not None else None
                if running is not None and pending is not None and running.progress.sealed < pending.cut:
                    raise Violation(f"{node.name} stages the cut {pending.cut}, which is not sealed")
            case effects.CompleteCheckpoint():
                known = self.kept.checkpoint.number if self.kept.checkpoint is not None else 0
                if effect.checkpoint > known:
                    raise Violation(f"{node.name} completes checkpoint {effect.checkpoint}, recorded is {known}")
            case cluster_effects.SendPeer(envelope=Envelope(message=UpdateSet(cut=cut))):
                running = node.member.running if node.member is not None else None
                if running is not None and running.own_sinks and running.delivery.delivered < cut:
                    self._counters.meet("sink lagging behind a cut")
            case cluster_effects.SendPeer(envelope=Envelope(message=Stage(opening=Opening(logged=True)) as stage)):
                if not any(entry.epoch == stage.epoch for entry in entries_of(node.disk)):
                    raise Violation(f"{node.name} has computed epoch {stage.epoch}, which its log does not have")
            case _:
                pass

    def _check_told(self, node: ClusterNode, partition: int, upto: int) -> None:
        """Senders are told of records that are on all disks that must have them."""
        member = node.member
        if member is None or member.formation is None:
            return
        for name in member.formation.layout.partitions[partition].all:
            holder = self.node(name)
            if holder is None:
                continue
            entries = [entry.chunk for entry in entries_of(holder.disk) if entry.chunk.partition == partition]
            held = max((chunk.first + chunk.count for chunk in entries), default=None)
            if held is not None and held < upto:
                raise Violation(f"I1: records of partition {partition} up to {upto} are told of, {name} has {held}")

    def told(self, node: ClusterNode, order: effects.TellSource) -> None:
        """A source may forget what it is told is durable: all disks that must have it do, and it stays in the logs.

        Who has yet to get the log gets it from who has all of it; nothing new becomes durable before.
        """
        member, partition, upto = node.member, order.partition, records_before(order.offset)
        if member is None or member.formation is None:
            return
        for name in member.formation.layout.partitions[partition].all:
            holder = self.node(name)
            if holder is None or partition in member.formation.lacks_logs(name):
                continue
            if member.formation == self.kept.formation and records_of(holder.disk, partition) < upto:
                held = records_of(holder.disk, partition)
                raise Violation(f"I1: the source of partition {partition} is told of {upto} records, {name} has {held}")
        self._told[partition] = max(self._told.get(partition, 0), upto)

    def _check_answers(self, order: effects.Answer) -> None:
        for number in range(order.first, order.first + order.count):
            answer = order.answers.get(number)
            known = self.answers.setdefault((order.partition, number), answer)
            if known != answer:
                raise Violation(f"record {number} was answered {known!r}, and now {answer!r}")

    def _freeze(self, node: ClusterNode, epoch: int) -> None:
        """Outputs of an epoch leave: what it was made of must be on all disks that hold it, and stays as it is."""
        member = node.member
        if epoch <= self.delivered or member is None or member.formation is None:
            return
        self._frozen |= self._logged(member.formation, epoch, "delivered")
        self.delivered = epoch

    def _logged(self, formation: Formation, epoch: int, what: str) -> dict[tuple[int, int], Entry]:
        """What all disks that must have it have of the epochs behind the last one delivered."""
        found: dict[tuple[int, int], Entry] = {}
        for partition, holders in enumerate(formation.layout.partitions):
            copies: list[tuple[str, int, dict[int, Entry]]] = []
            for name in holders.all:
                holder = self.node(name)
                base = base_of(holder.disk, partition) if holder is not None else None
                if holder is not None and base is not None:
                    copies.append((name, base, self._entries(holder, partition, self.delivered, epoch)))
                elif holder is not None:
                    raise Violation(f"I1: epoch {epoch} is {what}; {name} has no log of partition {partition}")
            if not copies:
                continue
            longest, least, first = min(copies, key=lambda copy: copy[1])
            for name, base, entries in copies:
                if _behind(entries, base) != _behind(first, base):
                    raise Violation(
                        f"I1: epoch {epoch} is {what}; of partition {partition} {longest} has {first},"
                        f" {name} has {entries}"
                    )
            self._unseen |= {(partition, trimmed) for trimmed in range(self.delivered + 1, least + 1)}
            found |= {(partition, number): entry for number, entry in first.items()}
        return found

    @staticmethod
    def _entries(node: ClusterNode, partition: int, after: int, upto: int) -> dict[int, Entry]:
        contents = node.disk.store(STORE).contents
        found = {}
        for epoch in range(after + 1, upto + 1):
            entry: Any = contents.get(("entry", partition, epoch))
            if entry is not None:
                found[epoch] = (entry.generation, entry.chunk.first, entry.chunk.count)
        return found

    def done(self, node: ClusterNode, order: object) -> None:
        """An order was carried out."""
        if isinstance(order, cluster_effects.AdoptFormation):
            self._check_adopted(node, order.formation, dict(order.logs))

    def _check_adopted(self, node: ClusterNode, formation: Formation, kept: dict[int, int]) -> None:
        """A log that counts as the adopted one has what was delivered, and nothing else there."""
        if formation != self.kept.formation:
            return  # others have gone on without it, and it will hear of that
        entries = list(entries_of(node.disk))
        found = {(e.chunk.partition, e.epoch): (e.generation, e.chunk.first, e.chunk.count) for e in entries}
        for partition in kept:
            base = base_of(node.disk, partition) or 0
            whole = kept[partition] >= formation.logs[partition][1]
            told = self._told.get(partition, 0)
            if whole and records_of(node.disk, partition) < told:
                raise Violation(f"I3: {node.name} adopts a log of partition {partition} without {told} records told")
            for epoch in range(base + 1, self.delivered + 1):
                wanted, held = self._frozen.get((partition, epoch)), found.get((partition, epoch))
                if (partition, epoch) in self._unseen:
                    continue
                if held != wanted and (held is not None or whole):
                    raise Violation(
                        f"I3: {node.name} adopts a log of partition {partition} that has {held} in epoch {epoch},"
                        f" of which {wanted} was delivered"
                    )

    def handled(self, node: ClusterNode, event: object) -> None:
        """A member has handled an event."""
        member = node.member
        if isinstance(event, cluster_events.OutputLost) and member is not None and member.formation is not None:
            self._without_output.add(member.formation.number)
        if member is None or member.phase is not Phase.RUN or member.formation is None:
            return
        self._check_sealed(node, member, member.formation)
        begun = (member.incarnation, member.formation.number)
        if self._begun.get(node.name) == begun:
            return
        self._begun[node.name] = begun
        self._check_images(node, member, member.formation)

    def _check_sealed(self, node: ClusterNode, member: Member, formation: Formation) -> None:
        """A cut is called sealed here: everybody can return to it, and nothing before it is missed.

        Of who has left the generation since nothing can be said.
        """
        assert member.cuts is not None
        sealed = (formation.number, member.cuts.sealed)
        if self._sealed.get(node.name, (formation.number, formation.cut)) == sealed:
            return
        self._sealed[node.name] = sealed
        cut = member.cuts.sealed
        if cut <= formation.cut or self.kept.formation != formation:
            return
        self._logged(formation, cut, "sealed")
        for other in formation.members:
            machine = self.node(other.node)
            running = machine.member.running if machine is not None and machine.member is not None else None
            if running is None or running.formation != formation:
                continue
            if running.delivery.delivered < cut:
                delivered = running.delivery.delivered
                raise Violation(f"I7: {node.name} calls {cut} sealed; {other.node} has delivered {delivered}")
            missing = _not_remembered(running, max(cut, running.cuts.sealed))
            if missing:
                raise Violation(f"I7: {node.name} calls {cut} sealed; {other.node} can't return ranges {missing} to it")

    def _check_images(self, node: ClusterNode, member: Member, formation: Formation) -> None:
        """A generation has begun here: what is held of each range is what the others hold of it at this cut."""
        if formation.checkpoint is not None and formation.checkpoint.limit is not None:
            return  # the cut lies inside an epoch
        assert member.holding is not None
        assert member.running is not None
        if member.running.flow.applied != formation.cut:
            return  # it has worked since
        known = self.images.setdefault(formation.cut, {})
        for number, held in images_of(member.holding, member.registry).items():
            if known.setdefault(number, held) != held:
                raise Violation(
                    f"I8: range {number} at the cut {formation.cut} is {held} at {node.name},"
                    f" and elsewhere it was {known[number]}"
                )


def _not_remembered(running: Running, cut: int) -> list[int]:
    """The ranges held that could not be returned to a cut in memory, where anything can."""
    if not running.holding.keeps_undo:
        return []
    offered = {n for one in running.holding.remembered if one.base <= cut <= one.top for n in one.ranges}
    return sorted(set(running.holding.ranges) - offered)


def _behind(entries: dict[int, Entry], base: int) -> dict[int, Entry]:
    return {epoch: entry for epoch, entry in entries.items() if epoch > base}


def _took_part(member: Member, formation: Formation) -> bool:
    """Whether it has got as far as the generation's cut: what it knew before is of a past that may be given up."""
    return member.holding is not None and member.holding.returned_in == formation.number


def _since(formation: Formation, node: str) -> int:
    member = formation.member(node)
    return member.since if member is not None else 0
