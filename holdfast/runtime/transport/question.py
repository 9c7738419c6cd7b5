"""One question of a command to the coordinator, and its answer."""

from __future__ import annotations

import os

import trio

from holdfast.core.errors import FrameError, UsageError
from holdfast.recovery.wire import FRAME_BYTES_MAX
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.channels import ANSWER, QUESTION
from holdfast.runtime.transport.connection import BEAT, READ_BYTES
from holdfast.runtime.transport.dialer import Called, call
from holdfast.runtime.transport.framing import FrameReader, FrameWriter
from holdfast.runtime.transport.handshake import UNKNOWN_CLUSTER, Identity, Role
from holdfast.runtime.transport.limits import Limits


async def ask(address: Address, secrets: tuple[bytes, ...], question: bytes, limits: Limits) -> bytes:
    """What the coordinator at this address answers; UsageError if none does."""
    own = Identity(Role.CLIENT, UNKNOWN_CLUSTER, os.urandom(16).hex(), 0)
    try:
        stream, session = await call(Called(address, Role.COORDINATOR), own, secrets, limits)
        async with stream:
            with trio.fail_after(limits.silence_seconds):
                for piece in FrameWriter(session.sending).frames(QUESTION, question):
                    await stream.send_all(piece)
                reader = FrameReader(session.receiving, FRAME_BYTES_MAX)
                while data := await stream.receive_some(READ_BYTES):
                    for channel, message in reader.feed(data):
                        if channel == ANSWER:
                            return message
                        if channel != BEAT:
                            raise FrameError(f"a message of channel {channel} in place of an answer")
    except FrameError as error:
        raise UsageError(f"the coordinator can't be asked: {error}") from error
    except (trio.TooSlowError, trio.BrokenResourceError) as error:
        raise UsageError(f"the coordinator at {address} does not answer") from error
    raise UsageError(f"the coordinator at {address} closed the connection")
