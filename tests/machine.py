"""This checkout, and the programs of this machine that tests drive."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Where a tool may be that is not on PATH: the node of PyPI, when the set-up had to bring it, and Debian's folder of daemons.
ELSEWHERE = (ROOT / ".venv" / "bin", Path("/usr/sbin"))
PACKAGES = {"redis-server": "redis-server", "chromium": "chromium", "nginx": "nginx", "node": "nodejs (20.19 or newer)"}


def require(name: str) -> str:
    """The path of a program that a test drives. The test is skipped without it, or fails where everything must run."""
    places = os.pathsep.join([*map(str, ELSEWHERE[:1]), os.environ.get("PATH", ""), *map(str, ELSEWHERE[1:])])
    path = shutil.which(name, path=places)
    if path is None:
        pytest.skip(f"{name} is not installed; on Debian and Ubuntu: apt-get install {PACKAGES.get(name, name)}")
    return path
