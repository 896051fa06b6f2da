"""What is answered at ASGI level, before Django: sockets, the API and the probes."""

from contextlib import suppress
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.urls import Resolver404, resolve

from . import api, asyncapi, callers, consumers, errors, openapi, probes, stream_api

PATHS: dict[tuple[str, str], Any] = {
    ("http", "/healthz"): probes.Healthz.as_asgi(),
    ("http", "/readyz"): probes.Readyz.as_asgi(),
    ("http", "/api/openapi.json"): openapi.OpenApi.as_asgi(),
    ("http", "/api/asyncapi.yaml"): asyncapi.AsyncApi.as_asgi(),
    ("http", "/connection/websocket"): consumers.NotUpgraded.as_asgi(),
    ("websocket", "/connection/websocket"): consumers.WebSocketConsumer.as_asgi(),
}
streams: Any = stream_api.StreamApi.as_asgi()
methods: Any = api.Api.as_asgi()


def route(scope: Any) -> Any:
    """Who answers `scope`; None: the application around Wirelog."""
    if found := PATHS.get((scope["type"], scope["path"])):
        return found
    path = scope["path"]
    if scope["type"] != "http" or not is_api(path):
        return None
    return streams if path.startswith(stream_api.PREFIX) else methods


def is_api(path: str) -> bool:
    """Whether `path` is for programs: streams, methods, and what nobody knows. The project may have pages, or an API, there besides."""
    if not path.startswith(api.PREFIX):
        return False
    return path.startswith(stream_api.PREFIX) or path.removeprefix(api.PREFIX) in api.METHODS or not is_page(path)


def is_page(path: str) -> bool:
    """Whether the URLs of the project have `path`, be it after the redirect that appends a slash."""
    for candidate in (path, f"{path}/"):
        with suppress(Resolver404):
            resolve(candidate)
            return True
    return False


class Application:
    """Wirelog before the ASGI application of a project, which gets all that is not Wirelog's."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        # Daphne takes a root path from a header that any client can send.
        scope = {**scope, "root_path": ""}
        await (route(scope) or self.others(scope))(scope, receive, send)

    def others(self, scope: Any) -> Any:
        if scope["type"] == "http":
            return self.pages
        # Django itself has no sockets. A project that has puts a router here.
        return unknown_socket if isinstance(self.inner, ASGIHandler) else self.inner

    async def pages(self, scope: Any, receive: Any, send: Any) -> None:
        """The project's own, told the scheme and the client that the trusted proxies saw."""
        port = scope["client"][1] if scope.get("client") else 0
        client = (callers.client_address(scope), port)
        await self.inner({**scope, "scheme": callers.scheme(scope), "client": client}, receive, send)


async def unknown_socket(scope: Any, receive: Any, send: Any) -> None:
    """Accepts first: a client that is refused by HTTP would try again for ever."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": errors.BAD_REQUEST.code, "reason": errors.BAD_REQUEST.reason})


async def lifespan(receive: Any, send: Any) -> None:
    """For servers that ask: the engine starts by the first call, or by `serve`."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
