"""Waits for what must become true. No test sleeps for a time that somebody guessed."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

# Long: other work may have the processor. Who waits in vain has failed anyway.
SECONDS = 120.0
PAUSE = 0.01


async def eventually(condition: Callable[[], object], what: str = "", seconds: float = SECONDS) -> None:
    """Returns as soon as `condition()` is true, and fails with `what` when it has not become so in time."""
    deadline = time.monotonic() + seconds
    while not await truth(condition):
        assert time.monotonic() < deadline, f"{what or inspect.getsource(condition).strip()}: not within {seconds} s"
        await asyncio.sleep(PAUSE)


async def truth(condition: Callable[[], object]) -> bool:
    value = condition()
    return bool(await value if isinstance(value, Awaitable) else value)


def eventually_sync(condition: Callable[[], object], what: str = "", seconds: float = SECONDS) -> None:
    """The same for tests without an event loop, which drive processes and browsers."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what or inspect.getsource(condition).strip()}: not within {seconds} s"
        time.sleep(PAUSE)
