"""Hypothesis strategies for everything that workers and the coordinator tell each other, and keep."""

from __future__ import annotations

from hypothesis import strategies as st

from holdfast.core.epochs import Lineage
from holdfast.recovery import generation, messages
from holdfast.recovery.events import Kept
from tests.replication.message_domain import cursors, naturals, nodes, places, texts, tuples_of, wholes

runs = st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 9)), max_size=4).map(
    lambda parts: tuple(number for first, count in parts for number in range(first, first + count))
)
ranges = runs | tuples_of(st.integers(0, 2**32 - 1))
limits = st.builds(generation.Limit, naturals, wholes, places, wholes)
shares = tuples_of(st.tuples(nodes, ranges))
checkpoints = st.builds(
    generation.Checkpoint, naturals, naturals, st.none() | limits, shares, st.booleans()
)
holders = st.builds(generation.Holders, nodes, tuples_of(nodes, 2))
held = tuples_of(holders, 20)
layouts = st.builds(generation.Layout, held, held, tuples_of(nodes))
spans = tuples_of(st.tuples(naturals, naturals))
formations = st.builds(
    generation.Formation,
    number=naturals,
    members=tuples_of(st.builds(generation.Member, nodes, naturals, naturals)),
    layout=layouts,
    cut=naturals,
    in_memory=st.booleans(),
    checkpoint=st.none() | checkpoints,
    level=naturals,
    logs=spans,
    spans=tuples_of(spans),
    lacking=shares,
    careful=tuples_of(naturals),
    limit=st.none() | limits,
    stop_error=st.none() | texts,
)
disks = st.none() | st.builds(messages.OnDisk, naturals, naturals, st.none() | limits, ranges, st.booleans())
reports = st.builds(
    messages.Report,
    naturals,
    naturals,
    naturals,
    naturals,
    tuples_of(st.builds(messages.Remembered, ranges, naturals, naturals)),
    tuples_of(st.tuples(naturals, st.builds(Lineage, naturals, cursors, naturals, spans, st.booleans()))),
    disks,
    disks,
)
statuses = st.builds(
    messages.Status,
    node=nodes,
    incarnation=naturals,
    number=naturals,
    phase=st.sampled_from(messages.Phase),
    generation=naturals,
    promised=naturals,
    report=st.none() | reports,
    sealed=naturals,
    closed=naturals,
    applied=naturals,
    changed=st.booleans(),
    resting=st.booleans(),
    ended=st.booleans(),
    caught_up=st.booleans(),
    prepared=naturals,
    completed=naturals,
    lost=tuples_of(nodes),
    careful=tuples_of(naturals),
    failure=st.none() | st.builds(messages.Failure, limits, texts),
    fatal=st.none() | texts,
)
orders = st.builds(
    messages.Order,
    naturals,
    naturals,
    st.one_of(
        st.builds(messages.Ask, naturals),
        st.builds(messages.Announce, formations),
        st.builds(messages.Run, naturals, st.booleans(), naturals, naturals, st.booleans()),
        st.just(messages.Restart()),
    ),
)
kept = st.builds(Kept, naturals, naturals, st.none() | formations, st.none() | checkpoints)
