"""The publishes of one connection that are on their way: none waits for the commit of the one before it."""

import asyncio
from collections.abc import Callable

from .access import Identity
from .conf import limit
from .engine import Engine
from .ephemeral import Ephemeral
from .items import Item
from .journal import Outcome


class InFlight:
    def __init__(self, engine: Engine, client: str) -> None:
        self._engine = engine
        self._client = client
        self._ephemeral = Ephemeral(engine)
        # Begun, and without an outcome.
        self._count = 0
        self._most = limit("IN_FLIGHT")
        self._landed = asyncio.Event()
        self._closed = False

    @property
    def empty(self) -> bool:
        return self._count == 0

    async def publish(self, item: Item, identity: Identity, checked: float, done: Callable[[Outcome], None]) -> None:
        """Publish `item` as `identity`, whose credential was last read at `checked`. Returns once there is room for another.

        `done` is called with the outcome, and calls `land`. Raises WirelogError for an item that does not get so far.
        """
        item.identity = identity
        item.publisher = identity.principal
        item.client = self._client
        stream = await self._ephemeral.find(identity, item.stream, checked)
        if stream is None:
            self._engine.journal.submit(item, done)
            self._count += 1
        else:
            appended = self._engine.journal.pass_on(item, stream)
            self._count += 1
            done(appended)
        while self._count >= self._most and not self._closed:
            # While this waits the socket is not read: the sender feels it.
            self._landed.clear()
            await self._landed.wait()

    def land(self) -> None:
        """One of them has its outcome, and is about to be answered."""
        self._count -= 1
        self._landed.set()

    def close(self) -> None:
        """The connection is closing: nobody waits for room any more. What is on its way arrives."""
        self._closed = True
        self._landed.set()
