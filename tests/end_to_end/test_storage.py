"""What a server does with what it keeps: prunes it, sums it up, takes a payload away, and knows when it was put back from a copy."""

import shutil
import sqlite3
from contextlib import closing
from typing import Any

from tests.waiting import eventually_sync

from .servers import Fleet, RunningServer
from .test_resume import change, fill
from .wireclient import WireClient


def rpc(client: WireClient, method: str, **params: Any) -> Any:
    return client.call("rpc", {"method": method, "data": params})["rpc"]["data"]


def test_a_server_prunes_and_sums_up_in_the_background_and_redacts_beside_it(make_server: Fleet) -> None:
    server = make_server.new()
    change(server, "Stream.objects.create(name='chart', kind='chart', keep_records=1000)")
    fill(server, b"".join(b'{"a":%d}\n' % number for number in range(1, 3_001)), "chart")
    server.start()
    with WireClient(server, "device") as client:
        client.subscribe("chart")
        eventually_sync(lambda: rpc(client, "series", stream="chart", points=1)["fields"]["a"]["count"] == [1_000], "pruned")
        assert rpc(client, "series", stream="chart", points=1)["fields"]["a"]["min"] == [2_001]
        assert server.manage("redact", "chart", "3000", "--noinput").returncode == 0
        assert client.publication()["tags"] == {"redacts": "3000"}
        history = client.call("history", {"channel": "chart", "limit": 2, "reverse": True})["history"]
        assert [publication["data"] for publication in history["publications"]] == [{"text": "Redacted record 3000."}, None]
        assert rpc(client, "series", stream="chart", points=1)["fields"]["a"]["max"] == [2_999]


def test_an_older_copy_of_the_database_is_found_out_at_the_start(make_server: Fleet) -> None:
    server = make_server.new()
    epoch = round_trip(server, 3)
    names = ("wirelog.sqlite3", "wirelog.sqlite3-wal")
    kept = [name for name in names if (server.data / name).exists()]
    for name in kept:
        shutil.copy(server.data / name, server.data / f"{name}.copy")
    assert round_trip(server, 5) == epoch

    for name in names:
        (server.data / name).unlink(missing_ok=True)
    for name in kept:
        shutil.copy(server.data / f"{name}.copy", server.data / name)
    server.start()

    with WireClient(server, "device") as client:
        result = client.subscribe(recover=True, offset=8, epoch=epoch)
        assert (result["was_recovering"], result.get("recovered", False)) == (True, False)
        assert (result["offset"], result["epoch"] != epoch) == (3, True)
    assert server.log().count("This is an older copy of the database") == 1


def test_nothing_is_acknowledged_into_a_file_that_was_taken_away(make_server: Fleet) -> None:
    server = make_server.new()
    server.start()
    file = server.data / "wirelog.sqlite3"
    with WireClient(server, "device") as client, closing(sqlite3.connect(file, isolation_level=None)) as other:
        # The record waits for its commit when the file goes: before that, somebody else may notice it and end the server.
        other.execute("BEGIN IMMEDIATE")
        publish = client.send("publish", {"channel": "lobby", "data": 1})
        client.call("history", {"channel": "lobby"})
        file.rename(server.data / "taken away")
        other.execute("ROLLBACK")
        assert client.reply(publish)["error"]["code"] == 100
    assert server.wait() == 1
    assert "was moved or replaced" in server.log()


def round_trip(server: RunningServer, count: int) -> str:
    """Start, publish, stop; the epoch of the lobby."""
    server.start()
    with WireClient(server, "device") as client:
        for number in range(count):
            client.publish(number)
        epoch = str(client.call("history", {"channel": "lobby"})["history"]["epoch"])
    assert server.stop() == 0
    return epoch
