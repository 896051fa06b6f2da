"""The list of streams as rows: grouped, ordered, in words. `static/js/streams-page.js` keeps it up to date."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from django.db.models import F
from django.urls import reverse

from . import access, times, words
from .access import Identity
from .models import Kind, Record
from .names import display_names

PEOPLE_KINDS = frozenset({Kind.FEED, Kind.GAME})
MAX_BADGE = 99
# Without a period that a machine promised, this long without a record counts as silent.
SILENT_SECONDS = 600
SPARK_POINTS = 60
# A list of five hundred charts need not draw each of them.
SPARK_STREAMS = 24
SPARK_WIDTH = 110
SPARK_HEIGHT = 26
FILTERS = {"": "All", "unread": "Unread", "mine": "Mine", "silent": "Silent"}


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    title: str
    kind: str
    url: str
    head: int = 0
    unread: int = 0
    # Milliseconds; 0 for a stream without a record.
    time: int = 0
    who: str = ""
    words: str = ""
    here: int = 0
    mine: bool = False
    points: tuple[float, ...] = ()

    @property
    def badge(self) -> str:
        return f"{MAX_BADGE}+" if self.unread > MAX_BADGE else str(self.unread)

    @property
    def people(self) -> bool:
        return self.kind in PEOPLE_KINDS

    @property
    def silent(self) -> bool:
        return not self.people and time.time() - self.time / 1000 > SILENT_SECONDS

    @property
    def spark(self) -> str:
        return polyline(self.points)


BLANK = Row("", "", Kind.FEED, "")


def samples() -> list[Row]:
    """For the styleguide."""
    now = times.now()
    lobby = Row(
        "lobby", "Lobby", Kind.FEED, "#", unread=3, time=now - 12_000, who="Mika", words="restarting node 2, back in a minute", here=4
    )
    return [lobby, Row("host:lab-01", "This host", Kind.CHART, "#", time=now, words="CPU 14.2 %", points=(3, 5, 4, 8, 6, 7, 3, 2, 5, 6))]


def listed(identity: Identity, streams: Sequence[dict[str, Any]]) -> list[Row]:
    """`rpc_methods.stream_list` as rows, in the order in which they stand."""
    names = display_names(stream["last"]["publisher"] for stream in streams if stream["last"])
    mine = set(access.memberships(identity).values_list("stream__name", flat=True))
    sparks = sparklines([stream["name"] for stream in streams if stream["kind"] == Kind.CHART][:SPARK_STREAMS])
    rows = [_row(stream, names, identity) for stream in streams]
    return sorted((replace(row, mine=row.name in mine, points=sparks.get(row.name, ())) for row in rows), key=order)


def _row(stream: dict[str, Any], names: dict[str, str], identity: Identity) -> Row:
    last = stream["last"]
    people = stream["kind"] in PEOPLE_KINDS
    return Row(
        name=stream["name"],
        title=stream["title"] or stream["name"],
        kind=stream["kind"],
        url=reverse("stream", args=[stream["name"]]),
        head=stream["head"],
        # Nobody reads each measurement: only what people write can be unread.
        unread=stream["unread"] if people else 0,
        time=last["time"] if last else 0,
        who=_who(last["publisher"], identity, names) if last and people else "",
        words=words.summary(stream["kind"], msgspec.json.decode(last["data"])) if last else "no records yet",
        here=stream["presence"],
    )


def _who(publisher: str, identity: Identity, names: dict[str, str]) -> str:
    return "You" if publisher and publisher == identity.principal else names.get(publisher, publisher)


def order(row: Row) -> tuple[bool, int, str]:
    """Unread first, then by how recent, in steps so coarse that rows do not dance; then by title."""
    age = time.time() - row.time / 1000
    step = sum(age > limit for limit in (SILENT_SECONDS, 86_400, 30 * 86_400))
    return not row.unread, step, row.title.casefold()


def sparklines(names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The last values of the first number of each stream, oldest first."""
    rows = Record.objects.filter(stream__name__in=names, offset__gt=F("stream__head") - SPARK_POINTS).order_by("stream", "offset")
    series: dict[str, list[float]] = {}
    for name, data in rows.values_list("stream__name", "data"):
        value = first_number(msgspec.json.decode(data) if data else None)
        if value is not None:
            series.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in series.items()}


def first_number(data: Any) -> float | None:
    values = data.values() if isinstance(data, dict) else [data]
    return next((value for value in values if words.is_number(value)), None)


def polyline(points: Sequence[float]) -> str:
    """The points of an SVG polyline. A flat series lies in the middle."""
    if len(points) < 2:
        return ""
    low, high = min(points), max(points)
    step, spread = SPARK_WIDTH / (len(points) - 1), (high - low) or 1
    middle = 0.5 if high == low else 0
    heights = [(1 - middle - (value - low) / spread) * (SPARK_HEIGHT - 2) + 1 for value in points]
    return " ".join(f"{index * step:.1f},{height:.1f}" for index, height in enumerate(heights))


def matching(rows: Iterable[Row], query: str) -> list[Row]:
    wanted = query.casefold()
    return [row for row in rows if wanted in row.name.casefold() or wanted in row.title.casefold()]


def belongs(row: Row, chosen: str) -> bool:
    return {"unread": row.unread > 0, "mine": row.mine, "silent": row.silent}.get(chosen, True)


def tabs(rows: Sequence[Row], chosen: str) -> list[dict[str, Any]]:
    counts = {"unread": sum(row.unread > 0 for row in rows), "silent": sum(row.silent for row in rows)}
    return [
        {"name": name, "label": label, "url": f"/?show={name}" if name else "/", "current": name == chosen, "count": counts.get(name)}
        for name, label in FILTERS.items()
    ]


def sections(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {"name": "people", "title": "People", "rows": [row for row in rows if row.people]},
        {"name": "machines", "title": "Machines", "rows": [row for row in rows if not row.people]},
    ]
