"""The application that both servers serve: sockets and the API at ASGI level, pages and admin through Django."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
# Loads the apps, which everything below needs.
django_application = get_asgi_application()

from realtime import access, api, consumers, errors, probes  # noqa: E402

PATHS: dict[tuple[str, str], Any] = {
    ("http", "/healthz"): probes.Healthz.as_asgi(),
    ("http", "/readyz"): probes.Readyz.as_asgi(),
    ("websocket", "/connection/websocket"): consumers.WebSocketConsumer.as_asgi(),
}
methods: Any = api.Api.as_asgi()


async def application(scope: Any, receive: Any, send: Any) -> None:
    # Daphne takes a root path from a header that any client can send.
    await route(scope)({**scope, "root_path": ""}, receive, send)


def route(scope: Any) -> Any:
    if scope["type"] == "lifespan":
        return lifespan
    if found := PATHS.get((scope["type"], scope["path"])):
        return found
    if scope["type"] == "websocket":
        return unknown_socket
    return methods if scope["path"].startswith("/api/") else pages


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Django, told the scheme and the client that the trusted proxies saw."""
    port = scope["client"][1] if scope.get("client") else 0
    client = (access.client_address(scope), port)
    await django_application({**scope, "scheme": access.scheme(scope), "client": client}, receive, send)


async def unknown_socket(scope: Any, receive: Any, send: Any) -> None:
    """Accepts first: a client that is refused by HTTP would try again for ever."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": errors.BAD_REQUEST.code, "reason": errors.BAD_REQUEST.reason})


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """For servers that ask: the engine starts by the first call, or by `serve`."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
