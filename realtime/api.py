"""`/api/<method>`: the server API that comes with the Centrifuge protocol.

The door and the envelope. What is refused before a method runs has the same form as the error of one, so a program reads one kind of
answer. The methods are in `api_methods.py`, but for the batch of them.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import msgspec
from django.db import DatabaseError

from . import access, callers, credentials
from .access import Identity
from .api_methods import COMMANDS, Method
from .api_requests import BatchRequest, BatchResult, in_words
from .conf import limit
from .endpoint import JSON, NO_KEY, WRONG_KEY, Answer, Endpoint, Refusal, check_host, error_body, key_of, retry_headers, unauthorized
from .engine import Engine, current
from .errors import BadRequest, LimitExceeded, TooManyRequests, UnknownMethod, Unrecoverable, WirelogError
from .identify import identity_of_request
from .journal import explain
from .protocol import misfit

PREFIX = "/api/"
# Bytes of replies after which a batch reads nothing more: a thousand pages of history must not be in memory at once.
MAX_REPLIES = 4_194_304


class NotJson(BadRequest):
    """Not a request at all: status 400, however the client wants to be told of errors."""

    def __init__(self, problem: object) -> None:
        super().__init__("body", f"is not JSON: {problem}")


class Api(Endpoint):
    """`POST /api/<method>` with an API key."""

    allowed = ("POST",)

    def __init__(self) -> None:
        super().__init__()
        self.largest = limit("MESSAGE_BYTES")

    def screen(self) -> None:
        check_host(self.scope)
        self.method = self.scope["path"].removeprefix(PREFIX)
        if self.method not in METHODS:
            raise Refusal(404, UnknownMethod.code, str(UnknownMethod(self.method)))
        super().screen()
        self.secret = key_of(self.scope)
        if not self.secret:
            raise unauthorized(NO_KEY)

    async def answer(self, body: bytes) -> Answer:
        engine = await current(lenient=True)
        try:
            identity = await self._identify(engine)
            engine.presence.key_used(identity.principal)
            result = await run(engine, identity, self.method, METHODS[self.method], body)
        except NotJson as error:
            raise Refusal(400, error.code, str(error)) from None
        except (WirelogError, DatabaseError) as error:
            return self._failed(told(error))
        # The replies of a batch stand alone: that is how its clients read them.
        return Answer(200, JSON, result if self.method == "batch" else b'{"result":%b}' % result)

    async def _identify(self, engine: Engine) -> Identity:
        address = callers.client_address(self.scope)
        try:
            identity = await identity_of_request(engine, address, credentials.of_key(self.secret))
        except TooManyRequests as error:
            raise Refusal(429, error.code, str(error), *retry_headers(error)) from None
        if identity is None:
            raise unauthorized(WRONG_KEY)
        return replace(identity, address=address)

    def _failed(self, error: WirelogError) -> Answer:
        """With status 200, but for clients that would rather read the status than the body."""
        content = error_body(error.code, str(error))
        if callers.header(self.scope, b"x-centrifugo-error-mode") != "transport":
            return Answer(200, JSON, content)
        # 416 is what these clients know; `/api/streams/` says 409.
        status = 416 if isinstance(error, Unrecoverable) else error.http_status
        return Answer(status, JSON, content, retry_headers(error))


async def run(engine: Engine, identity: Identity, name: str, method: Method, body: bytes) -> bytes:
    """The result of one call, as JSON. Raises WirelogError (NotJson for a body that is none), DatabaseError."""
    request = decode(body, method.request)
    access.demand(f"api {name}", identity)
    return msgspec.json.encode(await method.run(engine, identity, request))


def told(error: WirelogError | DatabaseError) -> WirelogError:
    return explain(error) if isinstance(error, DatabaseError) else error


def decode(body: bytes, request: type[msgspec.Struct]) -> Any:
    if not body:
        raise NotJson("there is none, send at least {}")
    try:
        return msgspec.json.decode(body, type=request)
    except msgspec.ValidationError as error:
        # The first wrong type ends a decode: what follows it may be anything.
        _require_json(body)
        raise in_words(misfit(error, "body")) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotJson(error) from None


def _require_json(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotJson(error) from None


# batch


_command = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def batch(engine: Engine, identity: Identity, request: BatchRequest) -> BatchResult:
    """The replies, in order. Commands run one after another; publishes that stand together are queued together, and share a transaction."""
    replies: list[bytes] = []
    size = 0
    for publishing, commands in groupby(map(_parse, request.commands), lambda command: command[0] == "publish"):
        if publishing:
            # Each task runs up to its place in the queue of the journal before the next one starts.
            replies += await asyncio.gather(*(_reply(engine, identity, *command) for command in commands))
            continue
        for name, body in commands:
            reply = await _reply(engine, identity, name, body) if size < MAX_REPLIES else _full()
            replies.append(reply)
            size += len(reply)
    return BatchResult(list(map(msgspec.Raw, replies)))


def _parse(raw: msgspec.Raw) -> tuple[str, bytes]:
    """Method and request of one command; no method where it is not just these two."""
    try:
        [(name, body)] = _command.decode(raw).items()
    except (ValueError, RecursionError):
        return "", b""
    return name, bytes(body)


async def _reply(engine: Engine, identity: Identity, name: str, body: bytes) -> bytes:
    try:
        if not name:
            raise BadRequest("commands", 'must each be an object with one method, for example {"info": {}}')
        if name not in COMMANDS:
            raise UnknownMethod(name)
        result = await run(engine, identity, name, COMMANDS[name], body)
    except (WirelogError, DatabaseError) as error:
        refused = told(error)
        return error_body(refused.code, str(refused))
    return b'{"%b":%b}' % (name.encode(), result)


def _full() -> bytes:
    refused = LimitExceeded("bytes of replies to one batch", MAX_REPLIES)
    return error_body(refused.code, str(refused))


METHODS: Mapping[str, Method] = {
    **COMMANDS,
    "batch": Method(
        "Run several commands by one request. One that fails does not keep the others from it.",
        BatchRequest,
        BatchResult,
        batch,
        {"commands": [{"publish": {"channel": "lobby", "data": 1}}, {"history": {"channel": "lobby"}}]},
    ),
}
