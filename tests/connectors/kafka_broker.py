"""A real Kafka broker of the test's own: one node, fetched by the build tool for Java, on loopback.

It is fetched once into the user's cache. Stopped by its process id; its folder is removed with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.connectors.postgres_server import SECONDS_MAX

VERSION = "3.9.1"
FETCH_SECONDS_MAX = 400.0
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>holdfast</groupId><artifactId>broker</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/logs
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
auto.create.topics.enable=false
"""


def libraries() -> tuple[Path | None, str]:
    """The folder with the broker's libraries; or None and why there are none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-tests" / f"kafka-{VERSION}"
    if cache.exists():
        return cache, ""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        return None, "no Kafka broker here: it needs java, and mvn to fetch it"
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        Path(folder, "pom.xml").write_text(POM)
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=FETCH_SECONDS_MAX, check=False)
        except subprocess.TimeoutExpired:
            return None, f"no Kafka broker here: mvn did not fetch it in {FETCH_SECONDS_MAX:g} s"
        if done.returncode != 0:
            return None, f"no Kafka broker here: mvn could not fetch it: {done.stdout[-300:]!r}"
        Path(folder, "lib").rename(cache)
    return cache, ""


class Broker:
    """One broker with its topics."""

    def __init__(self, libraries: Path) -> None:
        self._libraries = libraries
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-kafka-"))
        self._port, controller = free_ports(2)
        self.servers = f"127.0.0.1:{self._port}"
        self._properties = self.folder / "server.properties"
        self._properties.write_text(
            PROPERTIES.format(port=self._port, controller=controller, folder=self.folder)
        )
        self._process: subprocess.Popen[bytes] | None = None
        identity = "MkU3OEVBNTcwNTJENDM2Qg"
        command = self._java("kafka.tools.StorageTool", "format", "-t", identity, "-c", str(self._properties))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _java(self, *arguments: str) -> list[str]:
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{self._libraries}/*"]
        return ["java", *options, *arguments]

    def start(self) -> None:
        """Start and wait until it answers."""
        import confluent_kafka as client

        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)), cwd=self.folder, stdout=log, stderr=log
            )
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            try:
                client.Producer({"bootstrap.servers": self.servers, "log_level": 0}).list_topics(timeout=1.0)
                return
            except client.KafkaException:
                assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "the broker does not answer"

    def stop(self, how: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(SECONDS_MAX)
            self._process = None

    def restart(self, how: int = signal.SIGKILL) -> None:
        self.stop(how)
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def create(self, topic: str, partitions: int = 1) -> None:
        import confluent_kafka.admin

        kafka: Any = confluent_kafka.admin
        admin = self.admin()
        for future in admin.create_topics([kafka.NewTopic(topic, partitions, 1)]).values():
            future.result(SECONDS_MAX)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def broker(libraries: Path) -> Iterator[Broker]:
    """A running broker."""
    made = Broker(libraries)
    try:
        made.start()
        yield made
    finally:
        made.remove()
