"""The long round of faults: `make faults ARGS='--kills 200 --soak 10m'`. Writes docs/fault-matrix.md.

First every test that the matrix names, then the scenarios of `long.py`. Ends with status 1 when anything failed.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path

from tests.machine import ROOT

from ..end_to_end.servers import KINDS, Fleet, make_template
from .long import SCENARIOS, Run
from .matrix import ROWS, Row

DOCUMENT = ROOT / "docs" / "fault-matrix.md"
UNITS = {"s": 1, "m": 60, "h": 3_600}


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smh])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"must be a number of s, m or h, like 10m, not {text!r}")
    return int(found[1]) * UNITS[found[2]]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000, help="How often a server is killed; default: %(default)s.")
    parser.add_argument(
        "--soak", type=seconds, default="1h", help="How long the soak lasts, on both servers together; default: %(default)s."
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="Of everything that is chosen at random.")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="Run this long scenario, and write nothing. May be repeated.")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


@dataclass
class Outcome:
    """Everything that the document tells."""

    options: argparse.Namespace
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    # Names of tests, without parameters, and of scenarios; and whether all of it passed.
    tests: dict[str, bool] = field(default_factory=dict)
    scenarios: dict[str, bool] = field(default_factory=dict)
    # Of each host in the tests: `Report.numbers`.
    counts: list[list[int]] = field(default_factory=list)
    run: Run | None = None

    def passed(self, row: Row) -> bool:
        return all(self.tests.get(test, False) for test in row.tests) and all(self.scenarios.get(name, False) for name in row.long)


# The short round


def run_tests(tests: Iterable[str]) -> tuple[dict[str, bool], list[list[int]]]:
    """Whether each test passed, with all its parameters; and what they counted."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # The older family may carry what a test has counted.
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-o", "junit_family=xunit1", *sorted(set(tests))]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"WIRELOG_REQUIRE_ALL": "1"}, check=False)
        if not report.exists():
            # It died; none of them has passed.
            return {}, []
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
        return outcomes_of(cases), [json.loads(found.attrib["value"]) for case in cases for found in case.iter("property")]


def outcomes_of(cases: Iterable[ElementTree.Element]) -> dict[str, bool]:
    outcomes: dict[str, bool] = {}
    for case in cases:
        path = case.attrib["classname"].replace(".", "/") + ".py"
        test = f"{path}::{case.attrib['name'].partition('[')[0]}"
        outcomes[test] = outcomes.get(test, True) and case.find("failure") is None and case.find("error") is None
    return outcomes


# The long round


async def run_scenarios(names: Iterable[str], run: Run) -> dict[str, bool]:
    outcomes = {}
    for name in names:
        passed = [await run_scenario(name, kind, run) for kind in SCENARIOS[name].kinds]
        outcomes[name] = all(passed)
    return outcomes


async def run_scenario(name: str, kind: str, run: Run) -> bool:
    say(f"{name}, {kind}")
    try:
        await SCENARIOS[name].run(run, kind)
    except Exception:  # noqa: BLE001
        # The edge: one broken promise must not hide the others.
        say(f"{name}, {kind} FAILED\n{traceback.format_exc()}")
        return False
    finally:
        # Twenty idle servers would take a third of a core from the one that is looked at.
        run.fleet.kill()
    return True


# The document


def document(outcome: Outcome) -> str:
    return "\n".join([*head(outcome), "", *counts(outcome), "", *measured(outcome), "", *rows(outcome), ""])


def head(outcome: Outcome) -> list[str]:
    options = outcome.options
    minutes = (datetime.now(UTC) - outcome.began).total_seconds() / 60
    asked = f"{options.kills} kills and {options.soak / 60:.0f} minutes of soak"
    machine = f"{os.cpu_count()} cores for servers and clients together, Python {platform.python_version()}, SQLite {sqlite_version()}"
    return [
        "# Fault matrix",
        "",
        "Written by `make faults`: real servers on a file database, real clients, and a checker that proves from what everybody saw, and",
        "from what is stored at the end, that no promise was broken (`tests/faults/`). A short round is part of every `make test`.",
        "",
        f"Run on {outcome.began:%Y-%m-%d} in {minutes:.0f} minutes at commit `{commit()}`: {asked}, seed {options.seed}.",
        f"{machine}.",
    ]


def commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def sqlite_version() -> str:
    """That of the servers, which may bring their own."""
    code = "import project.settings, sqlite3; print(sqlite3.sqlite_version)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return found or sqlite3.sqlite_version


def counts(outcome: Outcome) -> list[str]:
    """One line for each scenario and server; chapters of the soak are summed up."""
    assert outcome.run is not None
    sums: dict[str, list[int]] = {}
    found = [("every test", numbers) for numbers in outcome.counts] + [(name, report.numbers()) for name, report in outcome.run.reports]
    for name, numbers in found:
        sums[name] = add(sums[name], numbers) if name in sums else numbers
    total = reduce(add, sums.values())
    lines = [f"| {title} | {' | '.join(f'{number:,}' for number in line)} |" for title, line in [*sums.items(), ("**all**", total)]]
    return [
        "## Counts",
        "",
        "| scenario | kills | acknowledged | delivered | resumes | connections lost | unknown outcomes | faults | violations |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        *lines,
    ]


def add(one: list[int], other: list[int]) -> list[int]:
    return [left + right for left, right in zip(one, other, strict=True)]


def measured(outcome: Outcome) -> list[str]:
    assert outcome.run is not None
    lines = [f"| {name} | {' | '.join(found.get(kind, '') for kind in KINDS)} |" for name, found in outcome.run.measured.items()]
    return ["## Measured", "", "| what | uvicorn | Daphne |", "|---|---|---|", *lines]


def rows(outcome: Outcome) -> list[str]:
    lines = [f"| {row.done} | {row.must} | {'pass' if outcome.passed(row) else 'FAIL'} | {proofs(row)} |" for row in ROWS]
    return ["## Every row", "", "| what is done | what must happen | result | proved by |", "|---|---|---|---|", *lines]


def proofs(row: Row) -> str:
    tests = [f"`{test.removeprefix('tests/')}`" for test in row.tests]
    return "<br>".join([*tests, *(f"the long round: {name}" for name in row.long)])


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    random.seed(options.seed)
    # A storm needs a file for each client.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    outcome = Outcome(options)
    if not options.only:
        say("every test of the matrix")
        outcome.tests, outcome.counts = run_tests(test for row in ROWS for test in row.tests)
    with tempfile.TemporaryDirectory(prefix="wirelog-faults-") as name:
        folder = Path(name)
        with Fleet(folder, make_template(folder / "template")) as fleet:
            outcome.run = Run(fleet, folder, options.kills, options.soak, say)
            outcome.scenarios = asyncio.run(run_scenarios(options.only or SCENARIOS, outcome.run))
    failed = [test for found in (outcome.tests, outcome.scenarios) for test, passed in found.items() if not passed]
    if not options.only:
        DOCUMENT.write_text(document(outcome))
        say(f"{DOCUMENT.relative_to(ROOT)} is written")
    say(f"failed: {', '.join(failed)}" if failed else "everything passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
