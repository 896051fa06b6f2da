"""The Python client of PyPI, unmodified, against real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from centrifuge import CentrifugeError, Client, ClientEventHandler, ReplyError, StreamPosition, SubscriptionEventHandler

from ..waiting import SECONDS, eventually
from .servers import Fleet, RunningServer

RECORDS = 1_000
PUBLISHERS = 20


class Life(ClientEventHandler):  # type: ignore[misc]
    """What became of the connection."""

    def __init__(self) -> None:
        self.reconnects: list[tuple[int, str]] = []
        self.ends: list[tuple[int, str]] = []

    async def on_connecting(self, ctx: Any) -> None:
        if ctx.code:
            self.reconnects.append((ctx.code, ctx.reason))

    async def on_disconnected(self, ctx: Any) -> None:
        self.ends.append((ctx.code, ctx.reason))


class Reader(SubscriptionEventHandler):  # type: ignore[misc]
    """What came in one subscription; each record keeps its handler busy for `seconds`, once it is `free`."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds
        self.free = asyncio.Event()
        self.free.set()
        self.subscribed: list[Any] = []
        self.ended: list[int] = []
        self.publications: list[Any] = []
        self.joined: list[str] = []

    @property
    def offsets(self) -> list[int]:
        return [publication.offset for publication in self.publications]

    async def on_subscribed(self, ctx: Any) -> None:
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx: Any) -> None:
        self.ended.append(ctx.code)

    async def on_publication(self, ctx: Any) -> None:
        await self.free.wait()
        await asyncio.sleep(self.seconds)
        self.publications.append(ctx.pub)

    async def on_join(self, ctx: Any) -> None:
        self.joined.append(ctx.info.client)


Connect = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def connected(server: RunningServer, token: str, life: Life | None = None) -> AsyncIterator[Any]:
    # No proxy: the environment of whoever runs the tests does not count. Of 5 s, a busy machine may leave too little.
    client = Client(server.socket_url, life, token=token, proxy=None, timeout=30, max_reconnect_delay=0.5)
    await client.connect()
    try:
        await client.ready(SECONDS)
        yield client
    finally:
        await end(client)


async def end(client: Any) -> None:
    """Disconnect, and wait for the transports that it closes behind its back."""
    await client.disconnect()
    await asyncio.gather(*client._background_tasks, return_exceptions=True)


@pytest.fixture
async def connect(server: RunningServer) -> AsyncIterator[Connect]:
    """Connects a client with a key of the cast."""
    async with AsyncExitStack() as stack:

        async def connect(key: str = "device", life: Life | None = None) -> Any:
            return await stack.enter_async_context(connected(server, server.cast.keys[key], life))

        yield connect


async def subscribe(client: Any, reader: Reader, stream: str = "lobby", **options: Any) -> Any:
    subscription = client.new_subscription(stream, reader, **options)
    await subscription.subscribe()
    await subscription.ready(SECONDS)
    return subscription


async def publish(client: Any, value: Any, key: str = "") -> dict[str, Any]:
    result = await client.rpc("publish", {"stream": "lobby", "data": value, "idempotency_key": key})
    return dict(result.data)


async def publish_until_stored(client: Any, value: Any, key: str) -> dict[str, Any]:
    """As a program does: the same key until there is an answer."""
    while True:
        try:
            return await publish(client, value, key)
        except CentrifugeError as error:
            # A refusal is for good; anything else is an outcome that nobody knows.
            if isinstance(error, ReplyError) and not error.temporary:
                raise
            await asyncio.sleep(0.05)


async def test_a_publisher_that_reads_hears_itself(connect: Connect) -> None:
    client, reader = await connect(), Reader()
    subscription = await subscribe(client, reader)
    await subscription.publish({"n": 1})
    await client.publish("lobby", "two")
    await eventually(lambda: len(reader.publications) == 2)
    assert [(record.offset, record.data) for record in reader.publications] == [(1, {"n": 1}), (2, "two")]
    assert {record.info.client for record in reader.publications} == {client.client_id}
    assert all(record.info.user.startswith("key:") for record in reader.publications)


async def test_a_publish_with_a_key_tells_the_offset_and_is_stored_once(connect: Connect) -> None:
    client, reader = await connect(), Reader()
    await subscribe(client, reader)
    first = await publish(client, {"n": 1}, "k")
    again = await publish(client, {"n": 1}, "k")
    assert first["offset"] == 1
    assert again == first | {"duplicate": True}
    with pytest.raises(ReplyError) as caught:
        await publish(client, {"n": 2}, "k")
    assert caught.value.code == 107
    assert (await publish(client, {"n": 2}))["offset"] == 2
    await eventually(lambda: reader.offsets == [1, 2])


async def test_fifty_at_once_with_one_key_are_one_record(connect: Connect) -> None:
    clients = [await connect() for _ in range(5)]
    answers = await asyncio.gather(*(publish(client, "same", "k") for client in clients for _ in range(10)))
    assert {answer["offset"] for answer in answers} == {1}
    assert sum("duplicate" not in answer for answer in answers) == 1


async def test_history_pages_both_ways(connect: Connect) -> None:
    client = await connect()
    for number in range(5):
        await publish(client, number)
    position = await client.history("lobby")
    assert (position.offset, position.publications) == (5, [])

    async def offsets(**options: Any) -> list[int]:
        return [record.offset for record in (await client.history("lobby", **options)).publications]

    assert await offsets(limit=-1) == [1, 2, 3, 4, 5]
    assert await offsets(limit=2, since=StreamPosition(2, position.epoch)) == [3, 4]
    assert await offsets(limit=2, reverse=True) == [5, 4]
    assert await offsets(limit=9, reverse=True, since=StreamPosition(3, position.epoch)) == [2, 1]
    with pytest.raises(ReplyError) as caught:
        await offsets(limit=1, since=StreamPosition(2, "elsewhen"))
    assert caught.value.code == 112


async def test_presence_and_join_show_oneself(connect: Connect) -> None:
    client, other, reader = await connect(), await connect("reader"), Reader()
    subscription = await subscribe(client, reader, join_leave=True)
    await eventually(lambda: reader.joined == [client.client_id])
    await subscribe(other, Reader())
    await eventually(lambda: reader.joined == [client.client_id, other.client_id])
    presence = (await subscription.presence()).clients
    assert set(presence) == {client.client_id, other.client_id}
    assert presence[client.client_id].conn_info == {"name": "device"}
    stats = await subscription.presence_stats()
    assert (stats.num_clients, stats.num_users) == (2, 2)


async def test_an_unknown_stream_is_final(connect: Connect) -> None:
    client, reader = await connect(), Reader()
    await client.new_subscription("nope", reader).subscribe()
    await eventually(lambda: reader.ended == [102])


async def test_a_wrong_key_is_final(server: RunningServer) -> None:
    life = Life()
    client = Client(server.socket_url, life, token="wl_nope", proxy=None)
    await client.connect()
    await eventually(lambda: life.ends == [(3500, "invalid token")])
    await end(client)


async def test_a_client_that_was_away_gets_what_it_missed(connect: Connect) -> None:
    away, writer, reader = await connect(), await connect(), Reader()
    subscription = await subscribe(away, reader)
    await publish(writer, 0)
    await eventually(lambda: reader.offsets == [1])
    await away.disconnect()
    await asyncio.gather(*(publish(writer, number) for number in range(RECORDS)))
    await away.connect()
    await subscription.ready(SECONDS)
    await eventually(lambda: len(reader.offsets) > RECORDS)
    await publish(writer, "live")
    await eventually(lambda: len(reader.offsets) > RECORDS + 1)
    assert reader.offsets == list(range(1, RECORDS + 3))
    assert reader.subscribed[-1].recovered


async def test_a_kill_loses_and_doubles_nothing(server: RunningServer, connect: Connect) -> None:
    client, writer, reader = await connect("reader"), await connect(), Reader()
    await subscribe(client, reader)
    stored: dict[int, int] = {}

    async def work(numbers: Iterator[int]) -> None:
        for number in numbers:
            stored[(await publish_until_stored(writer, number, f"k{number}"))["offset"]] = number

    half = RECORDS // 2
    for kills, first in enumerate((0, half), start=1):
        numbers = iter(range(first, first + half))
        workers = [asyncio.create_task(work(numbers)) for _ in range(PUBLISHERS)]
        await eventually(lambda first=first: len(stored) >= first + half // 2)  # type: ignore[misc]
        server.kill()
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(asyncio.gather(*workers), SECONDS)
        # Not killed again before it is back.
        await eventually(lambda kills=kills: len(reader.subscribed) > kills)  # type: ignore[misc]
    await eventually(lambda: len(reader.offsets) >= RECORDS)

    assert reader.offsets == list(range(1, RECORDS + 1))
    # What was acknowledged is what is read, each value once.
    assert [record.data for record in reader.publications] == [stored[offset] for offset in reader.offsets]
    assert sorted(stored.values()) == list(range(RECORDS))
    # Nothing had to be read anew: each return went on where the last connection ended.
    assert all(context.was_recovering and context.recovered for context in reader.subscribed[1:])


async def test_a_slow_handler_stays_connected_and_misses_nothing(make_server: Fleet, kind: str) -> None:
    # Pings more often than by default, so that several meet the busy handler.
    server = make_server.new(kind, WIRELOG_PING_SECONDS="1")
    server.start()
    life, reader = Life(), Reader(seconds=0.2)
    async with connected(server, server.cast.keys["reader"], life) as slow, connected(server, server.cast.keys["device"]) as writer:
        await subscribe(slow, reader)
        reader.free.clear()
        await asyncio.gather(*(publish(writer, {"n": number, "text": "x" * 200}) for number in range(40)))
        # The writer is not held up by it.
        assert reader.offsets == []
        reader.free.set()
        await eventually(lambda: len(reader.offsets) == 40)
        assert reader.offsets == list(range(1, 41))
        assert (life.reconnects, life.ends, len(reader.subscribed)) == ([], [], 1)
