"""What a lagging cursor is sent, page by page: from memory where that has it, else from the database.

In memory are the latest records of each feed, a few pages before them, and of a stream of `delivery=newest` the newest record of each key.
"""

from collections.abc import Awaitable, Callable, Mapping

from . import latest
from .conf import limit
from .cursor import Feed, Step
from .newest import Newest
from .outbox import Batch
from .reads import Page, Reads
from .ring import Ring
from .singleflight import SingleFlight

PAGE_STEP = 250
# Of all feeds together. A page is 256 KiB at most, mostly far less.
MAX_PAGES = 64


class Replay:
    """Its methods are called on the event loop."""

    def __init__(self, reads: Reads, feeds: Mapping[int, Feed]) -> None:
        self.reads = reads
        # Those of the hub.
        self.feeds = feeds
        # Bytes in the rings of all of them.
        self.size = 0
        # Records of `delivery=newest` that a lagging reader was not sent, since a newer one of their key was.
        self.skipped = 0
        # Pages before the rings that were read last, by the position before them: those who lag together ask for the same within moments.
        self._pages: dict[tuple[Feed, int], Batch] = {}
        self._reading: SingleFlight[Batch | None] = SingleFlight()
        self._max_size = limit("RING_BYTES")

    # What is kept

    def append(self, feed: Feed, batch: Batch) -> None:
        feed.ring.append(batch)
        self.count(feed, batch.memory)

    def begin_anew(self, feed: Feed) -> None:
        """With nothing up to the feed's `last`."""
        self.count(feed, -feed.ring.size)
        feed.ring = Ring(feed.last)
        self.drop_pages(feed)

    def forget(self, feed: Feed, offset: int) -> None:
        """The record at `offset` was redacted."""
        before = feed.ring.size
        feed.forget(offset)
        self.count(feed, feed.ring.size - before)
        self.drop_pages(feed)

    def _keep_page(self, feed: Feed, position: int, batch: Batch) -> None:
        # Of a forgotten feed nobody would drop it.
        if self.feeds.get(feed.stream_id) is feed:
            self._pages[feed, position] = batch
        if len(self._pages) > MAX_PAGES:
            del self._pages[next(iter(self._pages))]

    def drop_pages(self, feed: Feed) -> None:
        self._pages = {place: page for place, page in self._pages.items() if place[0] is not feed}

    def count(self, feed: Feed, size: int) -> None:
        # A forgotten feed may still be filled for a caller that is about to subscribe.
        if self.feeds.get(feed.stream_id) is feed:
            self.size += size

    def shrink(self) -> None:
        """While all rings together are too large, half of the one that was idle longest goes."""
        while self.size > self._max_size:
            feed = min((feed for feed in self.feeds.values() if feed.ring.size), key=lambda feed: feed.used)
            before = feed.ring.size
            feed.ring.drop(before // 2 + 1)
            self.size -= before - feed.ring.size

    # What is sent

    async def step(self, feed: Feed, position: int) -> Step | None:
        """What follows `position`, from memory or else the database: a page, None when its first record is gone; or what is newest."""
        if feed.newest is not None:
            return await self._read_newest(feed, feed.newest, position)
        batch = feed.ring.page(position) or self._pages.get((feed, position))
        if batch is None:
            # Identical reads in flight are one read, and one encoding: after a restart everybody asks for the same.
            batch = await self._reading.join((feed, position), lambda: self._read_page(feed, position))
        return Step(batch, position + batch.count) if batch is not None else None

    async def _read_page(self, feed: Feed, position: int) -> Batch | None:
        # Pages end at common offsets, so that readers who lag by different amounts soon ask for the same ones.
        upto = min(feed.last, feed.ring.first - 1, (position // PAGE_STEP + 1) * PAGE_STEP)
        page = await self._read_unredacted(feed, lambda: self.reads.page(feed.stream_id, position, upto))
        if not page or page[0].offset != position + 1:
            return None
        batch = Batch(feed.encode(page))
        if page[-1].offset == feed.ring.first - 1 and self.size + batch.memory <= self._max_size:
            # A page that meets the ring is kept there for those who come after it.
            feed.ring.prepend(batch)
            self.count(feed, batch.memory)
        else:
            self._keep_page(feed, position, batch)
        return batch

    async def _read_unredacted(self, feed: Feed, read: Callable[[], Awaitable[Page]]) -> Page:
        """What `read` finds, again if a record was taken away meanwhile: it is kept here, and may hold that."""
        while True:
            removals = feed.removals
            page = await read()
            if feed.removals == removals:
                return page

    async def _read_newest(self, feed: Feed, newest: Newest, position: int) -> Step:
        while newest.since > position:
            await self._reading.join((feed, position), lambda: self._load_newest(feed, newest, position))
        # No await from here on: these are all up to `last`.
        lines = newest.after(position)
        self.skipped += feed.last - position - len(lines)
        return Step(Batch(lines), feed.last)

    async def _load_newest(self, feed: Feed, newest: Newest, position: int) -> None:
        most = limit("PAGE_RECORDS")
        page = await self._read_unredacted(feed, lambda: self.reads.run(latest.changed, feed.stream_id, position, newest.since, most))
        newest.load(page, feed.encode(page), position)
