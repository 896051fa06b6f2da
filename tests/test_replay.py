"""What a lagging reader is sent: each record that it missed, from memory or from the database, at its own pace."""

import asyncio
import gc
from contextlib import ExitStack

import pytest

from realtime import hints
from realtime.errors import INSUFFICIENT_STATE
from realtime.models import Stream
from realtime.replay import MAX_PAGES

from .hub_world import PAGE, SMALL, World, record, scenario, settle


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


def test_all_rings_together_keep_to_their_limit() -> None:
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


def test_the_ring_that_was_idle_longest_goes_first() -> None:
    async def body(world: World) -> None:
        # The one that was opened first has had the last record.
        busy, idle = [await world.hub.open(Stream(pk=pk, name=str(pk))) for pk in (1, 2)]
        for feed in (idle, busy):
            records = [record(offset) for offset in range(1, PAGE + 1)]
            world.hub.take_hint(hints.encode(hints.Hint([hints.Run(feed.stream_id, feed.epoch, 1, PAGE, records)])))
        world.hub.replay._max_size = world.hub.replay.size - 1
        world.hub.take_hint(hints.encode(hints.Hint([hints.Run(busy.stream_id, busy.epoch, PAGE + 1, PAGE + 1, [record(PAGE + 1)])])))
        assert (busy.ring.first, idle.ring.first > 1) == (1, True)
        assert world.hub.replay.size == busy.ring.size + idle.ring.size <= world.hub.replay._max_size

    scenario(body)


def test_a_page_that_meets_a_full_ring_is_kept_outside_of_it() -> None:
    async def body(world: World) -> None:
        world.publish(2 * PAGE)
        await asyncio.sleep(1)
        feed = await world.hub.open(world.database.stream)
        world.hub.replay._max_size = 1
        for _ in range(2):
            assert await world.hub.replay.step(feed, 1) is not None
        assert (feed.ring.size, world.hub.replay.size, world.database.page_reads) == (0, 0, 1)

    scenario(body)


def test_pages_outside_of_the_rings_are_few_however_many_streams_are_replayed() -> None:
    async def body(world: World) -> None:
        # It knows of one stream only.
        world.ticker.cancel()
        world.database.commit(2 * PAGE)
        with ExitStack() as readers:
            streams = [Stream(pk=pk, name=str(pk)) for pk in range(1, 21)]
            feeds = [readers.enter_context(world.hub.waiter(await world.hub.open(stream))).feed for stream in streams]
            for position in range(10):
                for feed in feeds:
                    assert await world.hub.replay.step(feed, position) is not None
            assert len(world.hub.replay._pages) == MAX_PAGES
            reads = world.database.page_reads
            await world.hub.replay.step(feeds[-1], 9)
            assert world.database.page_reads == reads
        assert world.hub.replay._pages == {}

    scenario(body)


def test_pages_that_are_kept_are_read_again_after_a_redaction() -> None:
    async def body(world: World) -> None:
        world.publish(3)
        await asyncio.sleep(1)
        feed = await world.hub.open(world.database.stream)
        world.hub.replay._max_size = 1
        await world.hub.replay.step(feed, 1)
        assert list(world.hub.replay._pages) == [(feed, 1)]
        run = world.database.commit(1)
        run.records[0].tags = '{"redacts":"2"}'
        world.hub.take_hint(hints.encode(hints.Hint([run])))
        reads = world.database.page_reads
        await world.hub.replay.step(feed, 1)
        assert world.database.page_reads == reads + 1

    scenario(body)
