"""Small entities, very many of them; ENTITIES_IN_MEMORY bounds how many stay in memory, empty for all."""

import os
from dataclasses import dataclass

import holdfast as hf

EVERY = 100  # outputs are rare, so that the state is what is measured


@dataclass
class Total:
    count: int = 0


def count(key: str, total: Total) -> tuple[str, int] | None:
    total.count += 1
    return (key, total.count) if total.count % EVERY == 0 else None


limit = os.environ.get("ENTITIES_IN_MEMORY")
app = hf.Application("keys", entities_in_memory=int(limit) if limit else None)
(
    app.source(hf.sources.TextFile(os.environ["INPUT"]))
    .key_by(str)
    .stateful(count, state=Total)
    .sink(hf.sinks.JsonLines(os.environ["OUTPUT"]))
)
