"""Hypothesis strategies for everything that workers and the coordinator tell each other, and keep."""

from __future__ import annotations

from hypothesis import strategies as st

from holdfast.core.epochs import Lineage
from holdfast.recovery import generation, messages
from holdfast.recovery.events import Kept
from tests.replication.message_domain import cursors, every_field, naturals, nodes, places, texts, tuples_of, wholes

runs = st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 9)), max_size=4).map(
    lambda parts: tuple(number for first, count in parts for number in range(first, first + count))
)
ranges = runs | tuples_of(st.integers(0, 2**32 - 1))
limits = every_field(generation.Limit, epoch=naturals, turn=wholes, partition=places, number=wholes)
shares = tuples_of(st.tuples(nodes, ranges))
checkpoints = every_field(
    generation.Checkpoint,
    number=naturals,
    epoch=naturals,
    limit=st.none() | limits,
    holders=shares,
    ended=st.booleans(),
)
held = tuples_of(every_field(generation.Holders, primary=nodes, backups=tuples_of(nodes, 2)), 20)
layouts = every_field(generation.Layout, ranges=held, partitions=held, sinks=tuples_of(nodes))
spans = tuples_of(st.tuples(naturals, naturals))
formations = every_field(
    generation.Formation,
    number=naturals,
    members=tuples_of(every_field(generation.Member, node=nodes, incarnation=naturals, since=naturals)),
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
    lacking_logs=shares,
    target=st.none() | layouts,
    why=texts,
)
disks = st.none() | every_field(
    messages.OnDisk,
    number=naturals,
    epoch=naturals,
    limit=st.none() | limits,
    ranges=ranges,
    ended=st.booleans(),
)
lineages = every_field(
    Lineage, adopted=naturals, base=cursors, tail=naturals, spans=spans, ended=st.booleans()
)
reports = every_field(
    messages.Report,
    promise=naturals,
    adopted=naturals,
    sealed=naturals,
    remembers=naturals,
    memory=tuples_of(every_field(messages.Remembered, ranges=ranges, base=naturals, top=naturals)),
    logs=tuples_of(st.tuples(naturals, lineages)),
    complete=disks,
    prepared=disks,
)
statuses = every_field(
    messages.Status,
    node=nodes,
    incarnation=naturals,
    number=naturals,
    phase=st.sampled_from(messages.Phase),
    generation=naturals,
    promised=naturals,
    heard=naturals,
    report=st.none() | reports,
    sealed=naturals,
    closed=naturals,
    applied=naturals,
    changed=st.booleans(),
    resting=st.booleans(),
    located=st.booleans(),
    ended=st.booleans(),
    caught_up=st.booleans(),
    prepared=naturals,
    prepared_at=naturals,
    completed=naturals,
    lost=tuples_of(nodes),
    careful=tuples_of(naturals),
    failure=st.none() | every_field(messages.Failure, limit=limits, error=texts),
    fatal=st.none() | texts,
    delivered=naturals,
    output_lost=st.booleans(),
)
run_orders = every_field(
    messages.Run,
    generation=naturals,
    stopping=st.booleans(),
    checkpoint=naturals,
    complete=naturals,
    finish=st.booleans(),
)
orders = every_field(
    messages.Order,
    incarnation=naturals,
    number=naturals,
    order=st.one_of(
        every_field(messages.Ask, promise=naturals),
        every_field(messages.Announce, formation=formations),
        run_orders,
        every_field(messages.Restart),
    ),
)
kept = every_field(
    Kept,
    drawn=naturals,
    life=naturals,
    formation=st.none() | formations,
    checkpoint=st.none() | checkpoints,
    reserved=naturals,
)
