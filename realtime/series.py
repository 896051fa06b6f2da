"""What is drawn of a long time: minimum, maximum and mean of each number for each point, by the time at which the server received it.

A block of records is taken whole where it lasts for less than half a point, and otherwise broken down into smaller blocks and at last
into records. So no extreme is lost, and few records are exact; of many, one may stand up to one point too early.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from . import access
from .access import Identity
from .errors import BadRequest, NotAvailable
from .models import Record, Rollup, Stream
from .reads import first_since, snapshot
from .rollups import BASE, FIELD, IS_NUMBER, KINDS, MAX_FIELD, NUMBERS, SIZES

MAX_POINTS = 1_000
# A thousand points of each make an answer of under a megabyte.
MAX_FIELDS = 16
# Payloads that are read for one answer. What the blocks do not cover is far less in a stream that is rolled up.
MAX_RAW = 50_000

_SPANS = "WITH span(first, beyond) AS (VALUES {values})"
_POINTS = f"""
    {_SPANS} SELECT field, (first_time - %s) / %s, min(minimum), max(maximum), coalesce(total(total), 0), sum(count)
    FROM span CROSS JOIN {Rollup._meta.db_table} ON stream_id = %s AND size = %s AND block >= first AND block < beyond
    WHERE {{fields}} GROUP BY 1, 2
"""
_LONG = f"""
    {_SPANS} SELECT DISTINCT block
    FROM span CROSS JOIN {Rollup._meta.db_table} ON stream_id = %s AND size = %s AND block >= first AND block < beyond
    WHERE last_time - first_time >= %s OR first_time < %s OR last_time >= %s ORDER BY block
"""
_RAW = f"""
    {_SPANS} SELECT {FIELD} AS field, (received - %s) / %s, min(value), max(value), total(value), count(*)
    FROM span CROSS JOIN {Record._meta.db_table} ON stream_id = %s AND "offset" >= first AND "offset" < beyond, {NUMBERS}
    WHERE received >= %s AND received < %s AND {IS_NUMBER} AND {{fields}} GROUP BY 1, 2
"""

# From one number up to, not including, another: of offsets, or of blocks.
Span = tuple[int, int]


class Column(msgspec.Struct):
    """One field, at each of the times of the result; None where a point has no value of it."""

    min: list[float | None]
    max: list[float | None]
    mean: list[float | None]
    count: list[int]


class SeriesResult(msgspec.Struct, omit_defaults=True):
    """Times in milliseconds since 1970. Each point begins at its time and is `width` wide; one without a record is left out."""

    epoch: str
    # The head before the records were read.
    offset: int
    since: int
    until: int
    width: int
    times: list[int]
    fields: dict[str, Column]
    # Fields that found no room; they can be asked for by name.
    left_out: int = 0


@dataclass(slots=True)
class Window:
    """From `since` up to, not including, `until`."""

    since: int
    until: int
    width: int


@dataclass(slots=True)
class Cell:
    minimum: float
    maximum: float
    total: float
    count: int

    def add(self, other: "Cell") -> None:
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.total += other.total
        self.count += other.count


def series(
    identity: Identity,
    name: str,
    *,
    fields: Sequence[str] | None = None,
    since: int | None = None,
    until: int | None = None,
    points: int = MAX_POINTS,
) -> SeriesResult:
    """The numbers at the top of the payloads of the stream `name`, in at most `points` points from `since` up to `until`.

    Without `fields` the first 16 by name; without times all that is kept. Runs in a reader thread. Raises UnknownStream, BadRequest,
    and NotAvailable when too many payloads would have to be read.
    """
    _check(fields, since, until, points)
    connection = connections["default"]
    with snapshot(connection):
        stream = access.readable(identity, name)
        span = _offsets(stream, since, until)
        window = _window(stream, span, since, until, points)
        cells = _Reader(connection, stream, window, fields).read(span) if span[0] < span[1] else {}
    return _result(stream, window, cells)


def _check(fields: Sequence[str] | None, since: int | None, until: int | None, points: int) -> None:
    if not 1 <= points <= MAX_POINTS:
        raise BadRequest("points", f"must be from 1 to {MAX_POINTS}")
    if fields is not None and (not 1 <= len(fields) <= MAX_FIELDS or any(len(field) > MAX_FIELD for field in fields)):
        raise BadRequest("fields", f"must be 1 to {MAX_FIELDS} names of at most {MAX_FIELD} characters")
    if since is not None and until is not None and since >= until:
        raise BadRequest("until", "must be after since")


def _offsets(stream: Stream, since: int | None, until: int | None) -> Span:
    """The records of that time. Those that a clock set back has put among others are left to the filter by time."""
    connection = connections["default"]
    first = stream.tail if since is None else first_since(connection, since, stream.pk)
    beyond = stream.head + 1 if until is None else first_since(connection, until, stream.pk)
    return max(first, stream.tail), max(beyond, stream.tail)


def _window(stream: Stream, span: Span, since: int | None, until: int | None, points: int) -> Window:
    """What was not asked for is where the records begin and end."""
    first, last = span[0], span[1] - 1
    received = dict(Record.objects.filter(stream=stream, offset__in=(first, last)).values_list("offset", "received"))
    if first > last:
        received = {}
    start = since if since is not None else received.get(first, max((until or 0) - 1, 0))
    end = until if until is not None else max(received.get(last, 0), start) + 1
    return Window(start, end, -(-(end - start) // points))


class _Reader:
    """One answer: adds up blocks and records into cells, by field and number of the point."""

    def __init__(self, connection: BaseDatabaseWrapper, stream: Stream, window: Window, fields: Sequence[str] | None) -> None:
        self.connection = connection
        self.stream = stream
        self.window = window
        self.fields = fields
        self.cells: dict[tuple[str, int], Cell] = {}

    def read(self, span: Span) -> dict[tuple[str, int], Cell]:
        """From the largest blocks down to single records, each time with what is left over."""
        left = [span]
        for size in reversed(SIZES):
            left = self._take_blocks(size, left)
        if sum(beyond - first for first, beyond in left) > MAX_RAW:
            raise NotAvailable(self._too_many())
        self._add_records(left)
        return self.cells

    def _take_blocks(self, size: int, spans: Iterable[Span]) -> list[Span]:
        """Add up the blocks of `size` within `spans`; the offsets that remain."""
        whole: list[Span] = []
        left: list[Span] = []
        for span in spans:
            first, beyond = self._blocks_in(size, span)
            if first < beyond:
                whole.append((first, beyond))
                left += [(span[0], first * size + 1), (beyond * size + 1, span[1])]
            else:
                left.append(span)
        if whole:
            long = self._too_long(size, whole)
            self._add_blocks(size, list(without(whole, long)))
            left += [(block * size + 1, (block + 1) * size + 1) for block in long]
        return joined(left)

    def _blocks_in(self, size: int, span: Span) -> Span:
        """The blocks that lie within `span` and are rolled up."""
        return -(-(span[0] - 1) // size), min(span[1] - 1, self.stream.rolled) // size

    def _too_long(self, size: int, spans: Sequence[Span]) -> list[int]:
        window = self.window
        longest = window.width if size == BASE else window.width / 2
        return [row[0] for row in self._query(_LONG, spans, self.stream.pk, size, longest, window.since, window.until)]

    def _add_blocks(self, size: int, spans: Sequence[Span]) -> None:
        window = self.window
        self._add(self._query(_POINTS, spans, window.since, window.width, self.stream.pk, size, *self.fields or ()))

    def _add_records(self, spans: Sequence[Span]) -> None:
        window = self.window
        times = (window.since, window.until)
        self._add(self._query(_RAW, spans, window.since, window.width, self.stream.pk, *times, *self.fields or ()))

    def _query(self, sql: str, spans: Sequence[Span], *params: Any) -> list[tuple[Any, ...]]:
        if not spans:
            return []
        values = ",".join(["(%s,%s)"] * len(spans))
        fields = f"field IN ({','.join(['%s'] * len(self.fields))})" if self.fields else "1"
        with self.connection.cursor() as cursor:
            cursor.execute(sql.format(values=values, fields=fields), (*chain.from_iterable(spans), *params))
            return list(cursor.fetchall())

    def _add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for name, point, minimum, maximum, total, count in rows:
            cell = Cell(minimum, maximum, total, count)
            known = self.cells.setdefault((name, point), cell)
            if known is not cell:
                known.add(cell)

    def _too_many(self) -> str:
        if self.stream.kind in KINDS:
            return f"{self.stream.name!r} is still being summed up for so many records; try again in a moment, or ask for less time"
        kinds = " and ".join(KINDS)
        return f"more than {MAX_RAW:,} records of {self.stream.name!r}; ask for less time (only streams of kind {kinds} are summed up)"


def without(spans: Iterable[Span], holes: Sequence[int]) -> Iterator[Span]:
    """`spans` without the numbers `holes`; both in order."""
    waiting = iter(holes)
    hole = next(waiting, None)
    for first, beyond in spans:
        start = first
        while hole is not None and hole < beyond:
            if start < hole:
                yield start, hole
            start, hole = hole + 1, next(waiting, None)
        if start < beyond:
            yield start, beyond


def joined(spans: Iterable[Span]) -> list[Span]:
    """`spans` in order, with those that touch as one and without the empty ones."""
    found: list[Span] = []
    for first, beyond in sorted(span for span in spans if span[0] < span[1]):
        if found and found[-1][1] == first:
            found[-1] = (found[-1][0], beyond)
        else:
            found.append((first, beyond))
    return found


def _result(stream: Stream, window: Window, cells: dict[tuple[str, int], Cell]) -> SeriesResult:
    names = sorted({name for name, _ in cells})
    points = sorted({point for name, point in cells if name in names[:MAX_FIELDS]})
    columns = {name: _column([cells.get((name, point)) for point in points]) for name in names[:MAX_FIELDS]}
    times = [window.since + point * window.width for point in points]
    left_out = max(0, len(names) - MAX_FIELDS)
    return SeriesResult(stream.epoch, stream.head, window.since, window.until, window.width, times, columns, left_out)


def _column(cells: Sequence[Cell | None]) -> Column:
    return Column(
        [cell.minimum if cell else None for cell in cells],
        [cell.maximum if cell else None for cell in cells],
        [cell.total / cell.count if cell else None for cell in cells],
        [cell.count if cell else 0 for cell in cells],
    )
