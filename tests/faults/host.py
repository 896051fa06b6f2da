"""The test host: a real server under load, faults that befall it, and the proof at the end.

    async with Host(fleet.new("daphne", …)) as host:
        await host.load()
        await host.acks(200)
        await host.kill()
        report = await host.finish()        # fails on any violation

Servers are started with `ENV`: limits of rate are off, failpoints and the faulty layer can be armed (`settings.py`).
"""

import asyncio
import itertools
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..end_to_end.servers import RunningServer
from ..waiting import SECONDS, eventually
from .checker import LEAST, Least, Violation, check
from .client import RecordingClient
from .history import Database, Fail, Fault, History, Info, Kept, Ok, Position
from .sdk import SdkReader

ENV = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings", "WIRELOG_RATE_LIMITS": "off"}
STREAM = "lobby"


@dataclass
class Report:
    """What a run was, and what it broke."""

    counts: Counter[str]
    violations: list[Violation]
    # Named measurements, in seconds or bytes.
    measured: dict[str, float] = field(default_factory=dict)

    def numbers(self) -> list[int]:
        """Kills, acknowledged, delivered, resumes, connections lost, unknown outcomes, faults, violations."""
        kinds = ("kills", "Ok", "Delivered", "resumes", "Ended", "Info", "Fault")
        return [*(self.counts[kind] for kind in kinds), len(self.violations)]

    def __str__(self) -> str:
        counts = self.counts
        shown = f"acks {counts['Ok']}, deliveries {counts['Delivered']}, resumes {counts['resumes']}, faults {counts['Fault']}"
        measured = "".join(f", {name} {value:.2f}" for name, value in self.measured.items())
        return f"{shown}, unknown outcomes {counts['Info']}, violations {len(self.violations)}{measured}"


# Of the hosts that have finished in this process.
reports: list[Report] = []


class Host:
    """For use with `async with`, on servers that share one database; the first is the one that faults befall."""

    def __init__(self, *servers: RunningServer, stream: str = STREAM) -> None:
        self.servers = servers
        self.server = servers[0]
        self.stream = stream
        self.history = History()
        self.clients: list[RecordingClient] = []
        self.sdk_readers: list[SdkReader] = []
        self.workers: list[asyncio.Task[None]] = []
        self.measured: dict[str, float] = {}
        # Exit status of the last life that ended by itself.
        self.status = 0
        self._publishing = False
        self._values = itertools.count(1)

    async def __aenter__(self) -> Self:
        for server in self.servers:
            if not server.running:
                await asyncio.to_thread(server.start)
        return self

    async def __aexit__(self, *error: object) -> None:
        for worker in self.workers:
            worker.cancel()
        await asyncio.gather(*self.workers, return_exceptions=True)
        await asyncio.gather(*(client.stop() for client in self.clients), *(reader.stop() for reader in self.sdk_readers))

    # Clients

    async def client(self, name: str, *streams: str, key: str = "device", url: Callable[[], str] | None = None) -> RecordingClient:
        """A client that is connected, and subscribed to `streams`."""
        client = RecordingClient(name, self.history, url or self._any_url, self.server.cast.keys[key], streams)
        self.clients.append(client)
        client.start()
        async with asyncio.timeout(SECONDS):
            await client.connected.wait()
        return client

    def newcomer(self, name: str) -> RecordingClient:
        """A client that reads the lobby from its start; it is not waited for."""
        client = RecordingClient(name, self.history, self._any_url, self.server.cast.keys["reader"], [self.stream])
        client.positions[self.stream] = Position(self.clients[0].positions[self.stream].epoch, 0)
        self.clients.append(client)
        client.start()
        return client

    async def dismiss(self, client: RecordingClient) -> None:
        self.clients.remove(client)
        await client.stop()

    async def sdk_reader(self, name: str, url: str) -> SdkReader:
        reader = SdkReader(name, self.history, url, self.server.cast.keys["reader"], self.stream)
        self.sdk_readers.append(reader)
        await reader.start()
        async with asyncio.timeout(SECONDS):
            await reader.subscribed.wait()
        return reader

    def _any_url(self) -> str:
        return random.choice(self.servers).socket_url

    async def load(
        self, publishers: int = 3, workers: int = 4, readers: int = 3, sdk: int = 1, url: Callable[[], str] | None = None, size: int = 0
    ) -> None:
        """Publish to the lobby with so many publishes in flight, and read it by so many clients."""
        for number in range(readers):
            await self.client(f"reader{number}", self.stream, key="reader", url=url)
        for number in range(sdk):
            await self.sdk_reader(f"sdk{number}", url() if url else self.server.socket_url)
        self._publishing = True
        for number in range(publishers):
            client = await self.client(f"publisher{number}", url=url)
            self.workers += [asyncio.create_task(self._publish(client, size)) for _ in range(workers)]

    async def _publish(self, client: RecordingClient, size: int) -> None:
        while self._publishing:
            await client.publish(self.stream, self.value(size))

    def value(self, size: int = 0) -> str:
        """One that no other record of the run has."""
        return f"value {next(self._values)} ".ljust(size, "x")

    # Waiting

    @property
    def acknowledged(self) -> int:
        return self.history.count(Ok)

    @property
    def refused(self) -> int:
        return self.history.count(Fail)

    def codes(self) -> set[int]:
        """Of what was refused for good."""
        return {event.code for event in self.history.events if isinstance(event, Fail)}

    def reasons(self) -> set[str]:
        """Why outcomes are unknown."""
        return {event.reason for event in self.history.events if isinstance(event, Info)}

    async def acks(self, more: int) -> None:
        """Wait for so many more acknowledgements."""
        wanted = self.acknowledged + more
        await eventually(lambda: self.acknowledged >= wanted, f"{more} more acknowledgements")

    async def timed(self, name: str, work: Awaitable[Any]) -> None:
        """Keep the longest time that `work` took."""
        started = time.monotonic()
        await work
        self.measured[name] = max(self.measured.get(name, 0.0), time.monotonic() - started)

    # Faults

    def fault(self, name: str) -> None:
        self.history.add(Fault(name))

    async def kill(self) -> None:
        """End the server as a power cut would, and start it again."""
        self.fault("kill")
        await asyncio.to_thread(self.server.kill)
        await self.restart()

    async def restart_if_dead(self) -> None:
        if not self.server.running:
            await self.restart()

    async def restart(self) -> None:
        await self.timed("start", asyncio.to_thread(self.server.start))

    async def die_at(self, failpoint: str) -> None:
        """Give the server another life that ends at `failpoint` (`name=kill:pass`). After it, `restart`, or let it die again."""
        await asyncio.to_thread(self.server.kill)
        self.server.env["FAILPOINTS"] = failpoint
        await self.restart()
        self.server.env["FAILPOINTS"] = ""
        await self.ended()
        self.fault(failpoint)

    async def ended(self) -> None:
        """Wait until the server has ended by itself."""
        self.status = await asyncio.to_thread(self.server.wait, SECONDS)

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Somebody else is in the middle of a transaction."""
        with closing(sqlite3.connect(self.server.data / "wirelog.sqlite3", isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.fault("write lock")
            yield
            other.execute("ROLLBACK")

    def drop_connections(self) -> None:
        """Every connection is lost at once."""
        self.fault("connections lost")
        for client in self.clients:
            client.drop()

    # The end

    async def settle(self) -> None:
        """Stop publishing, let every publish be answered, and wait until everybody has everything."""
        self._publishing = False
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*self.workers)
        self.workers.clear()
        database = await asyncio.to_thread(read_database, self.server.data, self.stream)
        await self.timed("catch up", eventually(lambda: self._caught_up(database), "everybody has caught up"))

    def _caught_up(self, database: Database) -> bool:
        if not all(client.connected.is_set() for client in self.clients):
            return False
        readers = [(client.positions, stream) for client in self.clients for stream in client.streams]
        readers += [(reader.positions, reader.stream) for reader in self.sdk_readers]
        return all(positions.get(stream) == database.streams[stream][:2] for positions, stream in readers)

    async def report(self, least: Least = LEAST) -> Report:
        await self.settle()
        database = await asyncio.to_thread(read_database, self.server.data, self.stream)
        return Report(self.history.counts(), check(self.history, database, least), self.measured)

    async def finish(self, least: Least = LEAST) -> Report:
        """The report of a run without a violation."""
        report = await self.report(least)
        reports.append(report)
        assert not report.violations, f"{report}\n" + "\n".join(map(str, report.violations[:20]))
        return report


NewHost = Callable[..., Host]


def read_database(data: Path, stream: str) -> Database:
    """What is stored of `stream`, read beside the server."""
    with closing(sqlite3.connect(data / "wirelog.sqlite3")) as database:
        # One moment: the head must not move on before the records are read.
        database.execute("BEGIN")
        number, *kept = database.execute("SELECT id, epoch, head, tail FROM realtime_stream WHERE name = ?", [stream]).fetchone()
        rows = database.execute('SELECT "offset", data FROM realtime_record WHERE stream_id = ?', [number]).fetchall()
        (integrity,) = database.execute("PRAGMA integrity_check").fetchone()
        return Database(
            {stream: Kept(*kept)},
            {(stream, offset): json.loads(data) for offset, data in rows},
            integrity,
        )
