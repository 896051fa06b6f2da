"""Records in words: what a list says of a record. `static/js/words.js` says the same; tests/js/words.json holds both to it."""

import json
import time
from collections.abc import Iterator
from typing import Any

from .models import Kind

# U+202F: a narrow space that does not break.
THIN = "\u202f"
MAX_FIELDS = 3
MAX_TEXT = 200

# Fields that feeds of ours send: how people call them, and their unit. Any other field keeps its name.
FIELDS = {
    "cpu": ("CPU", "%"),
    "memory": ("memory", "GiB"),
    "memory_percent": ("memory", "%"),
    "load": ("load", ""),
    "disk_read": ("disk read", "MB/s"),
    "disk_write": ("disk write", "MB/s"),
    "disk_writes": ("disk writes", "/s"),
    "net_in": ("net in", "MB/s"),
    "net_out": ("net out", "MB/s"),
}
# Of these the list names no second of the same thing.
LISTED = ("cpu", "memory", "load")


def summary(kind: str, data: Any) -> str:
    """A payload in a few words, by the kind of its stream."""
    if isinstance(data, dict) and isinstance(data.get("text"), str):
        return shorten(data["text"])
    if kind != Kind.FEED and isinstance(data, dict) and (fields := list(_numbers(data))):
        return " · ".join(fields[:MAX_FIELDS])
    if isinstance(data, str):
        return shorten(data)
    return shorten(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def _numbers(data: dict[str, Any]) -> Iterator[str]:
    known = [name for name in LISTED if is_number(data.get(name))]
    for name in known or [name for name in data if is_number(data[name])]:
        label, unit = FIELDS.get(name, (name, ""))
        yield f"{label} {number(data[name])}" + (f" {unit}" if unit else "")


def shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: float) -> str:
    """Three digits that count; whole numbers whole."""
    if float(value).is_integer():
        return grouped(int(value))
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return grouped(f"{value:.{places}f}")


def exact(value: float) -> str:
    """As it was sent, for tables."""
    return grouped(f"{value:.10g}")


def grouped(value: int | str) -> str:
    """1204 as 1 204."""
    whole, point, rest = str(value).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    groups = [digits[max(0, end - 3) : end] for end in range(len(digits), 0, -3)]
    return sign + THIN.join(reversed(groups)) + point + rest


def age(milliseconds: int | None, now: float | None = None) -> str:
    """How long ago, in the largest whole unit."""
    if not milliseconds:
        return ""
    seconds = max(0, int(((now or time.time() * 1000) - milliseconds) // 1000))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
