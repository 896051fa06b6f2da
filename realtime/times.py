"""Times of records, which are whole milliseconds since 1970, for people."""

import time
from datetime import UTC, datetime, timedelta

from django.utils import timezone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> int:
    return time.time_ns() // 1_000_000


def moment(milliseconds: int) -> datetime | None:
    """The date-time; None for one beyond the calendar, which a device with a broken clock may send."""
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def local(milliseconds: int) -> datetime:
    """The date-time of a record, in the zone that is set: when the server received it is never beyond the calendar."""
    return timezone.localtime(EPOCH + timedelta(milliseconds=milliseconds))


def stamp(milliseconds: int, precision: str = "milliseconds") -> str:
    """The date-time, in the zone that is set; the bare number when it is beyond the calendar."""
    when = moment(milliseconds)
    try:
        return written(when, precision) if when else f"{milliseconds} ms"
    except (OverflowError, ValueError):
        # Another zone may lie beyond the calendar.
        return f"{milliseconds} ms"


def iso(milliseconds: int) -> str:
    """RFC 3339 in UTC, for programs; the bare number when it is beyond the calendar."""
    when = moment(milliseconds)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z") if when else str(milliseconds)


def written(when: datetime, precision: str = "seconds") -> str:
    """`when` in the zone that is set, in the order of its digits."""
    return zoned(when).isoformat(" ", precision).replace("+00:00", "Z")


def zoned(when: datetime) -> datetime:
    """A date-time of the database in the zone that is set; a project with USE_TZ off has no others."""
    return timezone.localtime(when) if timezone.is_aware(when) else when


def milliseconds(text: str) -> int | None:
    """The time that an RFC 3339 date-time names; None for anything else, and for one without a zone, which names none."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (when - EPOCH) // timedelta(milliseconds=1) if when.tzinfo is not None else None
