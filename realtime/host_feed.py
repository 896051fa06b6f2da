"""A feed that needs nobody: the measurements of this machine, once a second."""

import asyncio
import json
import logging
import math
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
from channels.db import database_sync_to_async
from django.core.exceptions import ValidationError
from django.db import DatabaseError

from .audit import Actor
from .errors import WirelogError
from .items import Item
from .models import Audience, Kind, Stream
from .operations import create_stream

logger = logging.getLogger(__name__)

PRINCIPAL = "cli:host"
INTERVAL_SECONDS = 1.0
MEGABYTE = 1_000_000
GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel has counted since it started. None: this machine does not tell."""

    time: float
    cpu_busy: float
    cpu_total: float
    disk: tuple[int, int, int] | None
    net: tuple[int, int]


def read_counters() -> Counters:
    cpu = psutil.cpu_times()
    # Linux counts the time of guests in `user` and `nice` already.
    total = sum(cpu) - getattr(cpu, "guest", 0) - getattr(cpu, "guest_nice", 0)
    busy = total - cpu.idle - getattr(cpu, "iowait", 0)
    return Counters(time.monotonic(), busy, total, _disk(), _net())


def _disk() -> tuple[int, int, int] | None:
    try:
        disk = psutil.disk_io_counters()
    except (OSError, NotImplementedError, RuntimeError):
        return None
    return (disk.read_bytes, disk.write_bytes, disk.write_count) if disk else None


def _net() -> tuple[int, int]:
    """Bytes received and sent, without what the machine said to itself."""
    links = [counters for name, counters in psutil.net_io_counters(pernic=True).items() if not name.startswith("lo")]
    return sum(link.bytes_recv for link in links), sum(link.bytes_sent for link in links)


def rates(before: Counters, after: Counters) -> dict[str, float]:
    """What happened per second between two readings. A counter that went back (a disk or link removed) counts as still."""
    seconds = max(after.time - before.time, 1e-6)
    cpu = (after.cpu_busy - before.cpu_busy) / max(after.cpu_total - before.cpu_total, 1e-6)
    found = {"cpu": round(min(max(cpu, 0.0), 1.0) * 100, 1)}
    if before.disk and after.disk:
        read, written, writes = (max(new - old, 0) / seconds for old, new in zip(before.disk, after.disk, strict=True))
        found |= {"disk_read": round(read / MEGABYTE, 2), "disk_write": round(written / MEGABYTE, 2), "disk_writes": round(writes)}
    received, sent = (max(new - old, 0) / seconds for old, new in zip(before.net, after.net, strict=True))
    return found | {"net_in": round(received / MEGABYTE, 2), "net_out": round(sent / MEGABYTE, 2)}


def levels() -> dict[str, float]:
    """What can be read at any moment."""
    memory = psutil.virtual_memory()
    return {
        "memory": round((memory.total - memory.available) / GIBIBYTE, 2),
        "memory_percent": round(memory.percent, 1),
        "load": round(psutil.getloadavg()[0], 2),
    }


def stream_name(host: str) -> str:
    """`host:<host>`, with what a stream name may not hold replaced."""
    return "host:" + (re.sub(r"[^A-Za-z0-9_.-]+", "-", host).strip("-.")[:100] or "local")


class Pace:
    """A steady beat: no drift from what each turn takes, and no burst after a pause (a machine asleep, a held lock)."""

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.interval = interval
        self.clock = clock
        self.start = clock()
        # Number of the beat waited for.
        self.beat = 0

    def delay(self) -> float:
        """Seconds until the next beat."""
        passed = self.clock() - self.start
        # A timer may ring a hair early: so never the same beat again.
        self.beat = max(self.beat + 1, math.ceil(passed / self.interval))
        return max(0.0, self.beat * self.interval - passed)


class Complaints:
    """Says once what is wrong, not once a second; and says when it is over."""

    def __init__(self, feed: str) -> None:
        self.feed = feed
        self.known: set[type[Exception]] = set()

    def failed(self, error: Exception) -> None:
        if type(error) not in self.known:
            self.known.add(type(error))
            logger.warning("The feed %s goes on, but a record was not stored: %s", self.feed, error)

    def worked(self) -> None:
        if self.known:
            self.known.clear()
            logger.info("The feed %s is stored again.", self.feed)


class HostFeed:
    """CPU, memory, load, disk and network of this machine."""

    def __init__(self, host: str = "", title: str = "This host") -> None:
        self.stream = stream_name(host or platform.node())
        self.title = title
        # A rate needs two readings: the first is taken now.
        self.counters = read_counters()

    def sample(self) -> dict[str, float]:
        """One record: levels now, and rates since the sample before."""
        before, self.counters = self.counters, read_counters()
        found = rates(before, self.counters)
        # In the order in which pages show the fields.
        return {"cpu": found.pop("cpu")} | levels() | found

    def item(self) -> Item:
        return Item(self.stream, json.dumps(self.sample(), separators=(",", ":")), publisher=PRINCIPAL)

    def ensure_stream(self) -> None:
        if Stream.objects.filter(name=self.stream).exists():
            return
        try:
            create_stream(
                Actor(PRINCIPAL), self.stream, title=self.title, kind=Kind.CHART, readers=Audience.USERS, writers=Audience.MEMBERS
            )
        except ValidationError:
            # Somebody made it in between.
            if not Stream.objects.filter(name=self.stream).exists():
                raise


class Engine(Protocol):
    """The part of `engine.Engine` that a feed needs."""

    journal: Any


async def run(engine: Engine) -> None:
    """Publish this machine once a second, until cancelled. Nothing temporary ends it."""
    feed = await asyncio.to_thread(HostFeed)
    complaints = Complaints(feed.stream)
    pace = Pace(INTERVAL_SECONDS)
    ready = False
    while True:
        await asyncio.sleep(pace.delay())
        try:
            if not ready:
                await database_sync_to_async(feed.ensure_stream)()
                ready = True
            # In a thread: /proc and a disk that hangs must not stop the loop.
            await engine.journal.append(await asyncio.to_thread(feed.item))
        except (WirelogError, DatabaseError, OSError) as error:
            complaints.failed(error)
            # Perhaps the stream is gone.
            ready = False
        else:
            complaints.worked()
