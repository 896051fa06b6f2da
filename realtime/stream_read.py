"""Reading a stream by plain HTTP: pages of records, the newest of each key, and the bytes of blobs."""

import asyncio
import contextlib
import re
from typing import Annotated

import msgspec
from django.db import connections
from msgspec import UNSET, Meta, UnsetType

from . import access
from .access import Identity
from .conf import limit
from .endpoint import JSON, Answer, Headers
from .errors import BadRequest, NotAvailable, UnknownRecord, Unrecoverable
from .latest import MAX_KEYS, latest
from .models import Record, Stream
from .protocol import Offset, publication
from .reads import Page, page_after, page_before
from .stream_request import Request

PAGE = 100
# Under the time that common proxies allow a request.
MAX_WAIT = 30

# Who may read may change at any moment: a cache asks before it shows what it has, and never shows it to somebody else.
REVALIDATED: Headers = ((b"cache-control", b"private, no-cache"), (b"vary", b"Cookie, Authorization, X-API-Key"))
# Bytes never change under their URL. A cache of the reader's own may keep them for a day.
KEPT: Headers = ((b"cache-control", b"private, max-age=86400, immutable"), (b"vary", b"Cookie, Authorization, X-API-Key"))
# Others wrote them: no script of theirs may run here.
BLOB: Headers = ((b"content-security-policy", b"default-src 'none'; sandbox"),)


# Positions


def check_position(stream: Stream, after: int, epoch: str) -> None:
    """Raises Unrecoverable for a position that this stream never had."""
    if epoch not in ("", stream.epoch) or after > stream.head:
        raise Unrecoverable(stream.name)


def require_durable(stream: Stream) -> None:
    if not stream.durable:
        raise NotAvailable(f"{stream.name!r} is ephemeral: follow it over a WebSocket")


# Records


class RecordsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Forward from `after`; or the newest first, from `before` or else the head."""

    after: Annotated[Offset, Meta(description="Records over this offset, oldest first.")] = 0
    before: Annotated[Offset | None, Meta(description="Records below this offset, newest first.")] = None
    newest: Annotated[bool, Meta(description="The newest records first.")] = False
    limit: Annotated[int, Meta(ge=0, description="Records in one page. Large ones make it shorter.")] = PAGE
    epoch: Annotated[str, Meta(description="Of the page before: error 112 when offsets have begun anew since.")] = ""
    wait: Annotated[int, Meta(ge=0, le=MAX_WAIT, description="Seconds to wait for a first record when there is none yet.")] = 0


class Records(msgspec.Struct, omit_defaults=True):
    """Offsets from `tail` to `head` are kept. `next` goes on, as `after` or, newest first, as `before`; there it is absent at the end.

    `gap`: records after the offset that was asked for are no longer kept; these begin with the first that is.
    """

    records: list[msgspec.Raw]
    epoch: str
    head: int
    tail: int
    next: int | UnsetType = UNSET
    gap: bool = False


async def records(request: Request) -> Answer:
    page = await request.read(read_records, request.stream, request.query)
    if not page.records and request.query.wait:
        await _wait(request)
        page = await request.read(read_records, request.stream, request.query)
    return Answer(200, JSON, msgspec.json.encode(page))


async def _wait(request: Request) -> None:
    """Until there is something after the position, the time is over, or the process stops."""
    stream = await request.read(access.readable, request.stream)
    require_durable(stream)
    hub = request.engine.hub
    feed = await hub.open(stream)
    request.take_seat()
    with contextlib.suppress(TimeoutError), hub.waiter(feed) as waiter:
        async with asyncio.timeout(request.query.wait):
            await request.past(waiter, request.query.after)


def read_records(identity: Identity, name: str, query: RecordsQuery) -> Records:
    """One page. Runs in a reader thread. Raises UnknownStream, Unrecoverable, BadRequest."""
    check_query(query)
    stream = access.readable(identity, name)
    backward = query.newest or query.before is not None
    check_position(stream, 0 if backward else query.after, query.epoch)
    return _backward(stream, query) if backward else _forward(stream, query)


def check_query(query: RecordsQuery) -> None:
    if query.limit > limit("PAGE_RECORDS"):
        raise BadRequest("limit", f"must be at most {limit('PAGE_RECORDS')}")
    backward = query.newest or query.before is not None
    if backward and (query.after or query.wait):
        raise BadRequest("after" if query.after else "wait", "goes forward, and does not go with before and newest")


def _forward(stream: Stream, query: RecordsQuery) -> Records:
    start = max(query.after, stream.tail - 1)
    page = page_after(connections["default"], stream.pk, start, stream.head, query.limit)
    found = _records(stream, page)
    # Some may have been pruned since the row of the stream was read.
    found.gap = page[0].offset != query.after + 1 if page else start != query.after
    found.next = page[-1].offset if page else start
    return found


def _backward(stream: Stream, query: RecordsQuery) -> Records:
    before = stream.head + 1 if query.before is None else min(query.before, stream.head + 1)
    page = page_before(connections["default"], stream.pk, stream.tail, before, query.limit)
    found = _records(stream, page)
    if page and page[-1].offset > stream.tail:
        found.next = page[-1].offset
    return found


def _records(stream: Stream, page: Page) -> Records:
    return Records([msgspec.Raw(publication(record).encode()) for record in page], stream.epoch, stream.head, stream.tail)


# The newest of each key


class LatestQuery(msgspec.Struct, forbid_unknown_fields=True):
    keys: Annotated[str, Meta(description="These keys only, separated by commas.")] = ""
    prefix: Annotated[str, Meta(description="Keys that begin with this only.")] = ""
    after: Annotated[str, Meta(description="Keys after this one, in the order of their code points.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_KEYS, description="Keys in one page. Large records make it shorter.")] = MAX_KEYS


class Latest(msgspec.Struct, omit_defaults=True):
    """The newest record of each key, without those that a tombstone has ended. `next` goes on, as `after`; absent at the end.

    Who follows the stream from `head` misses nothing.
    """

    records: list[msgspec.Raw]
    epoch: str
    head: int
    next: str = ""


async def latest_records(request: Request) -> Answer:
    tag, page = await request.read(read_latest, request.stream, request.query, request.header("If-None-Match"))
    headers = (*REVALIDATED, (b"etag", tag.encode()))
    return Answer(304, JSON, b"", headers) if page is None else Answer(200, JSON, msgspec.json.encode(page), headers)


def read_latest(identity: Identity, name: str, query: LatestQuery, known: str) -> tuple[str, Latest | None]:
    """One page and the tag of its state; None for a page that the reader has. Runs in a reader thread."""
    stream = access.readable(identity, name)
    # What had stayed below the tail for its key may go, and the tail not move.
    oldest = Record.objects.filter(stream=stream).order_by("offset").values_list("offset", flat=True).first() or 0
    tag = f'"{stream.epoch}.{oldest}.{stream.tail}.{stream.head}"'
    if _has(known, tag):
        return tag, None
    keys = query.keys.split(",") if query.keys else None
    found = latest(identity, name, prefix=query.prefix, keys=keys, after=query.after, limit=query.limit)
    return tag, Latest(found.publications, found.epoch, found.offset, found.next)


def _has(known: str, tag: str) -> bool:
    """Whether If-None-Match names `tag`, or any. A proxy that compresses makes a tag weak."""
    return known.strip() == "*" or tag in {part.strip().removeprefix("W/") for part in known.split(",")}


# Bytes


_offset = re.compile(r"[0-9]{1,18}")


class BlobQuery(msgspec.Struct, forbid_unknown_fields=True):
    epoch: Annotated[str, Meta(description="That of the URL in the record: bytes of another history under its offset are not found.")] = ""


async def blob(request: Request) -> Answer:
    tag, content_type, content = await request.read(
        read_blob, request.stream, request.rest, request.query.epoch, request.header("If-None-Match")
    )
    headers = (*KEPT, *BLOB, (b"etag", tag.encode()), (b"content-disposition", _disposition(content_type)))
    return Answer(200 if content is not None else 304, content_type.encode(), content or b"", headers)


def read_blob(identity: Identity, name: str, record: str, epoch: str, known: str) -> tuple[str, str, bytes | None]:
    """Tag, content type and bytes; no bytes for a reader who has them. Runs in a reader thread. Raises UnknownStream, UnknownRecord."""
    stream = access.readable(identity, name)
    offset = int(record) if _offset.fullmatch(record) else 0
    found = Record.objects.filter(stream=stream, offset=offset, blob__isnull=False)
    tag = f'"{stream.epoch}.{offset}"'
    content_type, reference = found.values_list("content_type", "data").first() or (None, "")
    if content_type is None or (epoch and not reference.endswith(f'?epoch={epoch}"}}')):
        raise UnknownRecord(name, record)
    content = None if _has(known, tag) else bytes(found.values_list("blob", flat=True).get() or b"")
    return tag, content_type, content


def _disposition(content_type: str) -> bytes:
    """Pictures may be shown; all else is saved, and so is SVG, which holds scripts."""
    kind = content_type.partition(";")[0].strip().lower()
    return b"inline" if kind.startswith("image/") and not kind.startswith("image/svg") else b"attachment"
