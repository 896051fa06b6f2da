"""The Python client of PyPI, unmodified, as a recorder: what its callbacks were told."""

import asyncio
from typing import Any

from centrifuge import Client, SubscriptionEventHandler

from .history import Delivered, Ended, History, Position, Subscribed

MAX_RECONNECT_SECONDS = 0.3


class SdkReader(SubscriptionEventHandler):  # type: ignore[misc]
    """Reads one stream. Use it by `start` and `stop`."""

    def __init__(self, name: str, history: History, url: str, token: str, stream: str) -> None:
        self.name = name
        self.history = history
        self.stream = stream
        self.positions: dict[str, Position] = {}
        self.subscribed = asyncio.Event()
        self._client = Client(url, token=token, proxy=None, min_reconnect_delay=0.05, max_reconnect_delay=MAX_RECONNECT_SECONDS)

    async def start(self) -> None:
        await self._client.connect()
        await self._client.new_subscription(self.stream, self).subscribe()

    async def stop(self) -> None:
        await self._client.disconnect()
        # The transports that it closes behind its back.
        await asyncio.gather(*self._client._background_tasks, return_exceptions=True)

    async def on_subscribed(self, ctx: Any) -> None:
        asked = self.positions.get(self.stream) if ctx.was_recovering else None
        position = Position(ctx.stream_position.epoch, ctx.stream_position.offset)
        self.history.add(Subscribed(self.name, self.stream, asked, position, ctx.recovered))
        self.positions[self.stream] = position
        self.subscribed.set()

    async def on_publication(self, ctx: Any) -> None:
        position = Position(self.positions[self.stream].epoch, ctx.pub.offset)
        self.history.add(Delivered(self.name, self.stream, position, ctx.pub.data))
        self.positions[self.stream] = position

    async def on_subscribing(self, ctx: Any) -> None:
        self._end()

    async def on_unsubscribed(self, ctx: Any) -> None:
        self._end()

    def _end(self) -> None:
        if self.subscribed.is_set():
            self.subscribed.clear()
            self.history.add(Ended(self.name, self.stream))
