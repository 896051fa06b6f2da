"""The servers under test: ours on uvicorn and on Daphne, and the peers. Each is a process that tells its port when it is ready."""

import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .dialects import Login

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"
BUILT = PEERS / "built"
# Lengths of the streams that a database starts with.
SIZES = (1_000, 10_000, 100_000, 1_000_000)
READY_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class NotReady(Exception):
    """A server did not start. The text is what it said."""


@dataclass(frozen=True)
class Kind:
    """One server of the comparison. `command` takes the port 0, and prints the one it got."""

    name: str
    title: str
    dialect: str
    command: tuple[str, ...]
    # What happens to a record before its subscribers see it.
    keeps: str
    # Records that each of 50 publishers keeps on their way in the saturated scenario.
    window: int = 100


SERVE = ("serve", "--port", "0", "--server")
OURS = (
    Kind("uvicorn", "Wirelog on uvicorn", "wirelog", (sys.executable, "manage.py", *SERVE, "uvicorn"), "on disk, fsynced"),
    Kind("daphne", "Wirelog on Daphne", "wirelog", (sys.executable, "manage.py", *SERVE, "daphne"), "on disk, fsynced"),
)


def node(script: str) -> tuple[str, ...]:
    return ("node", str(PEERS / "node" / script))


PEER_KINDS = (
    Kind("channels-uvicorn", "Channels on uvicorn", "channels", (sys.executable, "-m", "bench.peers.channels", "uvicorn"), "nowhere", 1),
    Kind("channels-daphne", "Channels on Daphne", "channels", (sys.executable, "-m", "bench.peers.channels", "daphne"), "nowhere", 1),
    Kind("socket.io", "Socket.IO", "socket.io", node("socketio_server.js"), "nowhere", 4),
    Kind("ws", "ws (node)", "ws", node("ws_server.js"), "nowhere", 4),
    Kind("centrifuge", "Centrifuge (Go)", "centrifuge", (str(BUILT / "centrifuge"),), "in memory", 20),
    Kind("rust", "Rust, usual shape", "rust", (str(BUILT / "rust"), "{data}/rust.sqlite3"), "on disk, fsynced each", 4),
)


class Server:
    """A running server, for use with `with`."""

    def __init__(self, kind: Kind, data: Path, **env: str) -> None:
        self.kind = kind
        self.data = data
        self.env = environment(data, **env)
        self.port = 0
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        command = [part.format(data=self.data) for part in self.kind.command]
        with (self.data / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=log)
        try:
            self.port = self._read_port()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read_port(self) -> int:
        assert self.process.stdout is not None
        deadline, said = time.monotonic() + READY_SECONDS, b""
        while not said.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self.process.stdout.fileno(), 1) if readable else b""
            if not part:
                raise NotReady(f"{self.kind.title} does not start: {said.decode()}{self._log()}")
            said += part
        found = re.search(rb":(\d+)", said)
        if found is None:
            raise NotReady(f"{self.kind.title} does not tell its port: {said.decode()}")
        return int(found[1])

    def _log(self) -> str:
        return (self.data / "server.log").read_text(errors="replace")[-4_000:]

    def cpu(self) -> float:
        """Seconds of the processor that it has used, in all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE


def environment(data: Path, **more: str) -> dict[str, str]:
    """That of a server: nothing of the developer's own but what is named."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")}
    ours = {"WIRELOG_ENV_FILE": os.devnull, "DJANGO_SETTINGS_MODULE": "project.settings", "WIRELOG_RATE_LIMITS": "off"}
    return kept | ours | {"WIRELOG_DATA": str(data)} | more


@dataclass(frozen=True)
class Template:
    """A data folder to copy, and who may sign in to it."""

    folder: Path
    key: str
    sessions: Sequence[str]

    def copy(self, folder: Path) -> Path:
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("serve.lock"))
        return folder

    def publisher(self) -> Login:
        return Login(token=self.key)

    def readers(self, port: int) -> list[Login]:
        """As browsers of people who are signed in."""
        origin = f"Origin: http://127.0.0.1:{port}\r\n"
        return [Login(headers=f"{origin}Cookie: sessionid={session}\r\n") for session in self.sessions]


def make_template(folder: Path, sizes: Sequence[int] = SIZES) -> Template:
    """A database with a stream `log<size>` of each of `sizes`."""
    command = [sys.executable, "-m", "bench.seed", *map(str, sizes)]
    made = subprocess.run(command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False)
    if made.returncode:
        raise NotReady(f"The database of the benchmark cannot be made: {made.stderr}")
    answer: Mapping[str, object] = json.loads(made.stdout)
    return Template(folder, **answer)  # type: ignore[arg-type]
