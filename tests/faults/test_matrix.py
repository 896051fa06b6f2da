"""The matrix names tests and scenarios that exist."""

import ast
import re
import subprocess
import sys

import pytest

from tests.machine import ROOT

from .long import SCENARIOS
from .matrix import ROWS

TESTS = sorted({test for row in ROWS for test in row.tests})


@pytest.mark.parametrize("test", TESTS)
def test_every_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, functions)}


def test_every_long_scenario_stands_in_the_matrix_and_the_other_way_round() -> None:
    assert {name for row in ROWS for name in row.long} == SCENARIOS.keys()


def test_every_row_is_proved_by_something() -> None:
    assert all(row.tests or row.long for row in ROWS)


def test_the_document_is_that_of_these_rows() -> None:
    document = (ROOT / "docs" / "fault-matrix.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (?:pass|FAIL) \|", document, re.MULTILINE)
    assert rows == [(row.done, row.must) for row in ROWS]


def test_the_long_round_can_be_started() -> None:
    command = [sys.executable, "-m", "tests.faults.run", "--help"]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
