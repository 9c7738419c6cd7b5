"""An application with many timers and little memory that is killed: most of its entities wait on disk for their timers.

Its files lie in the current folder. Records carry their times, so that its outputs are a function of the file alone.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import holdfast as hf

INPUT, OUTPUT = "visits.txt", "reminders.jsonl"
GUESTS = 400
IN_MEMORY = 40


def time_of(line: str) -> int:
    return int(line.split()[0])


def guest(line: str) -> str:
    return line.split()[1]


def visit(line: str, visits: list[int], ctx: hf.Context) -> tuple[str, int] | None:
    visits.append(ctx.time)
    ctx.set_timer(ctx.time + 6_000, "missed")
    if len(visits) % 4 == 0:
        ctx.set_timer(ctx.time + 2_000 + len(visits), "thanks")
    if len(visits) % 9 == 0:
        ctx.cancel_timer("missed")
        return str(ctx.key), len(visits)
    return None


def remind(name: str, visits: list[int], ctx: hf.Context) -> tuple[str, str, int, int, int]:
    if name == "missed":
        ctx.delete()
    return str(ctx.key), name, len(visits), sum(visits[-3:]), ctx.time


app = hf.Application("reminders", entities_in_memory=IN_MEMORY)
(
    app.source(hf.sources.TextFile(INPUT, time=time_of))
    .key_by(guest)
    .stateful(visit, state=list, on_timer=remind)
    .sink(hf.sinks.JsonLines(OUTPUT))
)


def write_input(folder: Path, seed: int, records: int) -> None:
    """Guests of whom some come often, some seldom; time goes on by ten milliseconds a visit."""
    random = Random(seed)
    with (folder / INPUT).open("w") as file:
        for number in range(records):
            who = int(GUESTS * random.random() ** 2)
            file.write(f"{10 * number + random.randrange(30)} guest-{who}\n")
