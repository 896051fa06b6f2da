"""What is drawn of a long time, held against every record by itself."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from realtime import rollups, series
from realtime.access import ANONYMOUS
from realtime.errors import BadRequest, NotAvailable, UnknownStream
from realtime.models import Audience, Kind, Record, Stream
from realtime.series import SeriesResult, joined, without

pytestmark = pytest.mark.django_db

# When it was received, and its payload.
Sample = tuple[int, str]


def make(samples: Sequence[Sample], rolled: bool = True, **fields: Any) -> Stream:
    stream = Stream.objects.create(**{"name": "s", "kind": Kind.CHART, "readers": Audience.ANYONE, "head": len(samples)} | fields)
    Record.objects.bulk_create(
        Record(stream=stream, offset=offset, data=data, received=received) for offset, (received, data) in enumerate(samples, 1)
    )
    while rolled and rollups.roll_once():
        pass
    return stream


def ask(**asked: Any) -> SeriesResult:
    return series.series(ANONYMOUS, "s", **asked)


def column(result: SeriesResult, field: str = "a") -> list[tuple[Any, ...]]:
    found = result.fields[field]
    return list(zip(result.times, found.min, found.max, found.mean, found.count, strict=True))


def test_few_records_are_told_exactly_by_point() -> None:
    make([(1000, '{"a":1}'), (1010, '{"a":3}'), (1024, '{"a":-5}'), (1099, '{"a":2,"b":1.5}')])
    result = ask(points=10)
    assert (result.since, result.until, result.width, result.offset) == (1000, 1100, 10, 4)
    assert column(result) == [(1000, 1, 1, 1, 1), (1010, 3, 3, 3, 1), (1020, -5, -5, -5, 1), (1090, 2, 2, 2, 1)]
    assert column(result, "b") == [(1000, None, None, None, 0), (1010, *[None] * 3, 0), (1020, *[None] * 3, 0), (1090, 1.5, 1.5, 1.5, 1)]


def test_a_time_has_a_first_moment_and_ends_before_its_last() -> None:
    make([(time, f'{{"a":{time}}}') for time in range(0, 1000, 10)])
    result = ask(since=100, until=200, points=1)
    assert column(result) == [(100, 100, 190, 145, 10)]
    assert ask(since=95, points=1).fields["a"].count == [90]
    assert ask(until=100, points=1).fields["a"].count == [10]


def test_of_sums_beyond_a_double_the_extremes_are_told() -> None:
    make([(1_000 + number, f'{{"a":{"-" * (number > 15)}1.7e308}}') for number in range(32)])
    assert column(ask(points=1)) == [(1_000, -1.7e308, 1.7e308, 0, 32)]


@pytest.mark.parametrize("asked", [{}, {"since": 5_000}, {"until": 5}, {"since": 5, "until": 6}])
def test_a_time_without_records_has_no_points(asked: dict[str, int]) -> None:
    make([(1000, '{"a":1}'), (1001, '"text"')] if asked else [])
    result = ask(**asked)
    assert (result.times, result.fields) == ([], {})
    assert result.width >= 1


def test_pruned_records_are_not_told() -> None:
    stream = make([(time, f'{{"a":{time}}}') for time in range(300)])
    Record.objects.filter(offset__lt=21).delete()
    Stream.objects.filter(pk=stream.pk).update(tail=21)
    assert column(ask(points=1)) == [(20, 20, 299, sum(range(20, 300)) / 280, 280)]


def test_what_latest_keeps_below_the_tail_is_not_told() -> None:
    stream = make([(time, '{"a":1}') for time in range(50)])
    Record.objects.filter(offset__in=range(2, 41)).delete()
    Stream.objects.filter(pk=stream.pk).update(tail=41)
    assert column(ask(points=1, since=0)) == [(0, 1, 1, 1, 10)]


def test_a_spike_among_many_records_is_seen_at_its_time() -> None:
    samples = [(time, '{"a":1}') for time in range(5_000)]
    samples[3_210] = (3_210, '{"a":99}')
    make(samples)
    result = ask(points=50)
    (time,) = [time for time, _, high, *_ in column(result) if high == 99]
    assert time <= 3_210 < time + 2 * result.width


def test_sparse_records_beside_a_burst_keep_their_times() -> None:
    burst = [(time, '{"a":1}') for time in range(2_000)]
    sparse = [(2_000 + number * 1_000, '{"a":2}') for number in range(100)]
    make(burst + sparse)
    result = ask(points=100)
    counted = {time: count for time, *_, count in column(result) if time > 2_000}
    assert sum(counted.values()) == 100 - 1
    assert max(counted.values()) == 2


def test_named_fields_alone_are_told_and_without_names_the_first_ones() -> None:
    payload = "{" + ",".join(f'"f{number:02}":{number}' for number in range(20)) + "}"
    make([(time, payload) for time in range(40)])
    result = ask(points=1)
    assert (list(result.fields), result.left_out) == ([f"f{number:02}" for number in range(16)], 4)
    result = ask(points=1, fields=["f19", "f00", "nothing"])
    assert ({name: found.max for name, found in result.fields.items()}, result.left_out) == ({"f00": [0], "f19": [19]}, 0)


@pytest.mark.parametrize("rolled", [True, False])
def test_what_is_not_rolled_up_is_read(rolled: bool) -> None:
    make([(time, f'{{"a":{time}}}') for time in range(4_000)], rolled)
    assert column(ask(points=1)) == [(0, 0, 3_999, 1999.5, 4_000)]


@pytest.mark.parametrize("kind, word", [(Kind.FEED, "only streams of kind chart and latest"), (Kind.CHART, "try again in a moment")])
def test_too_many_payloads_are_not_read(kind: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MAX_RAW", 50)
    make([(time, '{"a":1}') for time in range(60)], rolled=False, kind=kind)
    with pytest.raises(NotAvailable, match=word):
        ask()
    assert column(ask(since=20, points=1))[0][-1] == 40


BAD: list[tuple[dict[str, Any], str]] = [
    ({"points": 0}, "points"),
    ({"points": 1_001}, "points"),
    ({"fields": []}, "fields"),
    ({"fields": ["a"] * 17}, "fields"),
    ({"fields": ["a" * 65]}, "fields"),
    ({"since": 5, "until": 5}, "until"),
]


@pytest.mark.parametrize("asked, field", BAD)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], field: str) -> None:
    make([])
    with pytest.raises(BadRequest, match=f"bad request: {field} "):
        ask(**asked)


def test_a_stream_that_may_not_be_read_looks_missing() -> None:
    make([], readers=Audience.MEMBERS)
    with pytest.raises(UnknownStream):
        ask()


def test_a_clock_that_was_set_back_counts_nothing_twice() -> None:
    make([(time % 700, f'{{"a":{time}}}') for time in range(2_000)])
    result = ask(points=7, since=0, until=700)
    assert sum(result.fields["a"].count) == 2_000
    assert (min(found for found in result.fields["a"].min if found is not None), result.times[0]) == (0, 0)


SPANS = [
    ([(0, 10)], [], [(0, 10)]),
    ([(0, 10)], [0, 3, 4, 9], [(1, 3), (5, 9)]),
    ([(0, 2), (5, 8)], [1, 5, 6, 7], [(0, 1)]),
    ([(0, 2), (5, 8)], [0, 1], [(5, 8)]),
]


@pytest.mark.parametrize("spans, holes, left", SPANS)
def test_spans_without_some_numbers(spans: Any, holes: Any, left: Any) -> None:
    assert list(without(spans, holes)) == left


def test_spans_that_touch_are_one() -> None:
    assert joined([(5, 8), (0, 2), (3, 3), (2, 4)]) == [(0, 4), (5, 8)]


class Property(TestCase):
    @settings(max_examples=40)
    @given(st.data())
    def test_it_says_what_the_records_say(self, data: st.DataObject) -> None:
        """Every record is counted once, in its own point or the one before; what is in no block is exact."""
        Stream.objects.all().delete()
        runs = data.draw(st.lists(st.tuples(st.integers(1, 400), st.sampled_from([0, 1, 7, 1_000])), min_size=1, max_size=5))
        seed = data.draw(st.randoms(use_true_random=False))
        samples: list[tuple[int, float]] = []
        time = 1_000
        for count, gap in runs:
            for _ in range(count):
                samples.append((time, round(seed.uniform(-100, 100), 3)))
                time += gap
        stream = make([(time, f'{{"a":{value}}}') for time, value in samples])
        tail = data.draw(st.integers(1, len(samples)))
        Record.objects.filter(stream=stream, offset__lt=tail).delete()
        rollups.forget_rollups(connection, stream.pk, 1, tail)
        Stream.objects.filter(pk=stream.pk).update(tail=tail)
        since = data.draw(st.none() | st.integers(0, time))
        until = data.draw(st.none() | st.integers((since or 0) + 1, time + 2_000))

        result = ask(since=since, until=until, points=data.draw(st.integers(1, 50)))

        kept = [sample for sample in samples[tail - 1 :] if result.since <= sample[0] < result.until]
        found = column(result) if result.fields else []
        assert sum(count for *_, count in found) == len(kept)
        assert math.isclose(sum(mean * count for *_, mean, count in found), sum(value for _, value in kept), abs_tol=1e-6)
        by_point = {point: (low, high) for point, low, high, *_ in found}
        for received, value in kept:
            point = result.since + (received - result.since) // result.width * result.width
            near = [by_point[at] for at in (point, point - result.width) if at in by_point]
            assert any(low <= value <= high for low, high in near)
        if kept:
            assert (min(low for _, low, *_ in found), max(high for _, _, high, *_ in found)) == (
                min(value for _, value in kept),
                max(value for _, value in kept),
            )
