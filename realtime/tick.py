"""The tick: how a process finds records that no hint told of, and notices. A thread with a connection that never writes.

Every 100 ms `PRAGMA data_version` (5 µs) tells whether anybody else has committed; only then are the new records and notices asked for.
Every two seconds the notices are asked for anyway, and the heads and epochs of the subscribed streams are compared, so that nothing
depends on one mechanism.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max

from . import notices
from .models import Notice, Record, Stream

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.1
COMPARE_SECONDS = 2.0


class Head(NamedTuple):
    stream_id: int
    epoch: str
    tail: int
    head: int
    delivery: str


class Tick:
    """`on_heads`, `on_streams` and `on_notices` are called in the tick's own thread."""

    def __init__(
        self,
        on_heads: Callable[[dict[int, int]], None],
        on_streams: Callable[[list[Head], Collection[int]], None],
        on_notices: Callable[[list[Notice]], None],
        subscribed: Callable[[], Collection[int]],
    ) -> None:
        # New records: stream id → head.
        self._on_heads = on_heads
        # The state of the subscribed streams, and which were asked for.
        self._on_streams = on_streams
        self._on_notices = on_notices
        self._subscribed = subscribed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wirelog-tick", daemon=True)
        self._version = -1
        # Id of the newest record seen.
        self._seen = -1
        self._newest_notice = 0
        self._failing = False

    def start(self, newest_notice: int) -> None:
        """`newest_notice`: the id of the last one that is of no concern, read before anybody could connect."""
        self._newest_notice = newest_notice
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        compare_at = time.monotonic()
        while not self._stop.wait(TICK_SECONDS):
            try:
                self.look(connections["default"])
                if time.monotonic() >= compare_at:
                    compare_at = time.monotonic() + COMPARE_SECONDS
                    self.compare()
            except Exception as error:  # noqa: BLE001
                # The edge of the thread: without it no revocation and no lost hint would be found any more.
                self._start_over(error)
            else:
                self._failing = False
        connections["default"].close()

    def _start_over(self, error: Exception) -> None:
        """The next tick tries again on a new connection; deliveries of this process do not depend on it."""
        if not self._failing:
            known = isinstance(error, DatabaseError)
            logger.warning("The tick could not read the database, and tries again until it can: %s", error, exc_info=not known)
        self._failing = True
        connections["default"].close()
        # The version is relative to its connection: that of the new one may be equal by chance.
        self._version = -1

    def look(self, connection: BaseDatabaseWrapper) -> None:
        """Announce the notices and the heads that are new since the last look."""
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA data_version")
            (version,) = cursor.fetchone()
            if version == self._version:
                return
            self._version = version
            self._look_for_notices()
            if self._seen < 0:
                self._seen = Record.objects.aggregate(newest=Max("id"))["newest"] or 0
                return
            cursor.execute(_MOVED, [self._seen])
            rows = cursor.fetchall()
        if rows:
            self._seen = max(row[2] for row in rows)
            self._on_heads({row[0]: row[1] for row in rows})

    def _look_for_notices(self) -> None:
        while found := notices.after(self._newest_notice):
            self._on_notices(found)
            self._newest_notice = found[-1].pk

    def compare(self) -> None:
        self._look_for_notices()
        wanted = self._subscribed()
        if wanted:
            rows = Stream.objects.filter(pk__in=wanted).values_list("pk", "epoch", "tail", "head", "delivery")
            self._on_streams([Head(*row) for row in rows], wanted)


# By primary key: ids grow in the order of commits, since SQLite has one writer at a time. The plus keeps SQLite from walking through
# the whole index of another column for the sake of the groups.
_MOVED = f'SELECT stream_id, max("offset"), max(id) FROM {Record._meta.db_table} WHERE id > %s GROUP BY +stream_id'
