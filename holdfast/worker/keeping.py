"""Keeping: which records' senders this member tells apart, and what those records are answered.

What is known of the senders of one source is entities of one range, so one member, the range's primary, has all of it:
the source's keeper. Who has the log of a partition of the source, its owner, passes the keeper the records, if it is
another member, and gets back the answers. A keeper computes an epoch's first stage when those have come and the epoch
before is applied, as whether a record is a repeat depends on all before it; an epoch is applied here when all replies
to its records are in.
Invariant: what is known of senders stands at the end of an epoch when the epoch is applied, as all other entities do.
Callers and their connections are the shell's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from holdfast.core.epochs import LogEntry
from holdfast.core.pipeline import Pipeline
from holdfast.core.plan import SOURCES
from holdfast.core.positions import Column, joined
from holdfast.core.replies import Answers, images_of
from holdfast.core.senders import FORGOTTEN, Senders
from holdfast.core.turns import Part
from holdfast.recovery.generation import Formation
from holdfast.replication.columns import unpack_column
from holdfast.replication.exchange import Exchange
from holdfast.replication.messages import Answered, Message, Records
from holdfast.replication.routes import Routes
from holdfast.worker.effects import Acknowledge, Answer


@dataclass(frozen=True, slots=True)
class Given:
    """The answers to one epoch's records of one partition, and who waits for them."""

    owner: str  # node
    partition: int
    first: int
    count: int
    answers: Answers


class Keeping:
    """The partitions of one generation whose records come with their senders' ids."""

    def __init__(self, pipeline: Pipeline, routes: Routes) -> None:
        self.pipeline = pipeline
        self.routes = routes
        self.inlet = len(pipeline.plan.steps)  # of replies: the number behind those of all steps
        self.node = ""
        self.owners: dict[int, str] = {}  # of all such partitions: who has the log
        self.keepers: dict[int, str] = {}  # … and who tells senders apart
        self.kept: tuple[int, ...] = ()  # those that this member keeps
        self.told_apart: list[Senders] = []  # of the sources that this member keeps
        self.partners: frozenset[str] = frozenset()  # other members that pass records to it
        self.logged: deque[tuple[int, int, int]] = deque()  # (epoch, own partition, its records so far), not durable
        self.feeders = [SOURCES, *(step.index for step in pipeline.plan.stateful)]

    def begin(self, formation: Formation, node: str) -> None:
        """A generation begins; the routes are laid out, the books stand at its cut."""
        self.node = node
        of_partitions = self.pipeline.senders
        self.owners = {partition: formation.layout.partitions[partition].primary for partition in of_partitions}
        self.keepers = {partition: self._keeper(own.step, formation) for partition, own in of_partitions.items()}
        self.kept = tuple(p for p, keeper in self.keepers.items() if keeper == node)
        self.partners = frozenset(self.owners[p] for p in self.kept) - {node}
        self.told_apart = [s for name, s in self.pipeline.sender_steps.items() if self._keeper(name, formation) == node]
        for senders in self.told_apart:
            senders.restore()

    def _keeper(self, step: str, formation: Formation) -> str:
        return formation.layout.ranges[self.routes.range_of(step)].primary

    # --- records

    def passed_on(self, epoch: int, entries: Sequence[LogEntry]) -> list[tuple[str, Records]]:
        """What other members are to get of the own partitions, once it is durable here."""
        mine = {keeper for p, keeper in self.keepers.items() if self.owners[p] == self.node and keeper != self.node}
        return [
            (node, Records(epoch, tuple(e for e in entries if self.keepers.get(e.chunk.partition) == node)))
            for node in sorted(mine)
        ]

    def has_records(self, exchange: Exchange) -> bool:
        """Whether all that is passed to this member of an epoch is there."""
        return all(node in exchange.records for node in self.partners)

    def entries(self, own: Iterable[LogEntry], exchange: Exchange) -> list[LogEntry]:
        """What this member is to compute, of its own partitions and of those it keeps."""
        mine = [e for e in own if self.keepers.get(e.chunk.partition, self.node) == self.node]
        return mine + [entry for entries in exchange.records.values() for entry in entries]

    def judged(self, parts: list[Part]) -> list[Part]:
        """Parts of an epoch, in order, with what senders sent; what repeats is marked."""
        return self.pipeline.judged(parts, anew=False)

    # --- replies

    def take(self, feeder: int) -> Column:
        """What passed reply steps in this feeder's segments since the last call."""
        column = Column()
        for position, image in sorted(self.pipeline.replies.take_slice(), key=itemgetter(0)):
            column.keys.append(feeder)
            column.messages.append(image)
            column.positions.append(position)
        return column

    def split(self, column: Column) -> dict[str, Column]:
        """Replies by the keepers of the records that caused them; nobody waits for those to other sources' records."""
        parts: dict[str, Column] = {}
        for feeder, image, position in zip(column.keys, column.messages, column.positions, strict=True):
            keeper = self.keepers.get(position[1])
            if keeper is not None:
                part = parts.setdefault(keeper, Column())
                part.keys.append(feeder)
                part.messages.append(image)
                part.positions.append(position)
        return parts

    def may_settle(self, exchange: Exchange) -> bool:
        """Whether all members have given all replies of an epoch; a call that failed anywhere gives none."""
        return not self.kept or exchange.has_all(self.feeders)

    def settle(self, entries: Iterable[LogEntry], exchange: Exchange, *, ends: bool) -> list[Given]:
        """The epoch is applied, up to its end or not: its messages count. Gives the answers to its records."""
        if not self.kept:
            return []
        replies, registry = self.pipeline.replies, self.pipeline.registry
        column = joined(exchange.gather(self.inlet, lambda packed: unpack_column(packed, registry)))
        # What passes several reply steps unchanged keeps its position: then the order of the steps counts.
        found = sorted(zip(column.positions, column.keys, column.messages, strict=True), key=lambda reply: reply[:2])
        replies.put_slice((position, image) for position, _, image in found)
        replies.collect()
        for senders in self.told_apart:
            senders.settle(replies.of)
            if ends:
                senders.forget()
        taken = replies.take()
        chunks = [e.chunk for e in self.entries(entries, exchange) if e.chunk.partition in self.kept]
        return [
            Given(self.owners[c.partition], c.partition, c.first, c.count, taken.get(c.partition, {})) for c in chunks
        ]

    # --- what callers are told

    def closed(self, epoch: int, entries: Iterable[LogEntry]) -> None:
        """An epoch has got these entries of the own partitions."""
        for chunk in (entry.chunk for entry in entries):
            if chunk.partition in self.keepers:
                self.logged.append((epoch, chunk.partition, chunk.first + chunk.count))

    def acknowledged(self, durable: int) -> list[Acknowledge]:
        """What is durable at every member by now, of the own partitions."""
        found = []
        while self.logged and self.logged[0][0] <= durable:
            _, partition, end = self.logged.popleft()
            found.append(Acknowledge(partition, end))
        return found

    def hand_out(self, answers: Iterable[Given], outbox: list[tuple[str, Message]]) -> list[Answer]:
        """The answers of an epoch that is durable at every member: given here, or sent to who has the log."""
        found = []
        for given in answers:
            if given.owner == self.node:
                found.append(Answer(given.partition, given.first, given.count, given.answers))
            else:
                outbox.append((given.owner, _message_of(given)))
        return found

    def answer_of(self, message: Answered) -> Answer:
        """The answers to records that are in the log here."""
        answers: dict[int, Any] = {n: images[0] if len(images) == 1 else images for n, images in message.answers}
        answers |= dict.fromkeys(message.forgotten, FORGOTTEN)
        return Answer(message.partition, message.first, message.count, answers)


def _message_of(given: Given) -> Answered:
    images: list[tuple[int, tuple[bytes, ...]]] = []
    forgotten: list[int] = []
    found: dict[int, Any] = {**given.answers}
    for number, answer in found.items():
        if answer is FORGOTTEN:
            forgotten.append(number)
        else:
            images.append((number, images_of(answer)))
    return Answered(given.partition, given.first, given.count, tuple(images), tuple(forgotten))
