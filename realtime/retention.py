"""What a stream keeps: so many records, days and bytes; the oldest go first.

Removing moves the tail and never the head, so that no offset is ever used again, also not in a stream that was emptied. Where a stream
keeps the latest record of each key, that one stays below the tail: `latest` tells of it, history and replay begin at the tail.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from django.db import connections, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Greatest

from .conf import limit
from .group_commit import Journal
from .models import Record, Stream
from .rollups import forget_rollups
from .times import now

# Records in one transaction; measured: 6 ms of the write thread, in which nothing is published.
UNIT = 250
DAY_MS = 24 * 60 * 60 * 1000

_TABLE = Record._meta.db_table
_OLDEST = f"""
    SELECT "offset", received, length(CAST(data AS BLOB)) + coalesce(length(blob), 0)
    FROM {_TABLE} WHERE stream_id = %s AND "offset" >= %s ORDER BY "offset"
"""
_REMOVE = f'DELETE FROM {_TABLE} WHERE stream_id = %s AND "offset" >= %s AND "offset" < %s'
# Of the records that go, those whose key has no newer one stay; but not a tombstone, whose key has ended.
_BUT_LATEST = f"""
    AND (key = '' OR removed OR EXISTS (
        SELECT 1 FROM {_TABLE} AS newer WHERE newer.stream_id = {_TABLE}.stream_id AND NOT (newer.key = '')
        AND newer.key = {_TABLE}.key AND newer."offset" > {_TABLE}."offset"
    ))
"""
# A record that had stayed goes with the one that followed it.
_REMOVE_FOLLOWED = f"""
    DELETE FROM {_TABLE} WHERE stream_id = %s AND NOT (key = '') AND "offset" < %s AND key IN (
        SELECT key FROM {_TABLE} WHERE stream_id = %s AND "offset" >= %s AND "offset" < %s
    )
"""


class Removed(NamedTuple):
    """Records, and the payload bytes that left the history with them."""

    records: int
    size: int

    def __add__(self, other: object) -> "Removed":
        assert isinstance(other, Removed)
        return Removed(self.records + other.records, self.size + other.size)


# Whether the record at an offset, received then, may go, when so many bytes would be left with it.
MayGo = Callable[[int, int, int], bool]


def prune_once() -> bool:
    """Remove the next records that some stream need not keep, in one short transaction; whether there may be more."""
    # At random, so that one flooded stream does not keep the others waiting.
    stream_id = due().order_by("?").values_list("pk", flat=True).first()
    if stream_id is None:
        return False
    prune_stream_once(stream_id)
    return True


def due() -> QuerySet[Stream]:
    """The streams that hold more than they need to."""
    oldest = Record.objects.filter(stream=OuterRef("pk"), offset=OuterRef("tail")).values("received")
    below = Record.objects.filter(stream=OuterRef("pk"), offset__lt=OuterRef("tail"))
    too_many = Q(keep_records__gt=0, head__gte=F("tail") + F("keep_records"))
    too_large = Q(keep_bytes__gt=0, size__gt=F("keep_bytes"), head__gte=F("tail"))
    too_old = Q(keep_days__gt=0, oldest__lt=now() - F("keep_days") * DAY_MS)
    unprotected = Q(Exists(below), keep_latest=False)
    return Stream.objects.annotate(oldest=Subquery(oldest)).filter(too_many | too_large | too_old | unprotected)


def prune_stream_once(stream_id: int) -> Removed:
    """Remove the oldest records that the stream need not keep: one unit of them."""
    with transaction.atomic():
        stream = Stream.objects.get(pk=stream_id)
        stayed = Removed(0 if stream.keep_latest else _remove_below(stream, stream.tail), 0)
        return stayed + _remove(stream, _sizes(stream, _overdue(stream), UNIT), stream.keep_latest)


def overdue(stream: Stream) -> Removed:
    """What `prune_once` would remove of the stream in the end."""
    sizes = list(_sizes(stream, _overdue(stream)))
    stayed = 0 if stream.keep_latest else Record.objects.filter(stream=stream, offset__lt=stream.tail).count()
    return Removed(stayed + len(sizes), sum(sizes))


def _overdue(stream: Stream) -> MayGo:
    cutoff = now() - stream.keep_days * DAY_MS

    def may_go(offset: int, received: int, left: int) -> bool:
        too_many = stream.keep_records and stream.head - offset >= stream.keep_records
        return bool(too_many or (stream.keep_bytes and left > stream.keep_bytes) or (stream.keep_days and received < cutoff))

    return may_go


async def remove_history(journal: Journal, stream: Stream) -> None:
    """Remove every record up to the head that `stream` tells, also those that `latest` would keep. Offsets and epoch go on."""
    while await journal.run_paced(partial(remove_once, stream.pk, stream.head)):
        pass


def remove_once(stream_id: int, upto: int) -> bool:
    """Remove the oldest records up to the offset `upto`: one unit of them. Whether there may be more."""
    with transaction.atomic():
        stream = Stream.objects.get(pk=stream_id)
        removed = _remove(stream, _sizes(stream, lambda offset, *_: offset <= upto, UNIT), protect=False)
        return removed.records > 0 or _remove_below(stream, min(stream.tail, upto + 1)) > 0


def _sizes(stream: Stream, may_go: MayGo, most: int | None = None) -> Iterator[int]:
    """The payload bytes of each record from the tail on that may go; with `most`, so many of them or a batch of bytes."""
    room = limit("BATCH_BYTES")
    left = stream.size
    with connections["default"].cursor() as cursor:
        cursor.execute(f"{_OLDEST} LIMIT %s", (stream.pk, stream.tail, -1 if most is None else most))
        # Row by row: they are counted, not kept.
        while (row := cursor.fetchone()) is not None:
            offset, received, size = row
            if not may_go(offset, received, left):
                return
            yield size
            left -= size
            room -= size
            if most is not None and room <= 0:
                return


def _remove(stream: Stream, sizes: Iterator[int], protect: bool) -> Removed:
    """Remove the oldest records, whose payload bytes are `sizes`."""
    gone = list(sizes)
    removed = Removed(len(gone), sum(gone))
    if not gone:
        return removed
    tail = stream.tail + len(gone)
    connection = connections["default"]
    with connection.cursor() as cursor:
        cursor.execute(_REMOVE_FOLLOWED, (stream.pk, stream.tail, stream.pk, stream.tail, tail))
        cursor.execute(_REMOVE + _BUT_LATEST * protect, (stream.pk, stream.tail, tail))
    forget_rollups(connection, stream.pk, stream.tail, tail)
    Stream.objects.filter(pk=stream.pk).update(tail=tail, size=Greatest(F("size") - removed.size, 0))
    return removed


def _remove_below(stream: Stream, offset: int) -> int:
    """Remove the records that stayed below `offset` for the sake of their keys: one unit of them."""
    below = Record.objects.filter(stream=stream, offset__lt=offset).order_by("offset")
    count, _ = Record.objects.filter(pk__in=list(below.values_list("pk", flat=True)[:UNIT])).delete()
    return count
