"""What was measured, as a table, as JSON and as curves, in docs/benchmarks/."""

import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

from .field import Measure
from .plot import chart
from .servers import OURS, PEER_KINDS

OURS_NAMES = tuple(kind.name for kind in OURS)
PACKAGES = ("django", "channels", "daphne", "uvicorn", "uvloop", "wsproto", "msgspec", "twisted", "autobahn")


@dataclass(frozen=True)
class Row:
    """One line of the table: the figure `name` (at one place of its curve, if it is one), and what it should be on our two servers."""

    name: str
    title: str
    unit: str
    target: tuple[float, float] | None = None
    least: bool = True
    at: int | None = None


ROWS = (
    Row("saturated", "Saturated durable fan-out: 1,000 subscribers, 50 pipelining publishers", "deliveries/s", (2_500_000, 1_000_000)),
    Row("trickle", "Trickle fan-out: 1,000 subscribers, one record on its way", "deliveries/s", (40_000, 15_000)),
    Row("publish-20", "Durable publishes, 20 publishers pipelining", "records/s", (10_000, 10_000)),
    Row("publish-one", "Durable publishes, one at a time", "records/s", (600, 600)),
    Row("publish-one-p50", "… until the answer, p50", "ms", (2, 2), least=False),
    Row("http-one", "Publishes by HTTP, one at a time", "records/s"),
    Row("http-100", "Publishes by HTTP, 100 at once", "records/s"),
    Row("http-batch", "Publishes by HTTP, batches of 100", "records/s"),
    Row("latency-100-p50", "Published to delivered: 100 subscribers, 100 records/s, p50", "ms", (5, 5), least=False),
    Row("latency-100-p99", "… p99", "ms", (30, 30), least=False),
    Row("latency-1000-p50", "Published to delivered: 1,000 subscribers, 20 records/s, p50", "ms", (40, 40), least=False),
    Row("latency-1000-p99", "… p99", "ms", (150, 150), least=False),
    Row("connect", "Connect and subscribe, signed in", "connections/s", (800, 250)),
    Row("storm", "5,000 clients resume, 100 records behind each", "s", (30, 45), least=False),
    Row("memory", "Memory of an idle, subscribed, signed-in connection, of 1,000", "KiB", (40, 40), least=False, at=1_000),
    Row("memory", "… of 5,000", "KiB", (40, 40), least=False, at=5_000),
    Row("memory", "… of 10,000", "KiB", (40, 40), least=False, at=10_000),
    Row("history", "History page of 100, stream of 1,000 records, p50", "ms", at=1_000),
    Row("history", "… stream of 1,000,000", "ms", at=1_000_000),
    Row("history-growth", "… the second by the first", "×", (1.5, 1.5), least=False),
    Row("series", "Chart of 1,000 points from 1,000,000 records, p50", "ms", (50, 50), least=False, at=1_000_000),
    Row("presence", "Presence of 5,000, p50", "ms"),
    Row("page-feed", "Stream page of 100 records, feed, p50", "ms", (150, 150), least=False),
    Row("page-raw", "… raw, p50", "ms", (150, 150), least=False),
    Row("subscribers-flat", "Deliveries per CPU second, 100 to 5,000 subscribers: the worst by the best before", "×", (0.8, 0.8)),
    Row("streams-flat", "Deliveries per CPU second, 10 to 5,000 streams: the worst by the best before", "×", (0.8, 0.8)),
)
# Ours on uvicorn must be so many times the peer.
RATIOS = (("saturated", "channels-uvicorn", 500.0), ("trickle", "channels-uvicorn", 20.0), ("trickle", "socket.io", 0.5))
CURVES = (
    ("subscribers", "Saturated fan-out", "subscribers", "deliveries per CPU second"),
    ("streams", "2,000 records a second over many streams", "streams, each with one subscriber", "deliveries per CPU second"),
    ("payloads", "Saturated fan-out to 100 subscribers", "bytes of each payload", "MB/s delivered"),
    ("memory", "Memory of each idle connection", "connections", "KiB"),
    ("history", "History page of 100 records, p50", "records in the stream", "ms"),
    ("series", "Chart of 1,000 points, p50", "records in the stream", "ms"),
)


def last_by_first(values: Sequence[float]) -> float:
    return values[-1] / values[0]


def worst_by_best_before(values: Sequence[float]) -> float:
    """How little is left anywhere of what a smaller size gave: 1 for a curve that never falls."""
    return min(value / best for value, best in zip(values, accumulate(values, max), strict=True))


# Figures that follow from a whole curve, up to its last place.
GROWTHS = (
    ("history-growth", "history", 1_000_000, last_by_first),
    ("subscribers-flat", "subscribers", 5_000, worst_by_best_before),
    ("streams-flat", "streams", 5_000, worst_by_best_before),
)


@dataclass
class Results:
    full: bool
    machine: dict[str, Any]
    # By server.
    measures: dict[str, list[Measure]] = field(default_factory=dict)
    # What could not be measured, in sentences.
    failures: list[str] = field(default_factory=list)

    def add(self, server: str, measure: Measure) -> None:
        self.measures.setdefault(server, []).append(measure)

    def value(self, server: str, name: str, at: int | None = None) -> float | None:
        found = [m.value for m in self.measures.get(server, []) if m.name == name and m.at == at]
        return found[-1] if found else None

    def curve(self, server: str, name: str) -> list[tuple[int, float]]:
        return [(m.at, m.value) for m in self.measures.get(server, []) if m.name == name and m.at]

    def add_growths(self, server: str) -> None:
        for name, curve, last, judge in GROWTHS:
            points = self.curve(server, curve)
            if points and points[-1][0] == last:
                self.add(server, Measure(name, judge([value for _, value in points])))


def machine() -> dict[str, Any]:
    """What figures depend on; nothing that names the machine or its owner."""
    cpu = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) // 1024**2 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": cpu[0] if cpu else platform.machine(),
        "memory_gib": memory[0] if memory else None,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "sqlite": _sqlite(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _sqlite() -> str:
    try:
        import pysqlite3
    except ImportError:
        return sqlite3.sqlite_version
    return str(pysqlite3.sqlite_version)


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


# Words


def number(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def verdict(row: Row, value: float | None, target: float) -> str:
    if value is None:
        return "not measured"
    return "yes" if (value >= target if row.least else value <= target) else "**no**"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ours(results: Results) -> str:
    rows = []
    for row in ROWS:
        values = [results.value(name, row.name, row.at) for name in OURS_NAMES]
        if values == [None, None]:
            continue
        sign = "≥" if row.least else "≤"
        wanted = f"{sign} " + " / ".join(dict.fromkeys(map(number, row.target))) if row.target else ""
        met = " / ".join(verdict(row, value, target) for value, target in zip(values, row.target, strict=True)) if row.target else ""
        rows.append([f"{row.title}, {row.unit}", *map(number, values), wanted, met])
    return table(["", *(kind.title for kind in OURS), "target", "met"], rows)


def peers(results: Results) -> str:
    """Every server that was measured, with what it keeps, and how many times as much ours on uvicorn delivers."""
    rows = []
    for kind in (*OURS, *PEER_KINDS):
        values = [(name, results.value(kind.name, name)) for name in ("saturated", "trickle")]
        if values[0][1] or values[1][1]:
            cells = [cell for name, value in values for cell in (number(value), times(results.value(OURS_NAMES[0], name), value))]
            rows.append([kind.title, kind.keeps, *cells])
    return table(["", "keeps records", "saturated, deliveries/s", "Wirelog by it", "trickle, deliveries/s", "Wirelog by it"], rows)


def times(own: float | None, other: float | None) -> str:
    return f"{number(own / other)} ×" if own and other else "–"


def ratios(results: Results) -> str:
    rows = []
    for name, peer, wanted in RATIOS:
        own, other = results.value(OURS_NAMES[0], name), results.value(peer, name)
        if own and other:
            title = next(kind.title for kind in PEER_KINDS if kind.name == peer)
            rows.append([f"{name}, by {title}", times(own, other), f"≥ {wanted:g} ×", "yes" if own / other >= wanted else "**no**"])
    return table(["", "Wirelog on uvicorn", "target", "met"], rows) if rows else "No peer was measured."


def markdown(results: Results, pictures: Sequence[str]) -> str:
    parts = [
        "# Report",
        preamble(results),
        "## Wirelog",
        ours(results),
        "## Beside others, in the same run",
        peers(results),
        ratios(results),
    ]
    if pictures:
        parts += ["## Curves", *(curve(results, *about) for about in CURVES if about[0] in pictures)]
    if results.failures:
        parts += ["## Left out", "\n".join(f"- {sentence}" for sentence in results.failures)]
    return "\n\n".join(parts)


def curve(results: Results, name: str, title: str, across: str, up: str) -> str:
    """A picture, and its figures."""
    lines = [dict(results.curve(server, name)) for server in OURS_NAMES]
    rows = [[f"{place:,}", *(number(line.get(place)) for line in lines)] for place in sorted(set().union(*lines))]
    head = [across, *(f"{kind.title}, {up}" for kind in OURS)]
    return f"![{title}: {up}, by {across}]({name}.svg)\n\n" + table(head, rows)


def preamble(results: Results) -> str:
    facts, target = results.machine, "bench-full" if results.full else "bench"
    software = f"{facts['system']}, Python {facts['python']}, SQLite {facts['sqlite']}"
    return (
        f"Written by `make {target}` on {facts['date']}: {facts['cores']} cores ({facts['processor']}) that server and load generator "
        f"share, {facts['memory_gib']} GiB, {software}. Payloads have 100 bytes unless a row says otherwise. [How to read it](README.md)."
    )


def draw(results: Results, folder: Path) -> list[str]:
    """The curves that there are points for. A picture of an older run is taken away."""
    drawn = []
    for name, title, across, up in CURVES:
        (folder / f"{name}.svg").unlink(missing_ok=True)
        lines = {kind.title: results.curve(kind.name, name) for kind in OURS}
        lines = {title: points for title, points in lines.items() if len(points) > 1}
        if lines:
            (folder / f"{name}.svg").write_text(chart(title, across, up, lines))
            drawn.append(name)
    return drawn


def write(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in OURS:
        results.add_growths(kind.name)
    (folder / "results.json").write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n")
    (folder / "report.md").write_text(markdown(results, draw(results, folder)) + "\n")
