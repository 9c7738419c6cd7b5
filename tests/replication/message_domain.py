"""Hypothesis strategies for everything that members tell each other."""

from __future__ import annotations

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


def tuples_of(element: st.SearchStrategy[Any], size: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(element, max_size=size).map(tuple)


cursors = st.builds(Cursor, naturals, naturals, offsets, st.booleans(), wholes)
chunks = st.builds(Chunk, naturals, naturals, naturals, wholes, offsets, st.booleans(), binaries)
entries = st.builds(LogEntry, naturals, naturals, wholes, chunks)
reached = st.builds(messages.Reached, naturals, naturals, naturals, st.none() | wholes)
openings = st.builds(
    messages.Opening,
    st.booleans(),
    wholes,
    tuples_of(st.tuples(wholes, naturals, wholes)),
    st.none() | naturals,
    st.booleans(),
    naturals,
)
stages = st.builds(
    messages.Stage,
    naturals,
    st.just(SOURCES) | naturals,
    tuples_of(st.tuples(naturals, binaries)),
    st.none() | openings,
)
bodies = st.one_of(
    stages,
    st.builds(messages.LogHeld, naturals, places),
    st.builds(messages.LogInstalled, naturals, cursors),
    st.builds(messages.LogCopied, naturals, places, tuples_of(entries)),
    st.builds(messages.Snapshot, tuples_of(naturals), tuples_of(binaries), st.booleans()),
    st.builds(messages.UpdateSet, naturals, tuples_of(binaries)),
    st.builds(messages.ImagesHeld, naturals),
    st.builds(messages.Tokens, naturals, wholes, tuples_of(st.tuples(naturals, naturals, binaries))),
    st.just(messages.Beat()),
)
envelopes = st.builds(messages.Envelope, naturals, nodes, naturals, naturals, reached, bodies)
