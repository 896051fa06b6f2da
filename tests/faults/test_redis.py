"""Two servers, joined by Redis: when it dies, comes back empty or hangs, nobody loses a socket, a record or time."""

import asyncio
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.hints import SEND_SECONDS

from ..end_to_end.redis_server import Redis
from ..end_to_end.servers import Fleet
from .client import RecordingClient
from .host import ENV, STREAM, Host


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    yield redis
    redis.kill()


@pytest.fixture
def pair(make_server: Fleet, redis: Redis) -> Host:
    env = {**ENV, "REDIS_URL": redis.url}
    first = make_server.new("uvicorn", (), None, **env)
    return Host(first, make_server.new("daphne", (), first.data, **env))


async def latency(host: Host, writer: RecordingClient) -> float:
    """Seconds from a publish to its acknowledgement, as a rule, under load."""
    took = []
    for _ in range(20):
        started = time.monotonic()
        await writer.publish(STREAM, host.value())
        took.append(time.monotonic() - started)
    return statistics.median(took)


def connects(host: Host) -> int:
    return sum(client.connects for client in host.clients)


async def test_redis_dies_and_comes_back_empty(pair: Host, redis: Redis) -> None:
    async with pair as host:
        await host.load(publishers=4, readers=4)
        await host.acks(1_000)
        writer = await host.client("writer")
        host.measured["ack with Redis"] = await latency(host, writer)
        before = connects(host)
        host.fault("redis killed")
        await asyncio.to_thread(redis.kill)
        host.measured["ack without Redis"] = await latency(host, writer)
        await host.acks(200)
        await asyncio.to_thread(redis.start)
        await host.acks(200)
        assert connects(host) == before
        host.drop_connections()
        await host.finish()


async def test_redis_hangs(pair: Host, redis: Redis) -> None:
    async with pair as host:
        await host.load(publishers=4, readers=4)
        await host.acks(1_000)
        writer = await host.client("writer")
        before = connects(host)
        host.fault("redis stopped")
        redis.process.send_signal(signal.SIGSTOP)
        for _ in range(3):
            # One that waited for the broadcast would take as long as that is tried.
            assert await latency(host, writer) < SEND_SECONDS
            await asyncio.sleep(SEND_SECONDS)
        redis.process.send_signal(signal.SIGCONT)
        await host.acks(100)
        assert connects(host) == before
        host.drop_connections()
        await host.finish()


async def test_one_of_two_servers_is_killed(pair: Host) -> None:
    async with pair as host:
        await host.load(publishers=4, readers=4)
        await host.acks(1_000)
        for _ in range(2):
            await host.kill()
            await host.acks(100)
        await host.finish()
