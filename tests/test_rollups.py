"""Blocks of records, summed up behind the head."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection

from realtime import rollups
from realtime.models import Kind, Record, Rollup, Stream

from .core import append

pytestmark = pytest.mark.django_db


def make(*payloads: str, name: str = "s", kind: str = Kind.CHART) -> Stream:
    """A stream in which a record was received every 10 ms."""
    stream, _ = Stream.objects.get_or_create(name=name, defaults={"kind": kind})
    append(name, *payloads)
    for record in Record.objects.filter(stream=stream):
        Record.objects.filter(pk=record.pk).update(received=record.offset * 10)
    stream.refresh_from_db()
    return stream


def roll() -> int:
    units = 0
    while rollups.roll_once():
        units += 1
    return units


def rows(size: int = 16, **fields: Any) -> list[tuple[Any, ...]]:
    found = Rollup.objects.filter(size=size, **fields).order_by("block", "field")
    return list(found.values_list("block", "field", "first_time", "last_time", "minimum", "maximum", "total", "count"))


def numbers(count: int, start: int = 1) -> Sequence[str]:
    return [f'{{"a":{number}}}' for number in range(start, start + count)]


def test_a_full_block_is_rolled_up_and_the_rest_waits() -> None:
    stream = make(*numbers(40))
    assert roll() == 1
    assert rows() == [(0, "a", 10, 160, 1, 16, 136, 16), (1, "a", 170, 320, 17, 32, 392, 16)]
    stream.refresh_from_db()
    assert stream.rolled == 32

    append("s", *numbers(8, 41))
    roll()
    assert rows()[2][:2] == (2, "a")


def test_blocks_of_each_size_are_made_of_the_smaller_ones() -> None:
    make(*numbers(1_030))
    roll()
    assert [row[0] for row in rows(128)] == list(range(8))
    assert rows(128)[1] == (1, "a", 1290, 2560, 129, 256, sum(range(129, 257)), 128)
    assert rows(1_024) == [(0, "a", 10, 10_240, 1, 1_024, sum(range(1, 1_025)), 1_024)]
    assert rows(8_192) == []


@pytest.mark.parametrize(("bound", "most", "units"), [("UNIT", 48, 22), ("UNIT_BYTES", 1, 64), ("UNIT_BYTES", 500, 22)])
def test_a_large_backlog_is_taken_in_units_and_ends_the_same(bound: str, most: int, units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    make(*numbers(1_030))
    roll()
    at_once = list(Rollup.objects.order_by("size", "block").values())
    Rollup.objects.all().delete()
    Stream.objects.update(rolled=0)
    monkeypatch.setattr(rollups, bound, most)

    assert roll() == units
    assert list(Rollup.objects.order_by("size", "block").values()) == at_once


ODD = [
    ("1.5", {"value": (1.5, 1)}),
    ('{"a":1,"b":-2.5,"c":"3","d":null,"e":true,"f":[4],"g":{"h":5}}', {"a": (1, 1), "b": (-2.5, 1)}),
    ("[7,8]", {}),
    ('"9"', {}),
    ("null", {}),
    ('{"":1}', {"": (1, 1)}),
    ('{"ü \\"x":1e3}', {'ü "x': (1000, 1)}),
    ('{"a":9223372036854775807}', {"a": (2.0**63, 1)}),
    ('{"a":123456789012345678901234567890}', {"a": (1.2345678901234568e29, 1)}),
    (f'{{"{"x" * 64}":1,"{"y" * 65}":1}}', {"x" * 64: (1, 1)}),
]


@pytest.mark.parametrize("payload, found", ODD)
def test_the_numbers_at_the_top_of_a_payload_count(payload: str, found: dict[str, tuple[float, int]]) -> None:
    make(payload, *["{}"] * 15)
    roll()
    assert {row[1]: (row[4], row[7]) for row in rows()} == found


def test_whole_numbers_do_not_overflow() -> None:
    make(*['{"a":9223372036854775807}'] * 16)
    roll()
    assert rows()[0][6] == pytest.approx(16 * 2.0**63)


def test_sums_beyond_a_double_keep_no_other_stream_waiting() -> None:
    make(*['{"a":1.7e308}'] * 16, *['{"a":-1.7e308}'] * 16, *numbers(96))
    make(*numbers(16), name="little")
    roll()
    assert [row[4:6] for row in rows(128)] == [(-1.7e308, 1.7e308)]
    assert Rollup.objects.filter(stream__name="little").exists()


def test_a_redacted_record_is_passed_over() -> None:
    make(*numbers(16))
    Record.objects.filter(offset=16).update(data="")
    roll()
    assert rows()[0][5:] == (15, 120, 15)


def test_only_what_is_drawn_is_rolled_up_and_the_one_most_behind_first() -> None:
    make(*numbers(64), name="feed", kind=Kind.FEED)
    make(*numbers(16), name="little")
    make(*numbers(48), name="much", kind=Kind.LATEST)
    assert rollups.roll_once()
    assert set(Rollup.objects.values_list("stream__name", flat=True)) == {"much"}
    assert roll() == 1
    assert set(Rollup.objects.values_list("stream__name", flat=True)) == {"much", "little"}


def test_what_was_pruned_before_is_left_out() -> None:
    stream = make(*numbers(64))
    Record.objects.filter(stream=stream, offset__lt=40).delete()
    Stream.objects.update(tail=40)
    roll()
    assert [row[0] for row in rows()] == [2, 3]
    Stream.objects.update(tail=65, rolled=0)
    Rollup.objects.all().delete()
    roll()
    assert rows() == []
    assert not rollups.roll_once()


def test_pruned_blocks_are_forgotten_in_every_size() -> None:
    stream = make(*numbers(1_100))
    roll()
    rollups.forget_rollups(connection, stream.pk, 1, 130)
    assert (rows()[0][0], rows(128)[0][0], len(rows(1_024))) == (8, 1, 1)
    rollups.forget_rollups(connection, stream.pk, 130, 1_101)
    assert ([row[0] for row in rows()], rows(128), rows(1_024)) == ([], [], [])


def test_a_changed_record_changes_its_blocks() -> None:
    stream = make(*numbers(1_100))
    roll()
    stream.refresh_from_db()
    for offset in (130, 1_090, 1_100):
        Record.objects.filter(offset=offset).update(data="")
        rollups.roll_again(connection, stream, offset)

    again = list(Rollup.objects.order_by("size", "block").values())
    Rollup.objects.all().delete()
    Stream.objects.update(rolled=0)
    roll()
    assert again == list(Rollup.objects.order_by("size", "block").values())
    assert rows(1_024)[0][7] == 1_023
