"""Reads that never wait behind the writer: a few threads, each with a connection of its own that cannot write."""

import asyncio
import bisect
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .conf import limit
from .failpoints import failpoint
from .models import Record, Stream
from .protocol import Publication

T = TypeVar("T")

# Two cores serve a small host; more threads only fight for the interpreter lock.
THREADS = 3

Page = list[Publication]

FIELDS = '"offset", data, received, publisher, client, key, removed, tags, device_time'
# Below the tail, which may have moved since the caller read it, there are holes: there stays what `latest` keeps.
_FORWARD = f"""
    SELECT {FIELDS} FROM {Record._meta.db_table}
    WHERE stream_id = %s AND "offset" > max(%s, (SELECT tail - 1 FROM {Stream._meta.db_table} WHERE id = %s)) AND "offset" <= %s
    ORDER BY "offset" LIMIT %s
"""
_BACKWARD = f"""
    SELECT {FIELDS} FROM {Record._meta.db_table}
    WHERE stream_id = %s AND "offset" >= max(%s, (SELECT tail FROM {Stream._meta.db_table} WHERE id = %s)) AND "offset" < %s
    ORDER BY "offset" DESC LIMIT %s
"""


def page_after(connection: BaseDatabaseWrapper, stream_id: int, position: int, upto: int, count: int) -> Page:
    """Records with position < offset ≤ upto, oldest first, from the tail on, without a hole; at most `count`, and PAGE_BYTES of payload
    unless the first is larger."""
    return _page(connection, _FORWARD, (stream_id, position, stream_id, upto, count))


def page_before(connection: BaseDatabaseWrapper, stream_id: int, tail: int, before: int, count: int) -> Page:
    """Records with tail ≤ offset < before, newest first, with the bounds of `page_after`."""
    return _page(connection, _BACKWARD, (stream_id, tail, stream_id, before, count))


def _page(connection: BaseDatabaseWrapper, sql: str, params: tuple[int, ...]) -> Page:
    with closing(records(connection, sql, params)) as found:
        return bounded(found)[0]


def records(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> Generator[Publication, None, None]:
    """What `sql` selects as FIELDS, row by row: 300 records of 128 KiB must not be in memory at once."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        while (row := cursor.fetchone()) is not None:
            offset, data, received, publisher, client, key, removed, tags, device_time = row
            yield Publication(offset, data, received, publisher, client, key, bool(removed), tags, device_time)


def bounded(found: Iterable[Publication]) -> tuple[Page, bool]:
    """The first of `found`, as many as PAGE_BYTES of payload hold but one at least, and whether it was cut there."""
    page: Page = []
    room = limit("PAGE_BYTES")
    for record in found:
        room -= len(record.data.encode())
        if page and room < 0:
            return page, True
        page.append(record)
    return page, False


def first_since(connection: BaseDatabaseWrapper, milliseconds: int, stream_id: int | None = None) -> int:
    """The offset of the first record of a stream that was received then or later; without a stream, the id among all records.

    By bisection: ids and offsets grow with time, and time has no index. One over the newest when there is none; 0 without any record.
    """
    key, where, params = ("id", "1", ()) if stream_id is None else ('"offset"', "stream_id = %s", (stream_id,))
    with connection.cursor() as cursor:

        def one(sql: str, *more: int) -> int | None:
            cursor.execute(f"{sql.format(key=key, table=Record._meta.db_table, where=where)} LIMIT 1", (*params, *more))
            row = cursor.fetchone()
            return int(row[0]) if row else None

        oldest = one("SELECT {key} FROM {table} WHERE {where} ORDER BY {key}")
        newest = one("SELECT {key} FROM {table} WHERE {where} ORDER BY {key} DESC")
        if oldest is None or newest is None:
            return 0
        # Where a number is missing, the next one that is kept answers for it.
        received = "SELECT received FROM {table} WHERE {where} AND {key} >= %s ORDER BY {key}"
        return oldest + bisect.bisect_left(range(oldest, newest + 1), milliseconds, key=lambda number: one(received, number) or 0)


@contextmanager
def snapshot(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """All reads within see the database as it was at the first of them."""
    if connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        # Not `atomic`, which asks for the write lock.
        cursor.execute("BEGIN")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


class Reads:
    """Reader threads of one process. Its methods are called on the event loop."""

    def __init__(self, threads: int = THREADS) -> None:
        self.pages = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="wirelog-reads", initializer=self._open)
        # Each thread's connection, so that they can be closed when the threads are gone.
        self._connections: list[BaseDatabaseWrapper] = []
        self._lock = threading.Lock()

    def _open(self) -> None:
        connection = connections["default"]
        connection.inc_thread_sharing()
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")
        with self._lock:
            self._connections.append(connection)

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close()

    async def run(self, read: Callable[..., T], *args: Any) -> T:
        """Run `read` in a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, read, *args)

    async def page(self, stream_id: int, position: int, upto: int) -> Page:
        """Records with position < offset ≤ upto, oldest first: one page of them."""
        self.pages += 1
        return await self.run(_read_page, stream_id, position, upto)


def _read_page(stream_id: int, position: int, upto: int) -> Page:
    page = page_after(connections["default"], stream_id, position, upto, limit("PAGE_RECORDS"))
    failpoint("reads.page")
    return page
