"""The long round: the scenarios that a test run has no time for. `run.py` runs them and writes what came of them.

Each takes a `Run` and returns nothing; what it proved is in `run.reports`, and a broken promise is an AssertionError.
"""

import asyncio
import random
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from realtime.conf import SETTINGS
from realtime.failpoints import NAMES

from ..end_to_end.redis_server import Redis
from ..end_to_end.servers import KINDS, Fleet, RunningServer
from ..waiting import eventually
from .checker import Least
from .client import RecordingClient
from .history import Position
from .host import ENV as SHORT
from .host import STREAM, Host, Report
from .proxy import Mode, Proxy
from .reader import Reader
from .swarm import Swarm
from .test_kills import PASSES
from .test_stopping import stop_with_everybody
from .test_subscribing import SLOW

# The limits as they are: other tests give clients ten minutes to answer, in which a reader that has stopped would be borne.
ENV = SHORT | {f"WIRELOG_{limit.name}": str(limit.default) for limit in SETTINGS if limit.name.endswith("_SECONDS")}

MEBIBYTE = 1_048_576
CHAPTER_SECONDS = 60.0
CUTS: tuple[Mode, ...] = ("drop", "stall up", "stall down")
# Of load between two kills.
MOST_ACKS = 60
FAR_BEHIND = 100_000
STUCK = 10
SAMPLES = 200
# What the log of the latest records, shared by all, may take besides.
SHARED = 8 * MEBIBYTE
STORM = 5_000
STORM_BEHIND = 100
STORM_SECONDS = {"uvicorn": 30, "daphne": 45}
# What it may grow by in an hour: caches fill, nothing else.
GROWTH = 48 * MEBIBYTE


@dataclass
class Run:
    """What is asked for, and what has come of it."""

    fleet: Fleet
    folder: Path
    kills: int
    soak_seconds: float
    say: Callable[[str], None]
    reports: list[tuple[str, Report]] = field(default_factory=list)
    # What was measured, by name and by server.
    measured: dict[str, dict[str, str]] = field(default_factory=dict)

    def host(self, kind: str, **env: str) -> Host:
        return Host(self.fleet.new(kind, (), None, **ENV | env))

    async def finish(self, name: str, host: Host, least: Least | None = None) -> Report:
        report = await (host.finish(least) if least else host.finish())
        self.reports.append((name, report))
        self.say(f"  {name}: {report}")
        return report

    def measure(self, name: str, kind: str, value: str) -> None:
        self.measured.setdefault(name, {})[kind] = value
        self.say(f"  {kind}: {name}: {value}")


async def kills(run: Run, kind: str) -> None:
    """Half at a failpoint, half at any moment; some data per server, so that the files grow as real ones do."""
    mine = run.kills // len(KINDS)
    async with run.host(kind) as host:
        await host.load()
        await host.acks(1_000)
        for kill in range(mine):
            await one_kill(host, kill)
            if kill % 25 == 24:
                run.say(f"  {kind}: {kill + 1} of {mine} kills, {host.acknowledged} acks")
        await host.restart_if_dead()
        report = await run.finish(f"kills, {kind}", host)
        run.measure("kill to ready, longest", kind, f"{report.measured['start']:.1f} s")


async def one_kill(host: Host, number: int) -> None:
    name = NAMES[number // 2 % len(NAMES)]
    if number % 2:
        await host.restart_if_dead()
        await host.acks(random.randint(1, MOST_ACKS))
        await host.kill()
        return
    newcomer = host.newcomer(f"newcomer {number}")
    await host.die_at(f"{name}=kill:{random.randint(1, PASSES.get(name, 20))}")
    await host.dismiss(newcomer)


async def soak(run: Run, kind: str) -> None:
    """Hours of load and of everything that happens to connections, in chapters with a stream each. Nothing may pile up."""
    server = run.fleet.new(kind, (), None, **ENV)
    server.start()
    until = time.monotonic() + run.soak_seconds / len(KINDS)
    sizes: list[int] = []
    while time.monotonic() < until:
        await chapter(run, server, f"chapter-{len(sizes)}", min(CHAPTER_SECONDS, run.soak_seconds / 4))
        sizes.append(server.resident())
    run.measure("memory after the first and the last chapter", kind, f"{sizes[0] // MEBIBYTE} and {sizes[-1] // MEBIBYTE} MiB")
    assert sizes[-1] - sizes[0] < GROWTH
    assert server.stop() == 0


async def chapter(run: Run, server: RunningServer, name: str, seconds: float) -> None:
    made = await asyncio.to_thread(server.manage, "streams", "create", name)
    assert made.returncode == 0, made.stderr
    async with Host(server, stream=name) as host, Proxy(server.port) as proxy:
        await host.load(publishers=2, workers=2, url=proxy.url)
        faults: list[Callable[[], Awaitable[None]]] = [
            lambda: reset(host, proxy),
            lambda: cut(host, proxy, random.uniform(0.1, 2)),
            lambda: lag(host, proxy),
            lambda: lock(host),
            lambda: lose(host),
        ]
        until = time.monotonic() + seconds
        while time.monotonic() < until or host.acknowledged < 1_000:
            await random.choice(faults)()
            await host.acks(random.randint(1, 50))
        await run.finish(f"soak, {server.kind}", host)


async def reset(host: Host, proxy: Proxy) -> None:
    host.fault("reset")
    proxy.reset()


async def lose(host: Host) -> None:
    host.drop_connections()


async def cut(host: Host, proxy: Proxy, seconds: float) -> None:
    mode = random.choice(CUTS)
    host.fault(mode)
    proxy.set(mode)
    await asyncio.sleep(seconds)
    proxy.set("pass")


async def lag(host: Host, proxy: Proxy) -> None:
    host.fault("delay")
    proxy.set("delay", random.uniform(0.01, 0.25))
    await host.acks(10)
    proxy.set("pass")


async def lock(host: Host) -> None:
    with host.write_lock():
        await asyncio.sleep(random.uniform(0.01, 1))


async def write_lock_of_six_seconds(run: Run, kind: str) -> None:
    async with run.host(kind) as host:
        await host.load()
        await host.acks(1_000)
        witness = await host.client("witness", key="reader")
        with host.write_lock():
            until = time.monotonic() + 6
            while time.monotonic() < until:
                await host.timed("answer under the lock", witness.read(STREAM))
        host.drop_connections()
        await host.acks(100)
        report = await run.finish(f"write lock, {kind}", host)
        run.measure("longest answer while the lock is held", kind, f"{report.measured['answer under the lock'] * 1_000:.0f} ms")


async def redis_away(run: Run, kind: str) -> None:
    """Stopped for 30 s, then killed and empty."""
    redis = Redis(run.folder)
    try:
        env = {**ENV, "REDIS_URL": redis.url}
        first = run.fleet.new("uvicorn", (), None, **env)
        async with Host(first, run.fleet.new("daphne", (), first.data, **env)) as host:
            await host.load(publishers=4, readers=4)
            await host.acks(1_000)
            host.fault("redis stopped")
            redis.process.send_signal(signal.SIGSTOP)
            until = time.monotonic() + 30
            while time.monotonic() < until:
                await host.acks(10)
            redis.process.send_signal(signal.SIGCONT)
            host.fault("redis killed")
            await asyncio.to_thread(redis.kill)
            await host.acks(200)
            await asyncio.to_thread(redis.start)
            assert {client.connects for client in host.clients} == {1}
            host.drop_connections()
            report = await run.finish("redis, both", host)
            assert report.measured["catch up"] < 5
    finally:
        redis.kill()


async def subscribes(run: Run, kind: str) -> None:
    async with run.host(kind, FAILPOINTS=SLOW) as host:
        host.fault(SLOW)
        await host.load(readers=0, sdk=0)
        reader = await host.client("reader", STREAM, key="reader")
        for _ in range(1_000):
            await reader.unsubscribe(STREAM)
            await reader.subscribe(STREAM)
        await run.finish(f"subscribes, {kind}", host)


async def far_behind(run: Run, kind: str) -> None:
    async with run.host(kind) as host:
        writer = await host.client("writer", STREAM)
        for _ in range(FAR_BEHIND // 2_000):
            await asyncio.gather(*(writer.publish(STREAM, host.value(400)) for _ in range(2_000)))
        host.fault("far behind")
        before = host.server.resident()
        newcomer = host.newcomer("newcomer")
        await host.timed("catch up with 100,000", eventually(lambda: newcomer.positions[STREAM].offset == FAR_BEHIND, seconds=120))
        grown = host.server.resident() - before
        assert grown < 48 * MEBIBYTE
        report = await run.finish(f"far behind, {kind}", host)
        took = report.measured["catch up with 100,000"]
        run.measure("100,000 records behind: caught up, memory grown by", kind, f"{took:.1f} s, {grown / MEBIBYTE:.0f} MiB")


async def black_hole(run: Run, kind: str) -> None:
    """With the limits as they are: half a minute that nothing passes, and a peer that is never heard of again."""
    async with run.host(kind) as host, Proxy(host.server.port) as proxy, Proxy(host.server.port) as vanishing:
        await host.load(url=proxy.url)
        await host.acks(1_000)
        host.fault("black hole")
        proxy.set("drop")
        await asyncio.sleep(30)
        proxy.set("pass")
        await host.acks(100)
        host.drop_connections()
        await host.acks(100)
        witness = await host.client("witness", STREAM, key="reader")
        peer = await Reader(host.server, vanishing.port).start()
        vanishing.set("drop")
        await host.timed("vanished", eventually(lambda: gone(witness, peer), "the vanished peer is still present", 60))
        await peer.stop()
        report = await run.finish(f"black hole, {kind}", host)
        run.measure("a vanished peer is gone after", kind, f"{report.measured['vanished']:.0f} s")


async def gone(witness: RecordingClient, *readers: Reader) -> bool:
    return not await witness.here(STREAM) & {reader.id for reader in readers}


async def stuck_readers(run: Run, kind: str) -> None:
    """Ten readers stop, with the limits as they are: what they cost, and how long they are borne."""
    async with run.host(kind) as host:
        stuck = [await Reader(host.server, host.server.port, pace=0).start() for _ in range(STUCK)]
        witness = await host.client("witness", STREAM)
        before = host.server.resident()
        host.fault("readers stop")
        end = asyncio.create_task(host.timed("gone", eventually(lambda: gone(witness, *stuck), "stuck readers are still present", 60)))
        await asyncio.gather(*(witness.publish(STREAM, host.value(2_000)) for _ in range(1_500)))
        each = (host.server.resident() - before - SHARED) / len(stuck)
        await end
        await asyncio.gather(*(reader.stop() for reader in stuck))
        report = await run.finish(f"stuck readers, {kind}", host, Least(1_000, 0, 1))
        run.measure("memory of a stuck reader", kind, f"{max(0.0, each) / MEBIBYTE:.2f} MiB")
        run.measure("time to close one", kind, f"{report.measured['gone']:.0f} s")
        assert each < 1.5 * MEBIBYTE
        assert report.measured["gone"] < 45


async def stuck_among_a_thousand(run: Run, kind: str) -> None:
    """Ten of a thousand stop: the others do not notice."""
    async with run.host(kind) as host:
        server = host.server
        async with Swarm(server.host, server.port, server.cast.keys["reader"]) as swarm:
            await swarm.join(1_000 - STUCK, STREAM)
            stuck = [await Reader(server, server.port).start() for _ in range(STUCK)]
            witness = await host.client("witness", STREAM)
            before = await latency(host, witness)
            host.fault("readers stop")
            for reader in stuck:
                reader.pace = 0
            during = await latency(host, witness)
            await asyncio.gather(*(reader.stop() for reader in stuck))
            await eventually(lambda: swarm.at(witness.positions[STREAM].offset), "the others have everything", 60)
            assert not any(member.gaps or member.lost for member in swarm.members)
        await run.finish(f"stuck among 1,000, {kind}", host, Least(2 * SAMPLES, 0, 1))
        run.measure("publish to delivery among 1,000, p99, before and beside ten that are stuck", kind, f"{before:.0f} and {during:.0f} ms")


async def latency(host: Host, witness: RecordingClient) -> float:
    """The 99th percentile of publish to delivery, in ms, at 20 records a second."""
    took = []
    for _ in range(SAMPLES):
        started = time.monotonic()
        await witness.reach(STREAM, await witness.publish(STREAM, host.value(2_000)))
        took.append((time.monotonic() - started) * 1_000)
        await asyncio.sleep(0.05)
    return statistics.quantiles(took, n=100)[98]


async def stops(run: Run, kind: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        async with run.host(kind) as host:
            await stop_with_everybody(host, number)
            report = await run.finish(f"stops, {kind}", host)
            run.measure(f"{number.name} to exit with 1,000 connections", kind, f"{report.measured[f'{number.name} to exit']:.1f} s")


async def storm(run: Run, kind: str) -> None:
    """Everybody comes back at once, a hundred behind."""
    async with run.host(kind) as host:
        writer = await host.client("writer", STREAM)
        await asyncio.gather(*(writer.publish(STREAM, host.value(100)) for _ in range(1_000)))
        epoch, head = writer.positions[STREAM]
        host.fault("storm")
        started = time.monotonic()
        async with Swarm(host.server.host, host.server.port, host.server.cast.keys["reader"]) as swarm:
            await swarm.join(STORM, STREAM, Position(epoch, head - STORM_BEHIND), at_once=STORM)
            await eventually(lambda: swarm.at(head), "all have caught up", 120)
            took = time.monotonic() - started
            assert not any(member.gaps for member in swarm.members)
        await run.finish(f"storm, {kind}", host, Least(1_000, 0, 1))
        run.measure(f"{STORM:,} clients back, each {STORM_BEHIND} behind", kind, f"{took:.1f} s")
        assert took < STORM_SECONDS[kind]


class Scenario(NamedTuple):
    run: Callable[[Run, str], Awaitable[None]]
    kinds: tuple[str, ...] = KINDS


SCENARIOS = {
    "kills": Scenario(kills),
    "write lock": Scenario(write_lock_of_six_seconds),
    # One server of each kind at once.
    "redis": Scenario(redis_away, ("both",)),
    "subscribes": Scenario(subscribes),
    "far behind": Scenario(far_behind),
    "black hole": Scenario(black_hole),
    "stuck readers": Scenario(stuck_readers),
    "stuck among 1,000": Scenario(stuck_among_a_thousand),
    "stops": Scenario(stops),
    "storm": Scenario(storm),
    "soak": Scenario(soak),
}
