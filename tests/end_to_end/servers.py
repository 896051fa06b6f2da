"""Real servers for tests: `manage.py serve` as a process of its own, on a free port, with a database of its own.

    def test_something(server: RunningServer) -> None:          # once on uvicorn, once on Daphne
        answer = server.post("/api/publish", {"channel": "lobby", "data": 1}, key="device")
        with server.connect(session="alice") as socket: ...
        server.kill(); server.start()                             # the same data, the same port

`server.cast` has sessions and keys that are there from the start (`seed.py`). A test that needs special options, or several servers,
asks for the fixture `make_server`. Whatever a test leaves behind is ended by the fixtures in `conftest.py`.
"""

import http.client
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from websockets.sync.client import ClientConnection, connect

from ..waiting import SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = ("uvicorn", "daphne")


@dataclass(frozen=True)
class Cast:
    """Session keys of people, and secrets of API keys, by name (`seed.py`)."""

    sessions: Mapping[str, str]
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Template:
    """A data folder to copy, and who is in it."""

    folder: Path
    cast: Cast


def environment(data: Path, **more: str) -> dict[str, str]:
    """That of a server: nothing of ours but what is named. Tests publish as fast as they can; those of limits switch them on."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")}
    ours = {
        "WIRELOG_ENV_FILE": os.devnull,
        "WIRELOG_RATE_LIMITS": "off",
        # Clients of tests answer only when they read, and a busy machine may keep them from it. Tests of times set their own.
        **dict.fromkeys(("WIRELOG_CONNECT_SECONDS", "WIRELOG_PING_SECONDS", "WIRELOG_PROGRESS_SECONDS"), "600"),
        "DJANGO_SETTINGS_MODULE": "project.settings",
    }
    return kept | ours | {"WIRELOG_DATA": str(data)} | more


def make_template(folder: Path) -> Template:
    command = [sys.executable, "-m", "tests.end_to_end.seed"]
    made = subprocess.run(command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, timeout=SECONDS, check=False)
    assert made.returncode == 0, made.stderr
    return Template(folder, Cast(**json.loads(made.stdout)))


def copy_template(template: Template, folder: Path) -> Path:
    shutil.copytree(template.folder, folder, ignore=shutil.ignore_patterns("serve.lock"))
    return folder


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Process:
    """A server process that prints one line when it is ready. `command` is what follows `python`."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.command = list(command)
        self.env = dict(env)
        self.log_path = log
        self.process: subprocess.Popen[bytes] | None = None

    # Life

    def start(self) -> str:
        """Start, and wait for the ready line, which is returned."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *self.command], cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        try:
            return self._read_line(self.process.stdout, time.monotonic() + SECONDS)
        except BaseException:
            self.kill()
            raise

    def _read_line(self, stdout: IO[bytes], deadline: float) -> str:
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(stdout.fileno(), 1) if readable else b""
            assert part, f"The server is not ready: {line!r}\n{self.log()}"
            line += part
        return line.decode().rstrip()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = SECONDS) -> int:
        """The exit status, once it has ended."""
        assert self.process is not None
        status = self.process.wait(seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and wait for its exit status."""
        self.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.wait()

    # Looking at it

    def log(self) -> str:
        """All that it has written to stderr, over all its lives."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def resident(self) -> int:
        """Bytes of memory in use. Linux only, as these tests are."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class RunningServer(Process):
    """`manage.py serve` on data of its own."""

    program: Sequence[str] = ("manage.py",)

    def __init__(self, data: Path, cast: Cast, kind: str = "uvicorn", options: Sequence[str] = (), **env: str) -> None:
        self.data = data
        self.cast = cast
        self.kind = kind
        self.options = list(options)
        self.host = "127.0.0.1"
        # 0 until the first start; the same from then on.
        self.port = 0
        super().__init__([], environment(data, **env), data / "server.log")

    def start(self) -> str:
        serve = [*self.program, "serve", "--host", self.host, "--port", str(self.port), "--server", self.kind]
        self.command = [*serve, *self.options]
        line = super().start()
        self.port = int(line.split(" ")[2].rstrip("/").rpartition(":")[2])
        return line

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://{self.host}:{self.port}/connection/websocket"

    def manage(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run `manage.py` on the same data, beside the server."""
        whole = [sys.executable, *self.program, *command]
        return subprocess.run(whole, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=SECONDS, check=False)

    # HTTP

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, session: str = "") -> Answer:
        """A page, as `session` (a name of the cast) sees it."""
        headers = {"Cookie": self.cookie(session)} if session else {}
        return self.request("GET", path, headers=headers)

    def post(self, path: str, value: Any, key: str = "") -> Answer:
        """A call of the API with `key` (a name of the cast); `value` is JSON, or bytes as they are."""
        headers = {"X-API-Key": self.cast.keys[key]} if key else {}
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.request("POST", path, body, headers)

    def cookie(self, session: str) -> str:
        return f"sessionid={self.cast.sessions[session]}"

    # WebSocket

    def connect(self, session: str = "", **options: Any) -> ClientConnection:
        """A bare WebSocket, for use with `with`: as a browser of `session` would open it, or with no credential."""
        if session:
            options = {"origin": self.url, "additional_headers": {"Cookie": self.cookie(session)}} | options
        client: ClientConnection = connect(self.socket_url, open_timeout=SECONDS, close_timeout=SECONDS, ping_interval=None, **options)
        return client


@dataclass
class Fleet:
    """The servers that a test has started; ends them all, and looks whether they had something to complain of."""

    folder: Path
    template: Template
    processes: list[Process] = field(default_factory=list)

    def new(self, kind: str = "uvicorn", options: Sequence[str] = (), data: Path | None = None, **env: str) -> RunningServer:
        """A server that is not started yet; on `data` of another one, or on a fresh copy of the template."""
        data = data or copy_template(self.template, self.folder / f"data{len(self.processes)}")
        server = RunningServer(data, self.template.cast, kind, options, **env)
        self.processes.append(server)
        return server

    def __enter__(self) -> Self:
        return self

    def kill(self) -> None:
        """End those that still run."""
        for process in self.processes:
            if process.running:
                process.kill()

    def __exit__(self, *error: object) -> None:
        self.kill()
        if error == (None, None, None):
            for process in self.processes:
                assert "Traceback" not in process.log(), process.log()
