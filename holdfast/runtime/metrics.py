"""Metrics for Prometheus over HTTP, in threads of the client library's own.

Invariant: what is told is looked up when it is asked for; who asks costs the engine nothing. An address that others can
reach is the user's explicit wish: there is no secret here, and nothing of what messages or states hold is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from holdfast.core.errors import UsageError
from holdfast.runtime.notice import Notice
from holdfast.runtime.transport.addresses import Address

PACKAGE = "prometheus_client"


def serve(address: Address, look: Callable[[], dict[str, Any]]) -> Notice:
    """Serve from now until the process ends; `look` gives a status and is called on other threads.

    Gives a line that says where. UsageError where that can't be.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
        from prometheus_client.metrics_core import Metric

        from holdfast.runtime.metric_families import families
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != PACKAGE:
            raise
        raise UsageError("--metrics needs the package prometheus_client: pip install 'holdfast[metrics]'") from error

    class Collector:
        """Looks whenever somebody asks."""

        def collect(self) -> Iterator[Metric]:
            return families(look())

        def describe(self) -> Iterator[Metric]:
            return iter(())  # so that nothing is looked up before there is anything

    registry = CollectorRegistry()
    registry.register(Collector())
    try:
        server, _ = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise UsageError(f"metrics can't be served on {address}: {error.strerror or error}") from error
    found = Address(address.host, server.server_port)
    return Notice(f"metrics at http://{found}/metrics", "metrics", address=str(found))
