"""`python -m bench`: measures everything, and writes the report. See docs/benchmarks/README.md."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from . import report
from .crew import Crew, LoadFailed
from .field import Field, Wrong
from .peers import setup
from .report import Results
from .scenarios import SCENARIOS, Scenario
from .servers import OURS, PEER_KINDS, ROOT, SIZES, Kind, NotReady, Server, Template, make_template

KINDS = {kind.name: kind for kind in (*OURS, *PEER_KINDS)}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Benchmark:
    def __init__(self, crew: Crew, folder: Path, full: bool) -> None:
        self.crew = crew
        self.folder = folder
        self.results = Results(full, report.machine())
        self.started = time.monotonic()
        self.sizes = SIZES if full else (SIZES[0], SIZES[-1])
        self.small = make_template(folder / "small", SIZES[:1])
        self._large: Template | None = None

    @property
    def large(self) -> Template:
        """A database with streams of all sizes, made when it is needed."""
        if self._large is None:
            self._large = make_template(self.folder / "large", self.sizes)
        return self._large

    def clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        return f"{minutes}:{seconds:02}"

    def run(self, kind: Kind, scenarios: Iterable[Scenario]) -> None:
        for scenario in scenarios:
            say(f"{self.clock()}  {kind.title}: {scenario.title} …")
            try:
                with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                    self.measure(kind, scenario, Path(folder) / "data")
            except (LoadFailed, NotReady, Wrong) as error:
                last = str(error).strip().splitlines()[-1]
                self.results.failures.append(f"{kind.title}, {scenario.title}: {last}")
                say(f"      failed: {error}")

    def measure(self, kind: Kind, scenario: Scenario, data: Path) -> None:
        """One scenario, on a server of its own."""
        template = self.large if scenario.long_streams else self.small
        ours = kind in OURS
        if ours:
            template.copy(data)
        else:
            data.mkdir()
        with Server(kind, data) as server:
            field = Field(self.crew, server, template if ours else None, self.results.full, self.sizes)
            for measure in scenario.run(field):
                self.results.add(kind.name, measure)
                place = "" if measure.at is None else f" at {measure.at:,}"
                say(f"      {measure.name}{place}: {report.number(measure.value)}   {details(measure.details)}")


def details(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {report.number(value)}" for name, value in values.items())


def chosen(args: argparse.Namespace, kind: Kind) -> list[Scenario]:
    names = args.only or [name for name, scenario in SCENARIOS.items() if args.full or not scenario.full]
    return [SCENARIOS[name] for name in names if kind in OURS or SCENARIOS[name].peers]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures Wirelog, and others beside it.")
    parser.add_argument("--full", action="store_true", help="Everything, with curves.")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, metavar="SCENARIO", help=f"Some of: {', '.join(SCENARIOS)}.")
    parser.add_argument("--servers", nargs="+", choices=KINDS, metavar="SERVER", help=f"Some of: {', '.join(KINDS)}.")
    parser.add_argument("--out", type=Path, help="Folder of the report; default: docs/benchmarks, and nowhere with --only or --servers.")
    args = parser.parse_args()
    peers = list(setup.ready(say)) if not args.servers or set(args.servers) - {kind.name for kind in OURS} else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Crew() as crew:
        benchmark = Benchmark(crew, Path(folder), args.full)
        for kind in (*OURS, *peers):
            if not args.servers or kind.name in args.servers:
                benchmark.run(kind, chosen(args, kind))
    out = args.out or (None if args.only or args.servers else ROOT / "docs" / "benchmarks")
    if out:
        report.write(benchmark.results, out)
        say(f"{benchmark.clock()}  Written: {out / 'report.md'}")
    sys.exit(bool(benchmark.results.failures))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
