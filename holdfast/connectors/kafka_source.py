"""Records of a Kafka topic as a source. Partitions are the topic's, offsets are Kafka's own.

Nothing is committed to a consumer group: where to go on stands in the log, with what was read. Records of transactions
that were given up are not seen. Invariant: a reader gives the records of its partition in order from its offset on; a
gap that retention has torn is an error, never passed over.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.connectors import framing, kafka
from holdfast.connectors.gate import Gate
from holdfast.connectors.interface import Block
from holdfast.connectors.kafka import client
from holdfast.connectors.row_frames import RowFrames
from holdfast.core.connector import Undecodable
from holdfast.core.errors import InputChangedError, ProcessingError, UsageError
from holdfast.core.types import TypeRegistry

# How often a reader that waits looks whether it was closed.
_LOOK_SECONDS = 0.1
_TAKEN_MAX = 512

_OWN = {
    "group.id": "holdfast",  # the client wants a name; nothing is committed under it
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
    "enable.partition.eof": False,
}


class KafkaSource:
    """Live: the records of a topic, each a dict with `key`, `value`, `timestamp` and `headers`.

    `key` and `value` are bytes or None, `timestamp` Unix milliseconds, `headers` a list of (str, bytes or None).
    `config` are further settings of the client (librdkafka). `patience` is how many seconds a cluster that is gone is
    tried again. `time` gives a record's time in Unix milliseconds, such as `lambda record: record["timestamp"]`.
    """

    live = True

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        config: Mapping[str, Any] | None = None,
        patience: float = 60.0,
        time: Callable[[dict[str, Any]], int] | None = None,
    ) -> None:
        self.settings = kafka.settings(servers, config, _OWN)
        self.topic = kafka.checked_topic(topic)
        self.patience = patience
        self.frames = RowFrames(time)

    def bind(self, registry: TypeRegistry) -> None:
        """Records hold plain values, so no types are needed."""

    def partitions(self) -> list[str]:
        consumer = client.Consumer(self.settings)
        try:
            return [str(number) for number in kafka.partitions_of(consumer, self.topic)]
        finally:
            consumer.close()

    def open(self, partition: str, offset: object | None) -> KafkaReader:
        assert offset is None or type(offset) is int, offset
        return KafkaReader(self, int(partition), offset)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return framing.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[dict[str, Any] | Undecodable]:
        return self.frames.decode(raw)

    def times(self, records: list[Any], /) -> list[int | None] | None:
        return self.frames.times(records)


class KafkaReader:
    """Reads one partition. Offset: of the next record, None before the first."""

    def __init__(self, source: KafkaSource, partition: int, offset: int | None) -> None:
        self._source = source
        self._place = f"partition {partition} of topic {source.topic!r}"
        self._partition = partition
        self._offset = offset
        self._covered = 0
        self._offsets: deque[int] = deque()  # after each record given that no offset covers yet
        self._taken: deque[Any] = deque()
        self._away_since: float | None = None  # when the client said that no broker is there
        self._consumer: Any = None  # made by the thread that reads
        self._gate = Gate(self._let_go)

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        with self._gate.inside() as enters:
            if not enters or not self._wait_for_records():
                return None
        frames: list[bytes] = []
        size = 0
        while self._taken and (records_max is None or len(frames) < records_max):
            frame = self._frame(self._taken[0])
            size += len(frame)
            if frames and size > bytes_max:
                break
            frames.append(frame)
            self._offsets.append(self._taken.popleft().offset() + 1)
        return Block(b"".join(frames), len(frames), ended=False)

    def _wait_for_records(self) -> bool:
        """Take records unless some are there; False when it was closed meanwhile."""
        if self._consumer is None:
            self._open_consumer()
        while not self._taken and not self._gate.closed.is_set():
            for message in self._consumer.consume(_TAKEN_MAX, _LOOK_SECONDS):
                if message.error() is not None:
                    self._raise(message.error())
                else:
                    self._taken.append(message)
            if self._taken:
                self._away_since = None
            elif self._away_since is not None:
                self._check_away()
        return bool(self._taken)

    def _open_consumer(self) -> None:
        self._consumer = client.Consumer({**self._source.settings, "error_cb": self._noticed})
        start = client.OFFSET_BEGINNING if self._offset is None else self._offset
        self._consumer.assign([client.TopicPartition(self._source.topic, self._partition, start)])

    def _noticed(self, error: Any) -> None:
        if error.code() == client.KafkaError._ALL_BROKERS_DOWN and self._away_since is None:
            self._away_since = time.monotonic()

    def _check_away(self) -> None:
        """The client does not say when a broker is back: ask, once patience has ended."""
        assert self._away_since is not None
        if time.monotonic() - self._away_since < self._source.patience:
            return
        try:
            kafka.partitions_of(self._consumer, self._source.topic)
        except UsageError as error:
            text = f"{self._place} could not be read for {self._source.patience:g} s: {error}"
            raise ProcessingError(text) from error
        self._away_since = None

    def _raise(self, error: Any) -> None:
        """An error that stands in the place of a record; those that pass by themselves are passed over."""
        if error.code() == client.KafkaError._AUTO_OFFSET_RESET:
            raise InputChangedError(
                f"{self._place}: the records from offset {self._offset} on are not there any more: {error.str()}"
            )
        if error.fatal() or not (error.retriable() or error.code() in _PASSING):
            raise ProcessingError(f"{self._place} can't be read: {error.str()}")

    def _frame(self, message: Any) -> bytes:
        _, timestamp = message.timestamp()
        return self._source.frames.frame(
            {
                "key": message.key(),
                "value": message.value(),
                "timestamp": timestamp,
                "headers": [tuple(header) for header in message.headers() or []],
            }
        )

    def offset_after(self, count: int) -> object:
        for _ in range(count - self._covered):
            self._offset = self._offsets.popleft()
        self._covered = count
        return self._offset

    def close(self) -> None:
        self._gate.close()

    def _let_go(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


_PASSING = frozenset(
    {
        client.KafkaError._TRANSPORT,
        client.KafkaError._ALL_BROKERS_DOWN,
        client.KafkaError._TIMED_OUT,
        client.KafkaError._RESOLVE,
        client.KafkaError.LEADER_NOT_AVAILABLE,
        client.KafkaError.NOT_LEADER_FOR_PARTITION,
        client.KafkaError.REQUEST_TIMED_OUT,
    }
)
