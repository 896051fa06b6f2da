"""The newest record of each key of a stream. A key that a tombstone has ended is left out, until it is published again."""

from collections.abc import Collection
from contextlib import closing
from typing import Any, NamedTuple

import msgspec
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from . import access, protocol
from .access import Identity
from .errors import BadRequest
from .models import Record
from .reads import FIELDS, Page, bounded, records

MAX_KEYS = 1_000
# In the order of the database, which is that of code points, no key that begins with a prefix comes after it and this.
LAST_CHARACTER = "\U0010ffff"

_TABLE = Record._meta.db_table
# The last condition is that of the partial index, to the letter: without it SQLite scans.
_OF_STREAM = f"SELECT key FROM {_TABLE} WHERE stream_id = %s AND NOT (key = '')"
# From key to key by the index, so that the cost is that of the keys, however many records each of them has.
_WALK = f"""
    SELECT ({_OF_STREAM} AND key >= %s AND key < %s ORDER BY key LIMIT 1)
    UNION ALL
    SELECT ({_OF_STREAM} AND key > walk.key AND key < %s ORDER BY key LIMIT 1) FROM walk WHERE walk.key IS NOT NULL
    LIMIT %s
"""
_POSITIONS = f"""SELECT (SELECT max("offset") FROM {_TABLE} WHERE stream_id = %s AND NOT (key = '') AND key = walk.key) FROM walk"""
_NEWEST = f"""
    WITH RECURSIVE walk(key) AS ({{walk}}), newest(position) AS MATERIALIZED ({_POSITIONS})
    SELECT {FIELDS} FROM newest CROSS JOIN {_TABLE} ON stream_id = %s AND "offset" = position
"""
# Of a reader who lags: keys over MAX_WALK, and records without a key that so many others follow, are not looked for.
MAX_WALK = 10_000
MAX_BACK = 1_000
_CHANGED = f"""
    WITH RECURSIVE walk(key) AS ({_WALK}), newest(position) AS MATERIALIZED (
        {_POSITIONS}
        UNION ALL
        SELECT * FROM (SELECT "offset" FROM {_TABLE} WHERE stream_id = %s AND "offset" > %s AND key = '' ORDER BY "offset" DESC LIMIT 1)
    )
    SELECT {FIELDS} FROM newest CROSS JOIN {_TABLE} ON stream_id = %s AND "offset" = position
    WHERE position > %s AND position <= %s ORDER BY position DESC LIMIT %s
"""


class KeysPage(NamedTuple):
    """In the order of the keys. `next` is the key to go on after; empty at the end."""

    records: Page
    next: str


class LatestResult(msgspec.Struct, omit_defaults=True):
    """`offset` is the head before the records were read: who subscribes from there misses none."""

    publications: list[msgspec.Raw]
    epoch: str
    offset: int
    next: str = ""


def latest(
    identity: Identity, name: str, *, prefix: str = "", keys: Collection[str] | None = None, after: str = "", limit: int = MAX_KEYS
) -> LatestResult:
    """The newest record of each key of the stream `name`: of `keys`, or of those that begin with `prefix`; one page after the key `after`.

    A page looks at `limit` keys (at most 1,000) and 256 KiB of payload; since ended keys are left out, it may hold fewer, or none, and
    `next` still lead on. Runs in a reader thread. Raises UnknownStream, BadRequest.
    """
    if not 1 <= limit <= MAX_KEYS:
        raise BadRequest("limit", f"must be from 1 to {MAX_KEYS}")
    if keys is not None and len(keys) > MAX_KEYS:
        raise BadRequest("keys", f"must be at most {MAX_KEYS}")
    stream = access.readable(identity, name)
    connection = connections["default"]
    wanted = None if keys is None else [key for key in keys if key.startswith(prefix)]
    found = (
        newest_of(connection, stream.pk, wanted, after, limit)
        if wanted is not None
        else newest(connection, stream.pk, prefix, after, limit)
    )
    publications = [msgspec.Raw(protocol.publication(record).encode()) for record in found.records]
    return LatestResult(publications, stream.epoch, stream.head, found.next)


def newest(connection: BaseDatabaseWrapper, stream_id: int, prefix: str, after: str, limit: int) -> KeysPage:
    """Of the keys over `after` that begin with `prefix`."""
    # No key holds a NUL: with one behind it, `after` is just below its next key.
    first, end = max(prefix, f"{after}\0" if after else ""), prefix + LAST_CHARACTER
    return _select(connection, _WALK, (stream_id, first, end, stream_id, end, limit + 1), stream_id, limit)


def newest_of(connection: BaseDatabaseWrapper, stream_id: int, keys: Collection[str], after: str, limit: int) -> KeysPage:
    """Of those of `keys` that are over `after`."""
    wanted = sorted({key for key in keys if key > after})
    asked = wanted[:limit]
    if not asked:
        return KeysPage([], "")
    page = _select(connection, f"VALUES {','.join(['(%s)'] * len(asked))}", asked, stream_id, limit)
    # Those that nobody has published are looked at too: a page may be empty of records, and not be the last.
    return page if page.next or len(wanted) == len(asked) else page._replace(next=asked[-1])


def changed(stream_id: int, position: int, upto: int, count: int) -> Page:
    """The newest record of each key with position < offset ≤ upto, tombstones too, oldest first: one page, of those that changed last."""
    walk = (stream_id, "", LAST_CHARACTER, stream_id, LAST_CHARACTER, MAX_WALK)
    unkeyed = (stream_id, max(position, upto - MAX_BACK))
    params = (*walk, stream_id, *unkeyed, stream_id, position, upto, count)
    with closing(records(connections["default"], _CHANGED, params)) as found:
        page, _ = bounded(found)
    return page[::-1]


def _select(connection: BaseDatabaseWrapper, walk: str, params: Collection[Any], stream_id: int, limit: int) -> KeysPage:
    with closing(records(connection, _NEWEST.format(walk=walk), (*params, stream_id, stream_id))) as found:
        page, cut = bounded(found)
    cut = cut or len(page) > limit
    page = page[:limit]
    return KeysPage([record for record in page if not record.removed], page[-1].key if cut else "")
