"""What happened in a run, in the order in which the test host saw it.

Everything is recorded in one process, so the place in the list is the order: an `Invoke` stands there before its command is written to a
socket, an `Ok` after its answer was read, a `Delivered` when the callback of the client had it.
"""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Position(NamedTuple):
    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Invoke:
    """A publish is about to be sent. Each attempt with the same key is the same operation; `value` is unique in the run."""

    operation: int
    stream: str
    value: str


@dataclass(frozen=True, slots=True)
class Ok:
    operation: int
    position: Position


@dataclass(frozen=True, slots=True)
class Fail:
    """A refusal for good: the record must never be seen."""

    operation: int
    code: int


@dataclass(frozen=True, slots=True)
class Info:
    """Nobody knows what became of the attempt: no answer, a lost connection, a temporary error."""

    operation: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReadInvoke:
    read: int
    stream: str


@dataclass(frozen=True, slots=True)
class ReadOk:
    """Head of the stream, and records of a page by offset."""

    read: int
    head: Position
    records: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What a client asked for (None: from now on), and what it was answered."""

    client: str
    stream: str
    asked: Position | None
    position: Position
    recovered: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The client has no subscription any more: it unsubscribed, was told so, or lost its connection."""

    client: str
    stream: str


@dataclass(frozen=True, slots=True)
class Delivered:
    client: str
    stream: str
    position: Position
    value: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """The time is over within which the client must have lost `stream`."""

    client: str
    stream: str


@dataclass(frozen=True, slots=True)
class Fault:
    name: str


Event = Invoke | Ok | Fail | Info | ReadInvoke | ReadOk | Subscribed | Ended | Delivered | Revoked | Fault


@dataclass
class History:
    events: list[Event] = field(default_factory=list)
    _counts: Counter[type[Any]] = field(default_factory=Counter)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def add(self, event: Event) -> None:
        self.events.append(event)
        self._counts[type(event)] += 1

    def number(self) -> int:
        """A new operation or read."""
        return next(self._numbers)

    def count(self, kind: type[Any]) -> int:
        """Events of one kind so far."""
        return self._counts[kind]

    def counts(self) -> Counter[str]:
        """Events by kind, and what a run must have had to prove anything."""
        counts = Counter(type(event).__name__ for event in self.events)
        faults = [event.name for event in self.events if isinstance(event, Fault)]
        counts["kills"] = sum("kill" in name and "redis" not in name for name in faults)
        counts["resumes"] = sum(isinstance(event, Subscribed) and event.asked is not None and event.recovered for event in self.events)
        return counts


# The end of a run: what is stored


class Kept(NamedTuple):
    """A stream: its epoch, the offset of its last record and of the first that is still kept."""

    epoch: str
    head: int
    tail: int


@dataclass(frozen=True)
class Database:
    streams: dict[str, Kept]
    # Value by stream and offset.
    rows: dict[tuple[str, int], str]
    # What SQLite said of the file.
    integrity: str = "ok"


def numbers(events: list[Event], kind: type[Any]) -> set[int]:
    """Operations that have an event of `kind`."""
    return {event.operation for event in events if isinstance(event, kind)}
