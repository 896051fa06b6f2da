"""`manage.py serve` as an operator meets it."""

import http.client
import json
import signal
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from ..waiting import eventually_sync
from .rawsocket import RawSocket
from .servers import Fleet, Process, RunningServer, environment

# An acknowledgement that TCP holds back comes after so long.
DELAYED_ACK_SECONDS = 0.04


def say_connect(client: ClientConnection) -> dict[str, object]:
    client.send(json.dumps({"id": 1, "connect": {}}))
    reply: dict[str, object] = json.loads(client.recv())
    return reply


def refused(server: RunningServer) -> str:
    """What `serve` says instead of serving."""
    done = server.manage("serve", "--port", str(server.port), "--server", server.kind, *server.options)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def wait_until_ready(server: RunningServer) -> None:
    """A probe that takes too long, as on a busy machine, is told that it is not."""
    eventually_sync(lambda: server.get("/readyz").status == 200)


# The start


def test_it_works(server: RunningServer) -> None:
    assert server.get("/healthz").status == 200
    wait_until_ready(server)
    with server.connect("alice") as client:
        assert "connect" in say_connect(client)


def test_it_prints_one_line_with_the_port_it_has(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    line = server.start()
    assert line == f"Wirelog serves http://127.0.0.1:{server.port}/ with {kind}"
    assert server.port > 0


def test_it_serves_on_ipv6(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    server.host = "::1"
    assert server.start() == f"Wirelog serves http://[::1]:{server.port}/ with {kind}"
    assert server.get("/healthz").body == b"ok\n"


def test_small_answers_are_not_held_back(server: RunningServer) -> None:
    """TCP_NODELAY reaches the connections: without it, the second piece of an answer waits 40 ms for an acknowledgement."""
    client = http.client.HTTPConnection(server.host, server.port)
    # The first ones are acknowledged at once, whatever the server does. One that is quick does for the rest.
    for _ in range(50):
        health(client)
    eventually_sync(lambda: health(client) < DELAYED_ACK_SECONDS)
    client.close()


def health(client: http.client.HTTPConnection) -> float:
    """Seconds until the answer."""
    started = time.monotonic()
    client.request("GET", "/healthz")
    assert client.getresponse().read() == b"ok\n"
    return time.monotonic() - started


def test_it_refuses_a_port_in_use(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    with socket.create_server(("127.0.0.1", 0)) as other:
        server.port = other.getsockname()[1]
        assert refused(server) == (
            f"CommandError: Cannot listen on 127.0.0.1:{server.port}: another program listens on it. "
            "Stop that program, or choose another port with --port or PORT."
        )


def test_it_refuses_an_address_that_this_machine_does_not_have(make_server: Fleet) -> None:
    server = make_server.new(options=["--host", "192.0.2.1"])
    assert "192.0.2.1:0: this machine has no such address. Choose one of its own" in refused(server)


def test_it_refuses_a_host_that_is_not_known(make_server: Fleet) -> None:
    server = make_server.new(options=["--host", "no-such-host.invalid"])
    assert "no-such-host.invalid:0: no such host is known" in refused(server)


def test_it_refuses_data_that_another_server_uses(make_server: Fleet, kind: str) -> None:
    first = make_server.new(kind)
    first.start()
    second = make_server.new(kind, data=first.data)
    assert refused(second).startswith(f"CommandError: Another Wirelog server already uses {first.data}")
    wait_until_ready(first)


def test_it_names_the_command_when_migrations_are_missing(make_server: Fleet) -> None:
    server = make_server.new()
    with closing(sqlite3.connect(server.data / "wirelog.sqlite3")) as database, database:
        database.execute("DELETE FROM django_migrations WHERE app = 'realtime'")
    assert "The database is not up to date" in refused(server)
    assert refused(server).endswith("Run: manage.py migrate")


def test_it_refuses_to_serve_with_too_few_files(make_server: Fleet) -> None:
    server = make_server.new()
    server.env["PYTHONPATH"] = str(Path(__file__).parent / "few_files")
    assert "may open only 100 files" in refused(server)


def test_it_may_open_as_many_files_as_the_machine_allows(server: RunningServer) -> None:
    limits = next(line for line in Path(f"/proc/{server.pid}/limits").read_text().splitlines() if line.startswith("Max open files"))
    soft, hard = limits.split()[3:5]
    assert soft == hard


def test_it_makes_an_operator_when_there_is_none(tmp_path: Path, make_server: Fleet) -> None:
    server = make_server.new(data=tmp_path / "fresh")
    assert server.manage("migrate").returncode == 0
    server.start()
    password = server.data / "operator_password"
    assert password.stat().st_mode & 0o777 == 0o600
    assert password.read_text().strip() not in server.log()


def test_the_demo_publishes_this_machine(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind, ["--demo"], WIRELOG_DRAIN_SECONDS="100")
    server.start()
    eventually_sync(lambda: count_records(server) >= 2)
    assert server.stop() == 0
    assert FORCED not in server.log()


def count_records(server: RunningServer) -> int:
    with closing(sqlite3.connect(server.data / "wirelog.sqlite3")) as database:
        (count,) = database.execute("SELECT count(*) FROM realtime_record").fetchone()
        return int(count)


# The end

# What it says of an end that came because the time was over.
FORCED = "Something still runs"


@pytest.fixture
def patient(make_server: Fleet, kind: str) -> RunningServer:
    """One that has more time to end, and to wait for an answer to its close frames, than a busy machine takes."""
    server = make_server.new(kind, WIRELOG_DRAIN_SECONDS="1000", WIRELOG_ABORT_SECONDS="100")
    server.start()
    return server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_every_socket_with_3001_and_ends_with_status_0(patient: RunningServer, number: signal.Signals) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(patient.connect("alice")) for _ in range(20)]
        for client in clients:
            say_connect(client)
        assert patient.stop(number) == 0
        assert FORCED not in patient.log()
        for client in clients:
            with pytest.raises(ConnectionClosed) as caught:
                client.recv()
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (3001, "shutdown")


def test_readers_that_answer_nothing_do_not_hold_the_end(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind, WIRELOG_DRAIN_SECONDS="100")
    server.start()
    headers = f"Origin: {server.url}\r\nCookie: {server.cookie('alice')}\r\n"
    with ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(RawSocket(server.host, server.port, headers=headers, receive_buffer=4_096))
            client.send(json.dumps({"id": 1, "connect": {}}) + "\n" + json.dumps({"id": 2, "subscribe": {"channel": "lobby"}}))
            client.receive()
        assert server.stop() == 0
        assert FORCED not in server.log()


def test_acknowledged_records_survive_a_kill_and_the_port_is_free_again(server: RunningServer) -> None:
    offsets = [
        server.post("/api/publish", {"channel": "lobby", "data": number}, "device").json()["result"]["offset"] for number in range(5)
    ]
    server.kill()
    port = server.port
    server.start()
    assert server.port == port
    assert count_records(server) == 5
    again = server.post("/api/publish", {"channel": "lobby", "data": 5}, "device").json()["result"]["offset"]
    assert [*offsets, again] == [1, 2, 3, 4, 5, 6]


def test_a_second_signal_ends_it_at_once(patient: RunningServer) -> None:
    # Holds up the drain: a client that does not answer its close frame.
    with RawSocket(patient.host, patient.port, headers=f"Origin: {patient.url}\r\n"):
        patient.send_signal(signal.SIGTERM)
        eventually_sync(lambda: refuses(patient))
        patient.send_signal(signal.SIGTERM)
        assert patient.wait() == -signal.SIGTERM


def test_a_locked_database_does_not_hold_the_end(make_server: Fleet, kind: str) -> None:
    # The journal's thread waits for the lock, longer than this test does.
    server = make_server.new(kind, DJANGO_SETTINGS_MODULE="tests.faults.settings", LOCK_SECONDS="600", WIRELOG_DRAIN_SECONDS="3")
    server.start()
    with ThreadPoolExecutor() as pool, closing(sqlite3.connect(server.data / "wirelog.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        publishing = pool.submit(server.post, "/api/publish", {"channel": "lobby", "data": 1}, "device")
        eventually_sync(lambda: not publishing.done() and server.get("/healthz").status == 200)
        assert server.stop() == 0
        with pytest.raises((http.client.HTTPException, OSError)):
            publishing.result()


def refuses(server: RunningServer) -> bool:
    with socket.socket() as client:
        return client.connect_ex((server.host, server.port)) != 0


# runserver


def test_runserver_is_daphne_and_serves_the_same(make_server: Fleet) -> None:
    server = make_server.new()
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.port = free.getsockname()[1]
    env = environment(server.data, PYTHONUNBUFFERED="1")
    process = Process(["manage.py", "runserver", "--noreload", str(server.port)], env, server.log_path)
    make_server.processes.append(process)
    assert process.start().startswith("Performing system checks")
    eventually_sync(lambda: not refuses(server))
    wait_until_ready(server)
    assert server.post("/api/publish", {"channel": "lobby", "data": 1}, "device").json()["result"]["offset"] == 1
    with server.connect("alice") as client:
        assert "connect" in say_connect(client)
