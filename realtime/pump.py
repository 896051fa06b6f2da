"""Moves the lagging cursors of one connection, page by page, at the pace of its reader."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from django.db import DatabaseError

from .cursor import Feed, Step, Subscription
from .errors import INSUFFICIENT_STATE, Unsubscribe
from .outbox import Outbox

# Until what could not be read is asked for again.
RETRY_SECONDS = 1.0

# What follows a position, or None when the first record after it is gone.
ReadStep = Callable[[Feed, int], Awaitable[Step | None]]
End = Callable[[Subscription, Unsubscribe], None]


class Pump:
    """One for a connection, so that a hundred lagging cursors together queue no more than one does."""

    def __init__(self, outbox: Outbox, read_step: ReadStep, end: End) -> None:
        self._outbox = outbox
        self._read_step = read_step
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
                subscription = self._next()
                if subscription is None:
                    await self._wait_for_room()
                elif not subscription.ended:
                    await self._move_or_retry(subscription)
        finally:
            self._outbox.on_room = None
            self._task = None

    def _next(self) -> Subscription | None:
        """In turn: a short replay does not wait for the end of a long one. None while there is no room for the one whose turn it is."""
        subscription = self._lagging[0]
        # The newest is worth sending when it can leave at once: behind what waits it would be old before it left. Until then the others
        # wait as well, or there would always be something.
        room = self._outbox.waiting == 0 if subscription.feed.newest else self._outbox.has_room
        return self._lagging.popleft() if room or subscription.ended else None

    async def _wait_for_room(self) -> None:
        self._room.clear()
        await self._room.wait()

    async def _move_or_retry(self, subscription: Subscription) -> None:
        try:
            await self._move(subscription)
        except DatabaseError:
            # The cursor stands where it stood. The tick meets the same database, and logs the error once for all.
            self._lagging.append(subscription)
            await asyncio.sleep(RETRY_SECONDS)

    async def _move(self, subscription: Subscription) -> None:
        """Queue one step for `subscription`; it is live again when it stands at the end."""
        feed = subscription.feed
        if subscription.position < feed.last:
            step = await self._read_step(feed, subscription.position)
            if subscription.ended:
                return
            if step is None:
                self._end(subscription, INSUFFICIENT_STATE)
                return
            if not step.batch.count or self._outbox.offer(step.batch):
                subscription.position = step.position
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
