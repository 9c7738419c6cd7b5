"""Every error that a user can meet, as one tree; the exit code of a command is an attribute of its error.

HoldfastError
├── UsageError (2)                 the call is wrong: options, application not found, input missing
│   ├── ApplicationError           the application was refused when it was built
│   └── OutputExistsError          an output file stands that this data directory does not own
├── ProcessingError (3)            stopped while running; nothing is lost, a later run goes on
│   ├── StoppedError               a user function raised or a record could not be decoded
│   ├── NonDeterminismError        regenerated output differs from what was delivered
│   ├── SinkError                  a sink could not be written
│   ├── StorageError               a commit failed; the process must end, never retry
│   ├── DiskFullError              no space left for the log, the state or an output
│   ├── EngineStoppedError         an embedded engine has ended; what was not answered may be sent again
│   └── UnreachableError           the cluster behind an engine answers nobody; the same
├── DataDirectoryError (4)         the data directory cannot be used as it is
│   ├── DirectoryInUseError · FormatError · CodeChangedError · InputChangedError · OutputShortError
│   └── DamagedError               a stored value does not match its digest; names the place
├── FrameError                     what came from a peer is no frame; its connection is closed, nothing changes
├── AnswerForgottenError           a message that came again was processed, but its answer is not remembered
└── ValueTypeError, KeyTypeError   (also TypeError) something is not a value or not a key

A class exists only where a caller can react to it. Errors of our own making are assertions instead.
"""

from __future__ import annotations


class HoldfastError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 3


class UsageError(HoldfastError):
    """The call is wrong; nothing was started."""

    exit_code = 2


class ApplicationError(UsageError):
    """The application was refused when it was built; the message names the step and what to do."""


class OutputExistsError(UsageError):
    """An output file exists that the data directory does not own."""


class OutputHeldError(UsageError):
    """Another process or sink is writing an output."""


class ProcessingError(HoldfastError):
    """Processing stopped; nothing is lost and a later run goes on."""

    exit_code = 3


class StoppedError(ProcessingError):
    """A call failed under `on_error="stop"`: processing ended before the record that caused it.

    `offset` is the record's number in its partition, from 0, or None where a timer was the cause.
    `key` and `message` are texts (`repr`), as in a dead letter.
    """

    def __init__(
        self, *, source: str, partition: str, offset: int | None, step: str, key: str | None, error: str, message: str
    ) -> None:
        self.source = source
        self.partition = partition
        self.offset = offset
        self.step = step
        self.key = key
        self.error = error
        self.message = message
        where = f"at source {source!r}, partition {partition!r}, offset {offset}" if source else "in a timer"
        of_key = f", key {key}" if key is not None else ""
        super().__init__(f"step {step!r} failed {where}{of_key}: {error}")


class NonDeterminismError(ProcessingError):
    """Regenerated output differs from what stands; nothing was written over it."""


class SinkError(ProcessingError):
    """A sink could not be written."""


class StorageError(ProcessingError):
    """A commit failed. What it wrote is unknown, so the process must end and start again from the disk."""


class DiskFullError(ProcessingError):
    """There is no space left on the device."""


class EngineStoppedError(ProcessingError):
    """The engine was closed, or has stopped: `__cause__` says why. A call that raises this may be made again."""


class UnreachableError(ProcessingError):
    """The cluster that an engine is the front of has answered nobody for too long. A call may be made again."""


class AnswerForgottenError(HoldfastError):
    """A message with an id came again, after so many others that its answer is not remembered any more."""


class DataDirectoryError(HoldfastError):
    """The data directory can't be used as it is."""

    exit_code = 4


class DirectoryInUseError(DataDirectoryError):
    """Another process holds the data directory."""

    def __init__(self, message: str, holder: int | None = None) -> None:
        super().__init__(message)
        self.holder = holder  # its process id, as far as it is known


class FormatError(DataDirectoryError):
    """The data directory was written in a format that this version does not know."""


class DamagedError(DataDirectoryError):
    """A stored value does not match its digest, or something that must be there is missing."""

    def __init__(self, place: str, what: str) -> None:
        self.place = place
        super().__init__(f"damaged data at {place}: {what}")


class CodeChangedError(DataDirectoryError):
    """The application's code or state types changed in a way that can't be taken over here."""


class InputChangedError(DataDirectoryError):
    """An input was changed within what was already read."""


class OutputShortError(DataDirectoryError):
    """An output is shorter than it was at the checkpoint."""


class FrameError(HoldfastError):
    """Bytes that are no message of this version, or a message that is too large for a frame."""


class ValueTypeError(HoldfastError, TypeError):
    """Something that is not a value was emitted or kept as state."""


class KeyTypeError(HoldfastError, TypeError):
    """A key function returned something that is not a key."""
