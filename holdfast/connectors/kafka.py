"""What source and sink for Kafka share: the client, its settings, and what its errors mean.

The client (librdkafka) is an extra of the package; without it the first use of a Kafka connector says so. It connects
again by itself; what is decided here is only how long that may take.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from holdfast.core.errors import ApplicationError, UsageError

try:
    import confluent_kafka
except ImportError as error:
    raise ApplicationError(
        f"Kafka needs the client confluent-kafka ({error}): pip install 'holdfast[kafka]'"
    ) from None

client: Any = confluent_kafka  # its own types leave most of what is used here open

# Of a cluster that is not there when a run begins.
START_SECONDS = 10.0


def settings(servers: str, config: Mapping[str, Any] | None, own: Mapping[str, Any]) -> dict[str, Any]:
    """The client's settings: ours, the user's over them, and those that the promise rests on over all."""
    if not servers or type(servers) is not str:
        raise ApplicationError(f"the servers are a str like 'host:9092,host:9092', not {servers!r}")
    given = dict(config or {})
    if clash := given.keys() & own.keys():
        raise ApplicationError(f"config= may not set {min(clash)!r}: what is promised rests on it")
    return {"client.id": "holdfast", **given, "bootstrap.servers": servers, **own, "logger": _quiet}


def checked_topic(topic: str) -> str:
    """The topic, if it can be one's name."""
    if not topic or type(topic) is not str:
        raise ApplicationError(f"the topic is a str, not {topic!r}")
    return topic


def partitions_of(admin: Any, topic: str) -> list[int]:
    """The topic's partitions; UsageError where the cluster can't be reached or has no such topic."""
    try:
        found = admin.list_topics(topic, timeout=START_SECONDS).topics[topic]
    except client.KafkaException as error:
        raise UsageError(f"no answer from Kafka: {text(error)}") from error
    if found.error is not None or not found.partitions:
        reason = "has no partitions" if found.error is None else found.error.str()
        raise UsageError(f"topic {topic!r}: {reason}; create it first")
    return sorted(found.partitions)


def text(error: Exception) -> str:
    """The text of the client's error."""
    inner = error.args[0] if error.args else error
    return inner.str() if isinstance(inner, client.KafkaError) else str(error)


# The client writes to stderr what it then also raises or heals by itself.
_quiet = logging.getLogger("holdfast.kafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False
