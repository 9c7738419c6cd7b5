"""The contract of Log and State as tests: a model of plain dicts against whatever implements them.

A `World` is one implementation with a way to end its process and begin the next life. Two machines drive it
at random; tests/storage/test_conformance.py binds them to the memory twins and to LMDB and adds the cases
worth a name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.core.epochs import Chunk, Epoch
from holdfast.storage.directory import DataDirectory
from holdfast.storage.log import Log, size_in_memory
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.state import State
from tests.storage.killing import Killer, kill_twin


class World(Protocol):
    """One implementation of log and state."""

    log: Log
    state: State

    def restart(self) -> None:
        """End the process in any way that keeps what was answered, and open again."""
        ...

    def killed(self, call: Callable[[], object], random: Random) -> None:
        """End the process in the middle of a call of the state, and open again."""
        ...

    def close(self) -> None: ...


class MemoryWorld:
    """The twins; every restart is a power loss, because a promise of durability is what they give."""

    def __init__(self, seed: int = 0) -> None:
        self.disk = MemoryDisk()
        self._random = Random(seed)
        self._open()

    def _open(self) -> None:
        self.log: Log = MemoryLog(self.disk)
        self.state: State = MemoryState(self.disk)

    def restart(self) -> None:
        self.disk.power_loss(self._random)
        self._open()

    def killed(self, call: Callable[[], object], random: Random) -> None:
        kill_twin(self.state, self.disk, call, random)
        self._open()

    def close(self) -> None:
        self.log.close()
        self.state.close()


class LmdbWorld:
    """A data directory on the real disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._killer = Killer()
        self._open(create=True)

    def _open(self, *, create: bool) -> None:
        self.directory = DataDirectory.open(self.path, create=create, wait=0, reached=self._killer.reached)
        self.log: Log = self.directory.log
        self.state: State = self.directory.state

    def restart(self) -> None:
        self.directory.close()
        self._open(create=False)

    def killed(self, call: Callable[[], object], random: Random) -> None:
        self._killer.kill(call, random)
        self.restart()

    def close(self) -> None:
        self.directory.close()


RAW = st.one_of(st.just(b""), st.binary(max_size=40), st.integers(1, 9000).map(lambda size: b"r" * size))
OFFSETS = st.one_of(st.none(), st.integers(0, 2**63), st.text(max_size=5), st.lists(st.integers(0, 9), max_size=2))
KEYS = st.one_of(st.sampled_from([b"a", b"b", b"c" * 400, b"d" * 401, b"e" * 3000]), st.binary(min_size=1, max_size=3))


@st.composite
def chunks(draw: st.DrawFn) -> tuple[Chunk, ...]:
    """The chunks of one epoch, of distinct partitions in any order."""
    partitions = draw(st.lists(st.integers(0, 5), unique=True, max_size=3))
    return tuple(
        Chunk(
            partition,
            draw(st.integers(0, 2**40)),
            draw(st.integers(0, 300)),
            draw(st.integers(0, 2**42)),
            draw(OFFSETS),
            draw(st.booleans()),
            draw(RAW),
        )
        for partition in partitions
    )


class LogMachine(RuleBasedStateMachine):
    """A log against a list of epochs. A subclass says in `world_of` which implementation."""

    def world_of(self) -> World:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.world = self.world_of()
        self.epochs: list[Epoch] = []
        self.base = 0

    @rule(content=st.lists(chunks(), max_size=4), time=st.integers(0, 2**42))
    def append(self, content: list[tuple[Chunk, ...]], time: int) -> None:
        first = len(self.epochs) + 1
        epochs = [Epoch(number, 1, time, parts) for number, parts in enumerate(content, first)]
        self.world.log.append(epochs)
        self.epochs += epochs

    @rule(share=st.floats(0, 1.2))
    def trim(self, share: float) -> None:
        upto = int(len(self.epochs) * share)
        self.world.log.trim(upto)
        self.base = max(self.base, min(upto, len(self.epochs)))

    @rule()
    def trim_one_step(self) -> None:
        before = self.world.log.base()
        more = self.world.log.trim_step(len(self.epochs))
        self.base = self.world.log.base()
        assert more == (self.base < len(self.epochs))
        assert self.base > before or before == len(self.epochs)

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(after=st.integers(0, 30), bytes_max=st.integers(0, 20_000))
    def read(self, after: int, bytes_max: int) -> None:
        after = min(max(after, self.base), len(self.epochs))
        found = self.world.log.read(after, bytes_max)
        assert found == self.epochs[after : after + len(found)]
        assert found or after == len(self.epochs)
        sizes = [size_in_memory(epoch.chunks) for epoch in found]
        assert sum(sizes[:-1]) < max(bytes_max, 1)

    @rule()
    def read_the_table(self) -> None:
        assert list(self.world.log.rows()) == [epoch.row for epoch in self.epochs]

    @invariant()
    def ends_agree(self) -> None:
        if hasattr(self, "world"):
            assert (self.world.log.tail(), self.world.log.base()) == (len(self.epochs), self.base)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.read_the_table()
            self.world.close()


class StateMachine(RuleBasedStateMachine):
    """A state against dicts. A subclass says in `world_of` which implementation."""

    def world_of(self) -> World:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.world = self.world_of()
        self.lives = 1
        self.meta: dict[str, object] = {}
        self.complete_ones: dict[int, list[bytes]] = {}
        self.staged: tuple[int, list[bytes]] = (0, [])
        self.prepared: tuple[int, list[bytes], bytes] | None = None
        self.record: bytes | None = None
        self.rows: dict[tuple[int, bytes], bytes] = {}
        self.folded = (0, 0)

    @property
    def last(self) -> int:
        return max(self.complete_ones, default=0)

    @rule(values=st.dictionaries(st.sampled_from(["a", "b", "generation"]), st.integers(0, 9), max_size=2))
    def put(self, values: dict[str, int]) -> None:
        self.world.state.put_metas(values)
        self.meta |= values

    @rule(ahead=st.integers(1, 2), content=st.lists(RAW, max_size=3))
    def stage(self, ahead: int, content: list[bytes]) -> None:
        checkpoint = self.last + ahead
        if self.prepared is not None and self.prepared[0] == checkpoint:
            checkpoint += 1
        self.world.state.stage(checkpoint, content)
        before = self.staged[1] if self.staged[0] == checkpoint else []
        self.staged = (checkpoint, before + content)
        self.prepared = None

    @rule(record=st.binary(max_size=9), ahead=st.integers(1, 2), staged=st.booleans())
    def prepare(self, record: bytes, ahead: int, staged: bool) -> None:
        checkpoint = self.staged[0] if staged and self.staged[0] else self.last + ahead
        if self.prepared is not None and self.prepared[0] == checkpoint:
            checkpoint += 1
        self.world.state.prepare(checkpoint, record)
        self._prepared(checkpoint, record)

    def _prepared(self, checkpoint: int, record: bytes) -> None:
        content = self.staged[1] if self.staged[0] == checkpoint else []
        self.prepared = (checkpoint, content, record)
        self.staged = (0, [])

    @rule()
    def abandon(self) -> None:
        self.world.state.abandon()
        self.staged = (0, [])
        self.prepared = None

    @precondition(lambda self: self.lives < 6)
    @rule(record=st.binary(max_size=9), completing=st.booleans(), fate=st.integers(0, 9))
    def die_while_preparing_or_completing(self, record: bytes, completing: bool, fate: int) -> None:
        held = (self.prepared or self.staged)[0]
        checkpoint = held if completing and held else max(self.last, held) + 1
        if self.prepared is None and self.staged[0]:
            checkpoint = self.staged[0]
        before = (dict(self.complete_ones), self.prepared, self.record)
        state = self.world.state
        if completing:
            self.world.killed(lambda: state.complete(checkpoint, record, 0), Random(fate))
            self._completed(checkpoint, record, 0)
        else:
            self.world.killed(lambda: state.prepare(checkpoint, record), Random(fate))
            self._prepared(checkpoint, record)
        self.lives += 1
        self.staged = (0, [])
        state = self.world.state
        found = (state.checkpoint(), state.record(), state.prepared())
        if found != (self.last, self.record, self.prepared and (self.prepared[0], self.prepared[2])):
            self.complete_ones, self.prepared, self.record = before

    @precondition(lambda self: self.prepared is not None)
    @rule(record=st.binary(max_size=9), dropped=st.integers(0, 3))
    def complete_what_is_prepared(self, record: bytes, dropped: int) -> None:
        assert self.prepared is not None
        self._complete(self.prepared[0], record, dropped)

    @rule(record=st.binary(max_size=9), ahead=st.integers(1, 2), dropped=st.integers(0, 3))
    def complete(self, record: bytes, ahead: int, dropped: int) -> None:
        self._complete(self.last + ahead, record, dropped)

    def _complete(self, checkpoint: int, record: bytes, dropped: int) -> None:
        drop_before = max(0, checkpoint - dropped)
        self.world.state.complete(checkpoint, record, drop_before)
        self._completed(checkpoint, record, drop_before)

    def _completed(self, checkpoint: int, record: bytes, drop_before: int) -> None:
        whole = {self.staged[0]: self.staged[1]}
        if self.prepared is not None:
            whole[self.prepared[0]] = self.prepared[1]
        self.complete_ones[checkpoint] = whole.get(checkpoint, [])
        self.complete_ones = {n: content for n, content in self.complete_ones.items() if n >= drop_before}
        self.staged = (0, [])
        self.prepared = None
        self.record = record

    @rule(rows=st.lists(st.tuples(st.integers(0, 3), KEYS, st.none() | RAW), max_size=6), upto=st.integers(0, 9))
    def fold(self, rows: list[tuple[int, bytes, bytes | None]], upto: int) -> None:
        self.world.state.fold(rows, (upto, upto))
        self.folded = (upto, upto)
        for step, key, image in rows:
            if image is None:
                self.rows.pop((step, key), None)
            else:
                self.rows[step, key] = image

    @rule(step=st.integers(0, 3), keys=st.lists(KEYS, max_size=5))
    def load(self, step: int, keys: list[bytes]) -> None:
        assert self.world.state.load(step, keys) == [self.rows.get((step, key)) for key in keys]

    @precondition(lambda self: self.lives < 6)
    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.lives += 1
        self.staged = (0, [])

    @rule()
    def read_everything(self) -> None:
        state = self.world.state
        kept = [(n, chunk) for n in sorted(self.complete_ones) for chunk in self.complete_ones[n]]
        assert list(state.chunks()) == kept
        assert state.manifest() == [(n, len(content)) for n, content in sorted(self.complete_ones.items())]
        assert state.size().chunk_bytes == sum(len(chunk) for _, chunk in kept)
        assert state.size().rows == len(self.rows)
        for step in range(4):
            found = {key: image for (of, key), image in self.rows.items() if of == step}
            assert sorted(state.rows_of(step)) == sorted(found.items())
        assert sorted(state.all_rows()) == sorted((step, key, image) for (step, key), image in self.rows.items())

    @invariant()
    def small_things_agree(self) -> None:
        if hasattr(self, "world"):
            state = self.world.state
            assert (state.checkpoint(), state.record()) == (self.last, self.record)
            assert state.prepared() == (self.prepared and (self.prepared[0], self.prepared[2]))
            assert state.folded() == self.folded
            assert {name: state.get_meta(name) for name in self.meta} == self.meta
            assert state.identity().incarnation == self.lives
            assert state.identity().generation == self.meta.get("generation", 0)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.read_everything()
            self.world.close()
