"""What an application over files must have written: the reference's outputs, encoded by the sinks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from holdfast import testing
from holdfast.core.application import Application
from holdfast.core.connector import Undecodable


def expected(app: Application, folder: Path) -> dict[str, bytes]:
    """Return the bytes of every output file, by its name. The inputs are whole files, each a partition."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        inputs = {
            step.name: {name: _records(step.source, name) for name in step.source.partitions()} for step in app.sources
        }
    finally:
        os.chdir(here)
    outputs = testing.run(app, inputs)
    return {step.sink.path: b"".join(map(step.sink.encode, outputs[step.name])) for step in app.sinks}


def _records(source: Any, path: str) -> list[Any]:
    records = source.decode(Path(path).read_bytes())
    times = source.times(records)
    if times is None:
        return list(records)
    return [
        record if isinstance(record, Undecodable) else testing.At(time, record)
        for time, record in zip(times, records, strict=True)
    ]
