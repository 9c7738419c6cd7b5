"""The secret that the processes of a cluster share: from a file or the environment, never from the command line.

While it is changed two are known: the first is the one to prove with, both are accepted. So the new one is put in front
of the old one everywhere, process by process, and then the old one is taken away.
Invariant: what a user could have left readable for others, or guessable, is refused and not used.
Not here: how it is proven (handshake).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from holdfast.core.errors import UsageError

FILE_VARIABLE = "HOLDFAST_SECRET_FILE"
VARIABLE = "HOLDFAST_SECRET"
LENGTH_MIN = 32  # characters: 128 bits where they are hexadecimal. What travels can be tried against guesses offline
LENGTH_MAX = 1024
SECRETS_MAX = 2


def load(file: Path | None, environment: Mapping[str, str]) -> tuple[bytes, ...]:
    """The secrets of a file, of one that the environment names, or of the environment; none is no error."""
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    if file is not None:
        return _secrets(_read(file), str(file))
    return _secrets(environment.get(VARIABLE, "").encode("utf-8", "surrogateescape"), VARIABLE, empty=True)


def _read(file: Path) -> bytes:
    """The contents of a file that is nobody else's."""
    try:
        # Looked at and read through one descriptor, so that it can't be another file meanwhile.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(f"the secret file {file} can't be read: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"the secret file {file} is not a file")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise UsageError(f"the secret file {file} is open to others (mode {mode:04o}): chmod 600 {file}")
        if found.st_uid not in (os.geteuid(), 0):
            raise UsageError(f"the secret file {file} belongs to another user, who can read and change it")
        return os.read(descriptor, 2 * SECRETS_MAX * LENGTH_MAX)
    finally:
        os.close(descriptor)


def _secrets(text: bytes, place: str, *, empty: bool = False) -> tuple[bytes, ...]:
    secrets = tuple(text.split())
    if not secrets and empty:
        return ()
    if not 1 <= len(secrets) <= SECRETS_MAX:
        raise UsageError(f"{place} holds {len(secrets)} secrets: one, or while it is changed the new and the old one")
    if not all(LENGTH_MIN <= len(secret) <= LENGTH_MAX for secret in secrets):
        raise UsageError(
            f"a secret in {place} has less than {LENGTH_MIN} or more than {LENGTH_MAX} characters; "
            "openssl rand -hex 32 makes a good one"
        )
    return secrets
