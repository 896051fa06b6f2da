"""A channel layer that loses, doubles, delays and reorders what is sent to its groups, as every real one may."""

import asyncio
import itertools
import random
from typing import Any

from channels.layers import InMemoryChannelLayer

DELAY_SECONDS = 0.5
# So many are held back and sent in another order.
SHUFFLED = 5


class FaultyLayer(InMemoryChannelLayer):
    """`fault` is `drop:K` (every K-th), `double`, `delay` (0 to 500 ms, which overtakes as well) or `reorder`."""

    def __init__(self, fault: str, **config: Any) -> None:
        super().__init__(**config)
        self.fault, _, every = fault.partition(":")
        self.every = int(every or 1)
        self.numbers = itertools.count(1)
        self.held: list[tuple[str, Any]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def group_send(self, group: str, message: Any) -> None:
        if self.fault == "drop":
            if next(self.numbers) % self.every:
                await super().group_send(group, message)
        elif self.fault == "double":
            await super().group_send(group, message)
            await super().group_send(group, message)
        elif self.fault == "delay":
            self._later(random.uniform(0, DELAY_SECONDS), [(group, message)])
        else:
            self._hold(group, message)

    def _hold(self, group: str, message: Any) -> None:
        self.held.append((group, message))
        if len(self.held) == SHUFFLED:
            random.shuffle(self.held)
            self._later(0, self.held)
            self.held = []

    def _later(self, seconds: float, messages: list[tuple[str, Any]]) -> None:
        task = asyncio.create_task(self._send(seconds, messages))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _send(self, seconds: float, messages: list[tuple[str, Any]]) -> None:
        await asyncio.sleep(seconds)
        for group, message in messages:
            await super().group_send(group, message)
