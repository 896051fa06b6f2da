"""From ready to gone: what both servers and the command that runs them agree on."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

Application = Callable[[Any, Any, Any], Awaitable[None]]

# How the time to stop is shared out. What is left at the end is for threads, and for the interpreter to exit.
FLUSH_SHARE = 0.4
HANDSHAKE_SHARE = 0.15
REQUESTS_SHARE = 0.75
CLEANUP_SHARE = 0.1

POLL_SECONDS = 0.02


class Peer(NamedTuple):
    """One open connection, as the drain sees it."""

    websocket: bool
    # End it once what is under way is done.
    finish: Callable[[], None]
    abort: Callable[[], None]


@dataclass
class Lifetime:
    """One run of a server: the command says when it ends and how its sessions are closed, the server when it is ready."""

    # Called when connections are accepted.
    ready: Callable[[], None]
    # Flushes and closes every session, in the seconds that it is given.
    flush: Callable[[float], Awaitable[None]]
    # Time to stop, in all.
    seconds: float
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def drain(self, peers: Callable[[], Collection[Peer]], tasks: Callable[[], Collection[Any]]) -> None:
        """End every connection that `peers` tells of, politely as far as time allows, then wait for the `tasks` that served them."""
        started = time.monotonic()
        await self.flush(self.seconds * FLUSH_SHARE)
        for peer in peers():
            peer.finish()
        # Every WebSocket has its close frame by now. One that does not answer it is not waited for as long as a request is.
        await _until(lambda: not any(peer.websocket for peer in peers()), self.seconds * HANDSHAKE_SHARE)
        _abort(peer for peer in peers() if peer.websocket)
        await _until(lambda: not peers(), started + self.seconds * REQUESTS_SHARE - time.monotonic())
        _abort(peers())
        await _until(lambda: not tasks(), self.seconds * CLEANUP_SHARE)


class Lingering:
    """Finds what stays in one state for too long: a closed transport waits for ever until a stuck reader has read the rest."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # When each transport was first seen in that state.
        self._since: dict[Any, float] = {}

    def overdue(self, transports: Iterable[T], now: float) -> list[T]:
        """Those of `transports` that were there in every call of the last `seconds`."""
        self._since = {transport: self._since.get(transport, now) for transport in transports}
        return [transport for transport, since in self._since.items() if now - since > self.seconds]


def _abort(peers: Iterable[Peer]) -> None:
    for peer in peers:
        peer.abort()


async def _until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    # Two servers tell of their connections in their own ways; neither has an event for it.
    while not done() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)
