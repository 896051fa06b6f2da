import pytest

from realtime.times import milliseconds, stamp


@pytest.mark.parametrize(
    "milliseconds, text",
    [
        (0, "1970-01-01 00:00:00.000Z"),
        (1_795_000_000_123, "2026-11-18 11:06:40.123Z"),
        (-1, "1969-12-31 23:59:59.999Z"),
        (2**62, f"{2**62} ms"),
        (-(2**62), f"-{2**62} ms"),
        (253_402_300_799_999, "9999-12-31 23:59:59.999Z"),
    ],
)
def test_a_time_is_written_to_the_millisecond_or_as_its_number(milliseconds: int, text: str) -> None:
    assert stamp(milliseconds) == text


@pytest.mark.parametrize("milliseconds, text", [(0, "1970-01-01 01:00:00.000+01:00"), (253_402_300_799_999, "253402300799999 ms")])
def test_a_time_is_in_the_zone_that_is_set(settings: object, milliseconds: int, text: str) -> None:
    settings.TIME_ZONE = "Europe/Berlin"  # type: ignore[attr-defined]

    assert stamp(milliseconds) == text


@pytest.mark.parametrize(
    "text, time",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-18T12:06:40.1239+01:00", 1_795_000_000_123),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2026-11-18T11:06:40", None),
        ("2026-11-18", None),
        ("", None),
        ("1795000000123", None),
    ],
)
def test_only_a_date_with_a_zone_names_a_time(text: str, time: int | None) -> None:
    assert milliseconds(text) == time
