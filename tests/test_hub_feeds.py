"""The feeds of the hub: opened, kept up to date while somebody reads them, and forgotten."""

import asyncio
from typing import Any

import pytest
from django.db import OperationalError

from realtime import hub

from .hub_world import STREAM_ID, World, blob, scenario


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


def test_a_record_committed_while_its_feed_is_opened_needs_no_hint_and_no_tick() -> None:
    async def body(world: World) -> None:
        world.ticker.cancel()
        look = world.database.run

        async def commit_after(read: Any, *args: Any) -> Any:
            state = await look(read, *args)
            if world.database.head == 0:
                world.database.commit(1)
            return state

        world.database.run = commit_after  # type: ignore[method-assign]
        client = world.client()
        await client.subscribe()
        await asyncio.sleep(1)
        assert client.received == [1]

    scenario(body)


def test_an_epoch_that_changes_while_its_feed_is_opened_is_that_of_the_feed() -> None:
    async def body(world: World) -> None:
        world.publish(5)
        stream, look = world.database.stream, world.database.run

        async def restore_after(read: Any, *args: Any) -> Any:
            state = await look(read, *args)
            world.database.epoch, world.database.head = "another1", 2
            return state

        world.database.run = restore_after  # type: ignore[method-assign]
        feed = await world.hub.open(stream)
        assert (feed.epoch, feed.last, feed.ring.last) == ("another1", 2, 2)

    scenario(body)


def test_a_stream_of_another_epoch_is_not_caught_up_with() -> None:
    async def body(world: World) -> None:
        feed = await world.hub.open(world.database.stream)
        world.database.epoch = "another1"
        world.database.commit(5)
        await world.hub.catch_up(feed, world.database.stream)
        assert (feed.last, feed.known, world.database.page_reads) == (0, 0, 0)

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


def test_a_feed_is_forgotten_when_who_came_for_pages_has_left() -> None:
    async def body(world: World) -> None:
        feed = await world.hub.open(world.database.stream)
        with world.hub.waiter(feed):
            assert world.hub.feeds == {STREAM_ID: feed}
        assert world.hub.feeds == {}

    scenario(body)


def test_a_feed_that_was_forgotten_before_its_caller_subscribed_is_kept_and_counted_again() -> None:
    async def body(world: World) -> None:
        feed = await world.hub.open(world.database.stream)
        world.hub.take_hint(blob(world.database.commit(5)))
        await asyncio.sleep(hub.UNUSED_SECONDS + 1)
        assert (world.hub.feeds, world.hub.replay.size) == ({}, 0)
        with world.hub.waiter(feed) as waiter:
            assert waiter.feed is feed
            assert world.hub.replay.size == feed.ring.size > 0

    scenario(body)


def test_a_feed_that_is_kept_again_fills_its_gaps() -> None:
    async def body(world: World) -> None:
        feed = await world.hub.open(world.database.stream)
        with world.hub.waiter(feed):
            world.database.commit(2)
            world.hub.take_hint(blob(world.database.commit(1)))
            # It is forgotten while it waits for what is missing.
        with world.hub.waiter(feed):
            await asyncio.sleep(3)
            assert (feed.last, feed.early) == (3, {})

    scenario(body)


def test_a_feed_that_is_kept_again_while_another_is_opened_is_that_of_everybody() -> None:
    async def body(world: World) -> None:
        feed = await world.hub.open(world.database.stream)
        with world.hub.waiter(feed):
            pass
        gate, look = asyncio.Event(), world.database.run

        async def slow_look(read: Any, *args: Any) -> Any:
            await gate.wait()
            return await look(read, *args)

        world.database.run = slow_look  # type: ignore[method-assign]
        opening = asyncio.create_task(world.hub.open(world.database.stream))
        await asyncio.sleep(1)
        assert world.hub.feeds == {}
        with world.hub.waiter(feed):
            gate.set()
            assert await opening is feed
            assert world.hub.feeds == {STREAM_ID: feed}

    scenario(body)


def test_a_feed_that_could_not_be_opened_is_forgotten() -> None:
    async def body(world: World) -> None:
        look = world.database.run

        async def fail(read: Any, *args: Any) -> Any:
            raise OperationalError

        async def fail_after(read: Any, *args: Any) -> Any:
            world.database.run = fail  # type: ignore[method-assign]
            return await look(read, *args)

        world.ticker.cancel()
        world.database.run = fail_after  # type: ignore[method-assign]
        with pytest.raises(OperationalError):
            await world.hub.open(world.database.stream)
        await asyncio.sleep(hub.UNUSED_SECONDS + 1)
        assert world.hub.feeds == {}

    scenario(body)
