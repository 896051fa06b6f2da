"""A process of the load generator. It does what the conductor (`crew.py`) says, one call after another, and answers each."""

import asyncio
import gc
import resource
import signal
import time
import traceback
from array import array
from collections import Counter
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from itertools import cycle, islice
from multiprocessing.connection import Connection as Pipe
from typing import Any

import uvloop

from .check import Checker, Each, Follower, Log, disorder, total
from .clients import Client, Publisher, Subscriber
from .dialects import DIALECTS, Login
from .http import HttpClient
from .stats import Schedule, shares

# For one connection, in a storm of them.
OPEN_SECONDS = 60
# The clock of uvloop knows nothing shorter, and would not wait at all.
LEAST_WAIT = 0.001


class Load:
    """What one process holds: subscribers and publishers of one server."""

    def __init__(self, dialect: str, host: str, port: int) -> None:
        self.dialect = DIALECTS[dialect]
        self.address = (host, port)
        self.subscribers: list[Subscriber] = []
        self.publishers: list[Publisher] = []
        self.logs: dict[str, Log] = {}
        # What publishes in the background.
        self.tasks: list[asyncio.Task[None]] = []

    # Connections

    async def subscribe(
        self,
        streams: Sequence[str],
        count: int,
        logins: Sequence[Login],
        first: int = 0,
        at_once: int = 50,
        timed: bool = False,
        since: tuple[str, int] | None = None,
    ) -> dict[str, Any]:
        """Open the subscribers from `first` on, one after another of `streams`, never more than `at_once` under way.

        Returns how long each took, in ns."""
        clients = []
        for index in range(first, first + count):
            stream = streams[index % len(streams)]
            client = Subscriber(self.dialect, self.address, stream, logins[index % len(logins)], since)
            client.checker = self._checker(stream, timed)
            clients.append(client)
        started = time.monotonic_ns()
        samples, refused = await self._open(clients, at_once)
        self.subscribers += clients
        return {"samples": samples, "refused": refused, "start": started, "end": time.monotonic_ns()}

    def _checker(self, stream: str, timed: bool) -> Checker:
        if self.dialect.lossy:
            return Each(self.dialect.number, timed)
        log = self.logs.get(stream)
        if log is None:
            log = self.logs[stream] = Log(self.dialect.number, timed)
        return Follower(log)

    async def _open(self, clients: Sequence[Client], at_once: int) -> tuple["array[int]", list[str]]:
        loop = asyncio.get_running_loop()
        waiting = iter(clients)
        refused: list[str] = []
        samples: array[int] = array("q")

        async def open_next() -> None:
            for client in waiting:
                started = time.monotonic_ns()
                try:
                    async with asyncio.timeout(OPEN_SECONDS):
                        await loop.create_connection(partial(_same, client), *self.address)
                        await client.ready
                except OSError as error:
                    refused.append(str(error) or "no answer")
                else:
                    samples.append(time.monotonic_ns() - started)

        await asyncio.gather(*(open_next() for _ in range(at_once)))
        return samples, refused

    async def received(self) -> tuple[int, int]:
        """How many records all subscribers together have so far, and when that is, in ns."""
        return sum(client.checker.received for client in self.subscribers), time.monotonic_ns()

    async def faults(self, published: Counter[str], seconds: float) -> dict[str, Any]:
        """What is wrong when every subscriber should have the records that were published, so many by stream; waits `seconds` for them."""
        deadline = time.monotonic() + seconds
        while self._more_than_received(published):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
        return total(client.checker for client in self.subscribers) | {
            "unequal": sum(client.checker.received != published[client.stream] for client in self.subscribers),
            "disordered": sum(disorder(log.data) for log in self.logs.values()),
            # To be compared with what the other processes have heard.
            "digests": {stream: sha256(log.data).digest() for stream, log in self.logs.items()},
            "broken": [client.reason for client in self.subscribers if client.reason],
        }

    def _more_than_received(self, published: Counter[str]) -> bool:
        return any(client.checker.received < published[client.stream] for client in self.subscribers)

    async def samples(self) -> "array[int]":
        """Nanoseconds from when a record was due to when it was received, of every delivery since the last call."""
        together: array[int] = array("q")
        for client in self.subscribers:
            together.extend(client.checker.samples)
            del client.checker.samples[:]
        return together

    # Publishing

    async def publishers_open(self, streams: Sequence[str], count: int, login: Login, size: int) -> list[str]:
        """Each goes round all streams, and begins at another place, so that no stream has its turn of all of them at once."""
        clients = []
        for index in range(count):
            start = index * len(streams) // count
            own = [*streams[start:], *streams[:start]]
            clients.append(Publisher(self.dialect, self.address, own, login, index, size))
        _, refused = await self._open(clients, 50)
        self.publishers += clients
        return refused

    async def flood(self, window: int) -> None:
        """Every publisher keeps `window` records unanswered."""
        for client in self.publishers:
            client.landed = client.publish
            client.publish(window)

    async def circulate(self, window: int) -> None:
        """So many records are on their way: for each that comes back to the subscriber of this process another one leaves."""
        [monitor] = self.subscribers
        seen = monitor.checker.received

        def heard() -> None:
            nonlocal seen
            fresh, seen = monitor.checker.received - seen, monitor.checker.received
            self._publish(fresh)

        monitor.heard = heard
        self._publish(window)

    def _publish(self, count: int) -> None:
        """`count` records, shared out among the publishers, beginning with another one each time."""
        for publisher, share in zip(self.publishers, shares(count, len(self.publishers)), strict=True):
            if share:
                publisher.publish(share)
        turn = count % len(self.publishers)
        self.publishers = self.publishers[turn:] + self.publishers[:turn]

    async def steady(self, rate: float) -> None:
        """So many records a second, whatever the server does."""
        self.tasks.append(asyncio.create_task(self._steady(Schedule(rate))))

    async def _steady(self, schedule: Schedule) -> None:
        turn = 0
        while True:
            for moment in schedule.due(time.monotonic_ns()):
                self.publishers[turn % len(self.publishers)].publish(1, [moment])
                turn += 1
            await asyncio.sleep(max(LEAST_WAIT, schedule.wait(time.monotonic_ns())))

    async def published(self) -> dict[str, Any]:
        samples: array[int] = array("q")
        for client in self.publishers:
            samples.extend(client.samples)
            del client.samples[:]
        return {
            "now": time.monotonic_ns(),
            "sent": sum(client.sent for client in self.publishers),
            "answered": sum(client.answered for client in self.publishers),
            "refused": sum(client.refused for client in self.publishers),
            "broken": [client.reason for client in self.publishers if client.reason],
            "samples": samples,
        }

    async def published_to(self) -> Counter[str]:
        """How many records each stream was sent."""
        sent: Counter[str] = Counter()
        for client in self.publishers:
            sent.update(islice(cycle(client.streams), client.sent))
        return sent

    async def stop(self) -> None:
        """No more records. Those on their way still come."""
        for publisher in self.publishers:
            publisher.landed = None
        for subscriber in self.subscribers:
            subscriber.heard = None
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    # HTTP

    async def http(self, requests: Sequence[tuple[str, str, bytes, dict[str, str]]], at_once: int, seconds: float) -> dict[str, Any]:
        """Send the requests over and over on `at_once` connections; returns nanoseconds of each, how often each status came, and a body."""
        clients = [HttpClient(*self.address) for _ in range(at_once)]
        deadline = time.monotonic() + seconds
        started = time.monotonic_ns()
        await asyncio.gather(*(client.repeat(requests[index % len(requests)], deadline) for index, client in enumerate(clients)))
        ended = time.monotonic_ns()
        samples: array[int] = array("q")
        statuses: dict[int, int] = {}
        for client in clients:
            samples.extend(client.samples)
            for status, count in client.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
        return {"samples": samples, "statuses": statuses, "seconds": (ended - started) / 1e9, "body": clients[0].body}

    async def close(self) -> None:
        await self.stop()
        for client in (*self.subscribers, *self.publishers):
            if client.open:
                client.close()

    async def cpu(self) -> float:
        """Seconds of the processor that this process has used."""
        return time.process_time()


def _same(client: Client) -> Client:
    return client


async def work(pipe: Pipe) -> None:
    """Answer the conductor's calls until it hangs up. `begin` forgets everything before it."""
    load: Load | None = None
    while True:
        try:
            # In a thread: uvloop would make the pipe one that does not wait.
            method, params = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        try:
            if method == "begin":
                if load is not None:
                    await load.close()
                load = Load(**params)
                # A closed connection and its reader of frames know each other.
                gc.collect()
                pipe.send((True, None))
            else:
                pipe.send((True, await getattr(load, method)(**params)))
        except Exception:  # noqa: BLE001 the conductor raises it again
            pipe.send((False, traceback.format_exc()))


def main(pipe: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Nothing here lies in cycles that must be found during a measurement.
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # What goes wrong in a connection ends it, and is told as the reason.
        runner.get_loop().set_exception_handler(lambda loop, context: None)
        runner.run(work(pipe))
