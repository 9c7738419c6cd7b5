"""Kafka: records and their number in one transaction, partitions read on from their offsets, a broker that restarts.

What a mock cluster can show is shown over one, in this process; transactions need a real broker, because a mock one
keeps what was given up.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import confluent_kafka
import pytest

import holdfast as hf
from holdfast import testing
from holdfast.core.errors import (
    ApplicationError,
    InputChangedError,
    OutputShortError,
    ProcessingError,
    SinkError,
    UsageError,
)
from tests.cli.command import holdfast, last_line
from tests.connectors import kafka_broker
from tests.connectors.kafka_broker import Broker
from tests.connectors.killing import Killing

client: Any = confluent_kafka
RECORDS = 1200
APP = """
import holdfast as hf


def numbered(record: dict[str, object], state: list[int]) -> dict[str, object]:
    state.append(1)
    return {{"key": record["key"], "value": record["value"] + b" is number %d" % len(state)}}


app = hf.Application("orders")
orders = app.source(hf.sources.Kafka({servers!r}, "orders"))
orders.key_by(lambda record: record["key"]).stateful(numbered, state=list).sink(hf.sinks.Kafka({servers!r}, "numbered"))
"""


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    """The servers of a mock cluster, which lives as long as the client that has it."""
    host = client.Producer({"test.mock.num.brokers": 2, "bootstrap.servers": "mock", "log_level": 0})
    yield ",".join(f"{broker.host}:{broker.port}" for broker in host.list_topics(timeout=10).brokers.values())
    host.flush()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    libraries, reason = kafka_broker.libraries()
    if libraries is None:
        pytest.skip(reason)
    with kafka_broker.broker(libraries) as made:
        yield made


def produce(servers: str, topic: str, records: list[tuple[Any, Any]], **options: Any) -> None:
    producer = client.Producer({"bootstrap.servers": servers, "partitioner": "murmur2", "log_level": 0})
    for key, value in records:
        producer.produce(topic, value, key, **options)
    assert producer.flush(30) == 0


def committed(servers: str, topic: str, count: int | None = None) -> list[Any]:
    """The values of what readers of committed records see, partition after partition: so many, or all there are."""
    source = hf.sources.Kafka(servers, topic)
    found: list[Any] = []
    for partition in source.partitions():
        reader = source.open(partition, None)
        timer = threading.Timer(0.0 if count == 0 else 1.5, reader.close)
        timer.start()
        while (block := reader.read(None, 1 << 20)) is not None:
            records: list[Any] = source.decode(block.raw)
            found += [record["value"] for record in records]
        timer.join()
    return found


def opened(broker: Broker, topic: str, owner: str = "owner", **options: Any) -> hf.sinks.Kafka:
    sink = hf.sinks.Kafka(broker.servers, topic, **options)
    sink.claim(owner)
    return sink


def write(sink: hf.sinks.Kafka, first: int, *outputs: Any) -> None:
    sink.write("0", first, [sink.encode(output) for output in outputs])


# --- the source, over a mock cluster


def test_a_record_has_key_value_timestamp_and_headers(mock: str) -> None:
    produce(mock, "fields", [(b"k", b"v")], partition=0, timestamp=1234, headers=[("a", b"1"), ("a", None)])
    produce(mock, "fields", [(None, None)], partition=0, timestamp=1235)
    source = hf.sources.Kafka(mock, "fields", time=lambda record: int(record["timestamp"]))
    assert source.live
    reader = source.open("0", None)
    records: list[Any] = []
    while len(records) < 2:
        block = reader.read(64, 1000)
        assert block is not None
        records += source.decode(block.raw)
    assert records == [
        {"key": b"k", "value": b"v", "timestamp": 1234, "headers": [("a", b"1"), ("a", None)]},
        {"key": None, "value": None, "timestamp": 1235, "headers": []},
    ]
    assert source.times(records) == [1234, 1235]
    assert reader.offset_after(2) == 2
    reader.close()


def test_the_source_keeps_the_contract(mock: str) -> None:
    for partition in range(4):
        produce(mock, "contract", [(b"k%d" % n, b"v" * n) for n in range(6)], partition=partition)
    testing.check_source(lambda: hf.sources.Kafka(mock, "contract"), records=6, seconds=20)


def test_closing_ends_the_wait_for_a_record(mock: str) -> None:
    produce(mock, "quiet", [(b"k", b"v")], partition=0)
    reader = hf.sources.Kafka(mock, "quiet").open("0", 1)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(reader.read(64, 1000)))
    thread.start()
    reader.close()
    thread.join(30)
    assert answers == [None]


def test_an_offset_that_is_not_there_is_refused_and_never_passed_over(mock: str) -> None:
    produce(mock, "short", [(b"k", b"v")], partition=0)
    reader = hf.sources.Kafka(mock, "short").open("0", 7)
    with pytest.raises(InputChangedError, match="records from offset 7 on are not there any more"):
        reader.read(64, 1000)
    reader.close()


def test_a_huge_record_comes_whole(mock: str) -> None:
    produce(mock, "huge", [(None, b"x" * 900_000), (None, b"y")], partition=0)
    source = hf.sources.Kafka(mock, "huge")
    reader = source.open("0", None)
    block = reader.read(64, 1000)
    assert block is not None
    first: Any = source.decode(block.raw)[0]
    assert (block.count, len(first["value"])) == (1, 900_000)
    reader.close()


def test_a_cluster_that_is_not_there_is_refused_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.connectors.kafka.START_SECONDS", 0.5)
    with pytest.raises(UsageError, match="no answer from Kafka"):
        hf.sources.Kafka("127.0.0.1:1", "t").partitions()
    with pytest.raises(UsageError, match="no answer from Kafka"):
        hf.sinks.Kafka("127.0.0.1:1", "t").resume("0", None)


@pytest.mark.parametrize(
    ("servers", "topic", "config"), [("", "t", {}), (3, "t", {}), ("x", "", {}), ("x", "t", {"bootstrap.servers": "y"})]
)
def test_wrong_options_are_refused_when_the_connector_is_made(servers: Any, topic: str, config: Any) -> None:
    own = {"isolation.level": "x"} if config else {}
    with pytest.raises(ApplicationError):
        hf.sources.Kafka(servers, topic, config=own)
    own = {"acks": "0"} if config else {}
    with pytest.raises(ApplicationError):
        hf.sinks.Kafka(servers, topic, config=own)


@pytest.mark.parametrize(
    "output", [3, {"value": 3}, {"value": b"", "kex": b""}, {"value": b"", "headers": [("a", 1)]}, "\ud800"]
)
def test_what_is_no_record_is_an_error_of_the_step(output: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        hf.sinks.Kafka("x", "t").encode(output)


# --- over a real broker


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_the_sink_keeps_the_contract_while_it_is_killed(broker: Broker) -> None:
    broker.create("checked")
    outputs = [f"output {n}".encode() for n in range(150)]
    testing.check_sink(
        lambda: hf.sinks.Kafka(broker.servers, "checked"),
        outputs,
        read=lambda: committed(broker.servers, "checked"),
        kills=6,
        seconds=60,
    )


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_records_of_one_key_lie_in_one_partition_and_what_was_given_up_is_not_seen(broker: Broker) -> None:
    broker.create("keyed", 3)
    sink = opened(broker, "keyed")
    assert sink.resume("0", None) == 0
    write(sink, 1, *({"key": f"k{n % 5}", "value": f"{n}", "headers": [("n", "1")]} for n in range(20)))
    given_up = client.Producer({"bootstrap.servers": broker.servers, "transactional.id": "other", "log_level": 0})
    given_up.init_transactions(30)
    given_up.begin_transaction()
    given_up.produce("keyed", b"given up")
    given_up.flush(30)
    given_up.abort_transaction(30)
    write(sink, 21, "last")
    assert sink.flush("0") == 21
    sink.close()
    found = committed(broker.servers, "keyed")
    assert sorted(found) == sorted([*(b"%d" % n for n in range(20)), b"last"])
    for rest in range(5):
        own = [value for value in found if value != b"last" and int(value) % 5 == rest]
        assert own == sorted(own, key=int)


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_a_producer_that_was_given_up_for_dead_writes_nothing_any_more(broker: Broker) -> None:
    broker.create("fenced")
    zombie, heir = opened(broker, "fenced"), opened(broker, "fenced")
    zombie.resume("0", None)
    write(zombie, 1, "a")
    assert heir.resume("0", None) == 1
    write(heir, 2, "b")
    with pytest.raises(SinkError, match="somebody else writes outputs of 'holdfast-"):
        write(zombie, 2, "zombie")
    zombie.close()
    heir.close()
    assert committed(broker.servers, "fenced") == [b"a", b"b"]


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_other_data_directories_have_numbers_of_their_own(broker: Broker) -> None:
    broker.create("shared")
    for owner in ("one", "two"):
        sink = opened(broker, "shared", owner)
        assert sink.resume("0", None) == 0
        write(sink, 1, owner)
        sink.close()
    assert committed(broker.servers, "shared") == [b"one", b"two"]


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_a_number_that_kafka_has_forgotten_is_refused(broker: Broker) -> None:
    broker.create("forgotten")
    sink = opened(broker, "forgotten")
    with pytest.raises(OutputShortError, match=r"says that 0 outputs were committed, but 5 were"):
        sink.resume("0", 5)
    sink.close()


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_a_record_that_is_too_large_is_refused_by_its_number_and_leaves_nothing(broker: Broker) -> None:
    broker.create("large")
    sink = opened(broker, "large")
    sink.resume("0", None)
    with pytest.raises(SinkError, match="does not take output 2: "):
        write(sink, 1, "a", "x" * 2_000_000)
    assert sink.resume("0", None) == 0
    write(sink, 1, "a")
    sink.close()
    assert committed(broker.servers, "large") == [b"a"]


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_a_topic_that_is_not_there_is_refused(broker: Broker) -> None:
    with pytest.raises(UsageError, match=r"topic 'none': .*create it first"):
        hf.sources.Kafka(broker.servers, "none").partitions()
    sink = opened(broker, "none")
    with pytest.raises(UsageError, match=r"topic 'none': .*create it first"):
        sink.resume("0", None)
    sink.close()


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_records_that_retention_took_are_an_error(broker: Broker) -> None:
    broker.create("kept-briefly")
    produce(broker.servers, "kept-briefly", [(None, b"%d" % n) for n in range(10)])
    admin = broker.admin()
    for future in admin.delete_records([client.TopicPartition("kept-briefly", 0, 6)]).values():
        future.result(30)
    reader = hf.sources.Kafka(broker.servers, "kept-briefly").open("0", 3)
    with pytest.raises(InputChangedError, match="records from offset 3 on are not there any more"):
        reader.read(64, 1000)
    reader.close()


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_broker_that_is_restarted_is_gone_on_with(how: int, broker: Broker) -> None:
    topic = f"restarted-{how}"
    broker.create(topic)
    sink = opened(broker, topic)
    sink.resume("0", None)
    write(sink, 1, "a")
    source = hf.sources.Kafka(broker.servers, topic)
    reader = source.open("0", None)
    assert reader.read(1, 1000) is not None
    restarting = threading.Thread(target=broker.restart, args=(how,))
    restarting.start()
    write(sink, 2, "b")
    restarting.join()
    block = reader.read(1, 1000)
    assert block is not None
    record: Any = source.decode(block.raw)[0]
    assert record["value"] == b"b"
    reader.close()
    sink.close()
    assert committed(broker.servers, topic) == [b"a", b"b"]


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_a_broker_that_stays_away_ends_patience_with_one_line(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.connectors.kafka.START_SECONDS", 1.0)
    monkeypatch.setattr("holdfast.connectors.kafka_sink._CALL_SECONDS", 1.0)
    broker.create("away")
    sink = opened(broker, "away", patience=1.0)
    sink.resume("0", None)
    reader = hf.sources.Kafka(broker.servers, "away", patience=1.0).open("0", None)
    broker.stop()
    try:
        with pytest.raises((SinkError, UsageError), match=r"no answer|can't be written for 1 s"):
            write(sink, 1, "a")
        with pytest.raises(ProcessingError, match=r"could not be read for 1 s: no answer from Kafka"):
            reader.read(1, 1000)
    finally:
        broker.start()
        reader.close()
        sink.close()


@pytest.mark.nightly  # a broker of its own: half a minute to start where there is one
def test_every_record_comes_out_once_through_kills_and_restarts_of_the_broker(broker: Broker, tmp_path: Path) -> None:
    broker.create("orders", 3)
    broker.create("numbered", 3)
    (tmp_path / "app.py").write_text(APP.format(servers=broker.servers))
    random = Random(1)
    keys = [b"key %d" % random.randrange(20) for _ in range(RECORDS)]
    watching = client.Consumer(
        {"bootstrap.servers": broker.servers, "group.id": "watch", "isolation.level": "read_committed", "log_level": 0}
    )
    watching.assign([client.TopicPartition("numbered", number, client.OFFSET_BEGINNING) for number in range(3)])
    out: list[Any] = []

    def progress() -> int:
        out.extend(message for message in watching.consume(1000, 0.05) if message.error() is None)
        return len(out)

    restarts: list[int] = []

    def feed(start: int, end: int) -> None:
        produce(broker.servers, "orders", [(keys[n], b"order %d" % n) for n in range(start, end)])
        if start in (300, 800):
            broker.restart(signal.SIGKILL if restarts else signal.SIGTERM)
            restarts.append(start)

    Killing(tmp_path, feed=feed, progress=progress, total=RECORDS).survive(kills=4)

    watching.close()
    expected: dict[bytes, list[bytes]] = {}
    for number, key in enumerate(keys):
        own = expected.setdefault(key, [])
        own.append(b"order %d is number %d" % (number, len(own) + 1))
    found: dict[bytes, list[bytes]] = {}
    for message in out:
        found.setdefault(message.key(), []).append(message.value())
    assert found == expected
    assert len(restarts) == 2


def test_a_missing_client_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "confluent_kafka.py").write_text("raise ImportError('no such client')\n")
    (tmp_path / "app.py").write_text(APP.format(servers="x"))
    done = holdfast(tmp_path, "run", "app.py", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert last_line(done.stderr).endswith(
        "Kafka needs the client confluent-kafka (no such client): pip install 'holdfast[kafka]'"
    )
