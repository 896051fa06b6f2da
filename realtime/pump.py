"""Moves the lagging cursors of one connection, page by page, at the pace of its reader."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from .cursor import Feed, Subscription
from .errors import INSUFFICIENT_STATE, Unsubscribe
from .outbox import Batch, Outbox

# The page after a position, or None when its first record is gone.
ReadPage = Callable[[Feed, int], Awaitable[Batch | None]]
End = Callable[[Subscription, Unsubscribe], None]


class Pump:
    """One for a connection, so that a hundred lagging cursors together queue no more than one does."""

    def __init__(self, outbox: Outbox, read_page: ReadPage, end: End) -> None:
        self._outbox = outbox
        self._read_page = read_page
        self._end = end
        self._lagging: deque[Subscription] = deque()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, subscription: Subscription) -> None:
        """`subscription` lags; `start` moves it."""
        self._lagging.append(subscription)

    def start(self) -> None:
        if self._lagging and self._task is None:
            self._outbox.on_room = self._room.set
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while self._lagging:
                if not self._outbox.has_room:
                    await self._wait_for_room()
                # In turn: a short replay does not wait for the end of a long one.
                subscription = self._lagging.popleft()
                if not subscription.ended:
                    await self._move(subscription)
        finally:
            self._outbox.on_room = None
            self._task = None

    async def _wait_for_room(self) -> None:
        self._room.clear()
        await self._room.wait()

    async def _move(self, subscription: Subscription) -> None:
        """Queue one page for `subscription`; it is live again when it stands at the end."""
        feed = subscription.feed
        if subscription.position < feed.last:
            batch = await self._read_page(feed, subscription.position)
            if subscription.ended:
                return
            if batch is None:
                self._end(subscription, INSUFFICIENT_STATE)
                return
            if self._outbox.offer(batch):
                subscription.position += len(batch.lines)
            else:
                # Live streams of this connection have filled it meanwhile.
                await self._wait_for_room()
        if subscription.ended:
            return
        # No await from here on: the feed cannot move in between.
        if subscription.position == feed.last:
            subscription.go_live()
        else:
            self._lagging.append(subscription)
