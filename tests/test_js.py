"""The JavaScript that needs no browser, under `node --test`."""

import subprocess
from pathlib import Path

import pytest

from tests.machine import ROOT, require

FILES = sorted((Path(__file__).parent / "js").glob("*.test.js"))


def test_there_are_tests() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_passes(path: Path) -> None:
    run = subprocess.run([require("node"), "--test", str(path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
