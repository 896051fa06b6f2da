"""One per process: puts hints in order, fills gaps from the database, encodes once, and moves every cursor.

A subscription is a cursor. It is *live* while it stands at `last`, the offset up to which this process has everything: then each new
batch is appended to its outbox in one synchronous step. If it does not fit, the cursor stays behind and the pump of its connection
moves it, page by page, at the pace of its reader, until it stands at `last` again and is live. Nothing is buffered and merged, and
nothing that was queued is ever dropped, so there is no gap and no duplicate to guard against.
"""

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from . import hints, protocol
from .conf import limit
from .cursor import Feed, Subscriber, Subscription, Waiter
from .errors import INSUFFICIENT_STATE, STREAM_REMOVED, UnknownStream, Unsubscribe
from .failpoints import failpoint
from .models import Delivery, Stream
from .newest import Newest
from .outbox import Batch
from .protocol import Publication
from .reads import Page, Reads
from .replay import Replay
from .ring import Ring
from .singleflight import SingleFlight
from .tick import Head

# A hint may overtake another one by this much before the database is asked for what is missing.
GAP_SECONDS = 0.02
# Payload that waits behind a gap, at most, in characters; what is over it is read from the database in its turn.
MAX_EARLY = 1_048_576
# A client subscribes again at once after 2500, so the same one is not sent twice within this.
RESET_SECONDS = 5.0
# Who opened a feed may be gone before it subscribes.
UNUSED_SECONDS = 10.0


class Hub:
    """Its methods are called on the event loop."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.feeds: dict[int, Feed] = {}
        self.replay = Replay(reads, self.feeds)
        # Names of the streams among them that store nothing.
        self.ephemeral: set[str] = set()
        # Since the start: records queued to subscribers, and times that the database was asked for what no hint had brought.
        self.delivered = 0
        self.fills = 0
        self._loop = asyncio.get_running_loop()
        self._opening: SingleFlight[Feed] = SingleFlight()
        self._fillings: set[asyncio.Task[None]] = set()
        self._released = False
        self._frame = limit("FRAME_BYTES")

    def stop(self) -> None:
        """Ask the database for nothing more."""
        for filling in self._fillings:
            filling.cancel()

    # Subscribing

    async def open(self, stream: Stream) -> Feed:
        """The feed of `stream`, from now on kept up to date. Raises UnknownStream when the stream was removed meanwhile."""
        feed = self.feeds.get(stream.pk)
        if feed is None:
            feed = await self._opening.join(stream.pk, lambda: self._open(stream))
        return feed

    async def _open(self, stream: Stream) -> Feed:
        epoch, head = await self._state(stream)
        if (kept := self.feeds.get(stream.pk)) is not None:
            # Somebody who had opened it before has come to use it meanwhile: their cursors must not be left behind in another feed.
            return kept
        feed = Feed(stream.pk, stream.name, stream.durable, epoch, head, Ring(head), known=head, newest=newest_for(stream, head))
        self._keep(feed)
        self._loop.call_later(UNUSED_SECONDS, self._forget_if_unused, feed)
        # A record committed since then may have been announced before the feed was there to hear of it.
        epoch, feed.known = await self._state(stream)
        if epoch != feed.epoch:
            feed.epoch, feed.last, feed.ring = epoch, feed.known, Ring(feed.known)
            feed.newest = newest_for(stream, feed.known)
        self._watch_gap(feed)
        return feed

    def _keep(self, feed: Feed) -> None:
        self.feeds[feed.stream_id] = feed
        if not feed.durable:
            self.ephemeral.add(feed.name)

    async def _state(self, stream: Stream) -> tuple[str, int]:
        state = await self.reads.run(_read_state, stream.pk)
        if state is None:
            raise UnknownStream(stream.name)
        return state

    async def catch_up(self, feed: Feed, stream: Stream) -> None:
        """Take in everything that had been committed when `stream` was read."""
        if stream.epoch == feed.epoch and stream.head > feed.last:
            feed.known = max(feed.known, stream.head)
            await asyncio.shield(self._fill(feed))

    def subscribe(self, feed: Feed, subscriber: Subscriber, position: int | None, join_leave: bool = False) -> Subscription:
        """Attach a cursor at `position`, or live at the end.

        Synchronous: the caller queues the reply at once, before any record can be, and then starts the pump.
        """
        feed = self._kept(feed)
        subscription = Subscription(feed, subscriber, feed.last, True)
        feed.live.add(subscription)
        if join_leave:
            feed.watching.add(subscription)
        if position is not None and position != feed.last:
            subscription.fall_behind()
            subscription.position = position
            subscriber.pump.add(subscription)
        return subscription

    def keeps(self, feed: Feed) -> bool:
        """Whether `feed` is the one that is kept up to date: who opened it may have been on their way for too long."""
        return self.feeds.get(feed.stream_id) is feed

    def _kept(self, feed: Feed) -> Feed:
        """The feed that is kept up to date: `feed`, unless another one has taken its place."""
        if feed.stream_id not in self.feeds:
            # It was unused, and so forgotten, while the caller was on its way. What it missed meanwhile the comparison finds.
            self._keep(feed)
            self.replay.count(feed, feed.ring.size)
        return self.feeds[feed.stream_id]

    @contextmanager
    def waiter(self, feed: Feed) -> Iterator[Waiter]:
        """Keep `feed` up to date for a reader who comes for pages: `replay.step` on the feed of the waiter."""
        waiter = Waiter(self._kept(feed), self._released)
        waiter.feed.waiters.add(waiter)
        try:
            yield waiter
        finally:
            waiter.feed.waiters.discard(waiter)
            self._forget_if_unused(waiter.feed)

    def wake(self) -> None:
        """Wake every waiter: what it may read may have changed."""
        for feed in self.feeds.values():
            feed.wake()

    def release(self) -> None:
        """End every waiter, now and from now on: the process is about to stop."""
        self._released = True
        for feed in list(self.feeds.values()):
            feed.end_waiters()
            self._forget_if_unused(feed)

    def unsubscribe(self, subscription: Subscription) -> None:
        subscription.end()
        self._forget_if_unused(subscription.feed)

    def _forget_if_unused(self, feed: Feed) -> None:
        if not feed.empty or not self.keeps(feed):
            return
        self.replay.count(feed, -feed.ring.size)
        self.replay.drop_pages(feed)
        del self.feeds[feed.stream_id]
        self.ephemeral.discard(feed.name)
        if feed.gap_timer is not None:
            # Not only cancelled: the feed may be kept again.
            feed.gap_timer.cancel()
            feed.gap_timer = None

    # What is heard of new records

    def take_hint(self, blob: bytes) -> None:
        hint = hints.decode(blob)
        for run in hint.runs:
            feed = self.feeds.get(run.stream_id)
            # Another epoch: an old hint, or an epoch that the next comparison with the database will find.
            if feed is not None and feed.epoch == run.epoch:
                self._take_records(feed, run.records, run.head)
        for event in hint.events:
            self._take_event(event)

    def _take_records(self, feed: Feed, records: list[Publication], head: int) -> None:
        """Hints come in any order: deliver what follows `last`, keep what is early, drop what is old."""
        feed.known = max(feed.known, head)
        if records and records[0].offset <= feed.last + 1:
            self._deliver(feed, records[feed.last + 1 - records[0].offset :])
            self._deliver_early(feed)
        else:
            self._keep_early(feed, records)
        self._watch_gap(feed)

    def _take_event(self, event: hints.Event) -> None:
        feed = self.feeds.get(event.stream_id)
        if feed is None:
            return
        if event.kind == "pub":
            self.delivered += _pass_on(feed.live, protocol.push(feed.channel, "pub", event.body))
        else:
            _pass_on(feed.watching, protocol.presence_push(feed.channel, event.kind, event.body))

    def take_heads(self, heads: dict[int, int]) -> None:
        """The tick has seen records up to these offsets."""
        for stream_id, head in heads.items():
            feed = self.feeds.get(stream_id)
            if feed is not None:
                feed.known = max(feed.known, head)
                self._watch_gap(feed)

    def take_streams(self, rows: list[Head], asked: Collection[int]) -> None:
        """How the streams `asked` for stand in the database."""
        found = {row.stream_id: row for row in rows}
        for stream_id in asked:
            feed, row = self.feeds.get(stream_id), found.get(stream_id)
            if feed is None:
                continue
            if row is None:
                self._end_all(feed, STREAM_REMOVED)
            elif row.epoch != feed.epoch or (row.delivery == Delivery.NEWEST) != (feed.newest is not None):
                self._end_all(feed, INSUFFICIENT_STATE)
            else:
                self._follow_tail(feed, row.tail)
                self.take_heads({stream_id: row.head})

    def _follow_tail(self, feed: Feed, tail: int) -> None:
        """Of the newest of each key some may have been removed, which nobody is to be sent any more."""
        if tail != feed.tail:
            feed.tail = tail
            feed.begin_newest_anew()

    # Gaps

    def _deliver_early(self, feed: Feed) -> None:
        run: list[Publication] = []
        while (record := feed.early.pop(feed.last + 1 + len(run), None)) is not None:
            run.append(record)
        self._deliver(feed, run)
        if feed.early:
            feed.early = {offset: record for offset, record in feed.early.items() if offset > feed.last}

    def _keep_early(self, feed: Feed, records: list[Publication]) -> None:
        if sum(len(record.data) for record in [*feed.early.values(), *records]) <= MAX_EARLY:
            feed.early.update((record.offset, record) for record in records)

    def _watch_gap(self, feed: Feed) -> None:
        if feed.known > feed.last and feed.gap_timer is None and feed.filling is None:
            feed.gap_timer = self._loop.call_later(GAP_SECONDS, self._fill_old_gap, feed)

    def _fill_old_gap(self, feed: Feed) -> None:
        feed.gap_timer = None
        if feed.known > feed.last:
            self._fill(feed)

    def _fill(self, feed: Feed) -> "asyncio.Task[None]":
        if feed.filling is None:
            feed.filling = asyncio.create_task(self._read_gap(feed))
            self._fillings.add(feed.filling)
            feed.filling.add_done_callback(self._filled)
        return feed.filling

    def _filled(self, filling: "asyncio.Task[None]") -> None:
        self._fillings.discard(filling)
        if not filling.cancelled():
            # Marks an error as seen: when nobody waits, the next comparison of the tick asks again.
            filling.exception()

    async def _read_gap(self, feed: Feed) -> None:
        """Read what is missing up to `known`, page by page; hints are taken in meanwhile as ever."""
        try:
            while feed.last < feed.known:
                self.fills += 1
                upto = feed.known
                self._take_page(feed, await self.reads.page(feed.stream_id, feed.last, upto), upto)
        finally:
            feed.filling = None

    def _take_page(self, feed: Feed, page: Page, upto: int) -> None:
        # What the page should have begun with and does not is gone, but for what hints have brought since it was asked for.
        gone = page[0].offset - 1 if page else upto
        if gone > feed.last:
            self._skip(feed, gone)
        self._deliver(feed, [record for record in page if record.offset > feed.last])
        self._deliver_early(feed)

    def _skip(self, feed: Feed, last: int) -> None:
        """Records up to `last` were pruned before anybody here saw them: no live subscriber may go on as if there were none."""
        if feed.newest is None:
            for subscription in list(feed.live):
                self.end(subscription, INSUFFICIENT_STATE)
        feed.last = last
        self.replay.begin_anew(feed)
        feed.begin_newest_anew()
        feed.wake()

    # Delivery

    def _deliver(self, feed: Feed, records: list[Publication]) -> None:
        """Append `records`, which follow `last`, to every live outbox. Synchronous: no cursor moves in between."""
        if not records:
            return
        lines = feed.encode(records)
        # Of what is superseded soon, no more than a frame waits for anybody.
        most = self._frame if feed.newest else None
        for batch in Batch(lines).split(self._frame):
            fell_behind = [subscription for subscription in feed.live if not subscription.outbox.offer(batch, most)]
            for subscription in fell_behind:
                subscription.fall_behind()
                subscription.subscriber.pump.add(subscription)
                subscription.subscriber.pump.start()
            self.delivered += batch.count * len(feed.live)
            feed.last += batch.count
            if feed.newest is None:
                self.replay.append(feed, batch)
        if feed.newest is not None:
            feed.newest.append(records, lines)
        for record in records:
            if offset := protocol.redacted_offset(record.tags):
                self.replay.forget(feed, offset)
        feed.known = max(feed.known, feed.last)
        feed.used = time.monotonic()
        self.replay.shrink()
        feed.wake()

    # Ends

    def _end_all(self, feed: Feed, unsubscribe: Unsubscribe) -> None:
        for subscription in [*feed.live, *feed.lagging]:
            self.end(subscription, unsubscribe)
        feed.end_waiters()
        self._forget_if_unused(feed)

    def end(self, subscription: Subscription, unsubscribe: Unsubscribe) -> None:
        """End `subscription` and tell its client why. Nothing is delivered to it any more."""
        subscription.end()
        self._forget_if_unused(subscription.feed)
        wait = 0.0
        if unsubscribe == INSUFFICIENT_STATE:
            resets, stream_id, now = subscription.subscriber.resets, subscription.feed.stream_id, self._loop.time()
            wait = max(0.0, resets.get(stream_id, now - RESET_SECONDS) + RESET_SECONDS - now)
            resets[stream_id] = now + wait
        if wait:
            self._loop.call_later(wait, subscription.subscriber.ended, subscription, unsubscribe)
        else:
            subscription.subscriber.ended(subscription, unsubscribe)


def _pass_on(subscriptions: Collection[Subscription], push: str) -> int:
    """Queue what is stored nowhere: who has no room for it goes without. Returns how many had."""
    batch = Batch([push])
    return sum(subscription.outbox.offer(batch) for subscription in subscriptions)


def newest_for(stream: Stream, last: int) -> Newest | None:
    return Newest(last, limit("PAGE_RECORDS"), limit("PAGE_BYTES")) if stream.delivery == Delivery.NEWEST else None


def _read_state(stream_id: int) -> tuple[str, int] | None:
    state = Stream.objects.filter(pk=stream_id).values_list("epoch", "head").first()
    failpoint("subscribe.state")
    return state
