"""An ``async def run`` on a loop of its own, on the instance's thread. Only asynchronous plugins pay for the import."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from agent.api import Node, Reading

if TYPE_CHECKING:
    from agent.runner.worker import Worker


def drive(worker: Worker, stream: AsyncIterator[Reading | Node], eventfd: int, heartbeat_s: float) -> None:
    """Consume ``stream`` until it ends or the worker is stopped; the plugin's exceptions come out as they are."""
    asyncio.run(_drive(worker, stream, eventfd, heartbeat_s))


async def _drive(worker: Worker, stream: AsyncIterator[Reading | Node], eventfd: int, heartbeat_s: float) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(_consume(worker, stream))

    def woken() -> None:
        worker._drain_eventfd()
        worker.serve()
        if worker.stopping:
            task.cancel()

    def beat() -> None:
        worker.alive_at_s = time.monotonic()  # the loop turns: nothing blocks it
        loop.call_later(heartbeat_s, beat)

    loop.add_reader(eventfd, woken)
    beat()
    if worker.stopping:
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        if not worker.stopping:
            raise RuntimeError("the plugin's run cancelled itself") from None
    finally:
        loop.remove_reader(eventfd)


async def _consume(worker: Worker, stream: AsyncIterator[Reading | Node]) -> None:
    try:
        async for item in stream:
            worker.emit(item)
    finally:
        close: Any = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    worker.keep()
