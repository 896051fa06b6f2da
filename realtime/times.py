"""Times of records, which are whole milliseconds since 1970, for people."""

from datetime import UTC, datetime, timedelta

from django.utils import timezone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(milliseconds: int) -> datetime | None:
    """The date-time; None for one beyond the calendar, which a device with a broken clock may send."""
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def stamp(milliseconds: int) -> str:
    """The date-time to the millisecond, in the zone that is set; the bare number when it is beyond the calendar."""
    when = moment(milliseconds)
    if when is None:
        return f"{milliseconds} ms"
    try:
        return timezone.localtime(when).isoformat(" ", "milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError):
        return f"{milliseconds} ms"
