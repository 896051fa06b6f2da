"""What a reader of `delivery=newest` is sent when it lags, and that what it was sent ends in the newest record of every key."""

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from realtime import hints, latest
from realtime.cursor import Feed, Step, Subscription
from realtime.hub import Hub
from realtime.models import Delivery, Stream
from realtime.newest import Newest
from realtime.outbox import Batch, Outbox
from realtime.protocol import Publication
from realtime.pump import Pump
from realtime.reads import Page
from realtime.ring import Ring

from . import clock, frames
from .hub_world import EPOCH, PAGE, SMALL, STREAM_ID, Client, Database, World

KEYS = ("", "a", "b", "c")


def frame(offset: int, key: str) -> Publication:
    return Publication(offset, f'"{"x" * 100}"', 0, key=key)


def taken(newest: Newest, *records: tuple[int, str]) -> None:
    newest.append([frame(offset, key) for offset, key in records], [f"{key}{offset}" for offset, key in records])


# The memory


def test_it_holds_the_newest_record_of_each_key_in_the_order_of_offsets() -> None:
    newest = Newest(0, 10, 1_000)
    taken(newest, (1, "a"), (2, "b"), (3, "a"), (4, ""))
    assert newest.after(0) == ["b2", "a3", "4"]
    assert newest.after(2) == ["a3", "4"]


@pytest.mark.parametrize("records, size", [(2, 1_000), (10, 5)])
def test_it_keeps_the_keys_that_changed_last_when_there_are_too_many(records: int, size: int) -> None:
    newest = Newest(0, records, size)
    taken(newest, (1, "a"), (2, "b"), (3, "c"))
    assert newest.after(0) == ["b2", "c3"]


def test_one_record_larger_than_a_page_is_kept_all_the_same() -> None:
    newest = Newest(0, 10, 1)
    taken(newest, (1, "camera"))
    assert newest.after(0) == ["camera1"]


def test_what_the_database_had_does_not_hide_what_came_meanwhile() -> None:
    newest = Newest(10, 10, 1_000)
    taken(newest, (11, "b"))
    newest.load([frame(3, "a"), frame(9, "b")], ["a3", "b9"], 2)
    assert (newest.after(2), newest.since) == (["a3", "b11"], 2)


# In the hub


class Frames(Database):
    """A stream of `delivery=newest`: each record has one of a few keys."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.keys: dict[int, str] = {}

    @property
    def stream(self) -> Stream:
        return Stream(pk=STREAM_ID, name="s", epoch=EPOCH, head=self.head, tail=self.tail, delivery=Delivery.NEWEST)

    def commit(self, count: int) -> hints.Run:
        first = self.head + 1
        self.head += count
        self.keys |= {offset: self.chance.choice(KEYS) for offset in range(first, self.head + 1)}
        return hints.Run(STREAM_ID, EPOCH, first, self.head, [frame(offset, self.keys[offset]) for offset in range(first, self.head + 1)])

    async def page(self, stream_id: int, position: int, upto: int) -> Page:
        return [frame(record.offset, self.keys[record.offset]) for record in await super().page(stream_id, position, upto)]

    async def run(self, read: Callable[..., Any], *args: Any) -> Any:
        return await (self.changed(*args) if read is latest.changed else super().run(read, *args))

    async def changed(self, stream_id: int, position: int, upto: int, count: int) -> Page:
        newest = {self.keys[offset]: offset for offset in range(1, upto + 1)}
        await self._take_time()
        return [frame(offset, key) for key, offset in sorted(newest.items(), key=lambda item: item[1]) if offset > position]

    def newest_of_each(self) -> dict[str, int]:
        return {key: offset for offset, key in self.keys.items()}


class Viewer(Client):
    """It takes any newer record, and knows the newest of each key that it was sent."""

    def connect(self) -> None:
        self.seen: dict[str, int] = getattr(self, "seen", {})
        super().connect()

    async def _handle(self, outbox: Any, message: dict[str, Any]) -> None:
        if "push" not in message:
            await super()._handle(outbox, message)
            return
        record = message["push"]["pub"]
        assert self.position is not None
        assert record["offset"] > self.position
        self.position = record["offset"]
        self.received.append(record["offset"])
        self.seen[record.get("key", "")] = record["offset"]


def world_of_frames(seed: int) -> World:
    world = World(seed)
    world.ticker.cancel()
    world.database = Frames(world.chance)
    world.hub = Hub(world.database)  # type: ignore[arg-type]
    world.hub._frame = SMALL.frame_bytes
    world.ticker = asyncio.create_task(world._tick())
    return world


def viewer(world: World, pace: float = 0.0) -> Viewer:
    return Viewer(world.hub, world.database, world.chance, pace)


async def settled(world: World, *viewers: Viewer) -> None:
    for _ in range(3_600):
        if all(each.position == world.database.head for each in viewers):
            return
        await asyncio.sleep(1)


async def random_schedule(seed: int) -> None:
    world = world_of_frames(seed)
    chance = world.chance
    viewers = [viewer(world, chance.choice((0, 0, 0.01, 0.5, 3.0))) for _ in range(4)]
    for each in viewers:
        each.position = 0
        await each.subscribe()
    for _ in range(40):
        await asyncio.sleep(chance.choice((0, 0.001, 0.02, 0.3)))
        if chance.random() < 0.8:
            world.publish(chance.choice((1, 2, 5, 60)))
        else:
            each = chance.choice(viewers)
            each.drop()
            await each.subscribe()
    await settled(world, *viewers)
    assert isinstance(world.database, Frames)
    for each in viewers:
        assert each.seen == world.database.newest_of_each()
        assert not each.told


@pytest.mark.parametrize("block", range(5))
def test_every_reader_ends_with_the_newest_record_of_each_key_whatever_happens(block: int) -> None:
    for seed in range(block * 20, block * 20 + 20):
        try:
            clock.run(random_schedule(seed))
        except AssertionError as error:
            raise AssertionError(f"schedule {seed}: {error}") from error


def test_who_keeps_up_gets_every_record() -> None:
    async def body() -> None:
        world = world_of_frames(0)
        world.loss = 0.0
        quick = viewer(world)
        await quick.subscribe()
        for _ in range(30):
            world.publish(1)
            await asyncio.sleep(0.6)
        assert quick.received == list(range(1, 31))
        assert world.hub.replay.skipped == 0

    clock.run(body())


def test_who_lags_is_sent_what_is_newest_and_the_rest_is_counted() -> None:
    async def body() -> None:
        world = world_of_frames(0)
        world.loss = 0.0
        slow = viewer(world, pace=2.0)
        await slow.subscribe()
        for _ in range(100):
            world.publish(10)
            await asyncio.sleep(0.1)
            # Never more than a frame of what will be old, and the page that follows.
            assert slow.outbox.waiting <= SMALL.frame_bytes + len(KEYS) * 250
        await settled(world, slow)
        assert len(slow.received) < 200
        assert world.hub.replay.skipped == 1_000 - len(slow.received)

    clock.run(body())


async def test_it_has_its_turn_beside_a_stream_of_which_there_is_always_more() -> None:
    outbox = Outbox(SMALL, lambda: None)
    outbox.start_pings(0)

    async def read_step(feed: Feed, position: int) -> Step:
        if feed.newest is not None:
            return Step(Batch(["newest"]), feed.last)
        return Step(Batch(["x" * 99] * PAGE), position + PAGE)

    pump = Pump(outbox, read_step, lambda *args: None)
    endless = Feed(1, "endless", True, EPOCH, 10**9, Ring(10**9), known=10**9)
    camera = Feed(2, "camera", True, EPOCH, 1, Ring(1), known=1, newest=Newest(0, 1, 1))
    for feed in (endless, camera):
        subscriber: Any = SimpleNamespace(outbox=outbox)
        pump.add(Subscription(feed, subscriber, 0, False))
    pump.start()
    said: list[str] = []
    while "newest" not in said:
        await asyncio.sleep(0)
        said += (frames.taken(outbox, 0) or "").split("\n")
        outbox.pong(0)
        assert len(said) < 1_000
    pump.stop()


def test_a_position_whose_records_are_gone_is_as_good_as_any() -> None:
    async def body() -> None:
        world = world_of_frames(0)
        world.database.commit(100)
        world.database.tail = 99
        late = viewer(world)
        late.position = 98
        await late.subscribe()
        await settled(world, late)
        assert late.position == 100
        assert late.told == []

    clock.run(body())


def test_records_that_were_pruned_before_anybody_saw_them_end_no_subscription() -> None:
    async def body() -> None:
        world = world_of_frames(0)
        quick = viewer(world)
        await quick.subscribe()
        # No hint tells of them.
        world.database.commit(10)
        world.database.tail = 11
        await asyncio.sleep(1)
        world.loss = 0.0
        world.publish(1)
        await settled(world, quick)
        assert (quick.received, quick.told) == ([11], [])

    clock.run(body())
