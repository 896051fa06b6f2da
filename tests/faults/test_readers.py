"""Readers without manners, on both servers and through nginx: each costs little and delays nobody; who answers pings is served on.

Also a sender that never stops, to a session that does not read.
"""

import asyncio
import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require

from ..end_to_end.rawsocket import CLOSE, HANDSHAKE, TEXT, RawSocket, frame
from ..end_to_end.servers import KINDS, RunningServer
from ..waiting import eventually, eventually_sync
from .checker import Least
from .host import SECONDS, STREAM, Host, NewHost
from .proxy import Proxy
from .test_disk import write_lock

MEBIBYTE = 1_048_576
KIBIBYTE = 1_024
PROGRESS_SECONDS = 6
LATE_SECONDS = 1.5
LIMITS = {
    "WIRELOG_PING_SECONDS": "2",
    "WIRELOG_PONG_SECONDS": "3",
    "WIRELOG_PROGRESS_SECONDS": str(PROGRESS_SECONDS),
    "WIRELOG_ABORT_SECONDS": "1",
}
# Far more than an outbox holds.
RECORDS = 1_500
RECORD_BYTES = 2_000
STUCK = 5
# What the log of the latest records, shared by all, may take besides.
SHARED = 8 * MEBIBYTE
SEND_BYTES = 800 * MEBIBYTE

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{target};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 75s;
        }}
    }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Nginx:
    """A proxy in front of `server`, set up as the documentation says. For use with `with`."""

    def __init__(self, folder: Path, server: RunningServer) -> None:
        self.port = free_port()
        self.program = require("nginx")
        self.config = folder / "nginx.conf"
        self.config.write_text(NGINX.format(folder=folder, port=self.port, target=server.port))

    def __enter__(self) -> int:
        self.process = subprocess.Popen([self.program, "-c", str(self.config)], stderr=subprocess.DEVNULL)
        eventually_sync(self._listens, "nginx listens", SECONDS)
        return self.port

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait()


class Reader:
    """A bare WebSocket that reads the lobby at a pace of `pace` bytes a second (0: not at all; None: as fast as it can)."""

    def __init__(self, server: RunningServer, port: int, pace: int | None = None, pongs: str = "at once") -> None:
        self.pace = pace
        # `at once`, `late`, `never`, or `unasked`: all the time.
        self.pongs = pongs
        self.offsets: list[int] = []
        self.close_code = 0
        self.lost = asyncio.Event()
        self.id = ""
        self._port = port
        self._token = server.cast.keys["reader"]
        self._data = b""

    async def start(self) -> "Reader":
        sock = socket.socket()
        # Before connecting: it decides the window that the server is offered.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=1_024)
        host = HANDSHAKE.format(path="/connection/websocket", host="127.0.0.1", port=self._port, headers="")
        self._writer.write(host.encode())
        await self._reader.readuntil(b"\r\n\r\n")
        commands = [{"id": 1, "connect": {"token": self._token}}, {"id": 2, "subscribe": {"channel": STREAM}}]
        self._send("\n".join(map(json.dumps, commands)))
        subscribed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._run(subscribed))]
        if self.pongs == "unasked":
            self._tasks.append(asyncio.create_task(self._pong_all_the_time()))
        await subscribed.wait()
        return self

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.transport.abort()

    def _send(self, text: str) -> None:
        self._writer.write(frame(TEXT, text.encode()))

    async def _pong_all_the_time(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self._send("{}")

    async def _run(self, subscribed: asyncio.Event) -> None:
        try:
            while True:
                opcode, payload = await self._frame()
                if opcode == CLOSE:
                    self.close_code = int.from_bytes(payload[:2])
                    return
                for line in payload.split(b"\n"):
                    self._take(json.loads(line), subscribed)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.lost.set()

    def _take(self, message: dict[str, dict[str, dict[str, int]]], subscribed: asyncio.Event) -> None:
        if not message and self.pongs in ("at once", "late"):
            asyncio.get_running_loop().call_later(LATE_SECONDS if self.pongs == "late" else 0, self._send, "{}")
        elif "connect" in message:
            self.id = str(message["connect"]["client"])
        elif "subscribe" in message:
            subscribed.set()
        elif "push" in message and "pub" in message["push"]:
            self.offsets.append(message["push"]["pub"]["offset"])

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self._take_bytes(2)
        if size == 126:
            size = int.from_bytes(await self._take_bytes(2))
        elif size == 127:
            size = int.from_bytes(await self._take_bytes(8))
        return first & 0x0F, await self._take_bytes(size)

    async def _take_bytes(self, size: int) -> bytes:
        while len(self._data) < size:
            await self._more()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def _more(self) -> None:
        # Subscribed first, at full speed.
        pace = self.pace if self.offsets or self.pace != 0 else None
        while pace == 0:
            await asyncio.sleep(0.05)
            pace = self.pace
        part = await self._reader.read(65_536 if pace is None else max(1, pace // 8))
        if not part:
            raise asyncio.IncompleteReadError(b"", None)
        self._data += part
        if pace is not None:
            await asyncio.sleep(len(part) / pace)


class Cast:
    """Everybody at once at one door."""

    def __init__(self, server: RunningServer, port: int, vanishing_port: int) -> None:
        self.stopped = [Reader(server, port, pace=0) for _ in range(STUCK)]
        self.silent = Reader(server, port, pongs="never")
        self.vanished = Reader(server, vanishing_port)
        self.slow = [Reader(server, port, pace=KIBIBYTE), Reader(server, port, pace=8 * KIBIBYTE)]
        self.late = Reader(server, port, pongs="late")
        self.unasked = Reader(server, port, pongs="unasked")

    @property
    def lost(self) -> list[Reader]:
        return [*self.stopped, self.silent, self.vanished]

    @property
    def kept(self) -> list[Reader]:
        return [*self.slow, self.late, self.unasked]

    async def start(self) -> None:
        for reader in (*self.lost, *self.kept):
            await reader.start()

    async def stop(self) -> None:
        await asyncio.gather(*(reader.stop() for reader in (*self.lost, *self.kept)))


@pytest.fixture(params=[*KINDS, "nginx"])
def door(request: pytest.FixtureRequest) -> str:
    """How readers come: to one of the servers, or through a proxy to uvicorn."""
    name: str = request.param
    return name


@pytest.fixture
def kind(door: str) -> str:
    return "uvicorn" if door == "nginx" else door


@pytest.fixture
def nginx_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "nginx"
    folder.mkdir()
    # Its workers are somebody else.
    folder.chmod(0o777)
    return folder


async def everybody_at(host: Host, port: int) -> None:
    """Who stops, vanishes or never answers is closed in time; who answers is served on, however slowly."""
    async with Proxy(port) as proxy:
        cast = Cast(host.server, port, proxy.port)
        await cast.start()
        witness = await host.client("witness", STREAM)
        assert len(await witness.here(STREAM)) == len(cast.lost) + len(cast.kept) + 1
        before = host.server.resident()
        proxy.set("drop")
        host.fault("readers stop")
        await asyncio.gather(*(witness.publish(STREAM, host.value(RECORD_BYTES)) for _ in range(RECORDS)))
        each = (host.server.resident() - before - SHARED) / STUCK
        assert each < 1.5 * MEBIBYTE
        host.measured["bytes of a stuck reader"] = max(0.0, each)
        lost, kept = {reader.id for reader in cast.lost}, {reader.id for reader in cast.kept}

        async def only_the_kept() -> bool:
            return await witness.here(STREAM) == kept | {witness.id}

        # A reader that is lost frees all that it held: its presence is the proof.
        await host.timed("stuck reader gone", eventually(only_the_kept, f"{lost} are still present", SECONDS))
        await eventually(cast.silent.lost.is_set)
        assert cast.silent.close_code in (3008, 3012)
        # They have been served for longer than one that answers nothing is.
        await asyncio.sleep(PROGRESS_SECONDS)
        for reader in cast.kept:
            assert not reader.lost.is_set()
            assert reader.offsets
            reader.pace, reader.pongs = None, "at once"
        await eventually(lambda: all(len(reader.offsets) == RECORDS for reader in cast.kept), "the slow ones have everything", SECONDS)
        for reader in (*cast.kept, *cast.lost):
            assert reader.offsets == list(range(1, len(reader.offsets) + 1))
        await cast.stop()
        await host.finish(Least(RECORDS, 0, 1))


async def test_readers_without_manners(new_host: NewHost, door: str, nginx_folder: Path) -> None:
    async with new_host(**LIMITS) as host:
        if door == "nginx":
            with Nginx(nginx_folder, host.server) as port:
                await everybody_at(host, port)
        else:
            await everybody_at(host, host.server.port)


@pytest.mark.parametrize("door", KINDS)
def test_a_sender_that_is_not_read_costs_no_memory(new_host: NewHost, door: str) -> None:
    server = new_host().server
    server.start()
    publish = json.dumps({"id": 2, "publish": {"channel": STREAM, "data": "x" * 900}})
    with RawSocket(server.host, server.port) as client, write_lock(server):
        client.send(json.dumps({"id": 1, "connect": {"token": server.cast.keys["device"]}}))
        client.receive()
        before = server.resident()
        # Nothing is committed, so after so many in flight the session reads no more.
        sent = client.send_for(frame(TEXT, publish.encode()) * 64, seconds=2, most=SEND_BYTES)
        assert sent < 32 * MEBIBYTE
        assert server.resident() - before < 8 * MEBIBYTE
        # Nobody else is held up.
        assert server.get("/healthz").status == 200
    server.kill()
