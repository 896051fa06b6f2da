"""What one process runs: journal, readers, tick, hub and presence, started and stopped in order.

`serve` starts it before it listens; under any other ASGI server the first connection does.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Collection
from typing import Any, Protocol

from django.db import DatabaseError, connections

from . import access, credentials, hints, notices
from .conf import data_folder, limit, option
from .control import Control, Controlled
from .cursor import Subscriber
from .errors import SHUTDOWN, InternalError
from .group_commit import Journal
from .group_read import GroupRead
from .guesses import Guesses
from .highwater import Highwater
from .hub import Hub
from .known_keys import KnownKeys
from .lock import AlreadyServing, ServeLock
from .models import Notice
from .outbox import Limits
from .presence import PresenceBook
from .rates import Rates
from .reads import Reads
from .seats import Holder, Seats
from .tick import Head, Tick

logger = logging.getLogger(__name__)

# One wheel turns for all connections of the process.
WHEEL_SECONDS = 1.0
LAYER_RETRY_SECONDS = 1.0
# What takes longer to answer a probe is away.
PROBE_SECONDS = 2.0
# Closes are spread over this, so that the clients do not all come back in the same instant.
SPREAD_SECONDS = 1.0


class Connected(Subscriber, Controlled, Holder, Protocol):
    """What the engine needs of a session."""

    def tick(self, now: float) -> None: ...

    def leave(self) -> None: ...

    async def gone(self) -> None: ...


class Engine:
    """One per event loop; its methods are called there."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sessions: set[Connected] = set()
        self.draining = False
        # Set when the process must stop, by `fail`.
        self.fatal = asyncio.Event()
        redis = bool(option("REDIS_URL"))
        self._lock = ServeLock(data_folder(), shared=redis)
        self._highwater = Highwater(data_folder())
        self._sender = hints.Sender()
        # Tells every process of an encoded hint.
        self.announce = self._sender.announce
        self.reads = Reads()
        # For methods of rpc, which take as long as they like: no connect and no delivery waits behind one.
        self.calls = Reads()
        self.journal = Journal(self.announce, self.fail)
        self.hub = Hub(self.reads)
        self.presence = PresenceBook(self.journal, self.reads, self._sender)
        self.rates = Rates(self.loop.time)
        self.guesses = Guesses(self.loop.time)
        self.seats = Seats(self.loop.time)
        self.limits = Limits(
            outbox_bytes=limit("OUTBOX_BYTES"),
            frame_bytes=limit("FRAME_BYTES"),
            ping_seconds=limit("PING_SECONDS"),
            pong_seconds=limit("PONG_SECONDS"),
            progress_seconds=limit("PROGRESS_SECONDS"),
        )
        # Who shows a credential, None for nobody; the stream of an identity and a name, or why it may not be read.
        self.identities = GroupRead(self.reads, credentials.identity_of_each)
        self.readable = GroupRead(self.reads, access.judge)
        # A thread of its own: what somebody may not read any more must not go on while thousands of reads are waited for.
        self._looks = Reads(threads=1)
        self.control = Control(self.sessions, self.hub, self._looks)
        self.known_keys = KnownKeys(self.loop.time, lambda: self.control.turn)
        self._tick = Tick(self._on_heads, self._on_streams, self._on_notices, lambda: tuple(self.hub.feeds))
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self, lenient: bool = False) -> None:
        """Raises lock.AlreadyServing, but for a `lenient` caller."""
        alone = self._take_lock(lenient) and not self._lock.shared
        self.journal.start()
        try:
            await self.journal.run(self._highwater.check)
            newest_notice = await self.reads.run(notices.newest)
            await self.presence.start(alone)
        except BaseException:
            # Where there is no `serve` the next connection tries again, on an engine of its own.
            await self._let_go()
            raise
        self._tick.start(newest_notice)
        runs = (
            self._sender.run(),
            self._hear(),
            self._turn_wheel(),
            self.presence.run(),
            self.control.run(),
            self._highwater.run(self.reads),
        )
        self._tasks = [asyncio.create_task(run) for run in runs]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _take_lock(self, lenient: bool) -> bool:
        try:
            self._lock.take()
        except AlreadyServing as error:
            if not lenient:
                raise
            logger.warning("%s", error)
            return False
        return True

    # From the tick's thread

    def _on_heads(self, heads: dict[int, int]) -> None:
        self.loop.call_soon_threadsafe(self.hub.take_heads, heads)

    def _on_streams(self, rows: list[Head], asked: Collection[int]) -> None:
        self.loop.call_soon_threadsafe(self.hub.take_streams, rows, asked)

    def _on_notices(self, found: list[Notice]) -> None:
        self.loop.call_soon_threadsafe(self.control.take, found)

    # Tasks

    async def _hear(self) -> None:
        """This process' one membership of the group. The tick covers for it while the layer is away."""
        while True:
            try:
                await self._hear_until_error()
            except Exception as error:  # noqa: BLE001
                # Any error of any layer; it comes back by itself or with the next try.
                logger.warning("The channel layer is away, subscribers are served from the database: %r", error)
            await asyncio.sleep(LAYER_RETRY_SECONDS)

    async def _hear_until_error(self) -> None:
        layer = hints.layer()
        channel = await layer.new_channel()
        try:
            await layer.group_add(hints.GROUP, channel)
            while True:
                # Never with a time-out: the pub/sub layer unsubscribes when its receive is cancelled.
                message = await layer.receive(channel)
                self.hub.take_hint(message["blob"])
        except Exception:
            # Nobody reads it any more, and the layer would keep every hint for it.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LAYER_RETRY_SECONDS):
                    await layer.group_discard(hints.GROUP, channel)
            raise

    def fail(self, why: str, error: BaseException | None = None) -> None:
        """The process cannot keep its promises any more, and must end: `serve` does that, and `ready` tells it to others."""
        logger.critical("%s", why, exc_info=error)
        self.fatal.set()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        """Each runs until it is cancelled: without it readers would wait for what never comes, and nobody would know."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail("Something that the server lives by has failed: this process stops.", error)

    async def _turn_wheel(self) -> None:
        while True:
            await asyncio.sleep(WHEEL_SECONDS)
            now = self.loop.time()
            for session in list(self.sessions):
                session.tick(now)
            self.control.tick(now)

    async def ready(self) -> bool:
        """Whether the database and the layer answer, and this process takes connections."""
        if self.draining or self.fatal.is_set():
            return False
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self.reads.run(_ask_database)
                await _ask_layer()
        except Exception:  # noqa: BLE001
            # Of the database, or any error of any layer: those of Redis are no OSError.
            return False
        return True

    # The end

    async def drain(self, seconds: float) -> None:
        """Answer what is in flight, then close every connection with 3001, spread over a moment; at most `seconds`."""
        self.draining = True
        self.hub.release()
        deadline = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.journal.flush(), seconds / 2)
        sessions = list(self.sessions)
        spread = min(SPREAD_SECONDS, seconds / 4) if len(sessions) > 1 else 0
        for session in sessions:
            self.loop.call_later(random.uniform(0, spread), session.close, SHUTDOWN)
        gone = [asyncio.create_task(session.gone()) for session in sessions]
        if gone:
            await asyncio.wait(gone, timeout=max(0.0, deadline - time.monotonic()))
        for task in gone:
            task.cancel()

    async def stop(self) -> None:
        """Stop the threads and mark the process as gone."""
        for session in list(self.sessions):
            session.leave()
        self.hub.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(DatabaseError, InternalError):
            await self.presence.stop()
        self._tick.stop()
        # The rest waits for threads, which call back to this loop.
        with contextlib.suppress(DatabaseError, InternalError, OSError):
            # Behind all that was queued.
            await self.journal.run(self._highwater.note)
        await self._let_go()
        _engines.pop(self.loop, None)

    async def _let_go(self) -> None:
        await asyncio.to_thread(self.journal.stop)
        await asyncio.to_thread(self.reads.stop)
        await asyncio.to_thread(self.calls.stop)
        await asyncio.to_thread(self._looks.stop)
        self._lock.release()


def _ask_database() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")


async def _ask_layer() -> None:
    # To a group that nobody is in: it asks the layer, and leaves nothing behind.
    await hints.layer().group_send("wirelog.probe", {"type": "wirelog.probe"})


_engines: dict[asyncio.AbstractEventLoop, "asyncio.Task[Engine]"] = {}


async def current(*, lenient: bool = False) -> Engine:
    """The engine of the running loop, started on first use.

    Raises lock.AlreadyServing; a `lenient` caller, which `runserver` has, gets a warning in the log instead.
    """
    loop = asyncio.get_running_loop()
    if loop not in _engines:
        _engines[loop] = asyncio.create_task(_start(lenient))
        _engines[loop].add_done_callback(lambda task: _forget_failed(loop, task))
    return await asyncio.shield(_engines[loop])


def running() -> Engine | None:
    """The engine of this process, for threads that have no loop; None where nothing is served."""
    for task in list(_engines.values()):
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
    return None


async def _start(lenient: bool) -> Engine:
    engine = Engine()
    await engine.start(lenient)
    return engine


def _forget_failed(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Engine]") -> None:
    if task.cancelled() or task.exception() is not None:
        _engines.pop(loop, None)
