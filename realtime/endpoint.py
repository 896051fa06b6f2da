"""HTTP at ASGI level: a trivial answer through Django's middleware costs twenty times as much.

An `Endpoint` is one request, with a bounded body. Refusals before a method runs (401, 404, 405, 413 …) are raised as `Refusal`.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

import msgspec
from channels.generic.http import AsyncHttpConsumer
from django.db import DatabaseError

from . import callers
from .errors import BadRequest, PayloadTooLarge, Unauthorized, WirelogError

T = TypeVar("T")
Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
IDENTITY = (b"accept-encoding", b"identity")
# Why a request is not authorized.
NO_KEY = "send an API key as X-API-Key, or as Authorization: Bearer"
WRONG_KEY = "this API key is wrong, expired or revoked"

# Time for each piece of a body; who stops in the middle would keep a connection for ever.
BODY_SECONDS = 60
# Time for a reader to make room for a piece of an answer: all buffers in between may be full.
SEND_SECONDS = 120


class Refusal(Exception):
    """A request that reaches no method."""

    def __init__(self, status: int, code: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(status, message)


class Gone(Exception):
    """The client has left: there is nobody to answer."""


class Answer(NamedTuple):
    status: int
    content_type: bytes
    content: bytes
    headers: Headers = ()


class Streaming(NamedTuple):
    """An answer whose end nobody knows yet. A WirelogError or Refusal in the middle breaks it off, for the client to see."""

    status: int
    content_type: bytes
    pieces: AsyncGenerator[bytes, None]
    headers: Headers = ()


class Endpoint(AsyncHttpConsumer):
    """One request: its body is bounded, it costs no thread hop, and what goes wrong is answered, never shown as a traceback."""

    # Methods that are answered, and the largest body.
    allowed: tuple[str, ...] = ("GET", "HEAD")
    largest = 0

    scope: Any
    receive: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Not that of the base class: one request needs no task, no thread hop, and no membership in the channel layer.
        self.scope, self.receive, self.base_send = scope, receive, send
        try:
            # What the head already rules out is refused before the body is asked for.
            self.screen()
            await self.serve(await self._read_body())
        except Refusal as refusal:
            await self.refuse(refusal)
        except Gone:
            pass

    def screen(self) -> None:
        """Raise Refusal if the head of the request says enough."""
        if self.scope["method"] not in self.allowed:
            allow = ", ".join(self.allowed)
            raise Refusal(405, BadRequest.code, f"bad request: the HTTP method must be {allow}", (b"allow", allow.encode()))
        if callers.header(self.scope, b"content-encoding").lower() not in ("", "identity"):
            # Kept as it comes, it would be read as what it is not.
            raise Refusal(415, BadRequest.code, "bad request: Content-Encoding must be left out: send the body as it is", IDENTITY)
        self.limit_size(int(callers.header(self.scope, b"content-length") or 0))

    def limit_size(self, size: int) -> None:
        if size > self.largest:
            raise too_large(self.largest)

    async def _read_body(self) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await self._receive()
            body += message.get("body", b"")
            self.limit_size(len(body))
            more = message.get("more_body", False)
        return bytes(body)

    async def _receive(self) -> Any:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = await self.receive()
        except TimeoutError:
            reason = f"bad request: nothing came of the body for {BODY_SECONDS} s"
            raise Refusal(408, BadRequest.code, reason, (b"connection", b"close")) from None
        if message["type"] == "http.disconnect":
            raise Gone
        return message

    async def serve(self, body: bytes) -> None:
        """Answer a complete request."""
        await self.respond(await self.answer(body))

    async def answer(self, body: bytes) -> Answer:
        """What a complete request is answered."""
        raise NotImplementedError

    async def refuse(self, refusal: Refusal) -> None:
        await self.respond(enveloped(refusal))

    async def respond(self, answer: Answer) -> None:
        # A 304 has none of its own: it would be taken for that of what it spares.
        length = [] if answer.status == 304 else [(b"content-length", b"%d" % len(answer.content))]
        await self.send_headers(status=answer.status, headers=[*length, *head_of(answer.content_type, answer.headers)])
        await self.send_body(b"" if self.scope["method"] == "HEAD" else answer.content)

    async def stream(self, answer: Streaming) -> None:
        """Send piece by piece, at the pace of the reader. Raises Gone when it has left, or takes nothing."""
        await self.send_headers(status=answer.status, headers=head_of(answer.content_type, answer.headers))
        async with aclosing(answer.pieces) as pieces:
            if self.scope["method"] != "HEAD":
                await self.while_connected(self._send_pieces(pieces))
        await self.send_body(b"")

    async def _send_pieces(self, pieces: AsyncIterator[bytes]) -> None:
        try:
            async for piece in pieces:
                async with asyncio.timeout(SEND_SECONDS):
                    await self.send_body(piece, more_body=True)
        except (WirelogError, DatabaseError, Refusal, TimeoutError):
            await self._break_off()

    async def _break_off(self) -> None:
        """End the connection, so that the client cannot take what it has for the whole."""
        extension = self.scope.get("extensions", {}).get("wirelog")
        if extension is None:
            raise Gone
        extension["abort"]()
        # Until the server says that the client has left, which ends this.
        await asyncio.get_running_loop().create_future()

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, for one that may take long. Cancels it, and raises Gone, when the client leaves."""
        working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(self._left())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Gone
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    async def _left(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


def head_of(content_type: bytes, headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, which nobody stores unless it says so itself."""
    return [*({b"content-type": content_type, b"cache-control": b"no-store"} | dict(headers)).items()]


def key_of(scope: Any) -> str:
    """The API key of a request, from `X-API-Key` or `Authorization: Bearer`; "" without. Never from the URL, which ends up in logs."""
    scheme, _, bearer = callers.header(scope, b"authorization").partition(" ")
    return callers.header(scope, b"x-api-key") or (bearer.strip() if scheme.lower() in ("bearer", "apikey") else "")


def check_host(scope: Any) -> None:
    if not callers.host_allowed(scope):
        raise Refusal(400, BadRequest.code, "bad request: Host is not one of ALLOWED_HOSTS")


def too_large(most: int) -> Refusal:
    return Refusal(413, PayloadTooLarge.code, f"payload too large: the body of a request may have at most {most} bytes")


def retry_headers(error: WirelogError) -> Headers:
    """What is full or too much now may not be in a moment."""
    return ((b"retry-after", b"%d" % math.ceil(error.retry_after)),) if error.retry_after else ()


def unauthorized(reason: str) -> Refusal:
    return Refusal(401, Unauthorized.code, str(Unauthorized(reason)), (b"www-authenticate", b"Bearer"))


def enveloped(refusal: Refusal) -> Answer:
    """What `/api/<method>` says of it."""
    return Answer(refusal.status, JSON, error_body(refusal.code, refusal.message), refusal.headers)


def error_body(code: int, message: str) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": message}})
