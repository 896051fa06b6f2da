"""A hub in a world of its own: a database in memory, hints that an adversary loses, doubles and reorders, readers of every speed."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

from django.db import OperationalError

from realtime import hints
from realtime.cursor import Subscription
from realtime.errors import Unsubscribe
from realtime.hub import Hub
from realtime.models import Stream
from realtime.outbox import Limits, Outbox
from realtime.protocol import Publication
from realtime.pump import Pump
from realtime.reads import Page
from realtime.tick import Head

from . import clock
from .frames import taken

EPOCH = "aZkQwErt"
STREAM_ID = 1
SMALL = Limits(outbox_bytes=4_000, frame_bytes=600)
PAGE = 20


class Database:
    """The truth: what was committed, and what is still kept. Stands in for Reads, with reads that take their time."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.epoch = EPOCH
        self.head = 0
        self.tail = 1
        self.removed = False
        self.unreadable = False
        self.page_reads = 0

    @property
    def stream(self) -> Stream:
        return Stream(pk=STREAM_ID, name="s", epoch=self.epoch, head=self.head, tail=self.tail)

    def commit(self, count: int) -> hints.Run:
        first = self.head + 1
        self.head += count
        return hints.Run(STREAM_ID, self.epoch, first, self.head, [record(offset) for offset in range(first, self.head + 1)])

    async def _take_time(self) -> None:
        await asyncio.sleep(self.chance.choice((0, 0, 0.001, 0.05)))

    async def run(self, read: Callable[..., Any], *args: Any) -> Any:
        await self._take_time()
        return None if self.removed else (self.epoch, self.head)

    async def page(self, stream_id: int, position: int, upto: int) -> Page:
        self.page_reads += 1
        page = [record(offset) for offset in range(max(position + 1, self.tail), min(upto, self.head, position + PAGE) + 1)]
        await self._take_time()
        if self.unreadable:
            raise OperationalError("database is locked")
        return page


def record(offset: int) -> Publication:
    return Publication(offset, f'"{"x" * (offset % 40)}"', 0)


def blob(*runs: hints.Run) -> bytes:
    return hints.encode(hints.Hint(list(runs)))


class Client:
    """A client with an SDK's memory: it subscribes again where it stopped, and checks every offset it is given."""

    def __init__(self, hub: Hub, database: Database, chance: random.Random, pace: float = 0.0) -> None:
        self.hub = hub
        self.database = database
        self.chance = chance
        # Seconds that it takes to handle one frame.
        self.pace = pace
        self.position: int | None = None
        self.received: list[int] = []
        self.told: list[Unsubscribe] = []
        self.starts_over = 0
        self.resets: dict[int, float] = {}
        self.connect()

    def connect(self) -> None:
        self.wake = asyncio.Event()
        self.outbox = Outbox(SMALL, self.wake.set)
        self.outbox.start_pings(self.hub._loop.time() + 25)
        self.pump = Pump(self.outbox, self.hub.replay.step, self.hub.end)
        self.subscription: Subscription | None = None
        self.reader = asyncio.create_task(self._read(self.outbox, self.wake))

    async def subscribe(self) -> None:
        """As session.py does."""
        outbox = self.outbox
        stream = self.database.stream
        feed = await self.hub.open(stream)
        if self.position is not None and self.position > feed.last:
            await self.hub.catch_up(feed, stream)
        if outbox is not self.outbox or self.subscription is not None:
            return
        position = self.position
        if position is not None and not stream.tail - 1 <= position <= feed.last:
            self.starts_over += 1
            position = None
        self.subscription = self.hub.subscribe(feed, self, position)
        self.position = feed.last if position is None else position
        self.pump.start()

    def ended(self, subscription: Subscription, unsubscribe: Unsubscribe) -> None:
        self.told.append(unsubscribe)
        if subscription is self.subscription:
            # What was queued before the end still arrives before it.
            self.outbox.control(json.dumps({"ended": unsubscribe.code}))

    def drop(self) -> None:
        """The connection is lost, with everything that is in its outbox."""
        self.reader.cancel()
        self.pump.stop()
        if self.subscription is not None:
            self.hub.unsubscribe(self.subscription)
        self.connect()

    async def _read(self, outbox: Outbox, wake: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wake.clear()
            while (frame := taken(outbox, loop.time())) is not None:
                await asyncio.sleep(self.pace)
                for line in frame.split("\n"):
                    await self._handle(outbox, json.loads(line))
            await wake.wait()

    async def _handle(self, outbox: Outbox, message: dict[str, Any]) -> None:
        if not message:
            outbox.pong(asyncio.get_running_loop().time())
        elif "ended" in message:
            self.subscription = None
            if message["ended"] >= 2_500:
                await self.subscribe()
        else:
            offset = message["push"]["pub"]["offset"]
            assert self.position is not None
            assert offset == self.position + 1, f"got {offset} after {self.position}"
            self.position = offset
            self.received.append(offset)


class World:
    """A hub, its database, and an adversary between them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.database = Database(self.chance)
        self.hub = Hub(self.database)  # type: ignore[arg-type]
        self.loss = self.chance.choice((0.0, 0.1, 0.5, 1.0))
        self.ticker = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        """What tick.py does, with the same intervals."""
        seen, turn = self.database.head, 0
        while True:
            await asyncio.sleep(0.1)
            turn += 1
            if self.database.head != seen:
                seen = self.database.head
                self.hub.take_heads({STREAM_ID: seen})
            if turn % 20 == 0:
                stream = self.database.stream
                row = Head(STREAM_ID, self.database.epoch, stream.tail, stream.head, stream.delivery)
                rows = [] if self.database.removed else [row]
                self.hub.take_streams(rows, tuple(self.hub.feeds))

    def publish(self, count: int) -> None:
        """Commit, and announce as badly as the adversary likes."""
        said = blob(self.database.commit(count))
        for _ in range(self.chance.choice((1, 1, 2))):
            if self.chance.random() >= self.loss:
                asyncio.get_running_loop().call_later(self.chance.choice((0, 0, 0.001, 0.01, 0.03, 0.5)), self.hub.take_hint, said)

    def client(self, pace: float = 0.0) -> Client:
        return Client(self.hub, self.database, self.chance, pace)


async def settle(clients: list[Client], database: Database) -> None:
    """The slowest handles 600 bytes in 3 s, and two starts over are 5 s apart: an hour is enough for any of them."""
    for _ in range(3_600):
        if all(client.position == database.head and client.subscription and client.subscription.live for client in clients):
            return
        await asyncio.sleep(1)


def scenario(body: Callable[[World], Any]) -> None:
    async def main() -> None:
        world = World(0)
        world.loss = 0.0
        await body(world)

    clock.run(main())
