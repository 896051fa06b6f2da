"""The hub against a model: a database in memory, hints that an adversary loses, doubles, delays and reorders, readers of every speed."""

import asyncio
import gc
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from realtime import hints, hub, protocol
from realtime.cursor import Subscription
from realtime.errors import INSUFFICIENT_STATE, STREAM_REMOVED, Unsubscribe
from realtime.hub import Hub
from realtime.models import Stream
from realtime.outbox import Batch, Limits, Outbox
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
                rows = [] if self.database.removed else [Head(STREAM_ID, self.database.epoch, self.database.head)]
                self.hub.take_streams(rows, tuple(self.hub.feeds))

    def publish(self, count: int) -> None:
        """Commit, and announce as badly as the adversary likes."""
        blob = hints.encode(hints.Hint([self.database.commit(count)]))
        for _ in range(self.chance.choice((1, 1, 2))):
            if self.chance.random() >= self.loss:
                asyncio.get_running_loop().call_later(self.chance.choice((0, 0, 0.001, 0.01, 0.03, 0.5)), self.hub.take_hint, blob)

    def client(self, pace: float = 0.0) -> Client:
        return Client(self.hub, self.database, self.chance, pace)


async def random_schedule(seed: int) -> None:
    world = World(seed)
    chance, database = world.chance, world.database
    world.publish(chance.randint(1, 30))
    clients = [world.client(chance.choice((0, 0, 0.01, 0.5, 3.0))) for _ in range(5)]
    for client in clients[:3]:
        await client.subscribe()
    for _ in range(40):
        await asyncio.sleep(chance.choice((0, 0.001, 0.02, 0.3)))
        deed = chance.random()
        if deed < 0.6:
            world.publish(chance.choice((1, 1, 2, 5, 60)))
        elif deed < 0.85:
            client = chance.choice(clients)
            client.drop()
            await client.subscribe()
        elif deed < 0.9:
            database.tail = min(database.head + 1, database.tail + chance.randint(1, 20))
    for client in clients:
        if client.subscription is None:
            await client.subscribe()
    await settle(clients, database)
    for client in clients:
        assert client.position == database.head
        assert client.subscription is not None
        assert client.subscription.live
        # Nobody starts over for anything but records that are gone.
        assert database.tail > 1 or not client.told
    assert world.hub.replay.size == sum(feed.ring.size for feed in world.hub.feeds.values())


async def settle(clients: list[Client], database: Database) -> None:
    """The slowest handles 600 bytes in 3 s, and two starts over are 5 s apart: an hour is enough for any of them."""
    for _ in range(3_600):
        if all(client.position == database.head and client.subscription and client.subscription.live for client in clients):
            return
        await asyncio.sleep(1)


@pytest.mark.parametrize("block", range(10))
def test_every_client_sees_every_record_once_in_order_whatever_happens_to_the_hints(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        try:
            clock.run(random_schedule(seed))
        except AssertionError as error:
            raise AssertionError(f"schedule {seed}: {error}") from error


def scenario(body: Callable[[World], Any]) -> None:
    async def main() -> None:
        world = World(0)
        world.loss = 0.0
        await body(world)

    clock.run(main())


def test_a_fresh_subscription_gets_nothing_of_the_past() -> None:
    async def body(world: World) -> None:
        world.publish(10)
        await asyncio.sleep(1)
        client = world.client()
        await client.subscribe()
        world.publish(2)
        await asyncio.sleep(1)
        assert client.received == [11, 12]

    scenario(body)


def test_a_resumed_subscription_gets_exactly_what_it_missed() -> None:
    async def body(world: World) -> None:
        world.publish(100)
        await asyncio.sleep(1)
        client = world.client()
        client.position = 30
        await client.subscribe()
        await asyncio.sleep(1)
        assert client.received == list(range(31, 101))

    scenario(body)


def test_a_position_ahead_of_the_hub_is_reached_from_the_database_before_the_answer() -> None:
    async def body(world: World) -> None:
        first = world.client()
        await first.subscribe()
        # Committed, and announced to nobody yet.
        world.database.commit(5)
        second = world.client()
        second.position = 5
        await second.subscribe()
        assert (second.starts_over, second.subscription and second.subscription.live) == (0, True)

    scenario(body)


def test_a_lost_last_hint_is_made_up_for_within_two_seconds() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        world.loss = 1.0
        world.publish(3)
        await asyncio.sleep(2)
        assert client.received == [1, 2, 3]

    scenario(body)


def test_a_late_hint_within_the_gap_time_costs_no_read() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        one = hints.encode(hints.Hint([world.database.commit(1)]))
        two = hints.encode(hints.Hint([world.database.commit(1)]))
        world.hub.take_hint(two)
        await asyncio.sleep(hub.GAP_SECONDS / 2)
        world.hub.take_hint(one)
        await asyncio.sleep(1)
        assert (client.received, world.database.page_reads) == ([1, 2], 0)

    scenario(body)


def test_hints_that_overtake_a_page_leave_no_gap_behind_it() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        reading = asyncio.Event()

        async def page(stream_id: int, position: int, upto: int) -> Page:
            reading.set()
            found = [record(offset) for offset in range(position + 1, position + 1 + PAGE)]
            await asyncio.sleep(0.05)
            return found

        world.database.page = page  # type: ignore[method-assign]
        lost = hints.encode(hints.Hint([world.database.commit(1)]))
        world.hub.take_hint(hints.encode(hints.Hint([world.database.commit(100)])))
        world.database.head = 500
        world.hub.take_heads({STREAM_ID: 500})
        await reading.wait()
        # It was only late: what it brings ends beyond the page, and before what the page was asked for.
        world.hub.take_hint(lost)
        await asyncio.sleep(0.06)
        assert client.told == []
        assert client.received[:101] == list(range(1, 102))

    scenario(body)


def test_a_body_too_large_for_a_hint_is_read_from_the_database() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        run = world.database.commit(3)
        run.records[1].data = '"' + "x" * hints.MAX_BODY + '"'
        blob = hints.encode(hints.Hint([run]))
        assert len(blob) < hints.MAX_BODY
        world.hub.take_hint(blob)
        await asyncio.sleep(0.1)
        assert client.received == [1, 2, 3]

    scenario(body)


def test_a_reader_that_does_not_keep_up_is_paced_and_delays_nobody() -> None:
    async def body(world: World) -> None:
        slow, quick = world.client(pace=2.0), world.client()
        await slow.subscribe()
        await quick.subscribe()
        for _ in range(50):
            world.publish(40)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(quick.received) == 2_000
        assert len(slow.received) < 100
        assert slow.outbox.waiting <= SMALL.outbox_bytes
        await asyncio.sleep(4_000)
        assert len(slow.received) == 2_000

    scenario(body)


def test_readers_that_missed_the_same_records_share_one_read() -> None:
    async def body(world: World) -> None:
        world.publish(PAGE)
        await asyncio.sleep(1)
        for _ in range(50):
            client = world.client()
            client.position = 0
            await client.subscribe()
            await asyncio.sleep(0.1)
            assert client.received == list(range(1, PAGE + 1))
        assert world.database.page_reads == 1

    scenario(body)


def test_records_pruned_before_they_were_replayed_end_the_subscription_with_insufficient_state() -> None:
    async def body(world: World) -> None:
        world.publish(100)
        await asyncio.sleep(1)
        client = world.client(pace=1.0)
        client.position = 0
        await client.subscribe()
        await asyncio.sleep(0.1)
        world.database.tail = 90
        await asyncio.sleep(1_000)
        assert client.told == [INSUFFICIENT_STATE]
        assert (client.starts_over, client.position) == (1, 100)

    scenario(body)


@pytest.mark.parametrize("behind", [True, False])
def test_while_the_database_cannot_be_read_a_reader_waits_and_loses_nothing(behind: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whether it is sent pages, or the hub misses what no hint told of."""

    async def body(world: World) -> None:
        client = world.client()
        if behind:
            world.publish(100)
            await asyncio.sleep(1)
            client.position = 0
        world.database.unreadable = True
        await client.subscribe()
        world.loss = 1.0
        world.publish(10)
        await asyncio.sleep(30)
        assert client.received == []
        world.database.unreadable = False
        await asyncio.sleep(5)
        assert client.received == list(range(1, world.database.head + 1))
        assert client.told == []

    scenario(body)
    gc.collect()
    assert not [message for message in caplog.messages if "never retrieved" in message]


def test_the_same_subscription_is_not_told_to_start_over_twice_within_five_seconds() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        times = []
        for _ in range(3):
            assert client.subscription is not None
            subscription = client.subscription
            told = len(client.told)
            world.hub.end(subscription, INSUFFICIENT_STATE)
            while len(client.told) == told:
                await asyncio.sleep(0.1)
            times.append(world.hub._loop.time())
            await asyncio.sleep(0.1)
        assert times[1] - times[0] >= 4.9
        assert times[2] - times[1] >= 4.9

    scenario(body)


def test_another_epoch_ends_every_subscription_with_insufficient_state() -> None:
    async def body(world: World) -> None:
        world.publish(5)
        client = world.client()
        await client.subscribe()
        world.database.epoch = "another1"
        world.database.head = 2
        await asyncio.sleep(3)
        assert client.told == [INSUFFICIENT_STATE]

    scenario(body)


def test_a_hint_of_another_epoch_is_not_delivered() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        world.hub.take_hint(hints.encode(hints.Hint([hints.Run(STREAM_ID, "foreign1", 1, 1, [record(1)])])))
        await asyncio.sleep(1)
        assert client.received == []

    scenario(body)


def test_a_record_of_an_ephemeral_stream_goes_to_whoever_has_room() -> None:
    async def body(world: World) -> None:
        quick, full = world.client(), world.client()
        await quick.subscribe()
        await full.subscribe()
        assert quick.subscription is not None
        full.reader.cancel()
        full.outbox.offer(Batch(["x" * SMALL.outbox_bytes]))
        before = world.hub.delivered
        body = protocol.publication(Publication(0, '{"x":1}', 7))
        world.hub.take_hint(hints.encode(hints.Hint(events=[hints.Event(STREAM_ID, "pub", body)])))
        assert taken(quick.outbox, 0) == '{"push":{"channel":"s","pub":{"data":{"x":1},"time":7}}}'
        assert world.hub.delivered == before + 1

    scenario(body)


def test_who_comes_and_goes_is_told_to_those_who_asked_and_have_room() -> None:
    async def body(world: World) -> None:
        watching, other, full = world.client(), world.client(), world.client()
        for client in (watching, other, full):
            await client.subscribe()
            client.reader.cancel()
        feed = world.hub.feeds[STREAM_ID]
        feed.watching |= {client.subscription for client in (watching, full) if client.subscription}
        full.outbox.offer(Batch(["x" * SMALL.outbox_bytes]))
        waiting = full.outbox.waiting
        world.hub.take_hint(hints.encode(hints.Hint(events=[hints.Event(STREAM_ID, "join", '{"user":"7"}')])))
        assert taken(watching.outbox, 0) == '{"push":{"channel":"s","join":{"info":{"user":"7"}}}}'
        assert (other.outbox.waiting, full.outbox.waiting) == (0, waiting)
        watching.drop()
        assert len(feed.watching) == 1

    scenario(body)


def test_a_removed_stream_ends_its_subscriptions_for_good() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        world.database.removed = True
        while not client.told:
            await asyncio.sleep(0.1)
        assert client.told[0] == STREAM_REMOVED
        assert world.hub._loop.time() < 2.2

    scenario(body)


def test_a_feed_is_forgotten_with_its_last_subscription() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        world.publish(5)
        await asyncio.sleep(1)
        client.drop()
        assert (world.hub.feeds, world.hub.replay.size) == ({}, 0)

    scenario(body)


def test_all_rings_together_keep_to_their_limit_and_the_idlest_goes_first() -> None:
    async def body(world: World) -> None:
        world.hub.replay._max_size = 10_000
        client = world.client()
        await client.subscribe()
        for _ in range(100):
            world.publish(10)
            await asyncio.sleep(0.001)
        await settle([client], world.database)
        assert client.received == list(range(1, 1_001))
        assert 0 < world.hub.replay.size <= 10_000

    scenario(body)


def test_ten_thousand_hints_in_a_burst_are_delivered_once() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        for _ in range(10_000):
            world.publish(1)
        await asyncio.sleep(600)
        assert client.received == list(range(1, 10_001))

    scenario(body)
