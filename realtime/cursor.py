"""A subscription is a cursor in the feed of a stream."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .errors import Unsubscribe
from .newest import Newest
from .outbox import Batch, Outbox
from .protocol import Publication, publication_push, quote
from .ring import Ring

if TYPE_CHECKING:
    from .pump import Pump


class Step(NamedTuple):
    """What moves a cursor: messages to queue, and the offset at which it stands then."""

    batch: Batch
    position: int


class Subscriber(Protocol):
    """What the hub needs of a connection."""

    outbox: Outbox
    pump: "Pump"
    # When each stream was last told to start over (2500), by its id.
    resets: dict[int, float]

    def ended(self, subscription: "Subscription", unsubscribe: Unsubscribe) -> None:
        """The hub has ended `subscription`: tell the client."""


@dataclass(eq=False, slots=True)
class Subscription:
    """The cursor of one connection in one stream."""

    feed: "Feed"
    subscriber: Subscriber
    # Offset of the newest record queued for the client. While live that is the feed's `last`, and not kept here.
    position: int
    live: bool
    # Set when it ends; checked after every await.
    ended: bool = False
    # That of the subscriber, one step nearer: a delivery to thousands waits for memory more than for the processor.
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = self.subscriber.outbox

    def go_live(self) -> None:
        self.live = True
        self.feed.lagging.discard(self)
        self.feed.live.add(self)

    def fall_behind(self) -> None:
        """Stay at the feed's `last` while that moves on."""
        self.live = False
        self.position = self.feed.last
        self.feed.live.discard(self)
        self.feed.lagging.add(self)

    def end(self) -> None:
        self.ended = True
        self.feed.live.discard(self)
        self.feed.lagging.discard(self)
        self.feed.watching.discard(self)


@dataclass(eq=False, slots=True)
class Pending:
    """A subscription that is under way. Who ends it says why; nothing is delivered by it then."""

    ended: Unsubscribe | None = None
    # What it has become.
    opened: Subscription | None = None


@dataclass(eq=False, slots=True)
class Waiter:
    """Somebody who reads by requests of their own, and wants to be woken when there is more."""

    feed: "Feed"
    ended: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        self._news.set()

    def end(self) -> None:
        self.ended = True
        self._news.set()

    def waits(self, position: int) -> bool:
        """Whether there is nothing after `position` yet."""
        return self.feed.last <= position and not self.ended

    async def news(self) -> None:
        """Wait to be woken, for whatever reason."""
        self._news.clear()
        await self._news.wait()


@dataclass(eq=False, slots=True)
class Feed:
    """A stream that somebody in this process is subscribed to."""

    stream_id: int
    name: str
    durable: bool
    epoch: str
    # Every record up to here has been delivered to the live subscriptions.
    last: int
    ring: Ring
    # The newest offset heard of, by hint or tick; what is over `last` must be fetched.
    known: int
    # In a stream of `delivery=newest`: what a lagging reader is sent instead of pages.
    newest: Newest | None = None
    live: set[Subscription] = field(default_factory=set)
    lagging: set[Subscription] = field(default_factory=set)
    waiters: set[Waiter] = field(default_factory=set)
    # Those who asked to be told who comes and goes.
    watching: set[Subscription] = field(default_factory=set)
    # Records from hints that came too early, by offset.
    early: dict[int, Publication] = field(default_factory=dict)
    filling: "asyncio.Task[None] | None" = None
    gap_timer: asyncio.TimerHandle | None = None
    # Offset of the oldest record kept, as far as is known.
    tail: int = 1
    # How often records were taken away since it is here: what was asked for before is not to be used.
    removals: int = 0
    # Monotonic time of the last delivery: the idlest ring is forgotten first.
    used: float = 0.0
    # The name as JSON: the same in every push.
    channel: str = field(init=False)

    def __post_init__(self) -> None:
        self.channel = quote(self.name)

    def encode(self, records: Sequence[Publication]) -> list[str]:
        """The pushes of `records`."""
        return [publication_push(self.channel, record) for record in records]

    def forget(self, offset: int) -> None:
        """The payload of the record at `offset` was taken away: it is told from the database alone from now on."""
        self.ring.forget(offset)
        self.begin_newest_anew()

    def begin_newest_anew(self) -> None:
        """Records were taken away: of which key another one is the newest now, the database knows."""
        self.removals += 1
        if self.newest is not None:
            self.newest.begin_anew(self.last)

    @property
    def subscribers(self) -> int:
        return len(self.live) + len(self.lagging)

    def wake(self) -> None:
        for waiter in self.waiters:
            waiter.wake()

    def end_waiters(self) -> None:
        """Each of them leaves in its own time; the feed need not be kept for that."""
        for waiter in self.waiters:
            waiter.end()
        self.waiters = set()

    @property
    def empty(self) -> bool:
        return not self.live and not self.lagging and not self.waiters
