"""The inputs of the benchmarks: made once from a fixed seed, kept in benchmarks/input, never committed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random

FOLDER = Path(__file__).parent / "input"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = 50_000
SYMBOLS = 3_000
BLOCK = 100_000  # items drawn at once: memory stays small whatever the size of the file


def words(count: int) -> Path:
    """Sentences of 4 to 12 words; the rank of a word follows a power law with exponent 1.1."""
    return _made(f"words-{count}.txt", lambda random: _sentences(random, count))


def market(count: int) -> Path:
    """JSON lines, half quotes and half orders; one quote in fifty has a wide spread."""
    return _made(f"market-{count}.jsonl", lambda random: _market(random, count))


def keys(count: int, *, entities: int, distribution: str) -> Path:
    """One key a line out of `entities`, drawn uniformly or by a power law with exponent 1.1."""
    draw = {"uniform": _uniform, "zipf": _zipf}[distribution]
    return _made(
        f"keys-{distribution}-{entities}-{count}.txt",
        lambda random: (f"k{key}\n" for key in draw(random, entities, count)),
    )


def _made(name: str, lines: Callable[[Random], Iterable[str]]) -> Path:
    path = FOLDER / name
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        with unfinished.open("w", encoding="ascii", buffering=1 << 20) as file:
            file.writelines(lines(Random(name)))
        unfinished.rename(path)
    return path


def _uniform(random: Random, among: int, count: int) -> Iterator[int]:
    return (random.randrange(among) for _ in range(count))


def _zipf(random: Random, among: int, count: int) -> Iterator[int]:
    weights = list(itertools.accumulate((rank + 1) ** -1.1 for rank in range(among)))
    # Ranks are scattered over the keys, so that frequent ones are no neighbours on disk.
    stride = next(step for step in range(among * 5 // 8 | 1, among * 2, 2) if _coprime(step, among))
    for start in range(0, count, BLOCK):
        ranks = random.choices(range(among), cum_weights=weights, k=min(BLOCK, count - start))
        yield from (rank * stride % among for rank in ranks)


def _coprime(left: int, right: int) -> bool:
    while right:
        left, right = right, left % right
    return left == 1


def _sentences(random: Random, count: int) -> Iterator[str]:
    vocabulary: set[str] = set()
    while len(vocabulary) < VOCABULARY:
        vocabulary.add("".join(random.choices(LETTERS, k=random.randint(3, 10))))
    ordered = sorted(vocabulary)
    random.shuffle(ordered)
    drawn = _zipf(random, VOCABULARY, count)
    while sentence := [ordered[rank] for rank in itertools.islice(drawn, random.randint(4, 12))]:
        yield " ".join(sentence) + "\n"


def _market(random: Random, count: int) -> Iterator[str]:
    for number in range(count):
        symbol = f"SYM{random.randrange(SYMBOLS):04}"
        if random.random() < 0.5:
            bid = random.randrange(1_000, 20_000)
            gap = 8 if random.random() < 0.02 else random.randrange(1, 5)
            yield f'{{"symbol": "{symbol}", "bid": {bid / 100}, "offer": {(bid + gap) / 100}}}\n'
        else:
            quantity = random.randrange(10, 1_000)
            yield f'{{"symbol": "{symbol}", "order": {number}, "quantity": {quantity}}}\n'
