"""The steps of an application, as data: what every way to run reads, and nothing runs by itself.

Steps are numbered in order of definition. Edges between steps lead from a port (step, output) to the
consumers of that port, in the order in which they were attached; that order is part of the meaning of an
application. Invariant: a step's upstream ports belong to steps of lower index, except where a sink is used
again later on; sinks have no outputs, so "by index, sinks last" is always a topological order. How steps are
built and checked is in application.py and streams.py; how they run is none of this module's business.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias


class Kind(enum.Enum):
    """What a step does. MAP and FILTER are forms of FLAT_MAP that add nothing to a message's path."""

    SOURCE = "source"
    FLAT_MAP = "flat_map"
    MAP = "map"
    FILTER = "filter"
    KEY_BY = "key_by"
    STATEFUL = "stateful"
    BRANCH = "branch"
    MERGE = "merge"
    REPLY = "reply"
    SINK = "sink"

    @property
    def output_count(self) -> int:
        """Ports of a step of this kind: two for a branch (0 = yes, 1 = no), none for a sink."""
        return {Kind.BRANCH: 2, Kind.SINK: 0}.get(self, 1)


class Port(NamedTuple):
    """Where messages leave a step."""

    step: int
    output: int = 0


Function: TypeAlias = Callable[..., Any]
ErrorRule: TypeAlias = "Literal['stop', 'skip'] | Step"  # a Step is the sink step that gets the dead letters


@dataclass(slots=True, eq=False)
class Step:
    """One operation. The fields of a kind are at their defaults in steps of all other kinds."""

    index: int  # order of definition; of a sink that gets dead letters only, -1 until all others are numbered
    kind: Kind
    name: str  # recovery id of a source, stateful step or sink; a label for messages otherwise
    function: Function | None = None  # None: SOURCE, MERGE, REPLY, SINK
    upstream: tuple[Port, ...] = ()  # a MERGE may name a port more than once, and so may a SINK
    on_error: ErrorRule = "stop"
    keyed: bool = False  # the messages that leave this step carry a key
    consumers: tuple[list[int], ...] = field(init=False)  # per output: step indexes in order of attachment

    # STATEFUL
    state_factory: Function | None = None
    takes_key: bool = False  # the factory is called with the key, otherwise with nothing
    takes_ctx: bool = False  # the function is called as (message, state, ctx), otherwise as (message, state)
    on_timer: Function | None = None  # called as (name, state, ctx)
    is_generator: bool = False  # every call gives a generator; if False, look: a plain function may return one
    timer_is_generator: bool = False  # the same for `on_timer`
    was: str | None = None  # the name under which its entities were stored before

    source: Any = None  # SOURCE: the connector
    intake: Function | None = None  # SOURCE: called before the log with each record; its result is logged
    intake_concurrency: int = 1  # SOURCE: calls of it under way at once, at most
    sink: Any = None  # SINK: the connector

    def __post_init__(self) -> None:
        self.consumers = tuple([] for _ in range(self.kind.output_count))

    def __repr__(self) -> str:
        return f"<step {self.index} {self.kind.value} {self.name!r}>"
