import asyncio
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections

from realtime import reads
from realtime.errors import UnknownStream
from realtime.models import Record, Stream
from realtime.reads import Page, Reads, page_after, page_before

from .core import append, elsewhere, write_lock

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream(db: None) -> Stream:
    other, found = Stream.objects.create(name="other"), Stream.objects.create(name="a")
    append(other.name, "0", "0")
    append(found.name, *map(str, range(1, 11)))
    append(other.name, "0")
    return found


def numbers(page: Page) -> list[int]:
    return [record.offset for record in page]


@pytest.mark.parametrize(
    "position, upto, count, found",
    [
        (0, 10, 300, range(1, 11)),
        (3, 7, 300, range(4, 8)),
        (0, 10, 4, range(1, 5)),
        (9, 99, 300, [10]),
        (10, 99, 300, []),
        (7, 3, 300, []),
        (0, 10, 0, []),
    ],
)
def test_a_page_is_what_follows_a_position(stream: Stream, position: int, upto: int, count: int, found: list[int]) -> None:
    page = page_after(connection, stream.pk, position, upto, count)
    assert numbers(page) == list(found)
    assert [record.data for record in page] == [str(number) for number in found]


@pytest.mark.parametrize(
    "tail, before, count, found",
    [(1, 11, 300, range(10, 0, -1)), (1, 11, 3, [10, 9, 8]), (4, 7, 300, [6, 5, 4]), (1, 1, 300, []), (9, 5, 300, [])],
)
def test_a_page_backwards_is_what_goes_before_it(stream: Stream, tail: int, before: int, count: int, found: list[int]) -> None:
    assert numbers(page_before(connection, stream.pk, tail, before, count)) == list(found)


def test_a_page_has_no_hole_when_records_were_pruned_since_the_tail_was_read(stream: Stream) -> None:
    """Below the tail only those stay that are the newest of their key."""
    Record.objects.filter(stream=stream, offset__in=(2, 3)).delete()
    Stream.objects.filter(pk=stream.pk).update(tail=4)

    assert numbers(page_after(connection, stream.pk, 0, 6, 300)) == [4, 5, 6]
    assert numbers(page_before(connection, stream.pk, 1, 7, 300)) == [6, 5, 4]


def test_a_page_has_everything_that_the_live_push_had(stream: Stream) -> None:
    fields = {"publisher": "7", "client": "c", "key": "k", "removed": True, "tags": {"a": "ż"}}
    (appended,) = append("a", "1.10", **fields)
    assert page_after(connection, stream.pk, 10, 11, 1) == [getattr(appended, "publication", None)]


def test_a_page_ends_at_its_bytes_and_a_larger_record_goes_alone(stream: Stream, settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "PAGE_BYTES": 20}
    append("a", '"12345678"', '"12345678"', '"1"', f'"{"x" * 100}"', '"1"', '"ąćęłńóśź"', '"1"')
    pages, position = [], 10
    while page := page_after(connection, stream.pk, position, 17, 300):
        pages.append(numbers(page))
        position = page[-1].offset
    # Eight letters of two bytes each, and their quotes, are over 20 with the record before them.
    assert pages == [[11, 12], [13], [14], [15], [16], [17]]
    assert numbers(page_before(connection, stream.pk, 1, 15, 300)) == [14]


@pytest.mark.parametrize("sql", [reads._FORWARD, reads._BACKWARD])
def test_a_page_is_read_from_the_index_of_offsets_and_not_sorted(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("%s"))
        plan = cursor.fetchone()[-1]
    assert re.fullmatch(r"SEARCH realtime_record USING INDEX \w+ \(stream_id=\? AND offset>\? AND offset<\?\)", plan)


# The threads


@pytest.fixture
async def readers(transactional_db: None) -> AsyncIterator[Reads]:
    found = Reads()
    yield found
    await asyncio.to_thread(found.stop)


@pytest.fixture
def committed(transactional_db: None) -> Stream:
    found = Stream.objects.create(name="a")
    append("a", "1", "2")
    return found


async def test_it_never_waits_behind_a_writer(committed: Stream, readers: Reads) -> None:
    with write_lock():
        assert numbers(await readers.page(committed.pk, 0, 2)) == [1, 2]
    assert readers.pages == 1


async def test_it_sees_what_was_committed_a_moment_ago(committed: Stream, readers: Reads) -> None:
    await readers.page(committed.pk, 0, 9)
    await elsewhere(append, "a", "3")
    assert numbers(await readers.page(committed.pk, 0, 9)) == [1, 2, 3]


async def test_a_reader_cannot_write(committed: Stream, readers: Reads) -> None:
    with pytest.raises(DatabaseError, match="readonly"):
        await readers.run(lambda: Stream.objects.create(name="b"))
    assert not await elsewhere(Stream.objects.filter(name="b").exists)


async def test_the_error_of_a_read_reaches_its_caller(readers: Reads) -> None:
    def fail() -> None:
        raise UnknownStream("x")

    with pytest.raises(UnknownStream):
        await readers.run(fail)


async def test_a_slow_read_does_not_hold_up_the_others(committed: Stream, readers: Reads) -> None:
    gate = threading.Event()
    slow = [asyncio.create_task(readers.run(gate.wait)) for _ in range(reads.THREADS - 1)]
    assert numbers(await readers.page(committed.pk, 0, 9)) == [1, 2]
    gate.set()
    assert await asyncio.gather(*slow) == [True] * len(slow)


async def test_stop_ends_the_threads_and_closes_their_connections(committed: Stream) -> None:
    readers = Reads()
    await asyncio.gather(*(readers.page(committed.pk, 0, 9) for _ in range(10)))
    await asyncio.to_thread(readers.stop)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wirelog-reads")]
    assert readers._connections
    assert all(one.connection is None for one in readers._connections)


def test_pages_of_blobs_hold_the_reference_and_never_the_bytes(stream: Stream) -> None:
    append("a", "", blob=b"\x89" * 100_000, content_type="image/png")
    (record,) = page_after(connections["default"], stream.pk, 10, 99, 300)
    assert record.data == Record.objects.get(offset=11).data
    assert len(record.data) < 200
