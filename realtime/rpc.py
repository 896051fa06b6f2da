"""The methods of the `rpc` command. Of `publish` only the parameters are here: the session pipelines it."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import F, OuterRef, Subquery
from django.utils.text import Truncator

from . import access
from .access import Identity
from .engine import Engine
from .errors import BadRequest, NotPermitted, UnknownMethod
from .journal import Appended, Item
from .models import ReadMarker, Record, Stream
from .names import display_names
from .presence import people_by_stream
from .protocol import NOTHING, Offset, decode_params, payload

Method = Callable[[Engine, Identity, msgspec.Raw], Coroutine[Any, Any, Any]]

MAX_NAMES = 100
MAX_STREAMS = 500
# A list needs the gist of a record, not a camera frame.
MAX_LAST = 4_096


async def call(engine: Engine, identity: Identity, method: str, params: msgspec.Raw) -> bytes:
    """The result of `method` as JSON. Raises WirelogError."""
    if method not in METHODS:
        raise UnknownMethod(method)
    return msgspec.json.encode(await METHODS[method](engine, identity, params))


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


def publish_item(raw: msgspec.Raw) -> Item:
    """What `rpc publish` asks to append. Raises BadRequest."""
    params = decode_params(raw, PublishParams)
    fields = {field: getattr(params, field) for field in ("idempotency_key", "key", "removed", "tags", "device_time", "expect_offset")}
    return Item(params.stream, payload(params.data), **fields)


def published(appended: Appended) -> str:
    """The answer to a publish, as JSON: nothing for an ephemeral stream, which has no offsets."""
    if appended.offset == 0:
        return "{}"
    duplicate = ',"duplicate":true' if appended.duplicate else ""
    return f'{{"offset":{appended.offset},"epoch":"{appended.epoch}"{duplicate}}}'


# mark_read


class MarkReadParams(msgspec.Struct):
    stream: str
    offset: int


async def mark_read(engine: Engine, identity: Identity, raw: msgspec.Raw) -> dict[str, Any]:
    params = decode_params(raw, MarkReadParams)
    if identity.user_id is None:
        raise NotPermitted("keep a read marker in", params.stream)
    stream = await engine.reads.run(access.readable, identity, params.stream)
    if not 0 <= params.offset <= stream.head:
        raise BadRequest("offset", f"must be between 0 and the head of {stream.name!r}, {stream.head}")
    await engine.journal.run(lambda: move_marker(identity.user_id, stream, params.offset))
    return {}


def move_marker(user_id: int | None, stream: Stream, offset: int) -> None:
    """Forward only: an old tab does not make read records unread."""
    with transaction.atomic():
        marker, _ = ReadMarker.objects.get_or_create(user_id=user_id, stream=stream)
        ReadMarker.objects.filter(pk=marker.pk, offset__lt=offset).update(offset=offset)


# names


class NamesParams(msgspec.Struct):
    principals: list[str]


async def names(engine: Engine, identity: Identity, raw: msgspec.Raw) -> dict[str, Any]:
    params = decode_params(raw, NamesParams)
    if len(params.principals) > MAX_NAMES:
        raise BadRequest("principals", f"must be at most {MAX_NAMES}")
    if identity.user_id is None:
        raise NotPermitted("ask for", "names")
    return {"names": await engine.reads.run(display_names, params.principals)}


# streams


async def streams(engine: Engine, identity: Identity, raw: msgspec.Raw) -> dict[str, Any]:
    return {"streams": await engine.reads.run(stream_list, identity)}


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


METHODS: dict[str, Method] = {"mark_read": mark_read, "names": names, "streams": streams}
