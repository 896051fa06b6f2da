"""The published client of the server API, sync and async, in its newest and its oldest version, against real servers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from tests.machine import ROOT

from ..waiting import SECONDS
from .servers import RunningServer
from .wireclient import WireClient

OLDEST = ROOT / ".venv" / "oldest"
CALLS = Path(__file__).with_name("cent_calls.py")
VERSIONS = ("newest", "oldest")


@pytest.fixture(params=VERSIONS)
def path(request: pytest.FixtureRequest) -> str:
    """Where this version of the client is."""
    if request.param == "oldest" and not OLDEST.exists():
        pytest.skip("the oldest clients are not installed: make dev")
    return str(OLDEST) if request.param == "oldest" else ""


def answers(server: RunningServer, path: str, *calls: Any, key: str = "backend") -> dict[str, Any]:
    """What each call gave to the sync and to the async client."""
    command = [sys.executable, str(CALLS), f"{server.url}/api", server.cast.keys[key]]
    # No proxy: the environment of whoever runs the tests does not count.
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "NO_PROXY": "*"}
    done = subprocess.run(command, input=json.dumps(calls), env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told.pop("version").startswith("5.0." if path else "5.2.")
    return told


def test_a_backend_publishes_and_reads(shared_server: RunningServer, path: str) -> None:
    told = answers(
        shared_server,
        path,
        ["publish", "PublishRequest", {"channel": "lobby", "data": {"n": 1}, "tags": {"a": "b"}, "idempotency_key": f"k{path}"}],
        ["publish", "PublishRequest", {"channel": "lobby", "data": {"n": 1}, "tags": {"a": "b"}, "idempotency_key": f"k{path}"}],
        ["publish", "PublishRequest", {"channel": "lobby", "data": None, "b64data": "AP8="}],
        ["broadcast", "BroadcastRequest", {"channels": ["lobby", "nowhere"], "data": [1.5]}],
        ["history", "HistoryRequest", {"channel": "lobby"}],
        ["history", "HistoryRequest", {"channel": "lobby", "limit": 2, "reverse": True}],
    )
    for first, repeat, blob, broadcast, position, page in (told["sync"], told["async"]):
        assert first == repeat
        assert first["offset"] > 0
        assert len(first["epoch"]) == 8
        assert blob["offset"] > first["offset"]
        assert [(answer["error"] or {}).get("code") for answer in broadcast["responses"]] == [None, 102]
        assert broadcast["responses"][0]["result"]["offset"] == blob["offset"] + 1
        assert (position["publications"], position["offset"]) == ([], blob["offset"] + 1)
        assert [publication["data"] for publication in page["publications"]] == [[1.5], blob_of(blob["offset"], blob["epoch"])]
    # The first record of the sync client is also the one that the async client repeats.
    assert told["sync"][0] == told["async"][0]


def blob_of(offset: int, epoch: str) -> dict[str, Any]:
    url = f"/api/streams/lobby/blobs/{offset}?epoch={epoch}"
    return {"content_type": "application/octet-stream", "size": 2, "url": url}


def test_a_backend_sees_who_is_there(shared_server: RunningServer, path: str) -> None:
    with WireClient(shared_server, session="alice") as alice:
        alice.subscribe()
        told = answers(
            shared_server,
            path,
            ["presence", "PresenceRequest", {"channel": "lobby"}],
            ["presence_stats", "PresenceStatsRequest", {"channel": "lobby"}],
            ["channels", "ChannelsRequest", {"pattern": "lob*"}],
            ["info", "InfoRequest", {}],
        )
        for presence, stats, channels, info in (told["sync"], told["async"]):
            assert alice.hello["client"] in presence["presence"]
            assert stats["num_clients"] >= 1
            assert channels["channels"]["lobby"]["num_clients"] >= 1
            (node,) = info["nodes"]
            assert node["num_clients"] >= 1
            assert node["uid"]


def test_a_backend_ends_subscriptions_and_connections(shared_server: RunningServer, path: str) -> None:
    # Somebody else for each version: the second call of the one before may only now be read.
    with WireClient(shared_server, session="bob" if path else "alice") as client:
        client.subscribe()
        user = client.hello["data"]["user"]
        answers(shared_server, path, ["unsubscribe", "UnsubscribeRequest", {"user": user, "channel": "lobby"}])
        while "unsubscribe" not in (push := client.push()):
            pass
        assert push["unsubscribe"] == {"code": 2000, "reason": "server unsubscribe"}
        answers(shared_server, path, ["disconnect", "DisconnectRequest", {"user": user, "disconnect": {"code": 4501, "reason": "bye"}}])
        with pytest.raises(ConnectionClosed) as ended:
            client.reply(0)
        assert ended.value.rcvd == Close(4501, "bye")


def test_a_batch_comes_back_as_its_results(shared_server: RunningServer, path: str) -> None:
    requests = [
        ["PublishRequest", {"channel": "lobby", "data": 1}],
        ["PublishRequest", {"channel": "lobby", "data": 2}],
        ["HistoryRequest", {"channel": "lobby", "limit": 2, "reverse": True}],
    ]
    told = answers(shared_server, path, ["batch", "BatchRequest", {"requests": requests}])
    for (batch,) in (told["sync"], told["async"]):
        first, second, history = batch["replies"]
        assert second["offset"] == first["offset"] + 1
        assert [publication["offset"] for publication in history["publications"]] == [second["offset"], first["offset"]]


def test_a_backend_removes_a_history(shared_server: RunningServer, path: str) -> None:
    told = answers(
        shared_server,
        path,
        ["publish", "PublishRequest", {"channel": "lobby", "data": 1}],
        ["history_remove", "HistoryRemoveRequest", {"channel": "lobby"}],
        ["history", "HistoryRequest", {"channel": "lobby", "limit": 9}],
    )
    for published, removed, history in (told["sync"], told["async"]):
        assert removed == {}
        assert history == {"publications": [], "offset": published["offset"], "epoch": published["epoch"]}


def test_errors_are_those_that_the_client_knows(shared_server: RunningServer, path: str) -> None:
    told = answers(
        shared_server,
        path,
        ["publish", "PublishRequest", {"channel": "nowhere", "data": 1}],
        ["publish", "PublishRequest", {"channel": "lobby", "data": 1, "skip_history": True}],
        ["history", "HistoryRequest", {"channel": "lobby", "limit": 1, "since": {"offset": 0, "epoch": "other"}}],
        ["subscribe", "SubscribeRequest", {"user": "1", "channel": "lobby"}],
        ["refresh", "RefreshRequest", {"user": "1"}],
        ["connections", "ConnectionsRequest", {"user": "1", "expression": ""}],
    )
    errors: list[Any] = [["CentApiResponseError", code, None] for code in (102, 108, 112, 108, 108)]
    errors.append(["CentTransportError", None, 404])
    assert told == {"sync": errors, "async": errors}
    wrong = answers(shared_server, path, ["info", "InfoRequest", {}], key="revoked")
    unauthorized = [["CentUnauthorizedError", None, None]]
    assert wrong == {"sync": unauthorized, "async": unauthorized}
