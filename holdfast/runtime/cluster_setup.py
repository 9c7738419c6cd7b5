"""What the coordinator tells every process that wants to take part: which application, laid out how.

The list of inputs is fixed at the first start and kept by the coordinator, so that all workers number them alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from holdfast.core.application import Application
from holdfast.core.errors import FrameError, UsageError


@dataclass(frozen=True, slots=True)
class ClusterSetup:
    """Equal for all workers of a cluster."""

    application: str  # its name
    partitions: tuple[tuple[str, str], ...]  # (source's name, partition), by number
    backups: int
    code: tuple[str, ...]  # of the functions: label and digest in turn
    stored_names: dict[str, str]  # stateful step -> the name that its entities are stored under
    directory: str = ""  # names the cluster's data for ever: whose outputs its sinks get

    def pack(self) -> bytes:
        """As it is sent."""
        own = [self.application, self.partitions, self.backups, self.code, self.stored_names, self.directory]
        packed: bytes = msgpack.packb(own, unicode_errors="surrogatepass")
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> ClusterSetup:
        """What `pack` packed; FrameError for anything else."""
        try:
            application, partitions, backups, code, stored_names, directory = msgpack.unpackb(
                packed, unicode_errors="surrogatepass"
            )
            named = tuple((source, name) for source, name in partitions)
            return cls(application, named, backups, tuple(code), dict(stored_names), directory)
        except (ValueError, TypeError) as error:
            raise FrameError(f"that is no setup of a cluster: {error}") from error


def refuse_unfit(app: Application) -> None:
    """Raise for what only a single worker can do in this release."""
    if app.entities_in_memory is not None:
        raise UsageError("entities_in_memory does not go together with several workers yet: leave one of them out")
