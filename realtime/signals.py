"""Extension points: what other apps may hear of, beside the way of the records and never in it.

Receivers run in one thread of their own, in the order of the events, a moment after them. When they are too slow events are dropped,
counted and warned of: what must not be missed is in the streams. Each is told in the process where it happened, with `sender=None`:

- `connected`, `disconnected`: client, principal, user_id (None for keys and strangers), address, agent.
- `subscribed`, `unsubscribed`: the same and stream, its name.
- `published`, after the commit: stream, epoch, offset (0 in an ephemeral stream), data, key, removed, tags, publisher, client, and in
  milliseconds time and device_time (None without one).
"""

import atexit
import json
import logging
import threading
from collections.abc import Callable, Iterable
from queue import Full, Queue
from typing import Any

from django.db import connections
from django.dispatch import Signal

from .conf import limit
from .protocol import Publication

logger = logging.getLogger(__name__)

connected = Signal()
disconnected = Signal()
subscribed = Signal()
unsubscribed = Signal()
published = Signal()

# At the end of the process, for receivers to finish.
EXIT_SECONDS = 2.0

Event = dict[str, Any]
Describe = Callable[..., Event]
Told = tuple[Signal, Describe, tuple[Any, ...]]


def tell(signal: Signal, describe: Describe, *args: Any) -> None:
    """Have the receivers of `signal` told of `describe(*args)`. Costs nothing when there is none; never waits, and never raises."""
    if signal.receivers:
        outlet.put(signal, describe, args)


def tell_published(records: Iterable[tuple[str, str, Publication | None]]) -> None:
    """Each is the name of a stream, its epoch, and a record that was committed; None for a repeat, which is no news."""
    if published.receivers:
        for stream, epoch, publication in records:
            if publication is not None:
                outlet.put(published, describe_record, (stream, epoch, publication))


def describe_record(stream: str, epoch: str, record: Publication) -> Event:
    event = {name: getattr(record, name) for name in ("offset", "key", "removed", "publisher", "client", "time", "device_time")}
    tags = json.loads(record.tags) if record.tags else {}
    return event | {"stream": stream, "epoch": epoch, "data": json.loads(record.data), "tags": tags}


def describe_member(member: Any, stream: str | None = None) -> Event:
    event = {name: getattr(member, name) for name in ("client", "principal", "user_id", "address", "agent")}
    return event if stream is None else event | {"stream": stream}


class Outlet:
    """A bounded queue, and the thread that calls receivers."""

    def __init__(self) -> None:
        # Events dropped since the process began.
        self.lost = 0
        self._warned = False
        self._lock = threading.Lock()
        self._queue: Queue[Told] | None = None

    def put(self, signal: Signal, describe: Describe, args: tuple[Any, ...]) -> None:
        try:
            (self._queue or self._start()).put_nowait((signal, describe, args))
        except (Full, RuntimeError):
            # Or the system gives no thread: that must not end the one that tells, which may be the write thread.
            self._drop()

    def _start(self) -> "Queue[Told]":
        with self._lock:
            if self._queue is None:
                queue: Queue[Told] = Queue(limit("SIGNAL_QUEUE"))
                threading.Thread(target=self._run, args=(queue,), name="wirelog-signals", daemon=True).start()
                atexit.register(self.flush, EXIT_SECONDS)
                self._queue = queue
            return self._queue

    def _drop(self) -> None:
        with self._lock:
            self.lost += 1
            if not self._warned:
                self._warned = True
                logger.warning("Receivers of signals are too slow: events are dropped until they have caught up.")

    def _run(self, queue: "Queue[Told]") -> None:
        while True:
            signal, describe, args = queue.get()
            # An error of a receiver is logged by Django, and ends nothing.
            signal.send_robust(sender=None, **describe(*args))
            if queue.empty():
                self._warned = False
                # What a receiver has opened is not kept while nothing happens.
                connections.close_all()
            queue.task_done()

    def flush(self, seconds: float) -> bool:
        """Wait until every event is told, at most so long; whether it is."""
        queue = self._queue
        if queue is None:
            return True
        with queue.all_tasks_done:
            return queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, seconds)


outlet = Outlet()
