"""The one door for writes.

`append_batch` is pure and synchronous: one short transaction on a connection of the caller's. Sockets and HTTP reach it through the
group-commit loop of `Journal`; admin and commands through `append_now`.

Group commit has no timer in it: whatever came in while one transaction ran goes into the next. So a lone publish waits for nothing, and
a flood shares one fsync.
"""

import asyncio
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from . import access, hints
from .access import Identity
from .conf import limit
from .errors import (
    BadRequest,
    Conflict,
    InternalError,
    PayloadTooLarge,
    StorageFull,
    StreamArchived,
    TooManyRequests,
    UnknownStream,
    WirelogError,
)
from .models import Audience, Record, Stream
from .protocol import Publication

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_KEY = 200


@dataclass(slots=True)
class Item:
    """One record to append. `data` is JSON text that `protocol.payload` has checked."""

    stream: str
    data: str
    # Whose rights count; None for a command or admin, who need none.
    identity: Identity | None = None
    publisher: str = ""
    client: str = ""
    idempotency_key: str = ""
    key: str = ""
    removed: bool = False
    tags: dict[str, str] | None = None
    device_time: int | None = None
    # The head that the publisher has seen: compare-and-set.
    expect_offset: int | None = None


@dataclass(slots=True)
class Appended:
    """Where a record is: its stream, and its position. `publication` is None for a repeat, which nobody is told of again."""

    stream_id: int
    epoch: str
    offset: int
    publication: Publication | None = None

    @property
    def duplicate(self) -> bool:
        return self.publication is None


Outcome = Appended | WirelogError
# What one sender may say again: the same key from another publisher is another record.
RecordKey = tuple[int, str, str]


# The pure part


def append_batch(connection: BaseDatabaseWrapper, items: Sequence[Item]) -> list[Outcome]:
    """Append `items` in one transaction; the outcome of each, in order.

    A bad item fails alone, with an error that names what is wrong; offsets stay dense. Raises django.db.DatabaseError when the
    transaction as a whole failed: then nothing was appended, but for an I/O error, whose outcome is unknown.
    """
    with transaction.atomic(using=connection.alias):
        return _Batch(connection, items).append()


@dataclass(slots=True)
class _Batch:
    connection: BaseDatabaseWrapper
    items: Sequence[Item]
    streams: dict[str, Stream] = field(default_factory=dict)
    roles: Any = field(default_factory=dict)
    known: dict[RecordKey, tuple[int, bytes]] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    now: int = 0

    def append(self) -> list[Outcome]:
        # BEGIN IMMEDIATE has locked every stream: nobody else moves a head until the commit.
        self.streams = self._load_streams()
        self.roles = self._load_roles()
        self.known = self._load_known()
        self.now = time.time_ns() // 1_000_000
        outcomes = [self._append(item) for item in self.items]
        self._write()
        return outcomes

    def _load_streams(self) -> dict[str, Stream]:
        names = {item.stream for item in self.items}
        return {stream.name: stream for stream in Stream.objects.using(self.connection.alias).filter(name__in=names)}

    def _load_roles(self) -> Any:
        closed = {stream.name: stream.pk for stream in self.streams.values() if Audience.MEMBERS in (stream.readers, stream.writers)}
        people = {item.identity for item in self.items if item.identity is not None and item.stream in closed}
        return access.roles(people, closed.values(), self.connection.alias) if people else {}

    def _load_known(self) -> dict[RecordKey, tuple[int, bytes]]:
        """Offset and digest of the records that bear a key of this batch."""
        keys = {
            (self.streams[item.stream].pk, item.publisher, item.idempotency_key)
            for item in self.items
            if item.idempotency_key and item.stream in self.streams
        }
        if not keys:
            return {}
        with self.connection.cursor() as cursor:
            cursor.execute(_KNOWN.format(values=",".join(["(%s,%s,%s)"] * len(keys))), [part for key in keys for part in key])
            return {(row[0], row[1], row[2]): (row[3], bytes(row[4] or b"")) for row in cursor.fetchall()}

    def _append(self, item: Item) -> Outcome:
        stream = self.streams.get(item.stream)
        try:
            if stream is None:
                raise UnknownStream(item.stream)
            self._check(item, stream)
            return self._repeat(item, stream) or self._add(item, stream)
        except WirelogError as error:
            return error

    def _check(self, item: Item, stream: Stream) -> None:
        if item.identity is not None:
            role = self.roles.get((item.identity.principal, stream.pk))
            if not access.may_write(item.identity, stream, role):
                raise access.refusal(item.identity, stream, role)
        if stream.archived is not None:
            raise StreamArchived(stream.name)
        largest = stream.max_payload or limit("PAYLOAD_BYTES")
        # A character is at most four bytes: only a text near the limit is counted exactly.
        if len(item.data) * 4 > largest and (size := len(item.data.encode())) > largest:
            raise PayloadTooLarge(stream.name, size, largest)
        for name, text in (("idempotency_key", item.idempotency_key), ("key", item.key)):
            if len(text) > MAX_KEY or not text.isprintable():
                raise BadRequest(name, f"must be at most {MAX_KEY} printable characters")

    def _repeat(self, item: Item, stream: Stream) -> Appended | None:
        """The record that bears this key already, if any."""
        known = self.known.get((stream.pk, item.publisher, item.idempotency_key)) if item.idempotency_key else None
        if known is None:
            return None
        offset, digest = known
        # A redacted record has lost its digest: the retry still gets its offset.
        if digest and digest != digest_of(item.data):
            raise BadRequest("idempotency_key", f"was used for another payload, at offset {offset}")
        return Appended(stream.pk, stream.epoch, offset)

    def _add(self, item: Item, stream: Stream) -> Appended:
        if item.expect_offset is not None and item.expect_offset != stream.head:
            raise Conflict(stream.name, item.expect_offset, stream.head)
        stream.head += 1
        tags = json.dumps(item.tags, ensure_ascii=False, separators=(",", ":")) if item.tags else ""
        digest = digest_of(item.data) if item.idempotency_key else None
        self.rows.append(
            (
                *(stream.pk, stream.head, item.data, "", item.key, item.removed, tags),
                *(item.publisher, item.client, item.idempotency_key, digest, self.now, item.device_time),
            )
        )
        if digest is not None:
            self.known[stream.pk, item.publisher, item.idempotency_key] = (stream.head, digest)
        publication = Publication(stream.head, item.data, self.now, item.publisher, item.client, item.key, item.removed, tags)
        return Appended(stream.pk, stream.epoch, stream.head, publication)

    def _write(self) -> None:
        if not self.rows:
            return
        grown = {row[0] for row in self.rows}
        heads = [(stream.head, stream.pk) for stream in self.streams.values() if stream.pk in grown]
        with self.connection.cursor() as cursor:
            # One prepared statement: bulk_create(1000) would be 13 statements on SQLite, at ten times the cost per row.
            cursor.executemany(_INSERT, self.rows)
            cursor.executemany(_MOVE_HEAD, heads)


def digest_of(data: str) -> bytes:
    return hashlib.blake2b(data.encode(), digest_size=16).digest()


_COLUMNS = (
    *("stream_id", "offset", "data", "content_type", "key", "removed", "tags"),
    *("publisher", "client", "idempotency_key", "digest", "received", "device_time"),
)
_INSERT = "INSERT INTO {table} ({columns}) VALUES ({values})".format(
    table=Record._meta.db_table,
    columns=", ".join(f'"{column}"' for column in _COLUMNS),
    values=", ".join(["%s"] * len(_COLUMNS)),
)
_MOVE_HEAD = f"UPDATE {Stream._meta.db_table} SET head = %s WHERE id = %s"
# The last condition is that of the partial index, to the letter: without it SQLite scans.
_KNOWN = (
    f'SELECT stream_id, publisher, idempotency_key, "offset", digest FROM {Record._meta.db_table} '
    "WHERE (stream_id, publisher, idempotency_key) IN (VALUES {values}) AND NOT (idempotency_key = '')"
)


def explain(error: DatabaseError) -> WirelogError:
    """What a failed transaction means to each of its callers."""
    if "full" in str(error):
        return StorageFull()
    return InternalError()


def is_fatal(error: DatabaseError) -> bool:
    """After a failed fsync nobody knows what is on disk; only a new process, which recovers the WAL, can tell."""
    return "disk I/O error" in str(error)


def append_now(items: Sequence[Item]) -> list[Outcome]:
    """`append_batch` for a process that serves nothing, and the hint to the servers: with Redis at once, else their tick finds it."""
    outcomes = append_batch(connections["default"], items)
    hints.send_now(hint_of(outcomes))
    return outcomes


def hint_of(outcomes: Iterable[Outcome]) -> hints.Hint:
    """What the hubs are told of a batch: runs of new records, by stream."""
    runs: dict[int, hints.Run] = {}
    for outcome in outcomes:
        if isinstance(outcome, Appended) and outcome.publication is not None:
            run = runs.setdefault(outcome.stream_id, hints.Run(outcome.stream_id, outcome.epoch, outcome.offset, 0, []))
            run.records.append(outcome.publication)
            run.head = outcome.offset
    return hints.Hint(runs=list(runs.values()))


# The group-commit loop


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

    def __init__(self, announce: Callable[[bytes], None], on_fatal: Callable[[], None]) -> None:
        self.announce = announce
        self.on_fatal = on_fatal
        # Publishes that wait for their commit; bounded by JOURNAL_QUEUE.
        self.waiting = 0
        self.records = 0
        self.batches = 0
        self._limit = limit("JOURNAL_QUEUE")
        self._queue: SimpleQueue[_Request | _Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="wirelog-journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commit what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def submit(self, item: Item, done: Callable[[Outcome], None]) -> None:
        """Queue `item`; `done` is called on the loop with its outcome, after the commit. Raises TooManyRequests when the queue is full."""
        if self.waiting >= self._limit:
            raise TooManyRequests("the journal is full")
        self.waiting += 1
        self._idle.clear()
        self._queue.put(_Request(item, done))

    async def append(self, item: Item) -> Appended:
        """Append `item` and wait for its commit. Raises WirelogError."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self.submit(item, lambda outcome: None if future.done() else future.set_result(outcome))
        outcome = await future
        if isinstance(outcome, WirelogError):
            raise outcome
        return outcome

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` in the write thread, between two batches."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(job, future))
        return await future

    async def flush(self) -> None:
        """Wait until nothing waits for its commit."""
        await self._idle.wait()

    # In the thread

    def _run(self) -> None:
        entry = self._queue.get()
        while entry is not None:
            if isinstance(entry, _Job):
                self._run_job(entry)
                entry = self._queue.get()
            else:
                entry = self._commit(entry)
        connections["default"].close()

    def _commit(self, first: _Request) -> _Request | _Job | None:
        """Commit `first` and all that waits behind it; returns the next entry."""
        requests, following = self._gather(first)
        items = [request.item for request in requests]
        try:
            outcomes = append_batch(connections["default"], items)
        except DatabaseError as error:
            outcomes = self._failed(error, len(items))
        except Exception:
            # The edge of the thread: an error of ours fails its batch, not the journal.
            logger.exception("The journal could not append a batch of %d records.", len(items))
            outcomes = [InternalError() for _ in items]
        hint = hint_of(outcomes)
        blob = hints.encode(hint) if hint.runs else b""
        self._loop.call_soon_threadsafe(self._complete, requests, outcomes, blob)
        return following if following is not _NOTHING else self._queue.get()

    def _gather(self, first: _Request) -> tuple[list[_Request], Any]:
        requests = [first]
        size, records = len(first.item.data), limit("BATCH_RECORDS")
        while len(requests) < records and size < limit("BATCH_BYTES"):
            try:
                entry = self._queue.get_nowait()
            except Empty:
                break
            if not isinstance(entry, _Request):
                return requests, entry
            requests.append(entry)
            size += len(entry.item.data)
        return requests, _NOTHING

    def _failed(self, error: DatabaseError, count: int) -> list[Outcome]:
        logger.error("The journal could not commit a batch of %d records: %s", count, error)
        connections["default"].close()
        if is_fatal(error):
            self._loop.call_soon_threadsafe(self.on_fatal)
        return [explain(error) for _ in range(count)]

    def _run_job(self, job: _Job) -> None:
        try:
            result = job.run()
        except Exception as error:  # noqa: BLE001
            # The edge of the thread: the caller gets the error.
            self._loop.call_soon_threadsafe(_settle, job.future, None, error)
        else:
            self._loop.call_soon_threadsafe(_settle, job.future, result, None)

    # On the loop

    def _complete(self, requests: list[_Request], outcomes: list[Outcome], blob: bytes) -> None:
        """First the replies, then the hint: nobody waits for a broadcast."""
        for request, outcome in zip(requests, outcomes, strict=True):
            request.done(outcome)
        self.waiting -= len(requests)
        self.records += len(requests)
        self.batches += 1
        if self.waiting == 0:
            self._idle.set()
        if blob:
            self.announce(blob)


_NOTHING = object()


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
