"""A bell: rung by any thread, heard by one trio task."""

from __future__ import annotations

import trio


class Bell:
    """A ring while nobody waits is heard by the next wait."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        """`token` of the run that will wait."""
        self._token = token
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wake the task that waits, or will."""
        try:
            self._token.run_sync_soon(self._ring, idempotent=True)
        except trio.RunFinishedError:
            pass  # nobody will ever wait again

    def _ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        """Return once it was rung since the last wait returned."""
        await self._rung.wait()
        self._rung = trio.Event()
