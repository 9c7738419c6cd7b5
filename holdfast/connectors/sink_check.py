"""Whether a sink keeps the contract: outputs are written by processes that are killed, and all must stand in the end.

Every life is a fork of this process that makes its own object of the sink, asks it what it has, as the engine
does, writes on from there, and ends by SIGKILL: after a write, or in the middle of one where this process
chooses the moment. What a life has told before it ended counts. Nothing here is used by a run.
"""

from __future__ import annotations

import os
import select
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, NoReturn

import msgpack

from holdfast.connectors.contract import UserSink, as_sink
from holdfast.core.errors import ApplicationError, HoldfastError
from holdfast.core.types import TypeRegistry

OUTPUTS_MIN = 12
# A kill comes so long after a write has begun, at most: about what a write to a disk takes.
_STRIKE_SECONDS_MAX = 0.004
_WRITTEN_MAX = 3  # outputs a write, at most

RESUMED, BEGUN, TOKEN, FAILED, DONE = range(5)  # what a life tells


class SinkCheck:
    """The checks of one sink; `factory` makes a new object of it over the same store, which is empty at first."""

    def __init__(
        self,
        factory: Callable[[], object],
        outputs: Sequence[Any],
        read: Callable[[], Iterable[Any]] | None,
        *,
        kills: int,
        types: Iterable[type],
        seconds: float,
    ) -> None:
        if len(outputs) < OUTPUTS_MIN:
            raise ApplicationError(f"check_sink needs at least {OUTPUTS_MIN} outputs, not {len(outputs)}")
        self._factory = factory
        self._outputs = list(outputs)
        self._read = read
        self._kills = kills
        self._registry = TypeRegistry(set(types))
        self._seconds = seconds
        self._token: bytes | None = None  # the image of what `flush` gave last
        self._number = 0  # of the last output before it
        self._begun = 0  # of the last output that was ever given to `write`
        self._can_tell: bool | None = None

    def run(self) -> None:
        """Raise AssertionError at the first check that fails."""
        last = len(self._outputs)
        self._life(0)  # an empty store is asked and nothing written
        self._life(4)  # killed before the first flush
        self._life(6, flush=True)
        self._life(8)  # killed with outputs behind the flush
        before = self._token, self._number
        self._life(10, flush=True)
        self._token, self._number = before  # the checkpoint of the last flush was not completed
        self._life(10)
        random = Random(last)
        for _ in range(self._kills):
            self._life(last - 1, seed=random.randrange(1 << 32), strike=random.randint(1, 8))
        self._life(last, flush=True, close=True)
        self._life(last)
        self._compare()

    def _compare(self) -> None:
        if self._read is None:
            return
        found = list(self._read())
        if self._can_tell:
            assert found == self._outputs, _difference(found, self._outputs)
        else:
            missing = [output for output in self._outputs if output not in found]
            assert not missing, f"after the kills the store lacks {missing[0]!r} and {len(missing) - 1} others"

    # --- one life, as seen from outside

    def _life(
        self, upto: int, *, flush: bool = False, close: bool = False, seed: int = 0, strike: int | None = None
    ) -> None:
        """Have outputs written up to a number; `strike` kills some time after that many writes have begun."""
        outlet, inlet = os.pipe()
        with warnings.catch_warnings():
            # A fork of a process with threads: the child touches nothing of theirs, and ends by a kill.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os.close(outlet)
            Life(self._made, inlet, self._outputs, self._token, self._number).live(upto, Random(seed), flush, close)
        os.close(inlet)
        try:
            self._listen(outlet, child, Random(seed), strike)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(outlet)

    def _made(self) -> UserSink:
        sink = as_sink(self._factory())
        if not isinstance(sink, UserSink):
            raise ApplicationError(f"check_sink is for sinks with resume() and write(), not for {type(sink).__name__}")
        sink.bind(self._registry)
        return sink

    def _listen(self, outlet: int, child: int, random: Random, strike: int | None) -> None:
        told = msgpack.Unpacker(raw=False)
        begun = 0
        while piece := self._next_piece(outlet):
            told.feed(piece)
            for kind, value, image in told:
                if kind == FAILED:
                    raise AssertionError(value)
                if kind == RESUMED:
                    self._resumed(value)
                elif kind == TOKEN:
                    self._token, self._number = image, value
                elif kind == BEGUN:
                    self._begun = max(self._begun, value)
                    begun += 1
            if strike is not None and begun >= strike:
                time.sleep(random.uniform(0.0, _STRIKE_SECONDS_MAX))
                os.kill(child, signal.SIGKILL)
                strike = None

    def _next_piece(self, outlet: int) -> bytes:
        ready, _, _ = select.select([outlet], [], [], self._seconds)
        assert ready, f"the sink did not come back from a call for {self._seconds:g} s"
        return os.read(outlet, 1 << 16)

    def _resumed(self, has: Any) -> None:
        assert has is None or (type(has) is int and has >= 0), (
            f"resume() gives the number of the last output the sink has, or None if it can't tell, not {has!r}"
        )
        if self._can_tell is None:
            self._can_tell = has is not None
            assert not has, f"the store is not empty: before anything was written resume() gave {has}"
        assert self._can_tell == (has is not None), (
            "resume() sometimes gives a number and sometimes None: a sink can tell what it has, or it can't"
        )
        if has is not None:
            assert has >= self._number, (
                f"resume() gave {has} after a crash, but flush() had come back at output {self._number}: "
                "what was written before it must be there"
            )
            assert has <= self._begun, f"resume() gave {has}, but only {self._begun} outputs were ever written"


class Life:
    """One life, from inside: a forked process that never returns to the code it came from."""

    def __init__(
        self, made: Callable[[], UserSink], inlet: int, outputs: Sequence[Any], token: bytes | None, number: int
    ) -> None:
        self._made = made
        self._inlet = inlet
        self._outputs = outputs
        self._token = token
        self._number = number

    def live(self, upto: int, random: Random, flush: bool, close: bool) -> NoReturn:
        """Do the work, tell how it went, and die."""
        try:
            self._work(upto, random, flush, close)
            self._tell(DONE)
        except HoldfastError as error:
            self._tell(FAILED, str(error))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is to say it
            self._tell(FAILED, f"{type(error).__name__}: {error}")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process went on")

    def _work(self, upto: int, random: Random, flush: bool, close: bool) -> None:
        sink = self._made()
        sink.claim("check_sink")
        frames = sink.frames
        has = sink.call("resume", None if self._token is None else frames.value(self._token))
        self._tell(RESUMED, has)
        written = self._number if has is None else has
        while written < upto:
            count = min(random.randint(1, _WRITTEN_MAX), upto - written)
            self._tell(BEGUN, written + count)
            outputs = [sink.encode(output) for output in self._outputs[written : written + count]]
            sink.call("write", written + 1, outputs)
            written += count
        if flush:
            image = frames.image(sink.call("flush"))
            self._tell(TOKEN, written, image)
        if close:
            sink.close()

    def _tell(self, kind: int, value: object = None, image: bytes = b"") -> None:
        os.write(self._inlet, msgpack.packb([kind, value, image]))


def _difference(found: list[Any], expected: list[Any]) -> str:
    """One sentence about the first output that is not as it was written."""
    for number, (one, other) in enumerate(zip(found, expected, strict=False), 1):
        if one != other:
            return f"after the kills the store holds {one!r} as number {number}, where {other!r} was written"
    return f"after the kills the store holds {len(found)} outputs, {len(expected)} were written"
