"""`/api/<method>`: the server API that comes with the Centrifuge protocol.

One table of methods, the result or the error in one envelope. What is refused before a method runs has the same form, so a program
reads one kind of answer.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from django.db import Error as DatabaseError

from . import access, credentials, protocol
from .access import Identity
from .conf import limit
from .endpoint import JSON, Endpoint, Refusal, error_body, secret_of, unauthorized
from .engine import Engine, current
from .errors import BadRequest, InternalError, UnknownMethod, WirelogError
from .journal import Item


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
        self.secret = secret_of(self.scope)

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        engine = await current(lenient=True)
        try:
            identity = await engine.reads.run(credentials.identity_of_key, self.secret)
            if identity is None:
                raise unauthorized("this API key is wrong, expired or revoked")
            engine.presence.key_used(identity.principal)
            result = await self.method.run(engine, identity, _decode(body, self.method.request))
        except WirelogError as error:
            return 200, JSON, error_body(error.code, str(error))
        except DatabaseError:
            return 200, JSON, error_body(InternalError.code, str(InternalError()))
        return 200, JSON, msgspec.json.encode({"result": result})


def _decode(body: bytes, request: type[msgspec.Struct]) -> Any:
    """The body as `request`. What is not JSON is refused (400); JSON of another shape is error 107, and names the field."""
    try:
        return msgspec.json.decode(body, type=request)
    except msgspec.ValidationError as error:
        _require_json(body)
        raise protocol.misfit(error, "body") from None
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
    engine.rates.publish(identity)
    appended = await engine.journal.append(item)
    return PublishResult(appended.offset, appended.epoch) if appended.offset else PublishResult()


class Method(NamedTuple):
    request: type[msgspec.Struct]
    run: Callable[[Engine, Identity, Any], Awaitable[msgspec.Struct]]


METHODS = {"publish": Method(PublishRequest, publish)}
