"""A cluster as seen by somebody who sees everything: who logged and held what in which generation, what was durable.

There are no messages: members of one generation act on each other directly, one small step at a time, so that a kill, a
zombie or a change of generation can come between any two. What an epoch holds is known from the first time that it
could be durable, and `BrokenError` is raised as soon as anything says otherwise: an entry lost or changed, an image of
another past, a cut behind a sealed one. It shares with the code under test only what a worker shares with it: messages,
and how much of its log a worker keeps.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from random import Random

from holdfast.core.epochs import Cursor, Lineage
from holdfast.recovery.generation import Checkpoint, Formation
from holdfast.recovery.lineages import EMPTY, NOTHING, kept
from holdfast.recovery.messages import OnDisk, Phase, Remembered, Report

AHEAD = 3  # epochs that a partition may be ahead of the slowest
CUT_EVERY = 2  # on the average


class BrokenError(AssertionError):
    """The promise is broken."""


def expect(condition: object, what: str) -> None:
    if not condition:
        raise BrokenError(what)


@dataclass
class Log:
    """One partition's log on one disk."""

    adopted: int = 0
    base: int = 0
    base_ended: bool = False
    entries: dict[int, tuple[int, str]] = field(default_factory=dict)  # epoch -> (generation, content)

    @property
    def tail(self) -> int:
        return max(self.entries, default=self.base)

    @property
    def ended(self) -> bool:
        return self.entries[self.tail][1].endswith("!") if self.entries else self.base_ended

    def lineage(self) -> Lineage:
        spans: dict[int, int] = {}
        for epoch in sorted(self.entries):
            spans[self.entries[epoch][0]] = epoch
        return Lineage(self.adopted, Cursor(self.base), self.tail, tuple(spans.items()), self.ended)

    def cut_off(self, epoch: int) -> None:
        self.entries = {e: entry for e, entry in self.entries.items() if e <= epoch}

    def trim(self, epoch: int) -> None:
        if epoch > self.base:
            self.base_ended |= any(c.endswith("!") for e, (_, c) in self.entries.items() if e <= epoch)
            self.base = epoch
            self.entries = {e: entry for e, entry in self.entries.items() if e > epoch}


@dataclass
class Staged:
    """A checkpoint on one disk."""

    number: int
    epoch: int
    images: dict[int, int]  # range -> digest

    def found(self) -> OnDisk:
        return OnDisk(self.number, self.epoch, None, tuple(sorted(self.images)))


@dataclass
class Node:
    """A disk, and the life that works on it, if any."""

    name: str
    incarnation: int = 0
    alive: bool = False
    # on disk
    adopted: int = 0
    logs: dict[int, Log] = field(default_factory=dict)
    complete: Staged | None = None
    prepared: Staged | None = None
    # in memory
    phase: Phase = Phase.JOIN
    promised: int = 0
    generation: int = 0
    remembers: int = 0
    sealed: int = 0
    applied: int = 0
    memory: dict[int, dict[int, int]] = field(default_factory=dict)  # range -> cut -> digest

    def boot(self) -> None:
        self.incarnation += 1
        self.alive, self.phase = True, Phase.JOIN
        self.promised = self.generation = self.remembers = self.sealed = self.applied = 0
        self.memory = {}

    def ask(self, promise: int) -> None:
        if promise > self.promised:
            self.promised, self.phase = promise, Phase.FENCED

    def report(self, *, with_memory: bool) -> Report:
        spans: dict[tuple[int, int], list[int]] = {}
        for number, cuts in self.memory.items():
            if cuts and with_memory:
                spans.setdefault((min(cuts), max(cuts)), []).append(number)
        return Report(
            promise=self.promised,
            adopted=self.adopted,
            sealed=self.sealed,
            remembers=self.remembers,
            memory=tuple(Remembered(tuple(numbers), *span) for span, numbers in spans.items()),
            logs=tuple((partition, log.lineage()) for partition, log in self.logs.items()),
            complete=self.complete.found() if self.complete else None,
            prepared=self.prepared.found() if self.prepared else None,
        )


@dataclass
class Generation:
    """What happens in one generation, over all its members."""

    formation: Formation
    digests: dict[int, int]
    cuts: list[int]
    contents: dict[int, dict[int, str]] = field(default_factory=dict)  # partition -> epoch -> content
    closed: dict[int, int] = field(default_factory=dict)  # by partition
    held: dict[tuple[int, str], int] = field(default_factory=dict)  # (partition, backup) -> epoch
    staging: tuple[int, int] | None = None  # checkpoint, cut
    ran: set[str] = field(default_factory=set)
    noted: int = 0  # what it made durable is known up to here


class Cluster:
    """All nodes, all generations, and the one truth."""

    def __init__(self, names: str, *, ranges: int, partitions: int, backups: int, live: bool) -> None:
        self.nodes = {name: Node(name) for name in names}
        self.ranges, self.partitions, self.backups, self.live = ranges, partitions, backups, live
        self.truth: dict[tuple[int, int], str] = {}  # (partition, epoch) -> content, "" for none, once durable
        self.digests: dict[int, int] = {}
        self.known = 0  # epochs up to here are durable
        self.sealed = 0  # the last cut that any life learnt to be sealed
        self.checkpoint: Checkpoint | None = None
        self.generations: dict[int, Generation] = {}
        self.contents = 0
        self.counters: dict[str, int] = {}

    def count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1

    # --- the truth

    def digest(self, epoch: int) -> int:
        """Of everything up to an epoch that is durable."""
        start, digest = max((own for own in self.digests.items() if own[0] <= min(epoch, self.known)), default=(0, 0))
        for e in range(start + 1, epoch + 1):
            digest = hash((digest, tuple(self.truth.get((p, e), "") for p in range(self.partitions))))
            if e == self.known:
                self.digests = {e: digest}
        return digest

    def note_durable(self, generation: Generation, epoch: int) -> None:
        """Up to here all is as it is for ever; but what is empty behind the last entry may yet get something."""
        while epoch > generation.noted and all(epoch not in own for own in generation.contents.values()):
            epoch -= 1
        for e in range(self.known + 1, min(generation.formation.cut, epoch - 1) + 1):
            self.truth.update({(partition, e): "" for partition in range(self.partitions)})
        for e in range(max(generation.noted, generation.formation.cut) + 1, epoch + 1):
            for partition in range(self.partitions):
                content = generation.contents[partition].get(e, "")
                before = self.truth.setdefault((partition, e), content)
                expect(before == content, f"epoch {e} of {partition} was {before!r} and is {content!r}")
        generation.noted = max(generation.noted, epoch)
        self.known = max(self.known, epoch)

    def check_log(self, node: Node, partition: int, *, counted: bool) -> None:
        log = node.logs[partition]
        for epoch in range(log.base + 1, self.known + 1):
            true = self.truth.get((partition, epoch), "")
            own = log.entries.get(epoch, (0, ""))[1]
            is_right = own == true or (own == "" and not counted)
            expect(is_right, f"{node.name}: epoch {epoch} of {partition}: {own!r}, not {true!r}")

    # --- what the record says

    def check_decision(self, formation: Formation, reporting: list[str], record: Formation | None) -> None:
        """What can be said of a formation before anybody adopts it."""
        expect(formation.cut >= (self.checkpoint.epoch if self.checkpoint else 0), "behind the last checkpoint")
        if formation.in_memory:
            self.count("from memory")
        elif formation.checkpoint:
            self.count("from disk")
        known = [self.nodes[name].sealed for name in reporting if self._took_part(self.nodes[name], record)]
        newest = max(known, default=0)
        if newest > formation.cut:
            true = self.digest(newest)
            for number in range(self.ranges):
                holders = [
                    name
                    for name in reporting
                    if self._took_part(self.nodes[name], record)
                    and self.nodes[name].memory.get(number, {}).get(newest) == true
                ]
                if not holders:
                    self.count("a sealed cut without holders")
                    return
            expect(self.backups == 0, f"cut {formation.cut} is behind {newest}, sealed, and all ranges have holders")

    def _took_part(self, node: Node, record: Formation | None) -> bool:
        """In every generation recorded since its memory was returned."""
        member = record.member(node.name) if record else None
        return member is not None and member.incarnation == node.incarnation and node.remembers == record.number  # type: ignore[union-attr]

    # --- adopting

    def adopt(self, node: Node, formation: Formation) -> None:
        """On disk: the logs are cut off."""
        expect(node.promised <= formation.number, "adopted against a promise")
        node.phase, node.generation, node.promised = Phase.ADOPT, formation.number, formation.number
        node.adopted = formation.number
        for partition, holders in enumerate(formation.layout.partitions):
            if node.name not in holders.all:
                continue
            log = node.logs.setdefault(partition, Log())
            upto = kept(formation, node.name, partition, log.lineage() if log.adopted else EMPTY)
            if upto == NOTHING:
                node.logs[partition] = log = Log()
            log.adopted = formation.number
            log.cut_off(upto)
            self.check_log(node, partition, counted=partition not in formation.lacks_logs(node.name))
        number = formation.checkpoint.number if formation.checkpoint else 0
        if node.prepared and node.prepared.number == number:
            node.complete, node.prepared = node.prepared, None
        node.prepared = None

    def run(self, node: Node) -> None:
        """In memory: back to the cut."""
        formation = self.generations[node.generation].formation
        true = self.digest(formation.cut)
        memory: dict[int, dict[int, int]] = {}
        for number, holders in enumerate(formation.layout.ranges):
            if node.name not in holders.all or number in formation.lacks(node.name):
                continue
            if formation.in_memory:
                image = node.memory.get(number, {}).get(formation.cut)
            elif formation.checkpoint is None:
                image = 0
            else:
                disk = node.complete
                found = disk is not None and disk.number == formation.checkpoint.number
                image = disk.images.get(number) if found and disk else None
            expect(
                image == true, f"{node.name}: the image of range {number} at cut {formation.cut} is {image}, not {true}"
            )
            memory[number] = {formation.cut: true}
        node.memory = memory
        node.phase, node.remembers = Phase.RUN, formation.number
        node.sealed = node.applied = formation.cut
        self.generations[formation.number].ran.add(node.name)
        self.start_partitions(node, self.generations[formation.number])

    def announce(self, formation: Formation) -> None:
        """It is recorded."""
        cut = formation.cut
        self.generations[formation.number] = Generation(formation, {cut: self.digest(cut)}, [cut])

    def start_partitions(self, node: Node, generation: Generation) -> None:
        formation = generation.formation
        for partition, holders in enumerate(formation.layout.partitions):
            if holders.primary != node.name:
                continue
            log = node.logs[partition]
            expect(log.base <= formation.cut, f"{node.name} can't say where partition {partition} stood at the cut")
            expect(log.tail <= max(formation.level, log.base), "an entry beyond the level")
            contents = {e: content for e, (_, content) in log.entries.items() if e > formation.cut}
            generation.contents[partition] = contents
            generation.closed[partition] = formation.level
        if not self.live and len(generation.closed) == self.partitions:
            for epoch in range(formation.cut + 1, formation.level + 1):
                self.check_whole(generation, epoch)

    def check_whole(self, generation: Generation, epoch: int) -> None:
        """An epoch of finite sources has something of every partition that has not ended, or of none."""
        has = set()
        for partition, contents in generation.contents.items():
            primary = self.nodes.get(generation.formation.layout.partitions[partition].primary)
            if primary is None:
                return
            log = primary.logs[partition]
            if not log.base_ended and not any(c.endswith("!") for e, (_, c) in log.entries.items() if e < epoch):
                has.add(epoch in contents)
        expect(len(has) <= 1, f"half of epoch {epoch} was kept")

    # --- steps of a generation

    def member(self, generation: Generation, name: str) -> Node | None:
        """The node, if it works in this generation."""
        node = self.nodes.get(name)
        if node is None or not node.alive or node.phase is not Phase.RUN:
            return None
        return node if node.generation == generation.formation.number else None

    def close(self, generation: Generation, partition: int, random: Random, stopped: Set[str] = frozenset()) -> None:
        primary = self.member(generation, generation.formation.layout.partitions[partition].primary)
        if primary is None or len(generation.closed) < self.partitions:
            return
        epoch = generation.closed[partition] + 1
        if epoch > min(generation.closed.values()) + AHEAD:
            return
        is_stopped = primary.name in stopped
        if is_stopped and epoch > max(generation.closed.values()):
            return
        generation.closed[partition] = epoch
        has_ended = primary.logs[partition].ended
        void = (epoch * 7 + generation.formation.number) % 5 == 0  # the same for all: it carries nothing
        if has_ended or (is_stopped and self.live) or (random.random() < 0.4 if self.live else void):
            return
        self.contents += 1
        content = f"{self.contents}{'!' if random.random() < 0.03 else ''}"
        generation.contents[partition][epoch] = content
        primary.logs[partition].entries[epoch] = (generation.formation.number, content)

    def copy(self, generation: Generation, partition: int, backup: str) -> None:
        """The primary sends the next entry that the backup has not."""
        primary = self.member(generation, generation.formation.layout.partitions[partition].primary)
        node = self.member(generation, backup)
        if primary is None or node is None or partition not in generation.closed:
            return
        source, log = primary.logs[partition], node.logs[partition]
        if log.tail < source.base:
            log.base, log.base_ended, log.entries = source.base, source.base_ended, {}
        missing = sorted(e for e in source.entries if e > log.tail)
        if missing:
            log.entries[missing[0]] = source.entries[missing[0]]
        upto = missing[1] - 1 if len(missing) > 1 else generation.closed[partition]
        generation.held[partition, backup] = upto

    def durable(self, generation: Generation) -> int:
        formation = generation.formation
        reached = []
        for partition, holders in enumerate(formation.layout.partitions):
            closed = generation.closed.get(partition)
            acknowledged = [generation.held.get((partition, backup), -1) for backup in holders.backups]
            # Until all have the whole adopted log, nothing more of it counts as durable.
            if closed is None or any(upto < formation.logs[partition][1] for upto in acknowledged):
                return formation.cut
            reached.append(min([closed, *acknowledged]))
        if any(member.node not in generation.ran for member in formation.members):
            return formation.cut  # the minimum is over all members; one that never ran here has told nothing
        epoch = max(formation.cut, min(reached))
        self.note_durable(generation, epoch)
        return epoch

    def apply(self, generation: Generation, name: str, random: Random) -> None:
        node = self.member(generation, name)
        if node is None or len(generation.closed) < self.partitions or node.applied >= min(generation.closed.values()):
            return
        node.applied += 1
        epoch = node.applied
        if epoch not in generation.digests:
            contents = tuple(generation.contents[p].get(epoch, "") for p in range(self.partitions))
            generation.digests[epoch] = hash((generation.digests[epoch - 1], contents))
            if random.random() < 1 / CUT_EVERY:
                generation.cuts.append(epoch)
        if epoch in generation.cuts:
            for number, holders in enumerate(generation.formation.layout.ranges):
                if holders.primary == name:
                    node.memory[number][epoch] = generation.digests[epoch]

    def ship(self, generation: Generation, name: str, backup: str) -> None:
        """The next cut's images of all that the one is primary and the other backup of."""
        source, node = self.member(generation, name), self.member(generation, backup)
        if source is None or node is None:
            return
        for number, holders in enumerate(generation.formation.layout.ranges):
            if holders.primary == name and backup in holders.backups:
                have = node.memory.setdefault(number, {})
                next_cut = next((c for c in generation.cuts if c > max(have, default=-1) and c <= source.applied), None)
                if next_cut is not None:
                    have[next_cut] = generation.digests[next_cut]

    def sealable(self, generation: Generation) -> int:
        """The last cut that could be sealed now."""
        formation = generation.formation
        reached = [self.durable(generation)]
        for member in formation.members:
            node = self.nodes.get(member.node)
            if node is None or node.incarnation != member.incarnation or node.remembers != formation.number:
                return formation.cut
            reached.append(node.applied)
            for number, holders in enumerate(formation.layout.ranges):
                if member.node in holders.all:
                    reached.append(max(node.memory.get(number, {}), default=0))
        return max([c for c in generation.cuts if c <= min(reached)], default=formation.cut)

    def learn(self, generation: Generation, name: str) -> None:
        node = self.member(generation, name)
        if node is None:
            return
        sealed = self.sealable(generation)
        if sealed > node.sealed:
            node.sealed = sealed
            self.sealed = max(self.sealed, sealed)
            staging = generation.staging[1] if generation.staging else 0  # being written: its images are kept for that
            for cuts in node.memory.values():
                for cut in [c for c in cuts if c < sealed and c not in (max(cuts), staging)]:
                    del cuts[cut]

    def has_caught_up(self, generation: Generation, name: str) -> bool:
        """Whether all backups of the member have what they lacked."""
        formation = generation.formation
        for number, holders in enumerate(formation.layout.ranges):
            for backup in holders.backups if holders.primary == name else ():
                node = self.nodes.get(backup)
                if node is None or backup not in generation.ran or not node.memory.get(number):
                    return False
        return all(
            generation.held.get((partition, backup), -1) >= formation.logs[partition][1]
            for partition, holders in enumerate(formation.layout.partitions)
            for backup in (holders.backups if holders.primary == name else ())
        )

    # --- checkpoints

    def stage(self, generation: Generation, number: int, *, at_rest: bool = False) -> None:
        """A round begins at the last sealed cut; in a cluster at rest, at its end."""
        last = min(generation.closed.values(), default=0)
        if at_rest and last not in generation.cuts:
            generation.cuts.append(last)
            for number_of_range, holders in enumerate(generation.formation.layout.ranges):
                self.nodes[holders.primary].memory[number_of_range][last] = generation.digests[last]
        cut = self.sealable(generation)
        if at_rest and cut < last:
            return
        if generation.staging is None or generation.staging[0] != number:
            generation.staging = (number, cut)

    def prepare(self, generation: Generation, name: str) -> None:
        node = self.member(generation, name)
        if node is None or generation.staging is None:
            return
        number, cut = generation.staging
        held = [r for r, own in enumerate(generation.formation.layout.ranges) if name in own.all]
        is_new = node.prepared is None or node.prepared.number < number
        if is_new and all(cut in node.memory.get(r, {}) for r in held) and self.sealable(generation) >= cut:
            node.prepared = Staged(number, cut, {r: node.memory[r][cut] for r in held})

    def complete(self, node: Node, number: int) -> None:
        """The coordinator's record is durable, and the node has heard of it."""
        if node.prepared and node.prepared.number == number:
            node.complete, node.prepared = node.prepared, None
            layout = self.generations[node.generation].formation.layout
            node.logs = {p: log for p, log in node.logs.items() if node.name in layout.partitions[p].all}
            for log in node.logs.values():
                log.trim(node.complete.epoch)

    # --- one step of some generation

    def step(
        self,
        generation: Generation,
        random: Random,
        blocked: Set[frozenset[str]] = frozenset(),
        stopped: Set[str] = frozenset(),
    ) -> None:
        """Something small happens among its members."""
        formation = generation.formation
        names = [member.node for member in formation.members]
        partition = random.randrange(self.partitions)
        match random.choice(
            ("close", "close", "copy", "copy", "copy", "apply", "apply", "ship", "ship", "learn", "durable")
        ):
            case "close":
                self.close(generation, partition, random, stopped)
            case "copy":
                holders = formation.layout.partitions[partition]
                for backup in holders.backups:
                    if random.random() < 0.7 and frozenset((holders.primary, backup)) not in blocked:
                        self.copy(generation, partition, backup)
            case "apply":
                self.apply(generation, random.choice(names), random)
            case "ship":
                pair = random.choice(names), random.choice(names)
                if frozenset(pair) not in blocked:
                    self.ship(generation, *pair)
            case "learn":
                self.learn(generation, random.choice(names))
            case "durable":
                self.durable(generation)
