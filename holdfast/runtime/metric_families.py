"""What Prometheus is told, made of what `holdfast status` knows. docs/operating.md lists the names.

Invariant: names, labels and units don't change; counters of records and outputs count from the very first start, all
others from the start of the process that tells. Nothing is counted for it that is not counted anyway.
Not here: who serves it (metrics).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from holdfast.runtime.latencies import BUCKETS

Status = Mapping[str, Any]
Sample = tuple[tuple[str, ...], float]  # values of the labels, number
REACHED: Final = ("closed", "durable", "applied", "delivered", "replicated", "sealed")


def families(status: Status) -> Iterator[Metric]:
    """All of them."""
    yield from _flow(status)
    yield from _cluster(status)
    yield from _workers(status)
    yield _latencies(status)


def _flow(status: Status) -> Iterator[Metric]:
    """What came in and went out."""
    sources = [((own["source"], own["partition"]), own["records"]) for own in status["sources"] if own["records"]]
    yield _counter("holdfast_records", "Records logged.", ("source", "partition"), sources)
    sinks = [
        ((own["sink"], "" if own["partition"] is None else str(own["partition"])), own["outputs"])
        for own in status["sinks"]
        if own["outputs"]
    ]
    yield _counter("holdfast_outputs", "Outputs delivered.", ("sink", "partition"), sinks)
    totals = status["totals"]
    skipped = [((step,), count) for step, count in totals["skipped_here"].items()]
    yield _counter("holdfast_skipped", "Calls that failed and were skipped.", ("step",), skipped)
    replayed = [((), totals["replayed_here"])]
    yield _counter("holdfast_replayed_epochs", "Epochs worked off again after a return.", (), replayed)
    lag = totals["lag"]
    stages = [((stage,), lag[f"epochs_{stage}"]) for stage in ("unapplied", "undelivered", "unsealed")]
    yield _gauge("holdfast_lag_epochs", "Epochs closed and not yet so far.", ("stage",), stages)
    records = [((stage,), lag[f"records_{stage}"]) for stage in ("unapplied", "undelivered")]
    records = [(labels, number) for labels, number in records if number is not None]
    yield _gauge("holdfast_lag_records", "Records logged and not yet so far.", ("stage",), records)


def _cluster(status: Status) -> Iterator[Metric]:
    """Members, generations, recoveries."""
    workers = status["workers"].values()
    states = {
        "wanted": status["workers_wanted"],
        "alive": sum(bool(own["alive"]) for own in workers),
        "member": sum(bool(own["member"] and own["alive"]) for own in workers),
    }
    shown = [((state,), count) for state, count in states.items()]
    yield _gauge("holdfast_workers", "Workers by state.", ("state",), shown)
    yield _gauge("holdfast_waiting", "1 while the cluster waits for somebody.", (), [((), bool(status["waiting"]))])
    number = status["generation"]["number"] if status["generation"] is not None else 0
    yield _gauge("holdfast_generation", "Number of the generation.", (), [((), number)])
    yield _gauge("holdfast_sealed_epoch", "The last sealed cut.", (), [((), status["sealed"])])
    checkpoint = status["checkpoint"]["epoch"] if status["checkpoint"] is not None else 0
    yield _gauge("holdfast_checkpoint_epoch", "Epoch of the last checkpoint.", (), [((), checkpoint)])
    kinds = [((kind,), count) for kind, count in status["recovery_counts"].items()]
    yield _counter("holdfast_recoveries", "Changes of generation.", ("kind",), kinds)
    over = [own for own in status["recoveries"] if own["kind"] == "failure" and own["ms"]["flowing"] is not None]
    phases = [((phase,), end / 1000) for phase, end in over[-1]["ms"].items()] if over else []
    text = "From the detection of the last failure that is over to the end of each phase."
    yield _gauge("holdfast_last_recovery_seconds", text, ("phase",), phases)


def _workers(status: Status) -> Iterator[Metric]:
    """One sample or more for each worker."""
    told = [(own["name"], own["observed"]) for own in status["workers"].values() if own.get("observed")]
    at_work = [(name, own["statistics"]) for name, own in told if own["statistics"] is not None]
    worker = ("worker",)
    reached = [((name, what), own[what]) for name, own in at_work for what in REACHED]
    yield _gauge("holdfast_reached_epoch", "How far a worker is.", ("worker", "reached"), reached)
    behind = [((name,), max(0, own["closed"] - own["replicated"])) for name, own in at_work]
    text = "Epochs closed since the last cut whose images all backups hold."
    yield _gauge("holdfast_replication_lag_epochs", text, worker, behind)
    entities = [((name, step), count) for name, own in at_work for step, count in own["entities"].items()]
    yield _gauge("holdfast_entities", "Entities held as primary.", ("worker", "step"), entities)
    sizes = [((name,), own["checkpoint_bytes"]) for name, own in at_work]
    yield _gauge("holdfast_checkpoint_bytes", "Size of the last checkpoint.", worker, sizes)
    disk = [((name, place), size) for name, own in told for place, size in own["disk_bytes"].items()]
    text = "What the environments of a data directory take; log and partitions hold inputs."
    yield _gauge("holdfast_disk_bytes", text, ("worker", "environment"), disk)
    names = {node: own.get("name", node) for node, own in status["workers"].items()}
    links = [((name, names.get(to, to)), size) for name, own in told for to, size in own["links"].items()]
    yield _gauge("holdfast_link_waiting_bytes", "What waits to be sent.", ("worker", "to"), links)
    processes = [(name, own["process"]) for name, own in told]
    cpu = [((name,), own["cpu_seconds"]) for name, own in processes]
    yield _counter("holdfast_process_cpu_seconds", "CPU time of a worker.", worker, cpu)
    memory = [((name,), own["memory_bytes"]) for name, own in processes]
    yield _gauge("holdfast_process_memory_bytes", "Resident memory of a worker.", worker, memory)
    descriptors = [((name,), own["descriptors"]) for name, own in processes]
    yield _gauge("holdfast_process_descriptors", "Open descriptors of a worker.", worker, descriptors)


def _latencies(status: Status) -> Metric:
    text = "From a record's entry into an epoch to the delivery of its outputs."
    family = HistogramMetricFamily("holdfast_latency_seconds", text, labels=("worker",))
    ends = [*map(str, BUCKETS), "+Inf"]
    for own in status["workers"].values():
        found = own.get("observed")
        if found:
            buckets = list(zip(ends, map(float, accumulate(found["latency_counts"])), strict=True))
            family.add_metric([own["name"]], buckets, found["latency_seconds"])
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(list(values), number)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(list(values), number)
    return family
