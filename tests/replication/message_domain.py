"""Hypothesis strategies for everything that members tell each other."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from holdfast.core.epochs import Chunk, Cursor, LogEntry
from holdfast.core.plan import SOURCES
from holdfast.replication import messages

INT_MAX = 2**63 - 1

naturals = st.integers(0, 20) | st.integers(0, INT_MAX) | st.just(INT_MAX)
wholes = st.integers(-3, 20) | st.integers(-INT_MAX - 1, INT_MAX)
places = st.just(-1) | naturals
texts = st.text(st.characters(), max_size=12)  # with lone surrogates
nodes = st.sampled_from(["a", "b", "6f1d", "größe"]) | texts
binaries = st.binary(max_size=20)
offset_atoms = (
    st.none() | st.booleans() | wholes | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5)
)
offsets: st.SearchStrategy[Any] = st.recursive(
    offset_atoms,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | naturals, inner, max_size=3),
    max_leaves=5,
)


def every_field(cls: type[Any], **strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Instances of a dataclass; a field that is not named here would not be tried, whatever its default."""
    assert list(strategies) == [field.name for field in fields(cls)], f"{cls.__name__} has other fields"
    return st.builds(cls, **strategies)


def tuples_of(element: st.SearchStrategy[Any], size: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(element, max_size=size).map(tuple)


cursors = every_field(Cursor, epoch=naturals, number=naturals, offset=offsets, ended=st.booleans(), clock=wholes)
chunks = every_field(
    Chunk,
    partition=naturals,
    first=naturals,
    count=naturals,
    time=wholes,
    offset=offsets,
    ended=st.booleans(),
    raw=binaries,
)
entries = every_field(LogEntry, epoch=naturals, generation=naturals, time=wholes, chunk=chunks)
reached = every_field(
    messages.Reached,
    durable=naturals,
    replicated=naturals,
    delivered=naturals,
    closed=naturals,
    due=st.none() | wholes,
)
openings = every_field(
    messages.Opening,
    logged=st.booleans(),
    time=wholes,
    times=tuples_of(st.tuples(wholes, naturals, wholes)),
    rounds=st.none() | naturals,
    cut=st.booleans(),
    checkpoint=naturals,
)
stages = every_field(
    messages.Stage,
    epoch=naturals,
    feeder=st.just(SOURCES) | naturals,
    columns=tuples_of(st.tuples(naturals, binaries)),
    opening=st.none() | openings,
)
copied = every_field(messages.LogCopied, partition=naturals, previous=places, entries=tuples_of(entries))
snapshots = every_field(
    messages.Snapshot, ranges=tuples_of(naturals), chunks=tuples_of(binaries), last=st.booleans()
)
tokens = every_field(
    messages.Tokens, cut=naturals, time=wholes, sinks=tuples_of(st.tuples(naturals, naturals, binaries))
)
bodies = st.one_of(
    stages,
    every_field(messages.LogHeld, partition=naturals, tail=places),
    every_field(messages.LogInstalled, partition=naturals, base=cursors),
    copied,
    snapshots,
    every_field(messages.UpdateSet, cut=naturals, chunks=tuples_of(binaries), last=st.booleans()),
    every_field(messages.ImagesHeld, cut=naturals),
    tokens,
    every_field(messages.Beat),
    every_field(messages.Records, epoch=naturals, entries=tuples_of(entries)),
    every_field(
        messages.Answered,
        partition=naturals,
        first=naturals,
        count=naturals,
        answers=tuples_of(st.tuples(naturals, tuples_of(binaries))),
        forgotten=tuples_of(naturals),
    ),
)
envelopes = every_field(
    messages.Envelope,
    generation=naturals,
    sender=nodes,
    incarnation=naturals,
    number=naturals,
    reached=reached,
    message=bodies,
)
