"""The same table holds static/js/words.js (tests/js/words.test.js)."""

import json
from pathlib import Path
from typing import Any

import pytest

from realtime import words
from realtime.stream_list import polyline

CASES: dict[str, list[list[Any]]] = json.loads((Path(__file__).parent / "js" / "words.json").read_text())
NOW = 1_000_000


@pytest.mark.parametrize("value, text", CASES["number"])
def test_a_number_has_three_digits_that_count(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize("value, text", CASES["exact"])
def test_a_table_is_exact(value: float, text: str) -> None:
    assert words.exact(value) == text


@pytest.mark.parametrize("value, text", CASES["grouped"])
def test_digits_stand_in_groups_of_three(value: int | str, text: str) -> None:
    assert words.grouped(value) == text


@pytest.mark.parametrize("time, text", CASES["age"])
def test_an_age_is_in_its_largest_whole_unit(time: int, text: str) -> None:
    assert words.age(time, NOW) == text


@pytest.mark.parametrize("kind, data, text", CASES["summary"])
def test_a_payload_is_told_in_a_few_words(kind: str, data: Any, text: str) -> None:
    assert words.summary(kind, data) == text


@pytest.mark.parametrize("points, text", CASES["sparkline"])
def test_a_sparkline_uses_its_whole_height(points: list[float], text: str) -> None:
    assert polyline(points) == text


def test_a_long_text_is_cut() -> None:
    assert len(words.shorten("word " * 100)) == words.MAX_TEXT
