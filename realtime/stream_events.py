"""A stream as server-sent events: `EventSource` follows it, and resumes by itself where it stopped.

An answer ends after a while, and the browser comes back with the position of the last event. Records come by pages from a cursor, as over
a WebSocket; hints only wake it.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncGenerator
from typing import Annotated

import msgspec
from msgspec import Meta

from . import access
from .access import Identity
from .cursor import Feed, Step, Waiter
from .endpoint import Answer, Refusal, Streaming
from .errors import BadRequest, Unrecoverable, WirelogError
from .models import Stream
from .protocol import Offset
from .stream_read import check_position, require_durable
from .stream_request import Request

CONTENT_TYPE = b"text/event-stream; charset=utf-8"
# An answer that goes on for ever would stay in the memory of proxies, and of pages that keep what they got.
MAX_BYTES = 1_048_576
MAX_SECONDS = 60
HEARTBEAT_SECONDS = 15
# Nothing is sent to somebody whose access was read longer ago than this.
ACCESS_SECONDS = 1
# After a restart not everybody comes back in the same moment.
RETRY_MILLISECONDS = (300, 1_500)

_position = re.compile(r"([A-Za-z]{1,16}):([0-9]{1,18})")


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True):
    after: Annotated[Offset | None, Meta(description="Records over this offset; without it, those from now on.")] = None
    epoch: Annotated[str, Meta(description="The epoch that `after` is of: error 112 when offsets have begun anew since.")] = ""


async def events(request: Request) -> Answer | Streaming:
    stream, position, gap = await request.read(begin, request.stream, *_asked(request))
    hub = request.engine.hub
    feed = await hub.open(stream)
    await hub.catch_up(feed, stream)
    if feed.epoch != stream.epoch:
        raise Unrecoverable(stream.name)
    request.take_seat()
    # nginx would hold them back.
    return Streaming(200, CONTENT_TYPE, _events(request, feed, position, gap), ((b"x-accel-buffering", b"no"),))


def _asked(request: Request) -> tuple[int | None, str]:
    """The position to go on from. What the browser has seen counts for more than the address that it opened."""
    seen = request.header("Last-Event-ID")
    if not seen:
        return request.query.after, request.query.epoch
    found = _position.fullmatch(seen)
    if found is None:
        raise BadRequest("Last-Event-ID", "must be the id of an event of this stream, <epoch>:<offset>")
    return int(found[2]), found[1]


def begin(identity: Identity, name: str, after: int | None, epoch: str) -> tuple[Stream, int, bool]:
    """The stream, the offset to begin after, and whether records before that are missing. Runs in a reader thread."""
    stream = access.readable(identity, name)
    require_durable(stream)
    check_position(stream, after or 0, epoch)
    position = stream.head if after is None else max(after, stream.tail - 1)
    return stream, position, after is not None and position != after


async def _events(request: Request, feed: Feed, position: int, gap: bool) -> AsyncGenerator[bytes, None]:
    with request.engine.hub.waiter(feed) as waiter:
        cursor = Events(request, waiter, position)
        # An id without data is no event, but a position to come back with, even when nothing else arrives.
        yield f"retry: {random.randint(*RETRY_MILLISECONDS)}\nid: {waiter.feed.epoch}:{position}\n\n".encode()
        if gap:
            yield cursor.gap()
        # Access that has ended: the browser comes back, and is told.
        with contextlib.suppress(WirelogError, Refusal):
            while (piece := await cursor.next()) is not None:
                yield piece


class Events:
    """One reader's cursor in a feed, until its answer has lasted long enough."""

    def __init__(self, request: Request, waiter: Waiter, position: int) -> None:
        self.request = request
        self.waiter = waiter
        self.position = position
        self.sent = 0
        self.clock = request.engine.loop.time
        self.ends = self.clock() + MAX_SECONDS
        self.access_read = self.clock()

    async def next(self) -> bytes | None:
        """What to send next: events, or a comment that keeps the line open. None at the end. Raises WirelogError, Refusal."""
        if not self._over():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self.ends - self.clock(), HEARTBEAT_SECONDS)):
                    await self.request.past(self.waiter, self.position)
        if self._over():
            return None
        await self._check_access()
        piece = await self._read() if self.waiter.feed.last > self.position else b":\n\n"
        self.sent += len(piece)
        return piece

    def _over(self) -> bool:
        return self.waiter.ended or self.sent >= MAX_BYTES or self.clock() >= self.ends

    async def _check_access(self) -> None:
        if self.request.in_doubt or self.clock() - self.access_read >= ACCESS_SECONDS:
            await self.request.read(access.readable, self.request.stream)
            self.access_read = self.clock()

    async def _read(self) -> bytes:
        feed = self.waiter.feed
        step = await self.request.engine.hub.replay.step(feed, self.position)
        if step is None:
            stream = await self.request.read(access.readable, self.request.stream)
            self.position = max(self.position, stream.tail - 1)
            return self.gap()
        self.position = step.position
        return b"".join(f"id: {feed.epoch}:{offset}\ndata: {text}\n\n".encode() for offset, text in _publications(feed, step))

    def gap(self) -> bytes:
        return f'id: {self.waiter.feed.epoch}:{self.position}\nevent: gap\ndata: {{"next":{self.position + 1}}}\n\n'.encode()


class _Placed(msgspec.Struct):
    offset: int


_placed = msgspec.json.Decoder(_Placed)


def _publications(feed: Feed, step: Step) -> list[tuple[int, str]]:
    """What stands inside the pushes of the hub, which are encoded once for everybody, with their offsets."""
    start = len(f'{{"push":{{"channel":{feed.channel},"pub":'.encode())
    # Of the newest records there may be none.
    texts = [line[start:-2] for line in step.batch.data.splitlines()]
    return [(_placed.decode(text).offset, text.decode()) for text in texts]
