"""HTTP for programs and probes, at ASGI level: a trivial answer through Django's middleware costs twenty times as much.

`/api/<method>` speaks the server API that comes with the Centrifuge protocol: one table of methods, the result or the error in one
envelope. Refusals before a method runs (401, 404, 405, 413 …) have the same form, so a program reads one kind of answer.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer
from django.db import Error as DatabaseError

from . import access, protocol
from .access import Identity
from .conf import limit
from .engine import Engine, current
from .errors import BadRequest, InternalError, UnknownMethod, WirelogError
from .journal import Item

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
            content = _error(refusal.code, refusal.message)
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
            raise Refusal(413, 413, f"payload too large: the body of a request may have at most {self.largest} bytes")

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        """Status, content type and content for a complete request."""
        raise NotImplementedError

    async def respond(self, status: int, content_type: bytes, content: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        head = [(b"content-type", content_type), (b"content-length", b"%d" % len(content)), (b"cache-control", b"no-store")]
        await self.send_headers(status=status, headers=[*head, *headers])
        await self.send_body(b"" if self.scope["method"] == "HEAD" else content)


class Healthz(Endpoint):
    """200 while the process serves, under any Host."""

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        return 200, TEXT, b"ok\n"


class Readyz(Endpoint):
    """200 when database and channel layer answer; 503 when not, and while draining."""

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        engine = await current(lenient=True)
        if await engine.ready():
            return 200, TEXT, b"ready\n"
        return 503, TEXT, b"not ready\n"


class Api(Endpoint):
    """`POST /api/<method>` with an API key."""

    allowed = ("POST",)

    def __init__(self) -> None:
        super().__init__()
        self.largest = limit("MESSAGE_BYTES")

    def screen(self) -> None:
        if not access.host_allowed(self.scope):
            raise Refusal(400, BadRequest.code, "bad request: Host is not one of ALLOWED_HOSTS")
        name = self.scope["path"].removeprefix("/api/")
        if name not in METHODS:
            raise Refusal(404, UnknownMethod.code, str(UnknownMethod(name)))
        self.method = METHODS[name]
        super().screen()
        self.secret = _secret(self.scope)

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        engine = await current(lenient=True)
        try:
            identity = await engine.reads.run(access.identity_of_key, self.secret)
            if identity is None:
                raise _unauthorized("this API key is wrong, expired or revoked")
            engine.presence.key_used(identity.principal)
            result = await self.method.run(engine, identity, _decode(body, self.method.request))
        except WirelogError as error:
            return 200, JSON, _error(error.code, str(error))
        except DatabaseError:
            return 200, JSON, _error(InternalError.code, str(InternalError()))
        return 200, JSON, msgspec.json.encode({"result": result})


def _secret(scope: Any) -> str:
    """The API key of a request, from `X-API-Key` or `Authorization: Bearer`; never from the URL, which ends up in logs."""
    scheme, _, bearer = access.header(scope, b"authorization").partition(" ")
    secret = access.header(scope, b"x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
    if not secret:
        raise _unauthorized("send an API key as X-API-Key, or as Authorization: Bearer")
    return secret


def _unauthorized(reason: str) -> Refusal:
    return Refusal(401, 101, f"unauthorized: {reason}", (b"www-authenticate", b"Bearer"))


def _error(code: int, message: str) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": message}})


def _decode(body: bytes, request: type[msgspec.Struct]) -> Any:
    """The body as `request`. What is not JSON is refused (400); JSON of another shape is error 107, and names the field."""
    try:
        return msgspec.json.decode(body, type=request)
    except msgspec.ValidationError as error:
        _require_json(body)
        raise BadRequest("body", f"is not what this method takes: {error}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _not_json(error) from None


def _require_json(body: bytes) -> None:
    """The first wrong type ends a decode: what follows it may be anything."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _not_json(error) from None


def _not_json(error: Exception) -> Refusal:
    return Refusal(400, BadRequest.code, f"bad request: the body is not JSON: {error}")


# Methods


class PublishRequest(msgspec.Struct):
    channel: str
    data: msgspec.Raw
    idempotency_key: str = ""


class PublishResult(msgspec.Struct, omit_defaults=True):
    """Nothing for an ephemeral stream, which has no offsets."""

    offset: int = 0
    epoch: str = ""


async def publish(engine: Engine, identity: Identity, request: PublishRequest) -> PublishResult:
    item = Item(
        stream=request.channel,
        data=protocol.payload(request.data),
        identity=identity,
        publisher=identity.principal,
        idempotency_key=request.idempotency_key,
    )
    appended = await engine.journal.append(item)
    return PublishResult(appended.offset, appended.epoch) if appended.offset else PublishResult()


class Method(NamedTuple):
    request: type[msgspec.Struct]
    run: Callable[[Engine, Identity, Any], Awaitable[msgspec.Struct]]


METHODS = {"publish": Method(PublishRequest, publish)}
