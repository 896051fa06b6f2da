"""What is to be appended, and what may be wrong with it by itself, wherever it is to go."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any
from urllib.parse import quote

from . import namespaces
from .access import Identity
from .conf import limit
from .errors import BadRequest, UnknownStream, WirelogError
from .models import Stream
from .protocol import REDACTS, payload

MAX_KEY = 200
MAX_TAGS = 32
MAX_CONTENT_TYPE = 100
# What a column holds.
MAX_TIME = 2**63 - 1
# Of a payload that travels as JSON, whatever a stream allows: with labels of 56 KiB it must fit a message, which older Python clients
# come back for ever after when it is over 1 MiB. Bytes travel by their URL.
MAX_JSON = 917_504


# What a publisher says of a record beside its payload: the same names at every door.
LABELS = ("idempotency_key", "key", "removed", "tags", "device_time", "expect_offset")


def labels_of(request: Any) -> dict[str, Any]:
    """Those of an Item, from a request that has a field for each."""
    return {name: getattr(request, name) for name in LABELS}


def payload_of(request: Any) -> str:
    """The payload of such a request, checked; none is needed to end a key. Raises BadRequest."""
    return "null" if request.removed and not bytes(request.data) else payload(request.data)


@dataclass(slots=True)
class Item:
    """One record to append. `data` is JSON text that `protocol.payload` has checked."""

    stream: str
    # Empty for a blob.
    data: str
    # Whose rights count; None for a command or admin, who need none.
    identity: Identity | None = None
    publisher: str = ""
    client: str = ""
    idempotency_key: str = ""
    key: str = ""
    removed: bool = False
    tags: dict[str, str] | None = None
    device_time: int | None = None
    # Instead of `data`: bytes and what they are.
    blob: bytes | None = None
    content_type: str = ""
    # The head that the publisher has seen: compare-and-set.
    expect_offset: int | None = None


def flaw_of(item: Item) -> WirelogError | None:
    """What is wrong with `item` by itself, wherever it is to go."""
    try:
        check_item(item)
    except WirelogError as error:
        return error
    return None


def check_item(item: Item) -> None:
    """Whoever made `item` may be Django code, which no decoder has looked at."""
    if not namespaces.is_stream_name(item.stream):
        raise UnknownStream(item.stream)
    for name, text in (("idempotency_key", item.idempotency_key), ("key", item.key)):
        check_text(name, text, MAX_KEY)
    # It goes into a header of whoever reads the blob.
    check_text("content_type", item.content_type, MAX_CONTENT_TYPE, ascii_only=True)
    if item.removed and not item.key:
        raise BadRequest("removed", "needs the key that it ends")
    if item.device_time is not None and not 0 <= item.device_time <= MAX_TIME:
        raise BadRequest("device_time", "must be milliseconds since 1970")
    if item.tags:
        check_tags(item.tags)
        if REDACTS in item.tags and item.identity is not None:
            raise BadRequest(f"tags.{REDACTS}", "is only for redactions, which operators make")


# What Django code may give, and what it is called.
TYPES: Mapping[str, tuple[type | UnionType, str]] = {
    "stream": (str, "text"),
    "removed": (bool, "True or False"),
    "tags": (dict | None, "a dict of texts"),
    "device_time": (int | None, "a whole number of milliseconds since 1970"),
    "expect_offset": (int | None, "a whole number"),
    "blob": (bytes | None, "bytes"),
}


def check_types(item: Item) -> None:
    """Raises BadRequest for what Django code has made, before it comes to the others: they share a thread and a transaction."""
    for name, (wanted, words) in TYPES.items():
        value = getattr(item, name)
        # To Python True is a number.
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise BadRequest(name, f"must be {words}, not {type(value).__name__}")


def check_tags(tags: dict[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise BadRequest("tags", f"must be at most {MAX_TAGS}")
    for name, text in tags.items():
        check_text("tags", name, MAX_KEY)
        check_text(f"tags.{name}", text, MAX_KEY)


def check_text(name: str, text: object, longest: int, ascii_only: bool = False) -> None:
    """Printable is what has no NUL, no newline, no lone surrogate, nothing that hides or turns around what stands beside it."""
    if not isinstance(text, str):
        raise BadRequest(name, f"must be text, not {type(text).__name__}")
    if len(text) > longest or not text.isprintable() or (ascii_only and not text.isascii()):
        raise BadRequest(name, f"must be at most {longest} printable characters{' of ASCII' if ascii_only else ''}")


def largest_payload(stream: Stream, blob: bool = False) -> int:
    """In bytes."""
    largest = stream.max_payload or limit("PAYLOAD_BYTES")
    return largest if blob else min(largest, MAX_JSON)


def size_of(item: Item, largest: int) -> int:
    """Bytes of the payload; at a glance where a text cannot exceed `largest`, since a character is at most four bytes."""
    if item.blob is not None:
        return len(item.blob)
    return len(item.data) if len(item.data) * 4 <= largest else bytes_of(item.data)


def bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def digest_of(item: Item) -> bytes:
    return hashlib.blake2b(item.data.encode() if item.blob is None else item.blob, digest_size=16).digest()


def blob_reference(item: Item, epoch: str, offset: int) -> str:
    """What JSON clients get in place of bytes. It is stored as the data of the record, so that every door tells the same.

    Its URL is that of no other record, also when a restore lets offsets come again: caches keep what is there.
    """
    url = f"/api/streams/{quote(item.stream, safe='')}/blobs/{offset}?epoch={epoch}"
    reference = {"content_type": item.content_type, "size": len(item.blob or b""), "url": url}
    return json.dumps(reference, separators=(",", ":"))
