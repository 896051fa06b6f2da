"""The write thread of one process.

Group commit has no timer in it: whatever came in while one transaction ran goes into the next. So a lone publish waits for nothing, and
a flood shares one fsync.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from django.db import DatabaseError, connections

from . import disk, hints
from .conf import limit
from .errors import InternalError, TooManyRequests, WirelogError
from .failpoints import failpoint
from .items import Item
from .journal import Appended, Outcome, append_batch, append_together, explain, hint_of, is_fatal, pass_on, tell_receivers
from .models import Stream

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A full queue is written in less than this, on a disk that works.
FULL_SECONDS = 1.0

# Why a process must end.
UNCONFIRMED = "The disk did not confirm a write. Only a new process can tell what is stored: this one stops."
FAILED = "The write thread has met an error of ours: this process stops."
MOVED = "The file of the database was moved or replaced. What is written now would be lost with the old one: this process stops."


@dataclass(slots=True)
class _Request:
    item: Item
    done: Callable[[Outcome], None]


@dataclass(slots=True)
class _Job:
    """Anything else that writes: it runs between two batches, on the same connection."""

    run: Callable[[], Any]
    future: "asyncio.Future[Any]"


class Journal:
    """The write thread of one process. Its methods are called on the event loop."""

    def __init__(self, announce: Callable[[bytes], None], on_fatal: Callable[[str], None]) -> None:
        self.announce = announce
        self.on_fatal = on_fatal
        # Publishes that wait for their commit; bounded by JOURNAL_QUEUE.
        self.waiting = 0
        self.records = 0
        self.batches = 0
        self._limit = limit("JOURNAL_QUEUE")
        self._queue: SimpleQueue[_Request | _Job | None] = SimpleQueue()
        # Set by a failed fsync: a later one that succeeds proves nothing, so nothing more is committed until the process has ended.
        # And when the file is another one.
        self._broken = False
        self._file: object = None
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="wirelog-journal", daemon=True)

    def start(self) -> None:
        self._file = disk.file_id("default")
        self._thread.start()

    def stop(self) -> None:
        """Commit what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def submit(self, item: Item, done: Callable[[Outcome], None]) -> None:
        """Queue `item`; `done` is called on the loop with its outcome, after the commit. Raises TooManyRequests when the queue is full."""
        self._enter(1)
        self._queue.put(_Request(item, done))

    def _enter(self, count: int) -> None:
        if self.waiting + count > self._limit:
            raise TooManyRequests("the journal is full", FULL_SECONDS)
        self.waiting += count
        self._idle.clear()

    def _leave(self, count: int) -> None:
        self.waiting -= count
        self.records += count
        self.batches += 1
        if self.waiting == 0:
            self._idle.set()

    def pass_on(self, item: Item, stream: Stream) -> Appended:
        """Broadcast `item` to an ephemeral stream at once: it has no commit to wait for. Raises WirelogError."""
        appended = pass_on(item, stream)
        self.announce(_blob([appended]))
        tell_receivers([item], [appended])
        return appended

    async def append(self, item: Item) -> Appended:
        """Append `item` and wait for its commit. Raises WirelogError."""
        outcome = await self._queued(item)
        if isinstance(outcome, WirelogError):
            raise outcome
        return outcome

    async def append_all(self, items: Iterable[Item]) -> list[Outcome]:
        """The outcome of each item, in order, after its commit. They are queued in one go, and so share a transaction if they fit one."""
        return [await queued for queued in [self._queued(item) for item in items]]

    def _queued(self, item: Item) -> "asyncio.Future[Outcome]":
        future: asyncio.Future[Outcome] = self._loop.create_future()
        try:
            self.submit(item, lambda outcome: None if future.done() else future.set_result(outcome))
        except TooManyRequests as error:
            future.set_result(error)
        return future

    async def append_together(self, items: Sequence[Item]) -> list[Appended]:
        """Append all of `items` in a transaction of their own, or nothing. Raises journal.Rejected, WirelogError."""
        self._enter(len(items))
        try:
            appended, blob = await self.run(lambda: self._commit_together(items))
        finally:
            self._leave(len(items))
        if blob:
            self.announce(blob)
        return appended

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` in the write thread, between two batches. Raises what it raises, and InternalError when nothing is sure any more."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(job, future))
        return await future

    async def run_paced(self, unit: Callable[[], bool]) -> bool:
        """`run` for bulk work: afterwards rest for as long as the unit took, so that half of the time is left to the publishers."""
        again, seconds = await self.run(partial(_timed, unit))
        await asyncio.sleep(seconds)
        return again

    async def flush(self) -> None:
        """Wait until nothing waits for its commit."""
        await self._idle.wait()

    # In the thread

    def _run(self) -> None:
        entry = self._queue.get()
        while entry is not None:
            try:
                entry = self._handle(entry)
            except Exception:
                # The edge of the thread: without it no publish would be answered any more, and nobody would know.
                logger.exception("The write thread failed.")
                self._break(FAILED)
                entry = self._queue.get()
        connections["default"].close()

    def _handle(self, entry: _Request | _Job) -> _Request | _Job | None:
        """Returns the next entry."""
        if isinstance(entry, _Request):
            return self._commit(entry)
        self._run_job(entry)
        return self._queue.get()

    def _commit(self, first: _Request) -> _Request | _Job | None:
        """Commit `first` and all that waits behind it; returns the next entry."""
        requests, following = self._gather(first)
        items = [request.item for request in requests]
        outcomes = self._append(items)
        self._loop.call_soon_threadsafe(self._complete, requests, outcomes, _blob(outcomes))
        tell_receivers(items, outcomes)
        return following if following is not _NOTHING else self._queue.get()

    def _append(self, items: Sequence[Item]) -> list[Outcome]:
        if self._broken:
            return [InternalError() for _ in items]
        try:
            outcomes = append_batch(connections["default"], items)
            failpoint("journal.committed")
        except DatabaseError as error:
            return [self._failed(error, len(items))] * len(items)
        except Exception:
            # The edge of the thread: an error of ours fails its batch, not the journal.
            logger.exception("The journal could not append a batch of %d records.", len(items))
            return [InternalError() for _ in items]
        return outcomes if self._in_place() else [InternalError() for _ in items]

    def _commit_together(self, items: Sequence[Item]) -> tuple[list[Appended], bytes]:
        if self._broken:
            raise InternalError
        try:
            appended = append_together(connections["default"], items)
        except DatabaseError as error:
            raise self._failed(error, len(items)) from None
        if not self._in_place():
            raise InternalError
        tell_receivers(items, appended)
        return appended, _blob(appended)

    def _gather(self, first: _Request) -> tuple[list[_Request], Any]:
        requests = [first]
        size, records = weight(first.item), limit("BATCH_RECORDS")
        while len(requests) < records and size < limit("BATCH_BYTES"):
            try:
                entry = self._queue.get_nowait()
            except Empty:
                break
            if not isinstance(entry, _Request):
                return requests, entry
            requests.append(entry)
            size += weight(entry.item)
        return requests, _NOTHING

    def _failed(self, error: DatabaseError, count: int) -> WirelogError:
        logger.error("The journal could not commit a batch of %d records: %s", count, error)
        connections["default"].close()
        if is_fatal(error):
            self._break(UNCONFIRMED)
        return explain(error)

    def _in_place(self) -> bool:
        """Asked after a commit, before anybody hears of it: it counts only in the file that the next process will open. 2 µs."""
        if disk.file_id("default") != self._file:
            self._break(MOVED)
        return not self._broken

    def _break(self, why: str) -> None:
        if not self._broken:
            self._broken = True
            self._loop.call_soon_threadsafe(self.on_fatal, why)

    def _run_job(self, job: _Job) -> None:
        try:
            result = self._do(job)
        except Exception as error:  # noqa: BLE001
            # The edge of the thread: the caller gets the error.
            self._loop.call_soon_threadsafe(_settle, job.future, None, error)
        else:
            self._loop.call_soon_threadsafe(_settle, job.future, result, None)

    def _do(self, job: _Job) -> Any:
        """What a job has written counts no more than a publish would. Raises what it raises, and InternalError."""
        if self._broken:
            raise InternalError
        try:
            result = job.run()
        except DatabaseError as error:
            if is_fatal(error):
                self._break(UNCONFIRMED)
            raise
        if not self._in_place():
            raise InternalError
        return result

    # On the loop

    def _complete(self, requests: list[_Request], outcomes: list[Outcome], blob: bytes) -> None:
        """First the replies, then the hint: nobody waits for a broadcast."""
        for request, outcome in zip(requests, outcomes, strict=True):
            request.done(outcome)
        self._leave(len(requests))
        if blob:
            self.announce(blob)
        failpoint("journal.announced")


_NOTHING = object()


def _blob(outcomes: Iterable[Outcome]) -> bytes:
    """The encoded hint of a batch; empty when there is nothing to tell."""
    hint = hint_of(outcomes)
    return hints.encode(hint) if hint else b""


def _timed(unit: Callable[[], bool]) -> tuple[bool, float]:
    started = time.monotonic()
    again = unit()
    return again, time.monotonic() - started


def weight(item: Item) -> int:
    return len(item.data) + len(item.blob or b"")


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
