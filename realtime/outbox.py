"""What waits for one connection: bounded, flow-controlled, drained by one task. Pure: time is passed in, nothing is awaited.

Flow control works on any server and through any proxy, because it uses the protocol's own ping: at most one window of bytes may be
unconfirmed since the last answered ping. The window follows the reader: it doubles while pongs come quickly, and halves while they are
slow, since a client may answer a ping only after it has handled everything before it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import NO_PONG, SLOW, Close
from .protocol import PING

MIN_WINDOW = 512
FIRST_WINDOW = 4_096
MAX_WINDOW = 524_288
# A pong within this doubles the window …
QUICK_SECONDS = 1.0
# … and one later than this halves it.
LATE_SECONDS = 2.0


class Batch:
    """Messages that are queued together: consecutive publications of one stream, or one reply. Shared by all that receive it."""

    __slots__ = ("control", "lines", "size", "sizes", "text")

    def __init__(self, lines: Sequence[str], control: bool = False) -> None:
        self.lines = lines
        # A reply or control push, which is never refused.
        self.control = control
        self.text = "\n".join(lines)
        # Bytes on the wire, with the newline that joins each message to the next.
        self.sizes = [len(line) + 1 if line.isascii() else len(line.encode()) + 1 for line in lines]
        self.size = sum(self.sizes)

    def fitting(self, start: int, room: int) -> int:
        """The end of the longest run of messages from `start` that takes at most `room` bytes."""
        end = start
        while end < len(self.sizes) and self.sizes[end] <= room:
            room -= self.sizes[end]
            end += 1
        return end

    def slice(self, start: int, end: int) -> str:
        return self.text if end - start == len(self.lines) else "\n".join(self.lines[start:end])


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
        "_at",
        "_batches",
        "_confirmed",
        "_control",
        "_due",
        "_limits",
        "_next_ping",
        "_ping_mark",
        "_ping_sent",
        "_pressed",
        "_sent",
        "on_room",
        "rtt",
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
        # Bytes sent in all, and how many of them the last answered ping confirmed.
        self._sent = 0
        self._confirmed = 0
        self.window = FIRST_WINDOW
        # The outstanding ping: when it went out (None: there is none), and the bytes sent up to and with it.
        self._ping_sent: float | None = None
        self._ping_mark = 0
        # Whether that ping went out because half a window was full, not because of the schedule.
        self._pressed = False
        # When the next ping is due, by the schedule; None before connect.
        self._next_ping: float | None = None
        self._due = False
        # Round trip of the last ping, in seconds.
        self.rtt: float | None = None

    @property
    def unconfirmed(self) -> int:
        return self._sent - self._confirmed

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

    def take(self, now: float) -> str | None:
        """The next frame: all that waits and may go, joined; None when nothing may."""
        parts = self._take_parts()
        if self._needs_ping():
            self._due = False
            parts.append(PING)
            self._sent += len(PING) + 1
            self._ping_sent = now
            self._ping_mark = self._sent
            self._next_ping = now + self._limits.ping_seconds
        if not parts:
            return None
        if self.on_room is not None and self.has_room:
            self.on_room()
        return "\n".join(parts) if len(parts) > 1 else parts[0]

    def _take_parts(self) -> list[str]:
        parts: list[str] = []
        # One window in flight. A single message may go whenever less than a window does.
        room = min(self._limits.frame_bytes, self.window - self.unconfirmed)
        while self._batches and room > 0:
            batch = self._batches[0]
            end = len(batch.lines) if self._at == 0 and batch.size <= room else batch.fitting(self._at, room)
            if end == self._at:
                if parts:
                    break
                end += 1
            parts.append(batch.slice(self._at, end))
            room -= self._advance(batch, end)
        return parts

    def _advance(self, batch: Batch, end: int) -> int:
        whole = end - self._at == len(batch.lines)
        size = batch.size if whole else sum(batch.sizes[self._at : end])
        self._sent += size
        self.waiting -= size
        if end < len(batch.lines):
            self._at = end
        else:
            self._at = 0
            self._batches.popleft()
            if batch.control:
                self._control -= batch.size
        return size

    def finish(self) -> None:
        """Only replies and control pushes go out any more, and at once: what was published the client asks for when it is back."""
        if self._at:
            self._at = 0
            self._batches.popleft()
        self._batches = deque(batch for batch in self._batches if batch.control)
        self.waiting = self._control
        self._confirmed = self._sent
        self.window = self._limits.outbox_bytes * 2

    # Pings

    def start_pings(self, first: float) -> None:
        """The client is connected and answers pings; the first is due at `first`."""
        self._next_ping = first

    def _needs_ping(self) -> bool:
        if self._next_ping is None or self._ping_sent is not None:
            return False
        self._pressed = self.unconfirmed * 2 > self.window
        return self._pressed or self._due

    def pong(self, now: float) -> None:
        """Everything up to the ping has been received. A stray pong is ignored."""
        if self._ping_sent is None:
            return
        self.rtt = now - self._ping_sent
        self._ping_sent = None
        self._confirmed = self._ping_mark
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
            alone = self.unconfirmed <= len(PING) + 1
            return NO_PONG if alone and waited > self._limits.pong_seconds else None
        if self._next_ping is not None and now >= self._next_ping:
            self._due = True
            self.wake()
        return None
