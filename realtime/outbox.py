"""What waits for one connection: bounded, flow-controlled, drained by its one writer. Pure: time is passed in, nothing is awaited.

Flow control works on any server and through any proxy, because it uses the protocol's own ping: at most one window of bytes may be
unconfirmed since the last answered ping. The window follows the reader: it doubles while pongs come quickly, and halves while they are
slow, since a client may answer a ping only after it has handled everything before it.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from .errors import NO_PONG, SLOW, Close
from .protocol import PING

_PING = PING.encode()
MIN_WINDOW = 512
FIRST_WINDOW = 4_096
MAX_WINDOW = 524_288
# A pong within this doubles the window …
QUICK_SECONDS = 1.0
# … and one later than this halves it.
LATE_SECONDS = 2.0


# A frame in pieces that a newline joins. Most are a whole batch, which all its receivers share: nothing is copied for one of them.
Frame = list[bytes]


class Batch:
    """Messages that are queued together: consecutive publications of one stream, or one reply. Shared by all that receive it."""

    __slots__ = ("control", "data", "ends", "size")

    def __init__(self, lines: Sequence[str], control: bool = False) -> None:
        encoded = [line.encode() for line in lines]
        # The messages, joined by newlines.
        self.data = b"\n".join(encoded)
        # Where each ends, with the newline that joins it to the next.
        self.ends = list(accumulate(len(line) + 1 for line in encoded))
        # Bytes on the wire.
        self.size = self.ends[-1] if self.ends else 0
        # A reply or control push, which is never refused.
        self.control = control

    @property
    def count(self) -> int:
        return len(self.ends)

    @property
    def memory(self) -> int:
        """Bytes that it takes in a ring, about: for a lone short message three times more than on the wire."""
        return self.size + 190 + 40 * self.count

    def start_of(self, index: int) -> int:
        return self.ends[index - 1] if index else 0

    def fitting(self, start: int, room: int) -> int:
        """The end of the longest run of messages from `start` that takes at most `room` bytes."""
        return bisect_right(self.ends, self.start_of(start) + room, start)

    def slice(self, start: int, end: int) -> bytes:
        return self.data if end - start == len(self.ends) else self.data[self.start_of(start) : self.ends[end - 1] - 1]

    def part(self, start: int, end: int) -> "Batch":
        """The messages from `start` to `end` as a batch of their own."""
        part = Batch(())
        first = self.start_of(start)
        part.data, part.ends = self.slice(start, end), [place - first for place in self.ends[start:end]]
        part.size = self.start_of(end) - first
        return part

    def split(self, size: int) -> Iterator["Batch"]:
        """In parts of at most `size` bytes, but of one message at least."""
        start = 0
        while start < len(self.ends):
            end = max(self.fitting(start, size), start + 1)
            yield self.part(start, end) if end - start < len(self.ends) else self
            start = end


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds, from `conf.py`."""

    outbox_bytes: int = 1_048_576
    frame_bytes: int = 65_536
    ping_seconds: float = 25
    pong_seconds: float = 8
    progress_seconds: float = 30


class Outbox:
    """The queue of one connection."""

    __slots__ = (
        "_ahead",
        "_at",
        "_batches",
        "_control",
        "_due",
        "_limits",
        "_next_ping",
        "_ping_sent",
        "_pressed",
        "on_room",
        "rtt",
        "unconfirmed",
        "waiting",
        "wake",
        "window",
    )

    def __init__(self, limits: Limits, wake: Callable[[], None]) -> None:
        self._limits = limits
        # Called when there may be something to send.
        self.wake = wake
        # Called when less than half of the outbox waits.
        self.on_room: Callable[[], None] | None = None
        self._batches: deque[Batch] = deque()
        # Messages of the first batch that have been sent.
        self._at = 0
        # Bytes that wait: all of them, and those of replies and control pushes.
        self.waiting = 0
        self._control = 0
        # Bytes sent since the ping that was answered last.
        self.unconfirmed = 0
        self.window = FIRST_WINDOW
        # The outstanding ping: when it went out (None: there is none), and how much of what is unconfirmed it will confirm.
        self._ping_sent: float | None = None
        self._ahead = 0
        # Whether that ping went out because half a window was full, not because of the schedule.
        self._pressed = False
        # When the next ping is due, by the schedule; None before connect.
        self._next_ping: float | None = None
        # Since when it has been due and could not go out; None while it is not.
        self._due: float | None = None
        # Round trip of the last ping, in seconds.
        self.rtt: float | None = None

    # In

    def control(self, line: str) -> bool:
        """Queue a reply or control push; it is never dropped. False when these alone overflow the outbox."""
        batch = Batch((line,), control=True)
        self._batches.append(batch)
        self.waiting += batch.size
        self._control += batch.size
        self.wake()
        return self._control <= self._limits.outbox_bytes

    def offer(self, batch: Batch, most: int | None = None) -> bool:
        """Queue publications if no more than `most` bytes (OUTBOX_BYTES) wait then; an empty outbox takes any."""
        if self.waiting and self.waiting + batch.size > (most or self._limits.outbox_bytes):
            return False
        self._batches.append(batch)
        self.waiting += batch.size
        self.wake()
        return True

    @property
    def has_room(self) -> bool:
        return self.waiting < self._limits.outbox_bytes // 2

    # Out

    def take(self, now: float) -> Frame | None:
        """The next frame: all that waits and may go; None when nothing may. After one, there is another only while something waits."""
        parts = self._take_parts()
        if self._needs_ping():
            self._due = None
            parts.append(_PING)
            self.unconfirmed += len(_PING) + 1
            self._ping_sent = now
            self._ahead = self.unconfirmed
            self._next_ping = now + self._limits.ping_seconds
        if not parts:
            return None
        if self.on_room is not None and self.has_room:
            self.on_room()
        return parts

    def _take_parts(self) -> Frame:
        parts: Frame = []
        # One window in flight. A single message may go whenever less than a window does.
        room = min(self._limits.frame_bytes, self.window - self.unconfirmed)
        while self._batches and room > 0:
            batch = self._batches[0]
            if self._at or batch.size > room:
                size = self._take_part(batch, room, parts)
                if not size:
                    break
            else:
                size = batch.size
                parts.append(batch.data)
                self._drop(batch)
            room -= size
            self.unconfirmed += size
            self.waiting -= size
        return parts

    def _take_part(self, batch: Batch, room: int, parts: Frame) -> int:
        """Of `batch`, the first, what `room` allows; a message that is larger goes alone. Returns its bytes."""
        start = self._at
        end = batch.fitting(start, room)
        if end == start:
            if parts:
                return 0
            end += 1
        parts.append(batch.slice(start, end))
        self._at = end
        if end == len(batch.ends):
            self._drop(batch)
        return batch.ends[end - 1] - batch.start_of(start)

    def _drop(self, batch: Batch) -> None:
        """The first batch has gone out."""
        self._at = 0
        self._batches.popleft()
        if batch.control:
            self._control -= batch.size

    def forget(self, start: str) -> None:
        """Publications that begin with `start` go out no more: the client has lost the right to read them."""
        begins = start.encode()
        first = self._batches[0] if self._batches else None
        self._batches = deque(batch for batch in self._batches if batch.control or not batch.data.startswith(begins))
        if self._at and (not self._batches or self._batches[0] is not first):
            self._at = 0
        sent = self._batches[0].start_of(self._at) if self._batches else 0
        self.waiting = sum(batch.size for batch in self._batches) - sent

    def finish(self) -> None:
        """Only replies and control pushes go out any more, and at once: what was published the client asks for when it is back."""
        if self._at:
            self._at = 0
            self._batches.popleft()
        self._batches = deque(batch for batch in self._batches if batch.control)
        self.waiting = self._control
        self.unconfirmed = self._ahead = 0
        self.window = self._limits.outbox_bytes * 2

    # Pings

    def start_pings(self, first: float) -> None:
        """The client is connected and answers pings; the first is due at `first`."""
        self._next_ping = first

    def ask(self, now: float) -> None:
        """Ping before the schedule says so: whoever is there answers."""
        if self._next_ping is not None and self._ping_sent is None and self._due is None:
            self._due = now
            self.wake()

    def _needs_ping(self) -> bool:
        if self._next_ping is None or self._ping_sent is not None:
            return False
        self._pressed = self.unconfirmed * 2 > self.window
        return self._pressed or self._due is not None

    def pong(self, now: float) -> None:
        """Everything up to the ping has been received. A stray pong is ignored."""
        if self._ping_sent is None:
            return
        self.rtt = now - self._ping_sent
        self._ping_sent = None
        self.unconfirmed -= self._ahead
        # Only a ping that stood behind data says anything of how fast data is handled.
        if self._pressed and self.rtt <= QUICK_SECONDS:
            self.window = min(self.window * 2, MAX_WINDOW)
        elif self.rtt > LATE_SECONDS:
            self.window = max(self.window // 2, MIN_WINDOW)
        self.wake()

    def tick(self, now: float) -> Close | None:
        """Called about once a second: the reason to close, if any."""
        if self._ping_sent is not None:
            waited = now - self._ping_sent
            if waited > self._limits.progress_seconds:
                return SLOW
            alone = self.unconfirmed <= len(_PING) + 1
            return NO_PONG if alone and waited > self._limits.pong_seconds else None
        if self._next_ping is not None and now >= self._next_ping:
            self._due = now if self._due is None else self._due
            if now - self._due > self._limits.progress_seconds:
                # The server has taken nothing since: its reader stopped before there was a ping to answer.
                return SLOW
            self.wake()
        return None
