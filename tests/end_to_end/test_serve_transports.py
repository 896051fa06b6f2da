"""What the two servers do themselves, below the product: the same on both, but where a test says so."""

import http.client
import json
import signal
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ..waiting import SECONDS, eventually_sync
from .rawsocket import CLOSE, PING, RawSocket, frame
from .servers import KINDS, Process, environment

LIMIT = 65_536
# Time to end: so long that nobody waits for it, or so short that everybody may.
LONG, SHORT = 600, 4
MEGABYTE = 1_000_000


class Probe(Process):
    """`probe.py` on one of the servers, with small limits."""

    def __init__(self, kind: str, folder: Path, drain: int, abort: int = 1) -> None:
        limits = {"MESSAGE_BYTES": str(LIMIT), "ABORT_SECONDS": str(abort), "DRAIN_SECONDS": str(drain)}
        super().__init__(["-m", "tests.end_to_end.probe", kind], environment(folder, **limits), folder / "probe.log")
        self.kind = kind
        self.port = int(self.start())

    def connect(self) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/", open_timeout=SECONDS, ping_interval=None, max_size=None)

    def raw(self, **options: Any) -> RawSocket:
        return RawSocket("127.0.0.1", self.port, "/", **options)

    def ask(self, path: str = "/", headers: dict[str, str] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", path, headers=headers or {})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def open(self) -> int:
        return int(self.ask()["open"])

    def has(self, path: str) -> bool:
        """Whether a request for `path` has begun."""
        return path in self.ask()["waiting"]

    def stuck(self) -> RawSocket:
        """A client that is sent far more than the kernel holds for it, and reads nothing."""
        client = self.raw(receive_buffer=4_096)
        client.send("flood 500")
        return client


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    """One of the whole module, for tests that neither end it nor look at its memory."""
    shared = Probe(request.param, tmp_path_factory.mktemp("probe"), LONG)
    yield shared
    shared.kill()


@pytest.fixture
def drain() -> int:
    return LONG


@pytest.fixture
def abort() -> int:
    return 1


@pytest.fixture
def probe(kind: str, tmp_path: Path, drain: int, abort: int) -> Iterator[Probe]:
    probe = Probe(kind, tmp_path, drain, abort)
    yield probe
    probe.kill()


in_a_hurry = pytest.mark.parametrize("drain", [SHORT])


def closed(act: Callable[[], Any]) -> tuple[int, str]:
    """Code and reason of the close frame that ends `act`."""
    with pytest.raises(ConnectionClosed) as caught:
        act()
    assert caught.value.rcvd is not None, "The connection was lost without a close frame."
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_it_passes_messages_both_ways(shared: Probe) -> None:
    with shared.connect() as client:
        client.send("x" * 50_000)
        assert client.recv() == "50000"


def test_the_scope_has_scheme_and_extension_and_no_root_path_of_the_clients(shared: Probe) -> None:
    with shared.raw(headers="Daphne-Root-Path: /evil\r\n") as client:
        client.send("scope")
        scope = json.loads(client.receive()[1])
    assert scope["scheme"] == "ws"
    assert scope["root_path"] == ""
    assert "wirelog" in scope["extensions"]
    assert shared.ask(headers={"Daphne-Root-Path": "/evil"})["root_path"] == ""


@pytest.mark.parametrize("size", [LIMIT + 1, 20 * LIMIT])
def test_a_message_over_the_limit_is_closed_with_1009(shared: Probe, size: int) -> None:
    with shared.connect() as client:
        client.send("x" * LIMIT)
        assert client.recv() == str(LIMIT)

        def send_too_much() -> None:
            # It may learn of the end while it still sends.
            client.send("x" * size)
            client.recv()

        assert closed(send_too_much)[0] == 1009
    eventually_sync(lambda: shared.open() == 0)


def test_a_message_in_fragments_is_held_to_the_same_limit(shared: Probe) -> None:
    with shared.raw() as client:
        half = b"x" * (LIMIT // 2 + 1)
        client.socket.sendall(frame(1, half, final=False) + frame(0, half))
        opcode, payload = client.receive()
    assert (opcode, struct.unpack("!H", payload[:2])[0]) == (CLOSE, 1009)


def test_the_limit_of_incoming_messages_does_not_hold_for_outgoing_ones(shared: Probe) -> None:
    with shared.raw() as client:
        client.send("flood 2")
        assert len(client.receive()[1]) == 60_000
    assert "PayloadExceeded" not in shared.log()


@pytest.mark.parametrize("code, reason", [(3001, "shutdown"), (4501, "signed out"), (1000, "")])
def test_close_codes_and_reasons_reach_the_client(shared: Probe, code: int, reason: str) -> None:
    with shared.connect() as client:
        client.send(f"close {code} {reason}")
        assert closed(client.recv) == (code, reason)


def test_the_application_learns_the_code_of_the_client(shared: Probe) -> None:
    with shared.connect() as client:
        client.close(4000, "bye")
    eventually_sync(lambda: shared.open() == 0)
    ends = [(event["type"], event.get("code"), event.get("reason")) for event in shared.ask()["events"]]
    assert ("websocket.disconnect", 4000, "bye") in ends


def test_an_application_that_returns_leaves_no_socket_behind(shared: Probe) -> None:
    with shared.connect() as client:
        client.send("return")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=SECONDS)


def test_abort_ends_a_transport_that_a_stuck_reader_blocks(shared: Probe) -> None:
    with shared.raw(receive_buffer=4_096) as client:
        # The order arrives before the server stops reading; on uvicorn `send` blocks, so it comes first.
        client.send("abort")
        with pytest.raises((EOFError, ConnectionResetError)):
            client.receive()
    eventually_sync(lambda: shared.open() == 0)


def test_a_stuck_reader_that_closes_is_gone_soon(shared: Probe) -> None:
    with shared.stuck() as client:
        eventually_sync(lambda: shared.open() == 1)
        client.socket.sendall(frame(CLOSE, struct.pack("!H", 1000)))
        # Its transport cannot be flushed: after ABORT_SECONDS it is aborted.
        eventually_sync(lambda: shared.open() == 0)


def test_what_the_application_does_not_take_is_not_read(probe: Probe) -> None:
    before = probe.resident()
    with probe.raw() as client:
        client.send("wait")
        sent = client.send_for(frame(1, b"y" * 1_000) * 50, seconds=1)
        # What the kernel holds for both sides, and little more.
        assert sent < 40 * MEGABYTE
        assert probe.resident() - before < 8 * MEGABYTE
        probe.ask("/go")
        # It goes on where it stopped.
        assert client.receive()[1] == b"1000"


def test_small_fragments_do_not_fill_the_memory(probe: Probe) -> None:
    before = probe.resident()
    with probe.raw() as client:
        client.socket.sendall(frame(1, b"x", final=False) + frame(0, b"x", final=False) * (LIMIT - 2) + frame(0, b"x"))
        assert client.receive()[1] == b"%d" % LIMIT
        assert probe.resident() - before < 4 * MEGABYTE


def test_a_client_that_pings_and_reads_nothing_does_not_fill_the_memory(probe: Probe) -> None:
    before = probe.resident()
    with probe.raw(receive_buffer=4_096) as client:
        for _ in range(200):
            client.socket.sendall(frame(PING, b"p" * 100) * 500)
        client.socket.sendall(frame(1, b"scope"))
        assert probe.resident() - before < 8 * MEGABYTE


def test_an_error_after_the_start_of_an_answer_ends_the_connection(shared: Probe) -> None:
    for _ in range(2):
        with pytest.raises((http.client.HTTPException, OSError, ValueError)):
            shared.ask("/half")
    eventually_sync(lambda: shared.open() == 0)


# The end


def test_the_end_closes_sockets_with_the_code_of_the_session(probe: Probe) -> None:
    with probe.connect() as one, probe.connect() as other:
        assert probe.stop() == 0
        assert closed(one.recv) == closed(other.recv) == (3001, "shutdown")


def test_the_end_answers_requests_that_are_under_way(probe: Probe) -> None:
    with ThreadPoolExecutor() as pool, probe.connect() as client:
        asking = pool.submit(probe.ask, "/outlast")
        eventually_sync(lambda: probe.has("/outlast"))
        idle = http.client.HTTPConnection("127.0.0.1", probe.port)
        idle.request("GET", "/")
        idle.getresponse().read()
        assert probe.stop() == 0
        assert closed(client.recv) == (3001, "shutdown")
        assert asking.result()["open"] == 0
        idle.close()


# However long the test stands still before it looks, the reader holds up the end.
@pytest.mark.parametrize("abort", [LONG])
def test_the_end_closes_the_listening_socket_first(probe: Probe) -> None:
    with probe.stuck():
        eventually_sync(lambda: probe.open() == 1)
        probe.send_signal(signal.SIGTERM)
        eventually_sync(lambda: refuses(probe.port), "the server still listens")
        assert probe.running
    # The reader that it waited for is gone.
    assert probe.wait() == 0


def refuses(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


@in_a_hurry
def test_the_end_does_not_wait_for_a_stuck_reader(probe: Probe) -> None:
    with probe.stuck(), probe.connect() as polite:
        eventually_sync(lambda: probe.open() == 2)
        assert probe.stop() == 0
        assert closed(polite.recv) == (3001, "shutdown")


@in_a_hurry
def test_the_end_does_not_wait_for_a_request_that_never_ends(probe: Probe) -> None:
    with ThreadPoolExecutor() as pool, probe.raw() as half:
        asking = pool.submit(probe.ask, "/wait")
        eventually_sync(lambda: probe.has("/wait"))
        half.socket.sendall(b"\x81")
        assert probe.stop() == 0
        with pytest.raises((http.client.HTTPException, OSError)):
            asking.result()
