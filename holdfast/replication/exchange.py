"""Exchange: what all members' segments gave in one epoch, gathered by inlet and merged by position.

Each feeder (all sources together, or one stateful step) says exactly once per epoch and receiver what it gave, in
pieces, perhaps nothing: it also says "that was all". Invariant: an inlet is gathered only when every member has said so
for each of its feeders; then its messages are in serial order, whoever sent them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from holdfast.core.epochs import LogEntry
from holdfast.core.positions import Column, merge_runs
from holdfast.replication.messages import Opening, Records, Stage

Unpack = Callable[[bytes], Column]


class Exchange:
    """One epoch, as one member gathers it."""

    def __init__(self, members: Iterable[str]) -> None:
        """`members` are the nodes of the generation, this one among them."""
        self.members = tuple(members)
        self.openings: dict[str, Opening] = {}
        self.records: dict[str, tuple[LogEntry, ...]] = {}  # passed to this member, by who has them in its log
        self._heard: dict[int, set[str]] = {}  # feeder -> members that have said all
        self._own: dict[int, dict[int, list[Column]]] = {}  # inlet -> feeder -> pieces
        self._packed: dict[int, dict[tuple[str, int], list[bytes]]] = {}  # inlet -> (member, feeder) -> pieces of others

    def put_own(self, feeder: int, pieces: Mapping[int, list[Column]]) -> None:
        """What the member's own segments gave for its own keys and sinks."""
        self._note(feeder, "")
        for inlet, own in pieces.items():
            self._own.setdefault(inlet, {})[feeder] = own

    def put(self, sender: str, stage: Stage) -> None:
        """What another member's segments gave."""
        self._note(stage.feeder, sender)
        if stage.opening is not None:
            self.openings[sender] = stage.opening
        for inlet, packed in stage.columns:
            self._packed.setdefault(inlet, {}).setdefault((sender, stage.feeder), []).append(packed)

    def put_records(self, sender: str, records: Records) -> None:
        """What another member has of partitions whose senders this one keeps."""
        assert sender not in self.records, "an owner says once what it has of an epoch"
        self.records[sender] = records.entries

    def _note(self, feeder: int, sender: str) -> None:
        heard = self._heard.setdefault(feeder, set())
        assert sender not in heard, "a feeder says once what it gave"
        heard.add(sender)

    @property
    def is_open(self) -> bool:
        """Whether every member has said how it opened the epoch."""
        return len(self.openings) == len(self.members)

    def has_all(self, feeders: Sequence[int]) -> bool:
        """Whether every member has said all of these feeders."""
        return all(len(self._heard.get(feeder, ())) == len(self.members) for feeder in feeders)

    def gather(self, inlet: int, unpack: Unpack) -> Iterator[Column]:
        """The inlet's messages in serial order, piece by piece; they are handed out once."""
        runs: list[Iterator[Column]] = [iter(pieces) for pieces in self._own.pop(inlet, {}).values()]
        runs += [map(unpack, pieces) for pieces in self._packed.pop(inlet, {}).values()]
        return merge_runs(runs)
