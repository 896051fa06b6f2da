"""What a subscription opens, and where it starts: at the end, or exactly where the client stopped. Never in between."""

import msgspec

from . import namespaces
from .access import Identity
from .cursor import Feed
from .engine import Engine
from .errors import UnknownStream, Unrecoverable
from .models import Stream
from .protocol import REJECT_UNRECOVERED, SubscribeRequest, SubscribeResult


async def open_feed(engine: Engine, identity: Identity, request: SubscribeRequest) -> tuple[Stream, Feed]:
    """The stream that `identity` asks for, and its feed, which is not behind the client. Raises UnknownStream."""
    stream = await _find_or_create(engine, identity, request.channel)
    while True:
        feed = await engine.hub.open(stream)
        if request.recover and request.offset > feed.last:
            await engine.hub.catch_up(feed, stream)
        # Forgotten meanwhile, and another one kept in its place, which may be behind the client.
        if engine.hub.keeps(feed):
            return stream, feed


async def _find_or_create(engine: Engine, identity: Identity, name: str) -> Stream:
    """The first subscription of a possible writer creates a stream where its namespace allows it."""
    verdict = await engine.readable.ask((identity, name))
    if isinstance(verdict, Stream):
        return verdict
    if not await engine.reads.run(namespaces.may_create, identity, name):
        raise UnknownStream(name)
    return await engine.journal.run(lambda: namespaces.open_or_create(identity, name))


def start_of(request: SubscribeRequest, stream: Stream, feed: Feed) -> int | None:
    """The position of the cursor; None at the end. Raises Unrecoverable when the client wants that rather than to start over."""
    if not request.recover or not stream.durable:
        return None
    same = request.epoch in ("", feed.epoch)
    # What is newest can be told from any position, also from one whose records are gone.
    oldest = 0 if feed.newest else stream.tail - 1
    if same and oldest <= request.offset <= feed.last:
        return request.offset
    if request.flag & REJECT_UNRECOVERED:
        raise Unrecoverable(stream.name)
    return None


def result_of(request: SubscribeRequest, stream: Stream, feed: Feed, position: int | None) -> SubscribeResult:
    if not stream.durable:
        return SubscribeResult()
    return SubscribeResult(
        recoverable=True,
        positioned=True,
        epoch=feed.epoch,
        # A client that recovers moves on by the publications that follow.
        offset=feed.last if position is None else position,
        recovered=position is not None,
        was_recovering=request.recover,
        data=msgspec.Raw(f'{{"head":{feed.last}}}'.encode()),
    )
