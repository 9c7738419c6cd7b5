"""What `holdfast status` knows, on one screen for people.

Not here: where it comes from (status).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

RECOVERIES_SHOWN = 5
NODE_LETTERS = 8  # of a node's id: enough to tell them apart


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """All of it."""
    if "generation" not in found:
        yield from _one_worker(found)
        return
    yield f"{found['application']}: {_state(found)}"
    yield from _generation(found)
    yield ""
    yield from _workers(found)
    if found.get("sources"):
        yield ""
        yield from _edges(found)
    if found.get("totals") and found["running"]:
        yield ""
        yield from _totals(found["totals"])
    if found.get("recoveries"):
        yield ""
        yield from _recoveries(found)


def _state(found: Mapping[str, Any]) -> str:
    if not found["running"]:
        checkpoint = found["checkpoint"]
        ended = checkpoint is not None and checkpoint["ended"]
        return "finished" if ended else "stopped, nobody runs it; the next run goes on from here"
    if found["waiting"]:
        return f"waiting: {found['waiting']}"
    return {
        "run": "running",
        "gather": "waiting for its workers",
        "end": "ending",
    }.get(found["state"], "a new generation is being formed")


def _generation(found: Mapping[str, Any]) -> Iterator[str]:
    generation, checkpoint = found["generation"], found["checkpoint"]
    if generation is None:
        yield "  no generation was formed yet"
        return
    moving = ", its layout is on the way to another" if generation["moving"] else ""
    yield f"  generation  {generation['number']}: {generation['why']}{moving}"
    if found["running"]:
        yield f"  sealed cut  {found['sealed']}"
    yield f"  checkpoint  {_checkpoint(checkpoint)}"


def _workers(found: Mapping[str, Any]) -> Iterator[str]:
    head = ("worker", "node", "life", "where", "is", "share", "epoch", "sealed", "memory", "CPU")
    rows: list[tuple[str, ...]] = [head]
    for node, own in found["workers"].items():
        alive = bool(own.get("alive"))
        process = own.get("observed", {}).get("process") if alive else None
        rows.append(
            (
                str(own.get("name") or "-"),
                node[:NODE_LETTERS],
                str(own.get("incarnation", "-")),
                f"{own.get('host', '')} {own.get('address') or ''}".strip() or "-",
                _what(own) if found["running"] else "-",
                f"{100 * own['share']:.0f} %" if "share" in own else "-",
                str(own.get("applied", "-")) if alive else "-",
                str(own.get("sealed", "-")) if alive else "-",
                f"{process['memory_bytes'] / 2**20:.0f} MiB" if process else "-",
                f"{process['cpu_seconds']:.1f} s" if process else "-",
            )
        )
    yield from _table(rows)


def _what(worker: Mapping[str, Any]) -> str:
    if not worker.get("alive"):
        return "away"
    if worker["leaving"]:
        return "leaving"
    if worker["left_out"]:
        return "left out: others can't reach it"
    if not worker["member"]:
        return "joining"
    slow = f", slow: {', '.join(node[:NODE_LETTERS] for node in worker.get('observed', {}).get('slow', ()))}"
    return f"member{slow if worker.get('observed', {}).get('slow') else ''}"


def _edges(found: Mapping[str, Any]) -> Iterator[str]:
    names = {node: own.get("name") or node[:NODE_LETTERS] for node, own in found["workers"].items()}
    sources = [
        ("source", f"{own['source']} {own['partition']}", names.get(own["node"], "-"), _count(own["records"]))
        for own in found["sources"]
    ]
    sinks = [
        ("sink", own["sink"] if own["partition"] is None else f"{own['sink']} {own['partition']}", *rest)
        for own in found["sinks"]
        for rest in [(names.get(own["node"], "-"), _count(own["outputs"]))]
    ]
    yield from _table([("", "name", "at", "so far"), *sources, *sinks])


def _totals(totals: Mapping[str, Any]) -> Iterator[str]:
    lag = totals["lag"]
    yield f"  records     {totals['records']:,} logged, {totals['outputs']:,} outputs, {totals['entities']:,} entities"
    yield (
        f"  lag         {lag['records_unapplied']:,} records to apply, {lag['records_undelivered']:,} to deliver; "
        f"{lag['epochs_unsealed']:,} epochs unsealed"
    )


def _recoveries(found: Mapping[str, Any]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("changed at", "generation", "chosen", "returned", "replayed", "flowing", "why")]
    for own in found["recoveries"][-RECOVERIES_SHOWN:]:
        ends = [own["ms"][phase] for phase in ("chosen", "returned", "replayed", "flowing")]
        at = datetime.fromtimestamp(own["detected"] / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        shown = ["-" if end is None else f"{end} ms" for end in ends]
        rows.append((at, str(own["generation"] or "-"), *shown, "; ".join(own["why"])))
    yield from _table(rows)


def _one_worker(found: Mapping[str, Any]) -> Iterator[str]:
    if found["running"]:
        yield f"{found['application'] or 'it'}: one worker without a cluster, process {found['pid']} runs it"
        yield from _running_worker(found)
    else:
        checkpoint = found["checkpoint"]
        ended = checkpoint is not None and checkpoint["ended"]
        yield f"{found['application'] or 'no application yet'}: one worker without a cluster, nobody runs it"
        yield f"  state       {'finished' if ended else 'the next run goes on from here'}"
        yield f"  checkpoint  {_checkpoint(checkpoint)}"
        yield f"  to replay   {found['epochs_to_replay']:,} epochs"
        yield from (f"  input       {own['source']} {own['partition']}" for own in found["sources"])
        yield from (f"  output      {path}" for path in found["outputs"])
    yield from (f"  on disk     {name} {size:,} bytes" for name, size in found["disk_bytes"].items())


def _running_worker(found: Mapping[str, Any]) -> Iterator[str]:
    if "process" in found:
        process = found["process"]
        yield f"  process     {process['memory_bytes'] / 2**20:.0f} MiB, {process['cpu_seconds']:.1f} s of CPU"
    if "epochs_applied" not in found:
        return
    logged, applied, delivered = found["epochs_logged"], found["epochs_applied"], found["epochs_delivered"]
    yield f"  epochs      {logged:,} logged, {applied:,} applied, {delivered:,} delivered"
    yield f"  checkpoint  {_checkpoint(found['checkpoint'])}"
    yield f"  since start {found['records_here']:,} records, {found['outputs_here']:,} outputs"
    yield from (f"  skipped     {count:,} at {step}" for step, count in found["skipped_here"].items())
    yield from (f"  entities    {count:,} of {step} in memory" for step, count in found["entities"].items())
    yield from (f"  input       {own['source']} {own['partition']}: {own['records']:,}" for own in found["sources"])


def _checkpoint(checkpoint: Mapping[str, Any] | None) -> str:
    return f"of epoch {checkpoint['epoch']}" if checkpoint is not None else "none yet"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
