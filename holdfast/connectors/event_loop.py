"""An asyncio event loop in a thread of its own, for connectors written by users as coroutines.

The loop ends when its handle is collected; the thread never keeps a process alive. Nothing of the engine runs
here.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future


class EventLoop:
    """Runs functions and awaitables one after another or interleaved, as asyncio does; from any thread."""

    def __init__(self, name: str) -> None:
        import asyncio  # 25 ms that an application without coroutines need not pay

        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(self._loop,), name=name, daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Call the function in the loop's thread, and await what it gives if that can be awaited."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(_call(function, args), self._loop)


async def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = function(*args)
    return await result if inspect.isawaitable(result) else result


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _end_tasks() -> None:
    import asyncio

    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
