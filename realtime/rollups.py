"""Rollups: minimum, maximum, sum and count of each number in blocks of 16, 128, 1,024 … consecutive records.

By offsets and not by time, so that a stream of one record an hour and one of a thousand a second cost the same. They follow behind the
head, in streams of the kinds that are drawn. A block that prune has cut is never used whole: whoever reads begins at the tail.
"""

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from .models import Kind, Record, Rollup, Stream

KINDS = (Kind.CHART, Kind.LATEST)
BASE = 16
FACTOR = 8
SIZES = tuple(BASE * FACTOR**level for level in range(6))
# Records rolled up in one transaction, and about as many bytes of payload; measured with three fields: 5 ms, with thousands: 100 ms.
UNIT = 2_048
UNIT_BYTES = 1_048_576
# Longer names are no measurements.
MAX_FIELD = 64

_RECORDS = Record._meta.db_table
_ROLLUPS = Rollup._meta.db_table
# The numbers at the top of a payload, by field; a bare number is `value`, as on the pages. A redacted payload has none.
NUMBERS = "json_each(nullif(data, ''))"
FIELD = "coalesce(json_each.key, 'value')"
IS_NUMBER = f"json_each.type IN ('integer', 'real') AND typeof(json_each.key) <> 'integer' AND length({FIELD}) <= {MAX_FIELD}"
_COLUMNS = "stream_id, size, block, field, first_time, last_time, minimum, maximum, total, count"
_SIZES_AFTER = f'SELECT "offset", length(data) FROM {_RECORDS} WHERE stream_id = %s AND "offset" > %s AND "offset" <= %s ORDER BY "offset"'
_ROLL_RECORDS = f"""
    INSERT INTO {_ROLLUPS} ({_COLUMNS})
    SELECT stream_id, {BASE}, ("offset" - 1) / {BASE}, {FIELD}, min(received), max(received),
        min(value), max(value), total(value), count(*)
    FROM {_RECORDS}, {NUMBERS}
    WHERE stream_id = %s AND "offset" > %s AND "offset" <= %s AND {IS_NUMBER}
    GROUP BY 1, 2, 3, 4
"""
# A sum beyond a double is infinite, and two such of either sign add up to NULL: one that failed would keep every stream waiting.
_ROLL_BLOCKS = f"""
    INSERT INTO {_ROLLUPS} ({_COLUMNS})
    SELECT stream_id, size * {FACTOR}, block / {FACTOR}, field, min(first_time), max(last_time),
        min(minimum), max(maximum), coalesce(total(total), 0), sum(count)
    FROM {_ROLLUPS}
    WHERE stream_id = %s AND size = %s AND block >= %s AND block < %s
    GROUP BY 1, 2, 3, 4
"""
_FORGET = f"DELETE FROM {_ROLLUPS} WHERE stream_id = %s AND size = %s AND block >= %s AND block < %s"


def roll_once() -> bool:
    """Roll up the next records of the stream that is most behind; whether there may be more to do."""
    with transaction.atomic():
        behind = Stream.objects.filter(kind__in=KINDS, head__gte=F("rolled") + BASE)
        stream = behind.order_by(F("rolled") - F("head")).first()
        if stream is None:
            return False
        # What was pruned before it was rolled up is left out.
        start = max(stream.rolled, (stream.tail - 1) // BASE * BASE)
        end = max(start, min(stream.head // BASE * BASE, (start // UNIT + 1) * UNIT))
        connection = connections["default"]
        end = _within_bytes(connection, stream.pk, start, end)
        _roll(connection, stream.pk, start, end)
        Stream.objects.filter(pk=stream.pk).update(rolled=end)
    return True


def _within_bytes(connection: BaseDatabaseWrapper, stream_id: int, start: int, end: int) -> int:
    """Where the blocks after `start` end that hold UNIT_BYTES, but one of them at least; at most at `end`."""
    room = UNIT_BYTES
    with connection.cursor() as cursor:
        cursor.execute(_SIZES_AFTER, (stream_id, start, end))
        for offset, size in cursor:
            room -= size
            if room < 0:
                return int(max(start + BASE, (offset - 1) // BASE * BASE))
    return end


def _roll(connection: BaseDatabaseWrapper, stream_id: int, start: int, end: int) -> None:
    """Make the blocks of each size that end after `start` and at most at `end`."""
    with connection.cursor() as cursor:
        cursor.execute(_ROLL_RECORDS, (stream_id, start, end))
        for size in SIZES[1:]:
            first, beyond = start // size, end // size
            if first < beyond:
                cursor.execute(_ROLL_BLOCKS, (stream_id, size // FACTOR, first * FACTOR, beyond * FACTOR))


def forget_rollups(connection: BaseDatabaseWrapper, stream_id: int, before: int, tail: int) -> None:
    """The tail has moved from the offset `before` to `tail`: remove the blocks that ended in between."""
    with connection.cursor() as cursor:
        for size in SIZES:
            cursor.execute(_FORGET, (stream_id, size, (before - 1) // size, (tail - 1) // size))


def roll_again(connection: BaseDatabaseWrapper, stream: Stream, offset: int) -> None:
    """The record at `offset` has changed: make its blocks anew."""
    with connection.cursor() as cursor:
        for size in SIZES:
            block = (offset - 1) // size
            if (block + 1) * size > stream.rolled:
                break
            cursor.execute(_FORGET, (stream.pk, size, block, block + 1))
            if size == BASE:
                cursor.execute(_ROLL_RECORDS, (stream.pk, block * size, (block + 1) * size))
            else:
                cursor.execute(_ROLL_BLOCKS, (stream.pk, size // FACTOR, block * FACTOR, (block + 1) * FACTOR))
