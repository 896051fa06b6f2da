"""The newest record of each key."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from realtime import latest, protocol
from realtime.access import ANONYMOUS
from realtime.errors import BadRequest, UnknownStream
from realtime.models import Audience, Record, Stream

from .core import append

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def streams() -> None:
    for name in ("iot", "other"):
        Stream.objects.create(name=name, readers=Audience.ANYONE)


def publish(*keys: str, stream: str = "iot", **fields: Any) -> None:
    for key in keys:
        append(stream, f'"{key}"', key=key, **fields)


def found(**asked: Any) -> tuple[list[tuple[str, int]], str]:
    result = latest.latest(ANONYMOUS, "iot", **asked)
    records = [json.loads(bytes(publication)) for publication in result.publications]
    return [(record["key"], record["offset"]) for record in records], result.next


def test_each_key_is_told_once_with_its_newest_record_in_the_order_of_keys() -> None:
    publish("b", "a", "b", "é", "Z", "b", "a")
    append("iot", '"no key"')
    publish("a", "x", stream="other")

    assert found() == ([("Z", 5), ("a", 7), ("b", 6), ("é", 4)], "")


def test_an_answer_tells_the_whole_record_and_where_to_subscribe() -> None:
    append("iot", "1.10", key="a", publisher="7", tags={"t": "x"})
    append("iot", "2")
    stream, record = Stream.objects.get(name="iot"), Record.objects.get(offset=1)

    result = latest.latest(ANONYMOUS, "iot")

    expected = protocol.Publication(1, "1.10", record.received, "7", "", "a", False, '{"t":"x"}')
    assert [bytes(text).decode() for text in result.publications] == [protocol.publication(expected)]
    assert (result.epoch, result.offset) == (stream.epoch, 2)


def test_an_ended_key_is_left_out_until_it_is_published_again() -> None:
    publish("a", "b", "c")
    publish("b", removed=True)
    assert found()[0] == [("a", 1), ("c", 3)]
    assert found(keys=["b", "c"])[0] == [("c", 3)]

    publish("b")
    assert found()[0] == [("a", 1), ("b", 5), ("c", 3)]


def test_a_protected_record_below_the_tail_is_told() -> None:
    publish("a", "b")
    Stream.objects.filter(name="iot").update(tail=2)

    assert found()[0] == [("a", 1), ("b", 2)]


PREFIXES: list[tuple[dict[str, Any], list[str]]] = [
    ({"prefix": "a"}, ["a", "a.1", "a.2"]),
    ({"prefix": "a."}, ["a.1", "a.2"]),
    ({"prefix": "é"}, ["é", "é!"]),
    ({"prefix": "zz"}, []),
    ({"prefix": "a", "after": "a.1"}, ["a.2"]),
    ({"prefix": "b", "after": "a"}, ["b"]),
    ({"after": "a.2"}, ["b", "é", "é!"]),
    ({"after": "a.15"}, ["a.2", "b", "é", "é!"]),
    ({"after": "zzz"}, ["é", "é!"]),
    ({"keys": ["b", "a", "b", "missing", ""]}, ["a", "b"]),
    ({"keys": ["b", "a"], "after": "a"}, ["b"]),
    ({"keys": ["b", "a"], "prefix": "a"}, ["a"]),
    ({"keys": []}, []),
]


@pytest.mark.parametrize("asked, keys", PREFIXES)
def test_some_keys_may_be_asked_for(asked: dict[str, Any], keys: list[str]) -> None:
    publish("a.2", "b", "a", "é", "a.1", "é!")

    assert ([key for key, _ in found(**asked)[0]], found(**asked)[1]) == (keys, "")


@pytest.mark.parametrize("asked", [{}, {"keys": [f"k{number}" for number in range(7)]}])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_lead_through_every_key_once(asked: dict[str, Any], limit: int) -> None:
    publish(*(f"k{number}" for number in range(7)))
    publish("k3", removed=True)
    seen: list[str] = []
    after, pages = "", 0
    while pages == 0 or after:
        page, after = found(limit=limit, after=after, **asked)
        seen += [key for key, _ in page]
        pages += 1

    assert seen == ["k0", "k1", "k2", "k4", "k5", "k6"]
    assert pages == -(-7 // limit)


def test_pages_of_keys_lead_past_those_that_nobody_has_published() -> None:
    publish("d")

    assert found(keys=["a", "b", "c", "d"], limit=2) == ([], "b")
    assert found(keys=["a", "b", "c", "d"], limit=2, after="b") == ([("d", 1)], "")


def test_a_page_is_cut_at_its_bytes_and_goes_on(settings: Any) -> None:
    settings.WIRELOG = settings.WIRELOG | {"PAGE_BYTES": 10}
    publish("aaa", "bbb", "ccc")

    assert found() == ([("aaa", 1), ("bbb", 2)], "bbb")
    assert found(after="bbb") == ([("ccc", 3)], "")


@pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": 1_001}, {"limit": -1}, {"keys": ["x"] * 1_001}])
def test_more_than_a_thousand_keys_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        found(**asked)


def test_a_stream_that_may_not_be_read_looks_missing() -> None:
    Stream.objects.filter(name="iot").update(readers=Audience.MEMBERS)
    with pytest.raises(UnknownStream):
        found()


@pytest.mark.parametrize("asked", [{}, {"prefix": "a", "after": "a1"}, {"keys": ["a", "b"]}])
def test_no_query_walks_through_the_records_of_a_key(asked: dict[str, Any]) -> None:
    publish("a", "b")
    with CaptureQueriesContext(connection) as queries:
        found(**asked)
    query = next(query["sql"] for query in queries if "walk" in query["sql"])

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {query}")
        steps = [str(row[-1]) for row in cursor.fetchall() if "realtime_record" in str(row[-1])]

    assert len(steps) >= 2
    ways = (
        "INDEX record_latest (stream_id=? AND key=?)",
        "INDEX record_latest (stream_id=? AND key>? AND key<?)",
        "(stream_id=? AND offset=?)",
    )
    assert [step for step in steps if not step.endswith(ways)] == []


class Property(TestCase):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["", "a", "aa", "b", "ü", "\U0001f600"]), st.booleans()), max_size=30), st.integers(1, 4))
    def test_it_is_what_a_dictionary_would_hold(self, published: list[tuple[str, bool]], limit: int) -> None:
        Stream.objects.all().delete()
        Stream.objects.create(name="iot", readers=Audience.ANYONE)
        state: dict[str, int] = {}
        for offset, (key, removed) in enumerate(published, 1):
            append("iot", "1", key=key, removed=removed and key != "")
            state.pop(key, None)
            if key and not removed:
                state[key] = offset
        seen: dict[str, int] = {}
        after = "start"
        while after:
            page, after = found(limit=limit, after="" if after == "start" else after)
            seen |= dict(page)

        assert list(seen.items()) == sorted(state.items())


# For readers who lag (delivery=newest)


def changed(position: int, upto: int, count: int = 300) -> list[int]:
    return [record.offset for record in latest.changed(Stream.objects.get(name="iot").pk, position, upto, count)]


def test_what_changed_is_the_newest_record_of_each_key_after_a_position_in_the_order_of_offsets() -> None:
    publish("a", "b", "a")
    append("iot", '"no key"')
    append("iot", "null", key="b", removed=True)
    append("iot", '"no key"')
    publish("c", stream="other")

    assert changed(0, 6) == [3, 5, 6]
    assert changed(3, 6) == [5, 6]
    assert changed(6, 6) == []


def test_what_is_newer_than_asked_for_is_left_to_who_delivers_it() -> None:
    publish("a", "b", "a")

    assert changed(0, 2) == [2]


def test_of_too_many_keys_those_that_changed_last_are_told() -> None:
    publish(*"abcd")

    assert changed(0, 4, count=2) == [3, 4]
