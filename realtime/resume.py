"""Where a subscription starts: at the end, or exactly where the client stopped. Never in between."""

import msgspec

from .cursor import Feed
from .errors import Unrecoverable
from .models import Stream
from .protocol import REJECT_UNRECOVERED, SubscribeRequest, SubscribeResult


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
