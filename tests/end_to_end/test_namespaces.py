"""Streams of namespaces and personal streams, made by `manage.py` beside a running server, used by its clients."""

from typing import Any

from .servers import Fleet, RunningServer
from .wireclient import WireClient


def publish(server: RunningServer, channel: str, key: str = "device") -> Any:
    """The code of the error, or the offset."""
    answer = server.post("/api/publish", {"channel": channel, "data": 1}, key).json()
    return answer["result"]["offset"] if "result" in answer else answer["error"]["code"]


def manage(server: RunningServer, *command: str) -> str:
    done = server.manage(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_streams_come_into_being_by_the_template_of_their_namespace(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind, WIRELOG_STREAMS_PER_NAMESPACE="2")
    server.start()
    assert publish(server, "lab:a") == 102
    manage(server, "namespace", "set", "lab", "kind=chart", "write=members")
    assert [publish(server, name) for name in ("lab:a", "lab:b", "lab:c", "lab:a", "other:a")] == [1, 1, 106, 2, 102]
    assert '"kind": "chart"' in manage(server, "streams", "list", "--json")
    with WireClient(server, session="alice") as alice:
        # She may read what there is, and create nothing, since she may not write.
        assert alice.subscribe("lab:a")["offset"] == 2
        assert alice.error("subscribe", {"channel": "lab:d"}) == 102
        manage(server, "namespace", "set", "chat")
        assert alice.subscribe("chat:a")["recoverable"]
        manage(server, "namespace", "remove", "chat", "--noinput")
        assert alice.error("subscribe", {"channel": "chat:b"}) == 102
        assert alice.publish("hi", "chat:a") == 1


def test_a_personal_stream_is_written_by_a_key_and_read_by_its_user_alone(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    server.start()
    secret = manage(server, "apikey", "create", "app", "--scope", "#*=publish")
    with WireClient(server, session="alice") as alice, WireClient(server, session="bob") as bob:
        name = f"#{alice.hello['data']['user']}"
        assert alice.subscribe(name)["recoverable"]
        assert bob.error("subscribe", {"channel": name}) == 102
        # A key of everything else may not.
        assert publish(server, name) == 102
        body = b'{"channel":"%b","data":{"text":"for you"}}' % name.encode()
        answer = server.request("POST", "/api/publish", body, {"X-API-Key": secret}).json()
        assert answer["result"]["offset"] == 1
        assert alice.publication()["data"] == {"text": "for you"}
        assert bob.error("history", {"channel": name}) == 102
        nobody = server.request("POST", "/api/publish", b'{"channel":"#99999","data":1}', {"X-API-Key": secret}).json()
        assert nobody["error"]["code"] == 102
