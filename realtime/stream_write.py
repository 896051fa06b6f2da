"""`POST /api/streams/<stream>/records`: bodies and headers as records to append, and what became of them as the answer."""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from . import problem
from .access import Identity
from .conf import limit
from .endpoint import JSON, Answer, Refusal
from .errors import (
    BadRequest,
    InternalError,
    LimitExceeded,
    NotPermitted,
    PayloadTooLarge,
    StorageFull,
    StreamArchived,
    TooManyRequests,
    UnknownStream,
    WirelogError,
)
from .items import MAX_CONTENT_TYPE, Item, labels_of, payload_of
from .journal import Appended, Outcome, Rejected
from .protocol import Offset, misfit, payload
from .stream_request import Request, demand_credential, from_text
from .times import milliseconds

NDJSON = b"application/x-ndjson"
LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
# What `curl -d` says of every body, and what says nothing: JSON, if it is.
UNSAID = frozenset({"", "application/x-www-form-urlencoded"})
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_content_type = re.compile(rf'{_WORD}/{_WORD}(\s*;\s*{_WORD}=({_WORD}|"[^"\\\x00-\x1f\x7f-\U0010ffff]*"))*')

# Errors that are not about one line: when nothing could be stored for one of them, it is the answer to the request.
NOT_OF_A_LINE = (UnknownStream, NotPermitted, StreamArchived, StorageFull, TooManyRequests, LimitExceeded, InternalError)

HEADERS = {
    "Idempotency-Key": "Makes a repeat harmless: it answers with the offset of the first. Unique for each record of a publisher.",
    "Wirelog-Key": "The subject of the record, such as a sensor: `latest` tells the newest record of each.",
    "Wirelog-Removed": "`true` ends the key of the record: `latest` leaves it out from then on. The body may be empty.",
    "Wirelog-Device-Time": "When it was measured: milliseconds since 1970, or RFC 3339 with a zone.",
    "Wirelog-Tags": "`name=value, name=value`, percent-encoded where a comma, a percent or another alphabet is meant.",
    "Wirelog-Expect-Offset": "Store only if this is the head of the stream (else 409, code 113).",
}


class PublishQuery(msgspec.Struct, forbid_unknown_fields=True):
    batch: Annotated[bool, Meta(description="The body is a JSON array of envelopes.")] = False
    atomic: Annotated[bool, Meta(description="All records of a batch or none; of a batch only.")] = False


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """One record of a batch. `device_time` is in milliseconds since 1970, or RFC 3339."""

    # Not a default of bytes, which OpenAPI cannot tell.
    data: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    idempotency_key: str = ""
    key: str = ""
    removed: bool = False
    tags: dict[str, str] | None = None
    device_time: Offset | str | None = None
    expect_offset: Offset | None = None


class Stored(msgspec.Struct, omit_defaults=True):
    """Where a record is. Nothing of it for an ephemeral stream, which has no offsets."""

    offset: int = 0
    epoch: str = ""
    duplicate: bool = False


class Failure(msgspec.Struct, omit_defaults=True):
    """`temporary`: the same line may go in later."""

    code: int
    message: str
    field: str = ""
    temporary: bool = False


class Failed(msgspec.Struct):
    error: Failure


async def publish(request: Request) -> Answer:
    identity = await request.identity()
    content_type = request.header("Content-Type")
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind in LINES:
            return await _publish_batch(request, identity, _lines(request.body), NDJSON)
        if request.query.batch:
            return await _publish_batch(request, identity, _elements(request.body), JSON)
        if request.query.atomic:
            raise BadRequest("atomic", "is for a batch: send application/x-ndjson, or batch=1 with a JSON array")
        return await _publish_one(request, identity, kind, content_type)
    except WirelogError as error:
        demand_credential(identity, error)
        raise


# One record: its body is the payload, the rest is in headers


async def _publish_one(request: Request, identity: Identity, kind: str, content_type: str) -> Answer:
    labels = _labels(request)
    item = Item(request.stream, "", identity, identity.principal, **labels)
    if kind == "multipart/form-data":
        raise Refusal(
            415, BadRequest.code, "bad request: a form of parts is not taken: send the bytes as the body, with their own Content-Type"
        )
    if kind in UNSAID or kind == "application/json":
        item.data = "null" if labels["removed"] and not request.body else _json(request.body, kind)
    else:
        item.blob, item.content_type = request.body, check_content_type(content_type)
    request.count_publishes(identity, 1)
    appended = await request.engine.journal.append(item)
    return Answer(200 if appended.duplicate or not appended.offset else 201, JSON, msgspec.json.encode(_stored(appended)))


def _json(body: bytes, kind: str) -> str:
    try:
        return payload(body)
    except BadRequest as error:
        if kind not in UNSAID or not body:
            raise
        message = f"{error}. Name the Content-Type of anything but JSON: it is stored as a blob"
        raise Refusal(415, error.code, message) from None


def check_content_type(text: str) -> str:
    """`text`, if it is a media type: it goes into a header of whoever reads the blob. Raises BadRequest."""
    if len(text) > MAX_CONTENT_TYPE or not _content_type.fullmatch(text):
        raise BadRequest("Content-Type", f"must be a media type of at most {MAX_CONTENT_TYPE} characters")
    return text


def _labels(request: Request) -> dict[str, Any]:
    return {
        "idempotency_key": request.header("Idempotency-Key"),
        "key": request.header("Wirelog-Key"),
        "removed": _flag("Wirelog-Removed", request.header("Wirelog-Removed")),
        "tags": _tags("Wirelog-Tags", request.header("Wirelog-Tags")),
        "device_time": _time("Wirelog-Device-Time", request.header("Wirelog-Device-Time")),
        "expect_offset": _number("Wirelog-Expect-Offset", request.header("Wirelog-Expect-Offset")),
    }


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("", "true", "false"):
        raise BadRequest(name, "must be true or false")
    return text.lower() == "true"


def _tags(name: str, text: str) -> dict[str, str] | None:
    pairs = [pair.strip().partition("=") for pair in text.split(",")] if text else []
    if not all(tag and equals for tag, equals, _ in pairs):
        raise BadRequest(name, "must be name=value, separated by commas")
    try:
        tags = {unquote(tag, errors="strict"): unquote(value, errors="strict") for tag, _, value in pairs}
    except UnicodeDecodeError:
        raise BadRequest(name, "is not percent-encoded UTF-8") from None
    if len(tags) < len(pairs):
        raise BadRequest(name, "must name each tag once")
    return tags or None


def _time(name: str, value: int | str | None) -> int | None:
    """Milliseconds, from themselves or from a date-time."""
    if value is None or value == "":
        return None
    if isinstance(value, int) or value.isdecimal():
        return _number(name, str(value))
    time = milliseconds(value)
    if time is None or time < 0:
        raise BadRequest(name, "must be milliseconds since 1970, or a date-time of RFC 3339 with a zone")
    return time


def _number(name: str, text: str) -> int | None:
    return from_text(text, Offset, name) if text else None


# Many records: each is an envelope

Line = bytes | msgspec.Raw


def _lines(body: bytes) -> list[tuple[int, bytes]]:
    """The lines of NDJSON with their numbers; blank ones are nothing."""
    return [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]


def _elements(body: bytes) -> list[tuple[int, msgspec.Raw]]:
    try:
        return list(enumerate(msgspec.json.decode(body, type=list[msgspec.Raw]), 1))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRequest("body", f"is not a JSON array: {error}") from None


async def _publish_batch(request: Request, identity: Identity, lines: Sequence[tuple[int, Line]], content_type: bytes) -> Answer:
    _check_batch(request, len(lines))
    items = [_item(request.stream, identity, line) for _, line in lines]
    request.count_publishes(identity, len(lines))
    if request.query.atomic:
        try:
            results = await _append_together(request, items)
        except Rejected as rejected:
            demand_credential(identity, rejected.error)
            return problem.failed(rejected.error, lines[rejected.index][0])
    else:
        results = await _append_each(request, items)
    encoder = msgspec.json.Encoder()
    answers = [_result(outcome) for outcome in results]
    return Answer(200, content_type, encoder.encode_lines(answers) if content_type == NDJSON else encoder.encode(answers))


def _check_batch(request: Request, count: int) -> None:
    most = limit("BATCH_RECORDS")
    if not count:
        raise BadRequest("body", "holds no record")
    if count > most:
        raise Refusal(413, PayloadTooLarge.code, f"payload too large: {count} records, a batch takes at most {most}")
    for name in HEADERS:
        if request.header(name):
            raise BadRequest(name, "is for a single record: in a batch it is a field of each line")


def _item(stream: str, identity: Identity, line: Line) -> Item | BadRequest:
    try:
        envelope = msgspec.json.decode(line, type=Envelope)
        data = payload_of(envelope)
        labels = labels_of(envelope) | {"device_time": _time("device_time", envelope.device_time)}
    except BadRequest as error:
        return error
    except msgspec.ValidationError as error:
        return misfit(error, "line")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return BadRequest("line", f"is not JSON: {error}")
    return Item(stream, data, identity, identity.principal, **labels)


async def _append_together(request: Request, items: Iterable[Item | BadRequest]) -> Sequence[Outcome]:
    good: list[Item] = []
    for index, item in enumerate(items):
        if isinstance(item, BadRequest):
            raise Rejected(index, item)
        good.append(item)
    return await request.engine.journal.append_together(good)


async def _append_each(request: Request, items: Sequence[Item | BadRequest]) -> list[Outcome]:
    """The outcome of each. Raises the error that kept all of them out, if it is not about them."""
    outcomes = await request.engine.journal.append_all([item for item in items if isinstance(item, Item)])
    if outcomes and isinstance(outcomes[0], NOT_OF_A_LINE) and not any(isinstance(outcome, Appended) for outcome in outcomes):
        raise outcomes[0]
    appended = iter(outcomes)
    return [next(appended) if isinstance(item, Item) else item for item in items]


def _stored(appended: Appended) -> Stored:
    return Stored(appended.offset, appended.epoch, appended.duplicate) if appended.offset else Stored()


def _result(outcome: Outcome) -> Stored | Failed:
    if isinstance(outcome, Appended):
        return _stored(outcome)
    return Failed(Failure(outcome.code, str(outcome), problem.field_of(outcome), outcome.temporary))
