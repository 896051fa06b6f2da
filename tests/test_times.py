import pytest

from realtime.times import stamp


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
