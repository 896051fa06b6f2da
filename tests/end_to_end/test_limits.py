"""Limits as clients of a real server meet them, with the defaults of `serve`; other tests switch rates and connections off."""

import json
from collections import Counter
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed

from ..waiting import SECONDS, eventually_sync
from .servers import Fleet, RunningServer
from .wireclient import Message, WireClient

PATH = "/api/streams/lobby/records"


@pytest.fixture
def limited(make_server: Fleet, kind: str) -> RunningServer:
    # A machine that stands still for a while makes no connection look gone.
    server = make_server.new(kind, WIRELOG_RATE_LIMITS="on", WIRELOG_PONG_SECONDS="60")
    server.start()
    return server


def publish(client: WireClient, count: int) -> list[Message]:
    """The replies to a frame of publishes. A refusal waits for no commit, and so overtakes the others."""
    client.socket.send("\n".join(json.dumps({"id": number + 10, "publish": {"channel": "lobby", "data": 1}}) for number in range(count)))
    return [client.receive() for _ in range(count)]


def test_a_person_publishes_so_much_by_all_connections_together(limited: RunningServer) -> None:
    with WireClient(limited, session="alice") as one, WireClient(limited, session="alice") as other:
        first, second = publish(one, 250), publish(other, 190)
        errors = [reply["error"] for reply in first + second if "error" in reply]
        # 100 pass at once, and 20 for each second that it took.
        assert any("error" in reply for reply in first)
        assert any("error" in reply for reply in second)
        assert {(error["code"], error["temporary"]) for error in errors} == {(111, True)}
        assert errors[0]["message"] == "too many requests: alice may publish 20 records a second, try again in 0.1 s"
    with WireClient(limited, session="bob") as bob:
        assert bob.publish("hi") > 100


def test_a_key_is_told_when_to_come_again_by_http(limited: RunningServer) -> None:
    command = ("apikey", "create", "slow", "--scope", "lobby=publish", "--publish-rate", "1", "--max-connections", "1")
    secret = limited.manage(*command).stdout.strip()
    headers = {"X-API-Key": secret, "Content-Type": "application/json"}
    assert [limited.request("POST", PATH, b"1", headers).status for _ in range(5)] == [201] * 5
    while (refused := limited.request("POST", PATH, b"1", headers)).status == 201:
        pass
    assert (refused.status, refused.json()["code"], refused.headers["retry-after"]) == (429, 111, "1")
    body = json.dumps({"channel": "lobby", "data": 1}).encode()
    while "result" in (answer := limited.request("POST", "/api/publish", body, headers).json()):
        pass
    assert answer["error"]["code"] == 111
    with ExitStack() as stack:
        assert refusal(stack, limited, token=secret) is None
        assert refusal(stack, limited, token=secret) == 3504


def refusal(stack: ExitStack, server: RunningServer, session: str = "", token: str = "") -> int | None:
    """The close code, or that of an error, which answers a connect. None for who is let in, and stays until `stack` ends."""
    client = stack.enter_context(server.connect(session))
    client.send(json.dumps({"id": 1, "connect": {"token": token}}))
    try:
        answer = json.loads(client.recv(SECONDS))
    except ConnectionClosed:
        return client.close_code
    return answer["error"]["code"] if "error" in answer else None


def test_the_connection_over_the_limit_is_closed_and_the_others_stay(limited: RunningServer) -> None:
    with ExitStack() as stack, WireClient(limited, session="alice") as first:
        with ExitStack() as soon:
            assert [refusal(soon, limited, "alice") for _ in range(20)] == [None] * 19 + [3504]
            assert "history" in first.call("history", {"channel": "lobby"})
            assert refusal(stack, limited, "bob") is None
        # Their places are free as soon as the server has seen them go.
        eventually_sync(lambda: refusal(stack, limited, "alice") is None)


def read_on(client: WireClient) -> None:
    while True:
        client.receive()


# Commands that are answered from memory: nothing slows them down to what is allowed.
FLOODS = [('{"id":%d,"subscribe":{"channel":"lobby"}}', 3013), ('{"id":%d,"history":{"channel":"../x"}}', 3509)]


@pytest.mark.parametrize("flood, code", FLOODS)
def test_who_does_not_heed_it_is_closed(limited: RunningServer, flood: str, code: int) -> None:
    with WireClient(limited, session="alice") as client:
        client.socket.send("\n".join(flood % number for number in range(10, 1_010)))
        with pytest.raises(ConnectionClosed) as closed:
            read_on(client)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


def test_a_hundred_thousand_subscriptions_are_refused_one_by_one_in_flat_memory(make_server: Fleet) -> None:
    server = make_server.new()
    server.start()
    server.manage("namespace", "set", "many")
    with WireClient(server, session="alice") as client:
        before = 0
        answers: Counter[int] = Counter()
        for start in range(0, 100_000, 1_000):
            lines = [json.dumps({"id": start + number + 10, "subscribe": {"channel": f"many:{start + number}"}}) for number in range(1_000)]
            client.socket.send("\n".join(lines))
            for _ in lines:
                answers[client.receive().get("error", {}).get("code", 0)] += 1
            # After the first ones, which are subscribed.
            before = before or server.resident()
        assert answers == {0: 128, 106: 99_872}
        assert server.resident() - before < 20_000_000
        assert "history" in client.call("history", {"channel": "lobby"})
