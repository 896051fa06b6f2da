"""Readers without manners, on both servers and through nginx: each costs little and delays nobody; who answers pings is served on.

Also a sender that never stops, to a session that does not read.
"""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from ..end_to_end.rawsocket import TEXT, RawSocket, frame
from ..end_to_end.servers import KINDS, RunningServer
from ..waiting import eventually
from .checker import Least
from .client import Lost
from .host import STREAM, Host, NewHost
from .nginx import Nginx
from .proxy import Proxy
from .reader import Reader

MEBIBYTE = 1_048_576
KIBIBYTE = 1_024
PROGRESS_SECONDS = 6
LIMITS = {
    "WIRELOG_PING_SECONDS": "4",
    "WIRELOG_PONG_SECONDS": "6",
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


class Cast:
    """Everybody at once at one door."""

    def __init__(self, server: RunningServer, port: int, vanishing_port: int) -> None:
        self.stopped = [Reader(server, port, pace=0) for _ in range(STUCK)]
        self.silent = Reader(server, port)
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

    @property
    def lagging(self) -> int:
        """Those who hold as much as a reader can: all but the quick one."""
        return len(self.lost) + len(self.kept) - 1

    async def __aenter__(self) -> Self:
        for reader in (*self.lost, *self.kept):
            await reader.start()
        return self

    async def __aexit__(self, *error: object) -> None:
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
    async with Proxy(port) as proxy, Cast(host.server, port, proxy.port) as cast:
        witness = await host.client("witness", STREAM)
        assert len(await witness.here(STREAM)) == len(cast.lost) + len(cast.kept) + 1
        before = host.server.resident()
        proxy.set("drop")
        cast.silent.pongs = "never"
        host.fault("readers stop")
        await asyncio.gather(*(witness.publish(STREAM, host.value(RECORD_BYTES)) for _ in range(RECORDS)))
        each = (host.server.resident() - before - SHARED) / cast.lagging
        assert each < 1.5 * MEBIBYTE
        host.measured["bytes of a stuck reader"] = max(0.0, each)
        lost, kept = {reader.id for reader in cast.lost}, {reader.id for reader in cast.kept}

        async def only_the_kept() -> bool:
            # On a busy machine a ping may find the witness silent, too: it comes back.
            with suppress(Lost):
                return await witness.here(STREAM) == kept | {witness.id}
            return False

        # A reader that is lost frees all that it held: its presence is the proof.
        await host.timed("stuck reader gone", eventually(only_the_kept, f"{lost} are still present"))
        await eventually(cast.silent.lost.is_set)
        assert cast.silent.close_code in (3008, 3012)
        # They have been served for longer than one that answers nothing is.
        await asyncio.sleep(PROGRESS_SECONDS)
        for reader in cast.kept:
            assert not reader.lost.is_set()
            assert reader.offsets
            reader.pace, reader.pongs = None, "at once"
        await eventually(lambda: all(len(reader.offsets) == RECORDS for reader in cast.kept), "the slow ones have everything")
        for reader in (*cast.kept, *cast.lost):
            assert reader.offsets == list(range(1, len(reader.offsets) + 1))
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
    host = new_host()
    server = host.server
    server.start()
    publish = json.dumps({"id": 2, "publish": {"channel": STREAM, "data": "x" * 900}})
    with RawSocket(server.host, server.port) as client, host.write_lock():
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
