"""The hub: which records reach whom, whatever happens to hints and database."""

import asyncio

import pytest

from realtime import hints, hub, protocol
from realtime.errors import INSUFFICIENT_STATE, STREAM_REMOVED
from realtime.outbox import Batch
from realtime.protocol import Publication
from realtime.reads import Page

from . import clock
from .frames import taken
from .hub_world import PAGE, SMALL, STREAM_ID, World, blob, record, scenario, settle


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
    feeds = world.hub.feeds.values()
    assert world.hub.replay.size == sum(feed.ring.size for feed in feeds)
    # Nothing waits behind a gap that is closed.
    assert [feed.early for feed in feeds] == [{}] * len(feeds)


@pytest.mark.parametrize("block", range(10))
def test_every_client_sees_every_record_once_in_order_whatever_happens_to_the_hints(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        try:
            clock.run(random_schedule(seed))
        except AssertionError as error:
            raise AssertionError(f"schedule {seed}: {error}") from error


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


def test_a_hint_of_less_does_not_make_a_gap_forgotten() -> None:
    async def body(world: World) -> None:
        world.ticker.cancel()
        client = world.client()
        await client.subscribe()
        first, _, last = (world.database.commit(1) for _ in range(3))
        world.hub.take_hint(blob(last))
        world.hub.take_hint(blob(first))
        await asyncio.sleep(1)
        assert client.received == [1, 2, 3]

    scenario(body)


def test_of_a_hint_that_begins_with_known_records_the_others_are_taken() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        first = world.database.commit(2)
        both = world.database.commit(2)
        both.first, both.records = 1, [*first.records, *both.records]
        world.hub.take_hint(blob(first))
        world.hub.take_hint(blob(both))
        await asyncio.sleep(1)
        assert (client.received, world.database.page_reads) == ([1, 2, 3, 4], 0)

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
        one = blob(world.database.commit(1))
        two = blob(world.database.commit(1))
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
        lost = blob(world.database.commit(1))
        world.hub.take_hint(blob(world.database.commit(100)))
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
        light = blob(run)
        assert len(light) < hints.MAX_BODY
        world.hub.take_hint(light)
        await asyncio.sleep(0.1)
        assert client.received == [1, 2, 3]

    scenario(body)


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
        world.hub.take_hint(blob(hints.Run(STREAM_ID, "foreign1", 1, 1, [record(1)])))
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


def test_ten_thousand_hints_in_a_burst_are_delivered_once() -> None:
    async def body(world: World) -> None:
        client = world.client()
        await client.subscribe()
        for _ in range(10_000):
            world.publish(1)
        await asyncio.sleep(600)
        assert client.received == list(range(1, 10_001))

    scenario(body)
