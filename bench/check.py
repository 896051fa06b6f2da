"""Checks what subscribers receive: every record once, in order.

All subscribers of a stream must get the same bytes. So the first that gets a record reads it line by line, and everybody else is compared
with that by bytes, which costs next to nothing and finds more than a count would. A server that promises nothing of the kind is read line
by line at every subscriber, and what it lost is counted.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Protocol

from .dialects import NUMBER

Buffer = bytes | bytearray | memoryview
NEWLINE = 10
# When a payload was sent, or should have been, in nanoseconds of the monotonic clock, which all processes of a machine share.
SENT = re.compile(rb'"t": ?(\d+)')


class Order:
    """The numbers of one source after another; `pattern` finds them as (source, number) or (number)."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self._next: dict[bytes, int] = {}
        self.received = 0
        self.missing = 0
        self.repeated = 0

    def take(self, line: Buffer) -> None:
        found = self._pattern.search(line)
        if found is None:
            raise ValueError(f"not a record: {bytes(line[:200])!r}")
        source, number = b"".join(found.groups()[:-1]), int(found[found.re.groups])
        expected = self._next.setdefault(source, number)
        self.received += 1
        if number < expected:
            self.repeated += 1
        else:
            self.missing += number - expected
            self._next[source] = number + 1


class Checker(Protocol):
    """What a subscriber received."""

    samples: "array[int]"

    def take(self, payload: Buffer, now: int) -> None: ...

    @property
    def received(self) -> int: ...

    @property
    def faults(self) -> tuple[int, int]:
        """Records that are missing, and that came again."""

    @property
    def differs(self) -> bool:
        """Whether it got other bytes than the first subscriber."""


class Log:
    """What one stream said, as the first subscriber got it: lines, each with its newline."""

    def __init__(self, pattern: re.Pattern[bytes], timed: bool = False) -> None:
        self.pattern = pattern
        self.order = Order(pattern)
        self.data = bytearray()
        # Where each line ends.
        self.ends: array[int] = array("q")
        # When each was sent; empty unless `timed`.
        self.sent: array[int] = array("q")
        self.timed = timed

    def extend(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            self.order.take(line)
            self.data += line
            self.data += b"\n"
            self.ends.append(len(self.data))
            if self.timed:
                self.sent.append(sent(line))


def sent(line: Buffer) -> int:
    found = SENT.search(line)
    assert found is not None, bytes(line)
    return int(found[1])


class Follower:
    """A subscriber that is compared with the log of its stream."""

    __slots__ = ("_index", "_log", "_own", "_position", "samples")

    def __init__(self, log: Log) -> None:
        self._log = log
        # Bytes of the log that it has received, and lines when they are timed.
        self._position = 0
        self._index = 0
        # Once it has received something else than the log says, it is read line by line.
        self._own: Each | None = None
        # Nanoseconds from sent to received.
        self.samples: array[int] = array("q")

    def take(self, payload: Buffer, now: int) -> None:
        if self._own is not None:
            self._own.take(payload, now)
            return
        if not (self._is_next(payload) or self._extend(payload)):
            self._part()
            self.take(payload, now)
            return
        self._position += len(payload) + 1
        if self._log.timed:
            self._time(now)

    def _is_next(self, payload: Buffer) -> bool:
        """Whether the log has `payload`, and whole lines of it, where this subscriber stands."""
        data, end = self._log.data, self._position + len(payload) + 1
        return end <= len(data) and data[end - 1] == NEWLINE and data.startswith(payload, self._position)

    def _extend(self, payload: Buffer) -> bool:
        """Whether `payload` goes on where the log ends."""
        known = len(self._log.data) - self._position
        if len(payload) < known or payload[:known] != self._log.data[self._position :]:
            return False
        self._log.extend(bytes(payload[known:]))
        return True

    def _part(self) -> None:
        self._own = Each(self._log.pattern, self._log.timed)
        self._own.samples = self.samples
        if self._position:
            # Not to be timed again: only the numbers of what it had so far.
            for line in bytes(self._log.data[: self._position - 1]).split(b"\n"):
                self._own.order.take(line)

    def _time(self, now: int) -> None:
        log = self._log
        while self._index < len(log.ends) and log.ends[self._index] <= self._position:
            self.samples.append(now - log.sent[self._index])
            self._index += 1

    @property
    def received(self) -> int:
        return self._own.received if self._own is not None else bisect_right(self._log.ends, self._position)

    @property
    def differs(self) -> bool:
        return self._own is not None

    @property
    def faults(self) -> tuple[int, int]:
        order = self._own.order if self._own is not None else self._log.order
        return order.missing, order.repeated


class Each:
    """A subscriber that is read line by line."""

    differs = False

    def __init__(self, pattern: re.Pattern[bytes], timed: bool = False) -> None:
        self.order = Order(pattern)
        self.samples: array[int] = array("q")
        self._timed = timed

    def take(self, payload: Buffer, now: int) -> None:
        for line in bytes(payload).split(b"\n"):
            self.order.take(line)
            if self._timed:
                self.samples.append(now - sent(line))

    @property
    def received(self) -> int:
        return self.order.received

    @property
    def faults(self) -> tuple[int, int]:
        return self.order.missing, self.order.repeated


def disorder(log: Buffer) -> int:
    """Records that do not come after the one before of the same publisher, by the numbers that it gave them.

    Offsets that follow one another do not tell: a record that was stored twice has two."""
    last: dict[bytes, int] = {}
    found = 0
    for publisher, number in NUMBER.findall(log):
        found += int(number) <= last.get(publisher, 0)
        last[publisher] = int(number)
    return found


NOTHING = {"received": 0, "missing": 0, "repeated": 0, "differs": 0}


def total(checkers: Iterable[Checker]) -> dict[str, int]:
    """Of all subscribers together; `differs` counts those that got other bytes than the first."""
    counts = [(checker.received, *checker.faults, checker.differs) for checker in checkers]
    return (
        dict(zip(("received", "missing", "repeated", "differs"), map(sum, zip(*counts, strict=True)), strict=True)) if counts else NOTHING
    )
