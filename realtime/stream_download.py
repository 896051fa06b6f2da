"""A stream as a file: NDJSON or CSV, page by page, at the pace of whoever takes it."""

import csv
import io
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Annotated, Literal, NamedTuple

import msgspec
from django.db import connections
from msgspec import Meta

from . import access
from .access import Identity
from .conf import limit
from .endpoint import Answer, Streaming
from .errors import Unrecoverable
from .models import Stream
from .protocol import Offset, Publication, publication
from .reads import Page, page_after
from .stream_read import check_position
from .stream_request import Request
from .times import iso

COLUMNS = ("offset", "time", "publisher", "key", "removed", "tags", "device_time", "data")
# What a spreadsheet takes for a formula when a cell begins with it; the last four are full-width forms, for which some do in East Asia.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_number = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class DownloadQuery(msgspec.Struct, forbid_unknown_fields=True):
    format: Annotated[Literal["ndjson", "csv"], Meta(description="One record a line, as JSON or as a row.")] = "ndjson"
    after: Annotated[Offset, Meta(description="Records over this offset; error 112 when the next one is no longer kept.")] = 0
    epoch: Annotated[str, Meta(description="The epoch that `after` is of: error 112 when offsets have begun anew since.")] = ""


async def download(request: Request) -> Answer | Streaming:
    """All that is kept at this moment. A file that cannot be whole, since records were pruned meanwhile, is broken off."""
    stream, position = await request.read(begin, request.stream, request.query)
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", stream.name)
    headers = (
        (b"content-disposition", f'attachment; filename="{name}.{request.query.format}"'.encode()),
        (b"wirelog-epoch", stream.epoch.encode()),
        (b"wirelog-head", b"%d" % stream.head),
    )
    return Streaming(200, FORMATS[request.query.format].content_type, _pieces(request, stream, position), headers)


def begin(identity: Identity, name: str, query: DownloadQuery) -> tuple[Stream, int]:
    """The stream, and the offset to begin after. Runs in a reader thread. Raises UnknownStream, Unrecoverable."""
    stream = access.readable(identity, name)
    check_position(stream, query.after, query.epoch)
    if 0 < query.after < stream.tail - 1:
        raise Unrecoverable(name)
    return stream, max(query.after, stream.tail - 1)


async def _pieces(request: Request, stream: Stream, position: int) -> AsyncGenerator[bytes, None]:
    form = FORMATS[request.query.format]
    yield form.head.encode()
    while position < stream.head:
        page = await request.read(read_page, stream, position)
        position = page[-1].offset
        yield "".join(form.line(record) for record in page).encode()


def read_page(identity: Identity, stream: Stream, position: int) -> Page:
    """The records after `position`. Raises UnknownStream for who may no longer read them, Unrecoverable when some are gone."""
    now = access.readable(identity, stream.name)
    page = page_after(connections["default"], stream.pk, position, stream.head, limit("PAGE_RECORDS"))
    if now.epoch != stream.epoch or not page or page[-1].offset != position + len(page):
        raise Unrecoverable(stream.name)
    return page


# Formats


def json_line(record: Publication) -> str:
    return f"{publication(record)}\n"


def row(record: Publication) -> str:
    device_time = "" if record.device_time is None else iso(record.device_time)
    cells = (iso(record.time), record.publisher, record.key, "true" if record.removed else "", record.tags, device_time, record.data)
    return _csv((str(record.offset), *map(defused, cells)))


def _csv(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def defused(cell: str) -> str:
    """With an apostrophe where a spreadsheet would compute: it shows the rest as text."""
    return f"'{cell}" if cell.startswith(FORMULA) and not _number.fullmatch(cell) else cell


class Format(NamedTuple):
    content_type: bytes
    head: str
    line: Callable[[Publication], str]


FORMATS = {
    "ndjson": Format(b"application/x-ndjson", "", json_line),
    "csv": Format(b"text/csv; charset=utf-8", _csv(COLUMNS), row),
}
