"""Outputs as records of a Kafka topic: the records and their number in one transaction.

The number is kept as the committed offset of a consumer group that nobody else uses, because that is what a
transaction can hold beside records. A producer that begins fences off those before it, and waits until what they had
under way is over; only then is the number asked for.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xxhash

from holdfast.connectors import kafka
from holdfast.connectors.kafka import client
from holdfast.core.errors import OutputShortError, SinkError, UsageError

_CALL_SECONDS = 5.0  # of one call of the client
_GRACE_SECONDS = 3.0  # beyond it, until a call counts as hanging
_FIELDS = frozenset({"key", "value", "headers"})
_OF_PRODUCERS = frozenset({"acks", "enable.idempotence", "partitioner"})
_OWN = {"enable.idempotence": True, "acks": "all"}


class KafkaSink:
    """Writes each output as a record of a topic, exactly once for readers of committed records.

    An output is the value, bytes or str, or a dict with `value` and perhaps `key` and `headers` (a list of pairs).
    Records of one key go to one partition, in order. Transactional id and group, whose offset is the number, are
    `holdfast-` and `name`, or a name drawn from the data directory. `config` are further settings of the client
    (librdkafka), `patience` is how many seconds a cluster that is gone is tried again.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        patience: float = 60.0,
    ) -> None:
        self._settings = kafka.settings(servers, {"partitioner": "murmur2", **(config or {})}, _OWN)
        self._topic = kafka.checked_topic(topic)
        self._place = f"topic {topic!r}"
        self._name = name
        self._stream = "holdfast-" + (name or "")
        self._patience = patience
        self._producer: Any = None
        self._group: Any = None  # a consumer of the group that holds the number; it reads nothing

    def encode(self, value: object, /) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
        """Key, value and headers of an output; raises for what is none."""
        if not isinstance(value, dict):
            return None, _bytes("value", value), []
        if unknown := value.keys() - _FIELDS:
            raise ValueError(f"an output is a value, or a dict with value, key and headers, not {min(unknown)!r}")
        headers = [(str(name), _bytes("header", header)) for name, header in value.get("headers") or []]
        return _bytes("key", value.get("key")), _bytes("value", value.get("value")), headers

    def claim(self, owner: str) -> None:
        """Whose outputs come."""
        if self._name is None:
            self._stream = "holdfast-" + xxhash.xxh3_64_hexdigest(f"{owner} {self._topic}".encode())

    def resume(self, partition: str, token: object, /) -> int:
        """The number that was committed with the last records."""
        number = self._begin(kafka.START_SECONDS)
        if type(token) is int and number < token:
            raise OutputShortError(
                f"{self._place}: group {self._stream} says that {number} outputs were committed, but {token} were; "
                "Kafka forgets groups that are not used for a week or so (offsets.retention.minutes)"
            )
        return number

    def _begin(self, patience: float) -> int:
        """A new producer, which ends what others of its name had under way; then what is there."""
        self.close()
        self._producer = client.Producer({**self._settings, "transactional.id": self._stream})
        self._group = client.Consumer(
            {
                **{name: value for name, value in self._settings.items() if name not in _OF_PRODUCERS},
                "group.id": self._stream,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        kafka.partitions_of(self._group, self._topic)
        self._patiently(lambda: self._producer.init_transactions(_CALL_SECONDS), patience)
        (found,) = self._patiently(
            lambda: self._group.committed([client.TopicPartition(self._topic, 0)], timeout=_CALL_SECONDS), patience
        )
        if found.error is not None:
            raise SinkError(f"{self._place}: group {self._stream} can't be read: {found.error.str()}")
        return max(0, int(found.offset))

    # --- writing

    def write(self, partition: str, first_number: int, outputs: Sequence[Any], /) -> None:
        """The records and their number, both or neither; those that are there already are left out."""
        before, since = first_number - 1, time.monotonic()
        number: int | None = before  # what is there; None where it must be asked for
        while True:
            try:
                if number is None:
                    number = self._begin(_CALL_SECONDS)
                    if number < before:
                        raise SinkError(f"{self._place} has {number} outputs; {before} were written")
                if number < before + len(outputs):
                    self._transact(number, outputs[number - before :])
                return
            except (_StuckError, UsageError) as error:
                reason = str(error)
            except client.KafkaException as error:
                reason, code = kafka.text(error), error.args[0].code()
                if code in _FENCED:
                    raise SinkError(f"{self._place}: somebody else writes outputs of {self._stream!r}") from error
                if code in _REFUSED:
                    raise SinkError(f"{self._place} can't be written: {reason}") from error
            if time.monotonic() - since > self._patience:
                raise SinkError(f"{self._place} can't be written for {self._patience:g} s: {reason}")
            number = None

    def _transact(self, before: int, outputs: Sequence[Any]) -> None:
        producer = self._producer
        producer.begin_transaction()
        for number, (key, value, headers) in enumerate(outputs, before + 1):
            self._produce(number, key, value, headers)
        self._patiently(self._flush_producer, self._patience)  # what was not delivered makes the commit fail
        numbers = [client.TopicPartition(self._topic, 0, before + len(outputs))]
        group = self._group.consumer_group_metadata()
        self._patiently(lambda: producer.send_offsets_to_transaction(numbers, group, _CALL_SECONDS), self._patience)
        self._patiently(lambda: producer.commit_transaction(_CALL_SECONDS), self._patience)

    def _produce(self, number: int, key: bytes | None, value: bytes | None, headers: list[Any]) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, headers=headers)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)
            except client.KafkaException as error:
                if error.args[0].code() not in _REFUSED:
                    raise
                self._producer.abort_transaction(_CALL_SECONDS)
                raise SinkError(f"{self._place} does not take output {number}: {kafka.text(error)}") from error

    def _flush_producer(self) -> None:
        if self._producer.flush(_CALL_SECONDS):
            raise client.KafkaException(client.KafkaError(client.KafkaError._TIMED_OUT))

    def _patiently(self, call: Callable[[], Any], patience: float) -> Any:
        """A call that may be made again for as long as the client says so."""
        since = time.monotonic()
        while True:
            try:
                return _bounded(call)
            except client.KafkaException as error:
                inner = error.args[0]
                if not inner.retriable() and inner.code() not in _WAITING:
                    raise
                if time.monotonic() - since > patience:
                    raise SinkError(f"{self._place}: no answer for {patience:g} s: {kafka.text(error)}") from error

    def flush(self, partition: str, /) -> int:
        """What was committed is durable; how much that is."""
        (found,) = self._patiently(
            lambda: self._group.committed([client.TopicPartition(self._topic, 0)], timeout=_CALL_SECONDS),
            self._patience,
        )
        return max(0, int(found.offset))

    def close(self) -> None:
        """Let go of the connections, without ending what is under way: who comes next does that."""
        if self._group is not None:
            self._group.close()
        self._producer = self._group = None


def _bytes(what: str, value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"the {what} of a record is bytes, str or None, not {type(value).__name__}")


class _StuckError(Exception):
    """A call of the client does not come back."""


def _bounded(call: Callable[[], Any]) -> Any:
    """The call's result. One that outlasts its own limit by far is left to its thread, and its producer with it.

    The client was seen to hang for ever where a coordinator died between two requests of one transaction; a new
    producer ends that transaction and fences the old one.
    """
    answers: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((call(), None))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            answers.put((None, error))

    threading.Thread(target=work, name="holdfast-kafka-call", daemon=True).start()
    try:
        result, error = answers.get(timeout=_CALL_SECONDS + _GRACE_SECONDS)
    except queue.Empty:
        raise _StuckError("a call of the client does not come back") from None
    if error is not None:
        raise error
    return result


_WAITING = frozenset(
    {client.KafkaError._TIMED_OUT, client.KafkaError._TIMED_OUT_QUEUE, client.KafkaError._TRANSPORT}
)
_FENCED = frozenset(
    {client.KafkaError._FENCED, client.KafkaError.PRODUCER_FENCED, client.KafkaError.INVALID_PRODUCER_EPOCH}
)
_REFUSED = frozenset(
    {
        client.KafkaError.MSG_SIZE_TOO_LARGE,
        client.KafkaError.INVALID_MSG,
        client.KafkaError.TOPIC_AUTHORIZATION_FAILED,
        client.KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        client.KafkaError.GROUP_AUTHORIZATION_FAILED,
        client.KafkaError.UNKNOWN_TOPIC_OR_PART,
        client.KafkaError._UNKNOWN_TOPIC,
        client.KafkaError._UNKNOWN_PARTITION,
        client.KafkaError.INVALID_RECORD,
    }
)
