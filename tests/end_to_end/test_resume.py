"""A client that comes back gets exactly what it missed, however much, or is told plainly that it cannot."""

import subprocess
import sys
import threading
from typing import Any

import pytest

from ..waiting import SECONDS
from .servers import KINDS, ROOT, Fleet, RunningServer
from .wireclient import WireClient

MEBIBYTE = 1_048_576
FAR_BEHIND = 20_000
MEANWHILE = 200


def fill(server: RunningServer, lines: bytes, stream: str = "lobby") -> None:
    """Append a record for each line, by the journal, beside the server or before it starts."""
    command = [sys.executable, "manage.py", "publish", stream, "-"]
    done = subprocess.run(command, cwd=ROOT, env=server.env, input=lines, capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr


def change(server: RunningServer, code: str) -> None:
    """Do what an operator or a job would, by the ORM in a process of its own."""
    done = server.manage("shell", "-c", f"from realtime.models import *; {code}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server(shared_server: RunningServer) -> RunningServer:
    """Two streams of ten records; the first five of `trimmed` are gone."""
    change(shared_server, "Stream.objects.create(name='trimmed')")
    for stream in ("lobby", "trimmed"):
        fill(shared_server, b"1\n" * 10, stream)
    change(shared_server, "Record.objects.filter(stream__name='trimmed', offset__lt=6).delete()")
    change(shared_server, "Stream.objects.filter(name='trimmed').update(tail=6)")
    return shared_server


@pytest.fixture
def client(server: RunningServer) -> Any:
    with WireClient(server, "device") as client:
        yield client


def epoch_of(client: WireClient, stream: str) -> str:
    return str(client.call("history", {"channel": stream})["history"]["epoch"])


@pytest.mark.parametrize(
    "stream, offset, missed",
    [("lobby", 0, range(1, 11)), ("lobby", 9, [10]), ("lobby", 10, []), ("trimmed", 5, range(6, 11)), ("trimmed", 10, [])],
)
@pytest.mark.parametrize("known", [True, False], ids=["epoch", "any epoch"])
def test_a_kept_position_gets_what_follows_it(client: WireClient, stream: str, offset: int, missed: Any, known: bool) -> None:
    epoch = epoch_of(client, stream)
    result = client.subscribe(stream, recover=True, offset=offset, epoch=epoch if known else "")
    assert (result["recovered"], result["was_recovering"]) == (True, True)
    assert (result.get("offset", 0), result["epoch"], result["data"]) == (offset, epoch, {"head": 10})
    assert client.offsets(len(missed)) == list(missed)
    # Nothing more is on its way.
    assert client.call("history", {"channel": stream})["history"]["offset"] == 10
    assert not [push for push in client.pushes if "pub" in push]


LOST = [("lobby", 11, ""), ("lobby", 10**9, ""), ("lobby", 2**63 - 1, ""), ("lobby", 5, "elsewhen"), ("trimmed", 4, ""), ("trimmed", 0, "")]


@pytest.mark.parametrize("stream, offset, epoch", LOST)
def test_a_lost_position_is_told_so_and_gets_no_part(client: WireClient, stream: str, offset: int, epoch: str) -> None:
    own = epoch_of(client, stream)
    result = client.subscribe(stream, recover=True, offset=offset, epoch=epoch or own)
    assert (result.get("recovered", False), result["was_recovering"], result["offset"], result["epoch"]) == (False, True, 10, own)
    assert "publications" not in result
    client.call("history", {"channel": stream})
    assert not [push for push in client.pushes if "pub" in push]


@pytest.mark.parametrize("stream, offset, epoch", LOST)
def test_a_lost_position_is_an_error_to_who_asks_for_that(client: WireClient, stream: str, offset: int, epoch: str) -> None:
    params = {"channel": stream, "recover": True, "offset": offset, "epoch": epoch or epoch_of(client, stream), "flag": 2}
    assert client.error("subscribe", params) == 112
    # It may be tried again, from where the state was read.
    assert client.subscribe(stream, recover=True, offset=10)["recovered"]


def test_a_fresh_subscriber_starts_at_the_end(client: WireClient) -> None:
    result = client.subscribe()
    assert (result["offset"], result["recoverable"], result["positioned"]) == (10, True, True)
    assert not result.get("recovered", False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_far_behind_catches_up_in_bounded_memory_while_others_publish(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    # 40 MB: had the server all of it in memory, it would show.
    fill(server, b'"%s"\n' % (b"x" * 2_000) * FAR_BEHIND)
    server.start()
    with WireClient(server, "reader") as reader, WireClient(server, "device") as writer, WireClient(server, "reader") as live:
        live.subscribe()
        before = server.resident()
        reader.subscribe(recover=True, offset=0)
        others = threading.Thread(target=publish_many, args=(writer,))
        others.start()
        assert reader.offsets(FAR_BEHIND + MEANWHILE) == list(range(1, FAR_BEHIND + MEANWHILE + 1))
        assert live.offsets(MEANWHILE) == list(range(FAR_BEHIND + 1, FAR_BEHIND + MEANWHILE + 1))
        others.join()
        assert server.resident() - before < 40 * MEBIBYTE


def publish_many(client: WireClient) -> None:
    for number in range(MEANWHILE):
        client.publish(number)


@pytest.mark.parametrize("kind", KINDS)
def test_another_epoch_ends_the_subscriptions_and_they_start_over(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    server.start()
    with WireClient(server, "device") as client:
        old = client.subscribe()["epoch"]
        change(server, "Stream.objects.filter(name='lobby').update(epoch='elsewhen')")
        push = client.push()
        while "unsubscribe" not in push:
            push = client.push()
        assert push["unsubscribe"]["code"] == 2500
        result = client.subscribe(recover=True, offset=0, epoch=old)
        assert (result.get("recovered", False), result["epoch"]) == (False, "elsewhen")


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_a_command_publishes_reaches_who_is_subscribed(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    server.start()
    with WireClient(server, session="alice") as client:
        client.subscribe()
        done = server.manage("publish", "lobby", '{"text":"hi"}')
        assert done.returncode == 0, done.stderr
        record = client.publication()
    assert (record["offset"], record["data"]) == (1, {"text": "hi"})
    assert record["info"]["user"].startswith("cli:")
