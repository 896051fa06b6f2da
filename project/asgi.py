"""The application that both servers serve: sockets and the API at ASGI level, pages and admin through Django."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
# Loads the apps, which everything below needs.
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

from realtime import access, api, consumers, errors  # noqa: E402


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
    """For foreign servers: ours is started by the first call, or by `serve`."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


router = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                re_path(r"^healthz$", api.Healthz.as_asgi()),
                re_path(r"^readyz$", api.Readyz.as_asgi()),
                re_path(r"^api/", api.Api.as_asgi()),
                re_path(r"", pages),
            ]
        ),
        "websocket": URLRouter(
            [
                re_path(r"^connection/websocket$", consumers.WebSocketConsumer.as_asgi()),
                re_path(r"", unknown_socket),
            ]
        ),
        "lifespan": lifespan,
    }
)


async def application(scope: Any, receive: Any, send: Any) -> None:
    # Daphne takes a root path from a header that any client can send.
    await router({**scope, "root_path": ""}, receive, send)
