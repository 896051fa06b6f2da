"""The methods of the `rpc` command that Wirelog brings. Of `publish` sessions use only the parts: they pipeline it."""

from collections.abc import Sequence
from typing import Any

import msgspec
from django.db.models import F, OuterRef, Subquery
from django.utils.text import Truncator

from . import access, engine
from .access import Identity
from .errors import BadRequest
from .items import Item, labels_of, payload_of
from .journal import Appended
from .latest import MAX_KEYS, LatestResult, latest
from .models import ReadMarker, Record, Stream
from .names import display_names
from .namespaces import check_name
from .presence import people_by_stream
from .protocol import NOTHING, Offset, decode_params
from .rpc_registry import rpc
from .series import MAX_POINTS, SeriesResult, series

MAX_NAMES = 100
MAX_STREAMS = 500
# A list needs the gist of a record, not a camera frame.
MAX_LAST = 4_096


# publish


class PublishParams(msgspec.Struct):
    stream: str
    data: msgspec.Raw = NOTHING
    idempotency_key: str = ""
    key: str = ""
    removed: bool = False
    tags: dict[str, str] | None = None
    device_time: Offset | None = None
    expect_offset: Offset | None = None


@rpc("publish")
async def publish(identity: Identity, params: PublishParams) -> msgspec.Raw:
    item = _item(params)
    item.identity, item.publisher = identity, identity.principal
    running = await engine.current()
    running.rates.publish(identity)
    return msgspec.Raw(published(await running.journal.append(item)).encode())


def publish_item(raw: msgspec.Raw) -> Item:
    """What `rpc publish` asks to append. Raises BadRequest."""
    return _item(decode_params(raw, PublishParams))


def _item(params: PublishParams) -> Item:
    check_name("stream", params.stream)
    return Item(params.stream, payload_of(params), **labels_of(params))


def published(appended: Appended) -> str:
    """The answer to a publish, as JSON: nothing for an ephemeral stream, which has no offsets."""
    if appended.offset == 0:
        return "{}"
    duplicate = ',"duplicate":true' if appended.duplicate else ""
    return f'{{"offset":{appended.offset},"epoch":"{appended.epoch}"{duplicate}}}'


# latest


class LatestParams(msgspec.Struct):
    stream: str
    prefix: str = ""
    keys: list[str] | None = None
    after: str = ""
    limit: int = MAX_KEYS


@rpc("latest")
def latest_records(identity: Identity, params: LatestParams) -> LatestResult:
    return latest(identity, params.stream, prefix=params.prefix, keys=params.keys, after=params.after, limit=params.limit)


# series


class SeriesParams(msgspec.Struct):
    stream: str
    fields: list[str] | None = None
    since: Offset | None = None
    until: Offset | None = None
    points: int = MAX_POINTS


@rpc("series")
def series_points(identity: Identity, params: SeriesParams) -> SeriesResult:
    return series(identity, params.stream, fields=params.fields, since=params.since, until=params.until, points=params.points)


# mark_read


class MarkReadParams(msgspec.Struct):
    stream: str
    offset: int


@rpc("mark_read", writes=True)
def mark_read(identity: Identity, params: MarkReadParams) -> dict[str, Any]:
    """Forward only: an old tab does not make read records unread."""
    stream = access.readable(identity, params.stream)
    if not 0 <= params.offset <= stream.head:
        raise BadRequest("offset", f"must be between 0 and the head of {stream.name!r}, {stream.head}")
    marker, _ = ReadMarker.objects.get_or_create(user_id=identity.user_id, stream=stream)
    ReadMarker.objects.filter(pk=marker.pk, offset__lt=params.offset).update(offset=params.offset)
    return {}


# names


class NamesParams(msgspec.Struct):
    principals: list[str]


@rpc("names")
def names(identity: Identity, params: NamesParams) -> dict[str, Any]:
    if len(params.principals) > MAX_NAMES:
        raise BadRequest("principals", f"must be at most {MAX_NAMES}")
    return {"names": display_names(params.principals)}


# streams


@rpc("streams")
def streams(identity: Identity) -> dict[str, Any]:
    return {"streams": stream_list(identity)}


def stream_list(identity: Identity) -> list[dict[str, Any]]:
    """What the list of streams shows, of all that `identity` may read. Three queries, however many streams."""
    marker = ReadMarker.objects.filter(stream=OuterRef("pk"), user=identity.user_id).values("offset")[:1]
    shared = Stream.objects.filter(access.readable_by(identity), archived=None).exclude(name__startswith="#")
    rows = shared.annotate(seen=Subquery(marker)).order_by("name")
    found = list(rows[:MAX_STREAMS])
    last = last_records(found)
    people = people_by_stream(stream.pk for stream in found)
    return [
        {
            "name": stream.name,
            "title": stream.title,
            "kind": stream.kind,
            "head": stream.head,
            "unread": max(0, stream.head - max(stream.seen or 0, stream.tail - 1)) if identity.user_id else 0,
            "last": last.get(stream.pk),
            "presence": people.get(stream.pk, 0),
        }
        for stream in found
    ]


def last_records(streams: Sequence[Stream]) -> dict[int, dict[str, Any]]:
    """The record at the head of each stream; a payload too large for a list is left out."""
    rows = Record.objects.filter(stream__in=streams, offset=F("stream__head"))
    fields = ("stream_id", "offset", "data", "publisher", "received")
    return {
        stream_id: {"offset": offset, "data": _gist(data), "publisher": publisher, "time": received}
        for stream_id, offset, data, publisher, received in rows.values_list(*fields)
    }


def _gist(data: str) -> msgspec.Raw:
    if len(data) <= MAX_LAST:
        return msgspec.Raw(data.encode() or b"null")
    return msgspec.Raw(msgspec.json.encode(Truncator(data).chars(80)))
