"""A feed as rows: records with their day separators, grouped by sender, and the line before what is new.

The first paint of the feed. `static/js/feed-rows.js` does the same for what comes later.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import msgspec
from django.utils import formats, timezone

from . import times
from .access import Identity
from .protocol import Publication

GROUP_MS = 5 * 60 * 1000
# Characters beyond which a record scrolls by itself, and does not fill the feed.
LONG = 2_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A row that is no record: a day, or the line before what is new."""

    type: str
    key: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    offset: int
    time: int
    name: str
    own: bool
    # Sent soon after the record before it, by the same sender.
    joined: bool
    text: str
    text_class: str
    type: str = "record"


def rows(page: Iterable[Publication], names: Mapping[str, str], identity: Identity, marker: int) -> Iterator[Mark | Row]:
    """The rows of `page`, which is in order. `marker` is the last offset that the reader has read; 0 for a first visit."""
    before: Publication | None = None
    new_seen = marker == 0
    for record in page:
        own = record.publisher != "" and record.publisher == identity.principal
        fresh_day = before is None or day_of(before.time) != day_of(record.time)
        if fresh_day:
            day = day_of(record.time)
            yield Mark("day", f"day:{day.isoformat()}", day_label(day))
        starts_new = not new_seen and record.offset > marker and not own
        if starts_new:
            new_seen = True
            yield Mark("new", "new")
        joined = not fresh_day and not starts_new and before is not None and follows(before, record)
        text, css = text_of(record.data)
        yield Row(record.offset, record.time, "You" if own else names.get(record.publisher, record.publisher), own, joined, text, css)
        before = record


def follows(before: Publication, record: Publication) -> bool:
    return before.publisher == record.publisher and 0 <= record.time - before.time < GROUP_MS


def text_of(data: str) -> tuple[str, str]:
    """The text of a record, and how it is set: as writing, or as data."""
    value = payload_of(data)
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        text, css = value["text"], "wire-text"
    else:
        text, css = data if value is not None else "no payload", "wire-data"
    return text, f"{css} wire-long" if len(text) > LONG else css


def payload_of(data: str) -> Any:
    """None for a payload that was taken away."""
    return msgspec.json.decode(data) if data else None


def pretty(data: str) -> str:
    """Indented, with every number as it was sent: 1.10 stays 1.10."""
    return msgspec.json.format(data, indent=2) if data else ""


def day_of(milliseconds: int) -> date:
    return times.local(milliseconds).date()


def day_label(day: date) -> str:
    today = timezone.localdate()
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return formats.date_format(day, "l, j F Y" if day.year != today.year else "l, j F")
