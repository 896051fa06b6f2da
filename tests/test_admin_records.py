import re
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from realtime.admin import records
from realtime.models import Record, Stream

from . import desk

pytestmark = pytest.mark.django_db

LIST = "/admin/realtime/record/"


@pytest.fixture
def client_in(client: Client) -> Client:
    client.force_login(desk.viewer())
    return client


@pytest.fixture
def stream() -> Stream:
    return desk.stream("lobby2")


def positions(page: str) -> list[str]:
    return re.findall(r'<th class="field-position"><a[^>]*>([^<]+)</a>', page)


def older(page: str) -> str | None:
    link = re.search(r'href="([^"]+)" rel="next"', page)
    return link[1].replace("&amp;", "&") if link else None


def get(client: Client, query: str = "") -> str:
    response = client.get(f"{LIST}{query}")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("query", ["", "?q=lobby2"])
def test_pages_lead_through_all_records_newest_first_each_once(client_in: Client, stream: Stream, query: str) -> None:
    desk.append(stream.name, *(str(number) for number in range(250)))
    seen: list[str] = []
    link: str | None = query
    while link is not None:
        page = get(client_in, link)
        seen += positions(page)
        link = older(page)

    assert seen == [f"lobby2@{offset}" for offset in range(250, 0, -1)]


@pytest.mark.parametrize("query", ["", "?q=lobby2", "?p=2", "?q=lobby2&p=90", "?received=24", "?q=lobby2&received=1"])
def test_a_page_counts_nothing_and_skips_nothing(client_in: Client, stream: Stream, query: str) -> None:
    desk.append(stream.name, *(str(number) for number in range(150)))
    with CaptureQueriesContext(connection) as queries:
        get(client_in, query)

    about_records = [query["sql"] for query in queries if "realtime_record" in query["sql"]]
    assert about_records
    assert not [sql for sql in about_records if "COUNT(" in sql or "OFFSET" in sql]


def test_the_pages_of_one_stream_use_its_index(client_in: Client, stream: Stream) -> None:
    desk.append(stream.name, *(str(number) for number in range(150)))
    with CaptureQueriesContext(connection) as queries:
        get(client_in, "?q=lobby2&p=90")
    page = next(query["sql"] for query in queries if "ORDER BY" in query["sql"] and '"offset" <' in query["sql"])

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {page}")
        plan = " ".join(str(row[-1]) for row in cursor.fetchall())

    assert "(stream_id=? AND offset<?)" in plan
    assert "TEMP B-TREE" not in plan


def test_a_position_finds_its_record(client_in: Client, stream: Stream) -> None:
    desk.append(stream.name, "1", "2", "3")

    assert positions(get(client_in, "?q=lobby2@2")) == ["lobby2@2"]


def test_words_are_looked_for_in_payloads(client_in: Client, stream: Stream) -> None:
    other = desk.stream("other")
    desk.append(stream.name, '{"text": "hello world"}', '{"text": "bye"}')
    desk.append(other.name, '{"text": "Hello again"}')

    assert positions(get(client_in, "?q=hello")) == ["other@1", "lobby2@1"]
    assert positions(get(client_in, "?q=lobby2+hello")) == ["lobby2@1"]
    assert positions(get(client_in, "?q=hello+world")) == ["lobby2@1"]


def test_words_are_not_looked_for_in_a_whole_database(client_in: Client, stream: Stream, monkeypatch: Any) -> None:
    monkeypatch.setattr(records, "SEARCHED", 2)
    desk.append(stream.name, '"needle"', "1", "2")

    assert positions(get(client_in, "?q=needle")) == []
    assert positions(get(client_in, "?q=lobby2+needle")) == []


@pytest.mark.parametrize("query", ["", "q=lobby2&"])
def test_the_filter_by_time_keeps_what_is_young_enough(client_in: Client, stream: Stream, query: str) -> None:
    desk.append(stream.name, *("1" for _ in range(10)))
    hour = 3_600_000
    for age, offset in enumerate(range(10, 0, -1)):
        Record.objects.filter(stream=stream, offset=offset).update(received=time.time() * 1000 - age * hour - 1000)
    # Pruned rows leave no hole in the search for the time.
    Record.objects.filter(stream=stream, offset__in=[1, 8]).delete()

    assert positions(get(client_in, f"?{query}received=1")) == ["lobby2@10"]
    assert positions(get(client_in, f"?{query}received=24")) == [f"lobby2@{offset}" for offset in (10, 9, 7, 6, 5, 4, 3, 2)]


def test_the_filter_by_time_finds_nothing_where_nothing_is(client_in: Client, stream: Stream) -> None:
    assert positions(get(client_in, "?received=1")) == []
    assert positions(get(client_in, "?q=lobby2&received=1")) == []


def test_a_list_does_not_load_payloads(client_in: Client, stream: Stream) -> None:
    desk.append(stream.name, '"' + "x" * 5000 + '"')

    page = get(client_in)

    assert "x" * 119 + "…" in page
    assert "x" * 200 not in page
    assert ">5,002<" in page


def test_a_record_shows_its_payload_as_it_was_sent_and_its_times(client_in: Client, stream: Stream) -> None:
    desk.append(stream.name, '{"value":1.10,"text":"<b>"}', device_time=1_795_000_000_123, key="t1")

    page = client_in.get(f"{LIST}{Record.objects.get().pk}/change/").content.decode()

    assert "&quot;value&quot;: 1.10" in page
    assert "&lt;b&gt;" in page
    assert "2026-11-18 11:06:40.123Z" in page


def test_a_device_with_a_broken_clock_breaks_no_page(client_in: Client, stream: Stream) -> None:
    desk.append(stream.name, "1", device_time=2**62)

    assert "4611686018427387904 ms" in client_in.get(f"{LIST}{Record.objects.get().pk}/change/").content.decode()


@pytest.mark.parametrize("query", ["?p=x", "?p=-5", "?p=99999999999999999999", "?received=x", "?o=1", "?nonsense=1", "?all="])
def test_a_query_that_makes_no_sense_is_no_error(client_in: Client, stream: Stream, query: str) -> None:
    desk.append(stream.name, "1")

    assert client_in.get(f"{LIST}{query}", follow=True).status_code == 200


def test_a_blob_is_named_by_its_type_and_size(client_in: Client, stream: Stream) -> None:
    Record.objects.create(stream=stream, offset=1, blob=b"\x89PNG", content_type="image/png", received=0)

    page = get(client_in)

    assert "image/png" in page
    assert ">4<" in page
    assert "none: a blob" in client_in.get(f"{LIST}{Record.objects.get().pk}/change/").content.decode()
