"""Reading a stream's past, by the rules of the history command."""

import msgspec
from django.db import connections

from . import access, protocol
from .access import Identity
from .conf import limit
from .errors import BadRequest, Unrecoverable
from .models import Stream
from .protocol import HistoryRequest, HistoryResult
from .reads import Page, page_after, page_before


def history(identity: Identity, request: HistoryRequest) -> HistoryResult:
    """One page of a stream, and its position. Runs in a reader thread.

    Raises UnknownStream, Unrecoverable (another epoch), BadRequest (in reverse from offset 0).
    """
    stream = access.readable(identity, request.channel)
    if request.since is not None and request.since.epoch not in ("", stream.epoch):
        raise Unrecoverable(stream.name)
    page = _page(stream, request)
    return HistoryResult([msgspec.Raw(protocol.publication(record).encode()) for record in page], stream.epoch, stream.head)


def _page(stream: Stream, request: HistoryRequest) -> Page:
    largest = limit("PAGE_RECORDS")
    count = largest if request.limit < 0 else min(request.limit, largest)
    if request.reverse and request.since is not None and request.since.offset <= 0:
        raise BadRequest("since.offset", "must be over 0 in reverse")
    if count == 0:
        return []
    connection = connections["default"]
    if request.reverse:
        before = request.since.offset if request.since is not None else stream.head + 1
        return page_before(connection, stream.pk, stream.tail, min(before, stream.head + 1), count)
    after = request.since.offset if request.since is not None else 0
    return page_after(connection, stream.pk, max(after, stream.tail - 1), stream.head, count)
