"""HTTP at ASGI level: a trivial answer through Django's middleware costs twenty times as much.

An `Endpoint` is one request, with a bounded body. Refusals before a method runs (401, 404, 405, 413 …) are raised as `Refusal`.
"""

from typing import Any

import msgspec
from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer

from . import access
from .errors import BadRequest, PayloadTooLarge, Unauthorized

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"


class Refusal(Exception):
    """A request that reaches no method."""

    def __init__(self, status: int, code: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(status, message)


class Endpoint(AsyncHttpConsumer):
    """One request: its body is bounded, it costs no thread hop, and what goes wrong is answered, never shown as a traceback."""

    # No membership in the channel layer.
    channel_layer_alias = ""
    # Methods that are answered, and the largest body.
    allowed: tuple[str, ...] = ("GET", "HEAD")
    largest = 0

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    async def dispatch(self, message: Any) -> None:
        # Not that of the base class, which hops to a thread for every message.
        if message["type"] == "http.disconnect":
            raise StopConsumer
        await self.http_request(message)

    async def http_request(self, message: Any) -> None:
        try:
            self.take(message.get("body", b""))
            if message.get("more_body"):
                return
            status, content_type, content = await self.answer(b"".join(self.body))
            headers: tuple[tuple[bytes, bytes], ...] = ()
        except Refusal as refusal:
            status, content_type, headers = refusal.status, JSON, refusal.headers
            content = error_body(refusal.code, refusal.message)
        await self.respond(status, content_type, content, headers)
        raise StopConsumer

    def take(self, chunk: bytes) -> None:
        """One piece of the body. What the head already rules out is refused with the first."""
        if not self.body:
            self.screen()
        self.body.append(chunk)
        self.size += len(chunk)
        self.limit_size(self.size)

    def screen(self) -> None:
        """Raise Refusal if the head of the request says enough."""
        if self.scope["method"] not in self.allowed:
            allow = ", ".join(self.allowed)
            raise Refusal(405, BadRequest.code, f"bad request: the HTTP method must be {allow}", (b"allow", allow.encode()))
        self.limit_size(int(access.header(self.scope, b"content-length") or 0))

    def limit_size(self, size: int) -> None:
        if size > self.largest:
            raise Refusal(413, PayloadTooLarge.code, f"payload too large: the body of a request may have at most {self.largest} bytes")

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        """Status, content type and content for a complete request."""
        raise NotImplementedError

    async def respond(self, status: int, content_type: bytes, content: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        head = [(b"content-type", content_type), (b"content-length", b"%d" % len(content)), (b"cache-control", b"no-store")]
        await self.send_headers(status=status, headers=[*head, *headers])
        await self.send_body(b"" if self.scope["method"] == "HEAD" else content)


def secret_of(scope: Any) -> str:
    """The API key of a request, from `X-API-Key` or `Authorization: Bearer`; never from the URL, which ends up in logs."""
    scheme, _, bearer = access.header(scope, b"authorization").partition(" ")
    secret = access.header(scope, b"x-api-key") or (bearer.strip() if scheme.lower() in ("bearer", "apikey") else "")
    if not secret:
        raise unauthorized("send an API key as X-API-Key, or as Authorization: Bearer")
    return secret


def unauthorized(reason: str) -> Refusal:
    return Refusal(401, Unauthorized.code, str(Unauthorized(reason)), (b"www-authenticate", b"Bearer"))


def error_body(code: int, message: str) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": message}})
