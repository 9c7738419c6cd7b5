"""Applications drawn at random, with inputs: to be run by the reference and anything else, side by side.

`draw(random)` gives a `Case` without expected outputs; the same state of the `random.Random` gives the same case, and
its `build` gives an equal application every time. All functions are deterministic callables of this module. Messages
are dicts {"n": int, "trail": [str, …], …}, so that everything is mutable and every way it took can be seen.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.streams import KeyedStream, Stream
from tests.zoo.case import Case, time_of, timed

Message: TypeAlias = dict[str, Any]
AnyStream: TypeAlias = Stream[Any] | KeyedStream[Any]

PARTITION_LENGTHS = (0, 1, 5, 63, 64, 65, 130, 200)
FAN_OUT_MAX = 12  # messages that one record may become on one stream


@dataclass(frozen=True)
class Unpack:
    """The first step: a record (time, number) becomes a message."""

    def __call__(self, record: tuple[int, int]) -> Message:
        return {"n": record[1], "trail": []}


@dataclass(frozen=True)
class Add:
    """Changes its message in place and passes it on."""

    amount: int

    def __call__(self, message: Message) -> Message:
        message["n"] += self.amount
        message["trail"].append(f"+{self.amount}")
        return message


@dataclass(frozen=True)
class Brittle:
    """Fails at some messages, after it has changed them."""

    modulus: int

    def __call__(self, message: Message) -> Message:
        message["trail"].append("brittle")
        if message["n"] % self.modulus == 1:
            raise ValueError(f"unlucky {message['n']}")
        return message


@dataclass(frozen=True)
class Leaves:
    """A predicate."""

    modulus: int

    def __call__(self, message: Message) -> bool:
        return bool(message["n"] % self.modulus)


@dataclass(frozen=True)
class Spread:
    """A list of several messages that share what is in them."""

    count: int

    def __call__(self, message: Message) -> list[Message]:
        return [{**message, "part": part} for part in range(self.count)]


@dataclass(frozen=True)
class Buffer:
    """A generator that yields one dict again and again; may fail half-way."""

    count: int
    modulus: int

    def __call__(self, message: Message) -> Iterator[Message]:
        for part in range(self.count):
            message["part"] = part
            message["trail"].append(part)
            yield message
        if message["n"] % self.modulus == 2:
            raise ValueError("at the end")


@dataclass(frozen=True)
class KeyOf:
    """Keys of several types; some messages have none."""

    modulus: int
    kind: int

    def __call__(self, message: Message) -> object:
        residue = message["n"] % self.modulus
        kinds: list[object] = [residue, str(residue), bytes([residue]), (residue == 0, str(residue)), residue == 0]
        return kinds[self.kind] if residue != 4 or self.kind else bool(residue)


@dataclass
class Tally:
    """A state that is a dataclass with containers."""

    count: int = 0
    seen: set[int] = field(default_factory=set)
    last: deque[Any] = field(default_factory=lambda: deque(maxlen=3))


def add_to_tally(message: Message, tally: Tally) -> Message | None:
    tally.count += 1
    tally.seen.add(message["n"])
    tally.last.append(message)
    message["count"] = tally.count
    message["seen"] = sorted(tally.seen)[-3:]
    return message if tally.count % 5 else None


def keep_in_list(message: Message, kept: list[Message]) -> Iterator[Message]:
    """Keeps messages, changes the oldest one it has and gives it again; fails at some, after the change."""
    kept.append(message)
    kept[0]["trail"].append("kept")
    yield kept[0]
    if message["n"] % 11 == 3:
        raise ValueError("kept too much")
    if len(kept) > 2:
        yield {**kept.pop(0), "popped": True}


def replace_number(message: Message, number: int, ctx: Context) -> Message:
    """A state that is replaced; deleted and made again now and then; drawn numbers."""
    ctx.state = number + message["n"]
    if message["n"] % 7 == 0:
        ctx.delete()
    elif message["n"] % 7 == 1:
        ctx.delete()
        ctx.state = 1
    return {**message, "sum": number, "key": repr(ctx.key), "time": ctx.time, "uuid": str(ctx.uuid())}


def watch(message: Message, state: dict[str, int], ctx: Context) -> Message | None:
    """Sets, replaces and cancels timers, also for times that have passed."""
    number = message["n"]
    state["n"] = state.get("n", 0) + 1
    name = f"timer-{number % 3}"
    if number % 5 == 4:
        ctx.cancel_timer(name)
    elif number % 13 == 6:
        ctx.delete()
    else:
        ctx.set_timer(ctx.time + number % 40 - 5, name)
    return message if number % 2 else None


def ring(name: str, state: dict[str, int], ctx: Context) -> Iterator[Message]:
    """Gives one or two messages, sets another timer now and then, fails now and then."""
    state["rings"] = state.get("rings", 0) + 1
    yield {"n": ctx.time % 97, "trail": [name, state["rings"]]}
    if state["rings"] % 3 == 1:
        ctx.set_timer(ctx.time, "again")
    if state["rings"] % 7 == 6:
        raise ValueError("rang too often")
    yield {"n": state["n"], "trail": ["rung", round(ctx.random.random(), 6)]}


Stateful: TypeAlias = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any] | None]
STATEFUL: list[Stateful] = [
    (add_to_tally, Tally, None),
    (keep_in_list, list, None),
    (replace_number, int, None),
    (watch, dict, ring),
]


@dataclass(frozen=True)
class Plan:
    """What was drawn: the steps as (operation, streams taken, arguments), all that `build` needs."""

    partitions: list[dict[str, list[tuple[int, int]]]]  # one per source
    operations: list[tuple[str, tuple[int, ...], tuple[Any, ...]]]
    ends: list[tuple[int, int]]  # (stream, sink)
    on_error: str

    def build(self) -> Application:
        """The application. A stream is known by its number, in order of definition."""
        letters = sinks.Memory()
        app = Application("random", on_error=letters if self.on_error == "letters" else "skip")
        memory_sources = [sources.Memory(partitions, time=time_of) for partitions in self.partitions]
        streams: list[Any] = [app.source(source).map(Unpack()) for source in memory_sources]
        for number, (operation, taken, arguments) in enumerate(self.operations):
            stream = streams[taken[0]]
            if operation == "merge":
                streams.append(stream.merge(*(streams[other] for other in taken[1:])))
            elif operation == "branch":
                streams.extend(stream.branch(*arguments))
            elif operation == "stateful":
                function, state, on_timer = arguments
                streams.append(stream.stateful(function, state=state, on_timer=on_timer, name=f"stateful-{number}"))
            else:
                streams.append(getattr(stream, operation)(*arguments))
        memories = [letters, sinks.Memory(), sinks.Memory()]
        for stream_number, sink_number in self.ends:
            streams[stream_number].sink(memories[sink_number])
        return app


class _Drawing:
    """A plan that grows; knows of each stream whether it is keyed and how many messages a record may become on it."""

    def __init__(self, chance: random.Random, source_count: int) -> None:
        self.chance = chance
        self.keyed = [False] * source_count
        self.fan_out = [1] * source_count
        self.operations: list[tuple[str, tuple[int, ...], tuple[Any, ...]]] = []
        self.used: set[int] = set()

    def add(self, operation: str, taken: tuple[int, ...], *arguments: Any, keyed: bool, fan_out: int) -> None:
        self.operations.append((operation, taken, arguments))
        for _ in range(2 if operation == "branch" else 1):
            self.keyed.append(keyed)
            self.fan_out.append(fan_out)
        self.used.update(taken)

    def step(self) -> None:
        chance = self.chance
        # Mostly one of the latest streams, so that chains grow; now and then any, so that some have several consumers.
        count = len(self.keyed)
        stream = chance.randrange(count) if chance.random() < 0.3 else count - 1 - chance.randrange(min(3, count))
        keyed, fan_out = self.keyed[stream], self.fan_out[stream]
        operations = ["map", "filter", "flat_map", "branch", "key_by", "merge", "brittle"] + ["stateful"] * 4
        match chance.choice(operations):
            case "map":
                self.add("map", (stream,), Add(chance.randrange(5)), keyed=keyed, fan_out=fan_out)
            case "brittle":
                self.add("map", (stream,), Brittle(chance.randrange(3, 20)), keyed=keyed, fan_out=fan_out)
            case "filter":
                self.add("filter", (stream,), Leaves(chance.randrange(2, 6)), keyed=keyed, fan_out=fan_out)
            case "branch":
                self.add("branch", (stream,), Leaves(chance.randrange(2, 6)), keyed=keyed, fan_out=fan_out)
            case "flat_map":
                size = chance.randrange(4)
                function = chance.choice([Spread(size), Buffer(size, chance.randrange(3, 20))])
                if fan_out * size <= FAN_OUT_MAX:
                    self.add("flat_map", (stream,), function, keyed=keyed, fan_out=max(1, fan_out * size))
            case "merge":
                others = [n for n in range(count) if self.keyed[n] == keyed]
                taken = (stream, *chance.choices(others, k=chance.randrange(1, 3)))
                total = sum(self.fan_out[n] for n in taken)
                if total <= FAN_OUT_MAX:
                    self.add("merge", taken, keyed=keyed, fan_out=total)
            case "key_by":
                self.add("key_by", (stream,), self.key(), keyed=True, fan_out=fan_out)
            case "stateful":
                if not keyed:
                    self.add("key_by", (stream,), self.key(), keyed=True, fan_out=fan_out)
                    stream = len(self.keyed) - 1
                if fan_out * 2 <= FAN_OUT_MAX:
                    self.add("stateful", (stream,), *chance.choice(STATEFUL), keyed=False, fan_out=fan_out * 2)

    def key(self) -> KeyOf:
        return KeyOf(self.chance.randrange(1, 9), self.chance.randrange(5))


def draw(chance: random.Random) -> Case:
    """An application of some 3 to 20 steps with the records of its one or two sources."""
    partitions = [_draw_partitions(chance) for _ in range(chance.choice([1, 1, 2]))]
    drawing = _Drawing(chance, len(partitions))
    for _ in range(chance.randrange(3, 16)):
        drawing.step()
    ends = [
        (stream, chance.choice([0, 1, 1, 1, 2, 2]))
        for stream in range(len(drawing.keyed))
        if stream not in drawing.used or chance.random() < 0.15
    ]
    plan = Plan(partitions, drawing.operations, ends, chance.choice(["letters", "letters", "skip"]))
    names = ["source", "source-2"]
    inputs = {
        name: {partition: timed(records) for partition, records in given.items()}
        for name, given in zip(names, partitions, strict=False)
    }
    return Case("random", plan.build, inputs, {})


def _draw_partitions(chance: random.Random) -> dict[str, list[tuple[int, int]]]:
    partitions = {}
    for name in "abc"[: chance.choice([1, 1, 2, 3])]:
        time, records = 0, []
        for _ in range(chance.choice(PARTITION_LENGTHS)):
            time += chance.choice([0, 0, 1, 3, 20, -5])
            records.append((time, chance.randrange(100)))
        partitions[name] = records
    return partitions
