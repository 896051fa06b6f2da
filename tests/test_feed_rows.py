import json
from datetime import UTC, datetime

import pytest

from realtime import feed_rows
from realtime.access import Identity
from realtime.feed_rows import Mark, Row
from realtime.protocol import Publication

ANA = Identity("1", "Ana", 1)
NAMES = {"1": "Ana", "2": "Mika"}
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000


def record(offset: int, minutes: int = 0, publisher: str = "2", data: str = '{"text":"hi"}') -> Publication:
    return Publication(offset, data, NOON + minutes * MINUTE, publisher)


def kinds(*records: Publication, marker: int = 0) -> list[str]:
    made = feed_rows.rows(records, NAMES, ANA, marker)
    return [row.type if isinstance(row, Mark) else ("+" if row.joined else "") + str(row.offset) for row in made]


def test_a_day_stands_before_its_first_record() -> None:
    assert kinds(record(1), record(2, 24 * 60)) == ["day", "1", "day", "2"]


def test_one_sender_within_five_minutes_is_one_group() -> None:
    assert kinds(record(1), record(2, 4), record(3, 10), record(4, 11, "1"), record(5, 12, "2")) == ["day", "1", "+2", "3", "4", "5"]


def test_a_clock_that_went_back_ends_the_group() -> None:
    assert kinds(record(1), record(2, -1)) == ["day", "1", "2"]


def test_the_line_stands_before_the_first_record_of_others_after_the_marker() -> None:
    assert kinds(record(1), record(2, 0, "1"), record(3), record(4), marker=1) == ["day", "1", "2", "new", "3", "+4"]


@pytest.mark.parametrize("marker", [0, 9])
def test_there_is_no_line_on_a_first_visit_or_when_all_is_read(marker: int) -> None:
    assert "new" not in kinds(record(1), record(2), marker=marker)


def test_names_are_those_of_people_and_oneself_is_you() -> None:
    made = list(feed_rows.rows([record(1), record(2, 0, "1"), record(3, 0, "key:x")], NAMES, ANA, 0))
    assert [(row.name, row.own) for row in made if isinstance(row, Row)] == [("Mika", False), ("You", True), ("key:x", False)]


def test_records_without_a_publisher_are_not_of_who_is_not_signed_in() -> None:
    [row] = [row for row in feed_rows.rows([record(1, 0, "")], {}, Identity("", "anonymous"), 0) if isinstance(row, Row)]
    assert not row.own


@pytest.mark.parametrize(
    "data, text, css",
    [
        ('{"text":"hi"}', "hi", "wire-text"),
        ('{"text":"two\\nlines"}', "two\nlines", "wire-text"),
        ('{"text":5}', '{"text":5}', "wire-data"),
        ('{"v":1.10}', '{"v":1.10}', "wire-data"),
        ("7", "7", "wire-data"),
        ("", "no payload", "wire-data"),
        ("null", "no payload", "wire-data"),
        (json.dumps({"text": "x" * 2000}), "x" * 2000, "wire-text"),
        (json.dumps({"text": "x" * 2001}), "x" * 2001, "wire-text wire-long"),
        ("1" * 2001, "1" * 2001, "wire-data wire-long"),
    ],
)
def test_writing_is_set_as_writing_and_anything_else_as_data(data: str, text: str, css: str) -> None:
    assert feed_rows.text_of(data) == (text, css)


def test_pretty_leaves_numbers_as_they_were_sent() -> None:
    assert feed_rows.pretty('{"v":1.10,"n":[1e3]}') == '{\n  "v": 1.10,\n  "n": [\n    1e3\n  ]\n}'
    assert feed_rows.pretty("") == ""
