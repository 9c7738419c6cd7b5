"""Senders: which messages came with an id, how far each producer has come, and what was answered.

A system step, `$send:` and the source's name. Its entities are, by a number that rises from message to message,
(producer, sequence, answer) of the last `remembered` messages with an id; and by producer, (number, sequence, answer)
of the greatest sequence that was forgotten of it, for the last `remembered` producers. They are checkpointed and
returned to as all entities are.
Invariant: whether a message is a repeat is a function of the messages before it in its source alone: a remembered id
is one, and so is a sequence that is not above what was forgotten. A slice is judged first and changes nothing;
`settle` makes it count once the slice is over, and an epoch's end is where ids are forgotten.
Answers are bounded in bytes: the oldest are forgotten first, their ids are not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from holdfast.core.connector import Sent
from holdfast.core.entities import Book, Entity
from holdfast.core.replies import Answer, Answers

SEND_STEP: Final = "$send:"  # system steps' names begin like this
ANSWER_BYTES_MAX: Final = 64 << 20  # of all remembered answers of a source
LAST_ANSWER_BYTES_MAX: Final = 1024  # of one that is kept although its message is forgotten
Place: TypeAlias = tuple[int, int]  # partition, number of the record in it
FORGOTTEN: Final = False  # in the place of an answer that is not remembered any more


class Repeat:
    """A record that has no effect; it keeps its number."""


REPEAT: Final = Repeat()


class Senders:
    """The producers of one source; of its records, all partitions' in serial order."""

    def __init__(self, source: str, remembered: int, registry: Any) -> None:
        self.step = SEND_STEP + source
        self.remembered = remembered
        self.book = Book(make_state=tuple, takes_key=False, timed=False, registry=registry)
        self._numbers: dict[str, dict[int, int]] = {}  # producer -> sequence -> number, of what is remembered
        self._order: deque[int] = deque()  # of these, the numbers
        self._answered: deque[int] = deque()  # of these, the numbers with an answer
        self._answer_bytes = 0
        self._passed: dict[str, int] = {}  # producer -> greatest sequence forgotten, longest ago first
        self._next = 0  # number of the next message with an id
        self._new: dict[tuple[str, int], Place] = {}  # of the slice in hand: by id
        self._repeats: dict[Place, tuple[str, int]] = {}  # of the slice in hand: their ids

    def restore(self) -> None:
        """The book holds what a checkpoint held: find everything again."""
        passed: list[tuple[int, str, int]] = []
        for key, entity in self.book.entities.items():
            if type(key) is str:
                passed.append((entity.state[0], key, entity.state[1]))
            else:
                self._order.append(key)
        self._order = deque(sorted(self._order))
        for number in self._order:
            producer, sequence, answer = self.book.entities[number].state
            self._numbers.setdefault(producer, {})[sequence] = number
            self._note_answer(number, answer)
        self._passed = {producer: sequence for _, producer, sequence in sorted(passed)}
        self._next = 1 + max([-1, *self._order, *(number for number, _, _ in passed)])

    # --- a slice

    def judge(self, partition: int, first: int, records: Sequence[Any]) -> list[Any]:
        """The messages of records numbered from `first`, as the first step gets them; REPEAT for repeats."""
        messages = []
        for number, record in enumerate(records, first):
            if type(record) is not Sent:
                messages.append(record)
                continue
            producer, sequence = identity = record.producer, record.sequence
            if (
                identity in self._new
                or sequence in self._numbers.get(producer, ())
                or sequence <= self._passed.get(producer, sequence - 1)
            ):
                self._repeats[partition, number] = identity
                messages.append(REPEAT)
            else:
                self._new[identity] = partition, number
                messages.append(record.message)
        return messages

    def again(self, partition: int, first: int, records: Sequence[Any]) -> list[Any]:
        """The same for records that were judged in this slice already, decoded anew."""
        repeats = self._repeats
        return [
            record if type(record) is not Sent else REPEAT if (partition, number) in repeats else record.message
            for number, record in enumerate(records, first)
        ]

    def drop_slice(self) -> None:
        """What was judged is judged again."""
        self._new.clear()
        self._repeats.clear()

    def settle(self, answers_of: Callable[[int], Answers]) -> None:
        """The slice is over: its messages count, and its repeats are answered as the first time.

        `answers_of` gives a partition's answers, to be read and added to.
        """
        add, numbers = self.book.add, self._numbers
        number, self._next = self._next, self._next + len(self._new)
        self._order.extend(range(number, self._next))
        at, answers = -1, {}
        for number, ((producer, sequence), (partition, record)) in enumerate(self._new.items(), number):
            if partition != at:
                at, answers = partition, answers_of(partition)
            answer = answers.get(record)
            add(number, (producer, sequence, answer))
            own = numbers.get(producer)
            if own is None:
                numbers[producer] = {sequence: number}
            else:
                own[sequence] = number
            if answer is not None:
                self._note_answer(number, answer)
        for (partition, record), (producer, sequence) in self._repeats.items():
            known = self._answer(producer, sequence)
            if known is not None:
                answers_of(partition)[record] = known  # type: ignore[assignment]
        self.drop_slice()

    def forget(self) -> None:
        """An epoch is over: what is beyond the bounds is forgotten. Not earlier: where slices end must change nothing."""
        while len(self._order) > self.remembered:
            self._forget(self._order.popleft())
        while self._answer_bytes > ANSWER_BYTES_MAX:
            self._forget_answer(self._answered[0])

    def _answer(self, producer: str, sequence: int) -> Answer | bool:
        number = self._numbers.get(producer, {}).get(sequence)
        if number is not None:
            known: Answer | bool = self.book.entities[number].state[2]
            return known
        _, passed, last = self.book.entities[producer].state
        return last if passed == sequence else FORGOTTEN

    # --- forgetting

    def _forget(self, number: int) -> None:
        """A message becomes, at most, how far its producer has come."""
        entity = self.book.entities[number]
        producer, sequence, answer = entity.state
        own = self._numbers[producer]
        del own[sequence]
        if not own:
            del self._numbers[producer]
        if self._answered and self._answered[0] == number:
            self._answered.popleft()
            self._answer_bytes -= _size(answer)
        self._remove(entity)
        if sequence <= self._passed.get(producer, sequence - 1):
            return
        self._passed.pop(producer, None)
        self._passed[producer] = sequence
        kept = answer if _size(answer) <= LAST_ANSWER_BYTES_MAX else FORGOTTEN
        self._write(producer, (number, sequence, kept))
        if len(self._passed) > self.remembered:
            oldest = next(iter(self._passed))
            del self._passed[oldest]
            self._remove(self.book.entities[oldest])

    def _note_answer(self, number: int, answer: Answer | bool) -> None:
        size = len(answer) if type(answer) is bytes else _size(answer)
        if size:
            self._answered.append(number)
            self._answer_bytes += size

    def _forget_answer(self, number: int) -> None:
        self._answered.popleft()
        producer, sequence, answer = self.book.entities[number].state
        self._answer_bytes -= _size(answer)
        self._write(number, (producer, sequence, FORGOTTEN))

    # --- entities

    def _write(self, key: str | int, state: tuple[Any, ...]) -> None:
        entity = self.book.entities.get(key)
        if entity is None:
            entity = self.book.make(key)
        if entity.mark != self.book.interval:
            self.book.touch(entity)
        entity.state = state

    def _remove(self, entity: Entity) -> None:
        if entity.mark != self.book.interval:
            self.book.touch(entity)
        self.book.remove(entity)


def _size(answer: Answer | bool) -> int:
    if isinstance(answer, tuple):
        return sum(map(len, answer))
    return len(answer) if isinstance(answer, bytes) else 0
