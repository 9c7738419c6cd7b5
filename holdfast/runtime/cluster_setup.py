"""What the coordinator tells every process that wants to take part: which application, laid out how.

The list of inputs is fixed at the first start and kept by the coordinator, so that all workers number them alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from holdfast.core.errors import FrameError


@dataclass(frozen=True, slots=True)
class ClusterSetup:
    """Equal for all workers of a cluster."""

    application: str  # its name
    partitions: tuple[tuple[str, str], ...]  # (source's name, partition), by number
    backups: int
    code: tuple[str, ...]  # of the functions: label and digest in turn

    def pack(self) -> bytes:
        """As it is sent."""
        packed: bytes = msgpack.packb([self.application, self.partitions, self.backups, self.code])
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> ClusterSetup:
        """What `pack` packed; FrameError for anything else."""
        try:
            application, partitions, backups, code = msgpack.unpackb(packed)
            return cls(application, tuple((source, name) for source, name in partitions), backups, tuple(code))
        except (ValueError, TypeError) as error:
            raise FrameError(f"that is no setup of a cluster: {error}") from error
