"""What comes to which part of the application, and as what."""

from typing import Any

import pytest

from project.asgi import application
from realtime.routing import Application, route

from .communicators import Communicator

HTTP = {
    "type": "http",
    "method": "GET",
    "query_string": b"",
    "scheme": "http",
    "client": ("192.0.2.9", 4711),
    "server": ("127.0.0.1", 8000),
}


def scope(path: str, **more: Any) -> dict[str, Any]:
    host = (b"host", b"testserver")
    return HTTP | {"path": path, "headers": [host, *more.pop("headers", [])]} | more


def client_of(scope: dict[str, Any]) -> Any:
    return Communicator(application, scope)  # type: ignore[no-untyped-call]


async def get(path: str, **more: Any) -> tuple[int, dict[bytes, bytes]]:
    client = client_of(scope(path, **more))
    await client.send_input({"type": "http.request", "body": b""})
    start = await client.receive_output()
    while (await client.receive_output()).get("more_body"):
        pass
    await client.wait()
    return start["status"], dict(start["headers"])


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/connection/websocket", "/api/publish", "/api/", "/api", "/", "/apis/", "/s/lobby/"]
)
def test_programs_are_answered_before_django(path: str) -> None:
    pages = route(scope(path)) is None
    assert pages == (path in {"/api", "/", "/apis/", "/s/lobby/"})


async def test_who_asks_for_the_socket_without_an_upgrade_is_told_what_is_missing() -> None:
    status, headers = await get("/connection/websocket")
    assert (status, headers[b"upgrade"], headers[b"connection"]) == (426, b"websocket", b"upgrade")


@pytest.mark.django_db(transaction=True)
async def test_a_page_is_served() -> None:
    status, headers = await get("/accounts/login/")
    assert status == 200
    policy = headers[b"Content-Security-Policy"].decode()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers[b"X-Frame-Options"] == b"DENY"
    assert headers[b"X-Content-Type-Options"] == b"nosniff"
    assert headers[b"Referrer-Policy"] == b"same-origin"


@pytest.mark.django_db(transaction=True)
async def test_a_stranger_is_sent_to_the_sign_in_page() -> None:
    status, headers = await get("/")
    assert (status, headers[b"Location"]) == (302, b"/accounts/login/?next=/")


@pytest.mark.django_db(transaction=True)
async def test_another_host_is_refused() -> None:
    assert (await get("/accounts/login/", headers=[(b"host", b"evil.example")]))[0] == 400


@pytest.mark.django_db(transaction=True)
async def test_a_root_path_that_a_client_made_up_changes_nothing() -> None:
    """Daphne takes it from a header."""
    status, headers = await get("/", root_path="//evil.example")
    assert (status, headers[b"Location"]) == (302, b"/accounts/login/?next=/")


@pytest.mark.parametrize(("peer", "believed"), [("192.0.2.9", False), ("10.0.0.1", True)])
async def test_a_trusted_proxy_says_that_a_request_is_https(settings: Any, peer: str, believed: bool) -> None:
    settings.WIRELOG = settings.WIRELOG | {"TRUSTED_PROXIES": ["10.0.0.1"]}
    seen: list[tuple[str, str]] = []

    async def django(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["scheme"], scope["client"][0]))

    headers = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"203.0.113.5")]
    await Application(django)(scope("/", client=(peer, 4711), headers=headers), None, None)
    assert seen == [("https", "203.0.113.5") if believed else ("http", peer)]


@pytest.mark.parametrize("path", ["/", "/connection/websocket/", "/connection", "/ws/../connection/websocket"])
async def test_a_socket_to_nowhere_gets_a_code_that_ends_it(path: str) -> None:
    client = client_of({"type": "websocket", "path": path, "headers": []})
    await client.send_input({"type": "websocket.connect"})
    assert await client.receive_output() == {"type": "websocket.accept"}
    assert await client.receive_output() == {"type": "websocket.close", "code": 3501, "reason": "bad request"}
    await client.wait()


async def test_a_foreign_server_may_ask_about_the_life_of_the_application() -> None:
    client = client_of({"type": "lifespan"})
    for event in ("startup", "shutdown"):
        await client.send_input({"type": f"lifespan.{event}"})
        assert await client.receive_output() == {"type": f"lifespan.{event}.complete"}
    await client.wait()


async def test_a_project_with_sockets_of_its_own_keeps_them() -> None:
    seen: list[str] = []

    async def router(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    await Application(router)({"type": "websocket", "path": "/chat/", "headers": []}, None, None)
    assert seen == ["/chat/"]
