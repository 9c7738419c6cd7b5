"""Replies: what messages sent through `.reply()` steps, gathered per record for whoever asked.

Invariant: the images of one record stand in order of positions, which is the serial order, whatever stages they came
from. A message is encoded where it passes, so nothing that happens to it later changes an answer. What a timer causes
answers nobody.
Who asked, and what becomes of an answer, is the worker's and the shell's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from holdfast.core.positions import Position
from holdfast.core.steps import Kind, Step

# The images of a record's replies: None of none, the bytes of a single one, a tuple of several.
Answer: TypeAlias = "None | bytes | tuple[bytes, ...]"
Answers: TypeAlias = dict[int, Answer]  # number of the record in its partition -> its answer, where it has one


def images_of(answer: Answer) -> tuple[bytes, ...]:
    """The images, in order."""
    if answer is None:
        return ()
    return (answer,) if isinstance(answer, bytes) else answer


def answered_sources(steps: Sequence[Step]) -> frozenset[str]:
    """The names of the sources of which a message can reach a reply step, however its functions decide."""
    return frozenset(step.name for step in steps if step.kind is Kind.SOURCE and _leads_to_reply(step, steps))


def _leads_to_reply(source: Step, steps: Sequence[Step]) -> bool:
    waiting, met = [source], {source.index}
    while waiting:
        step = waiting.pop()
        if step.kind is Kind.REPLY:
            return True
        behind = {index for output in step.consumers for index in output} - met
        met |= behind
        waiting += [steps[index] for index in behind]
    return False


class Replies:
    """The replies of the slice in hand, and the answers of the epoch so far."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self.encode = encode
        self._slice: list[tuple[Position, bytes]] = []
        self._epoch: dict[int, Answers] = {}

    def add(self, message: Any, position: Position) -> None:
        """A message passes a reply step. ValueTypeError for what is not a value."""
        if position[1] >= 0:
            self._slice.append((position, self.encode(message)))

    def drop_slice(self) -> None:
        """Forget what came in this slice: it is done again."""
        self._slice.clear()

    def take_slice(self) -> list[tuple[Position, bytes]]:
        """What passed in this slice, where another member gathers it."""
        taken, self._slice = self._slice, []
        return taken

    def put_slice(self, replies: Iterable[tuple[Position, bytes]]) -> None:
        """What passed at all members; of one position in the order in which it passed."""
        self._slice.extend(replies)

    def collect(self) -> None:
        """The slice is over."""
        if not self._slice:
            return
        self._slice.sort(key=_position)
        partition = -1
        answers: Answers = {}
        for position, image in self._slice:
            if position[1] != partition:
                partition = position[1]
                answers = self.of(partition)
            known = answers.get(position[2])
            answers[position[2]] = image if known is None else (*images_of(known), image)
        self._slice.clear()

    def of(self, partition: int) -> Answers:
        """The answers of a partition's records in this epoch, up to the last slice that is over."""
        return self._epoch.setdefault(partition, {})

    def take(self) -> dict[int, Answers]:
        """The epoch is over: its answers by partition."""
        answers, self._epoch = self._epoch, {}
        return answers


def _position(reply: tuple[Position, bytes]) -> Position:
    return reply[0]
