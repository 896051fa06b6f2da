"""One request of plain HTTP to a stream: who makes it, and what its handlers see of it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

import msgspec

from . import access, callers, credentials
from .access import ANONYMOUS, Identity
from .conf import limit
from .credentials import Credential
from .cursor import Waiter
from .endpoint import NO_KEY, WRONG_KEY, Refusal, key_of, unauthorized
from .engine import Engine
from .errors import BadRequest, LimitExceeded, NotPermitted, UnknownStream, WirelogError
from .identify import identity_of_request
from .protocol import misfit

T = TypeVar("T")

MAX_PARAMETERS = 20


# Who


def credential_of(scope: Any, writes: bool) -> Credential | None:
    """What a request shows. Raises Refusal (403) for a page of a foreign Origin, (401) for a write that nothing vouches for.

    A browser names no Origin when a page of ours reads (`EventSource`, `<img>`), and always when it writes.
    """
    if secret := key_of(scope):
        return credentials.of_key(secret) or _refuse_key()
    trusted = callers.origin_allowed(scope)
    if callers.header(scope, b"origin") and not trusted:
        raise Refusal(403, NotPermitted.code, "permission denied: the Origin of this page is not the server's, nor in WIRELOG_ORIGINS")
    if writes and not trusted:
        raise unauthorized(NO_KEY)
    session_key = callers.session_cookie(scope)
    return credentials.of_session(session_key) if session_key else None


def demand_identity(credential: Credential | None) -> Identity:
    """Whose it is. Runs in a reader thread. Raises Refusal (401) for a key that is not valid; a session that has ended is nobody's."""
    identity = credentials.identity_of(credential)
    if identity is None and credential is not None and credential.kind == "key":
        _refuse_key()
    return identity or ANONYMOUS


class WrongKey(Refusal):
    pass


def _refuse_key() -> NoReturn:
    refusal = unauthorized(WRONG_KEY)
    raise WrongKey(refusal.status, refusal.code, refusal.message, *refusal.headers)


def demand_credential(identity: Identity, error: WirelogError) -> None:
    """Raises Refusal (401) when `error` might not have met somebody who says who they are."""
    # Not UnknownRecord: that stream was read.
    if identity is ANONYMOUS and type(error) in (UnknownStream, NotPermitted):
        raise unauthorized("this needs an API key, as X-API-Key or Authorization: Bearer, or a session") from None


# What


@dataclass(slots=True)
class Request:
    engine: Engine
    scope: Any
    credential: Credential | None
    # The name of the stream, which may not exist.
    stream: str
    # The rest of the path, where the route leaves one open.
    rest: str
    # The struct that the route names.
    query: Any
    body: bytes
    # Closed when the request has been answered, or its client has left.
    at_end: ExitStack
    # As of the last read, and `Control.turn` before it.
    who: Identity = ANONYMOUS
    turn: int = -1

    async def read(self, reading: Callable[..., T], *args: Any) -> T:
        """`reading(identity, *args)` in a reader thread, as whoever the credential stands for at this moment.

        So each page of a long answer is read under the access rules of its own time. Raises Refusal, WirelogError.
        """
        shown, address = self.credential, callers.client_address(self.scope)
        if shown is None or shown.kind != "key":
            return (await self._read(reading, args))[1]
        self.engine.guesses.admit(address, shown)
        try:
            identity, result = await self._read(reading, args)
        except WrongKey:
            self.engine.guesses.note(address, shown, right=False)
            raise
        self.engine.guesses.note(address, shown, right=True)
        self.engine.presence.key_used(identity.principal)
        return result

    async def _read(self, reading: Callable[..., T], args: tuple[Any, ...]) -> tuple[Identity, T]:
        turn = self.engine.control.turn
        found: tuple[Identity, T] = await self.engine.reads.run(_read, self.credential, reading, args)
        self.who, self.turn = found[0], turn
        return found

    async def identity(self) -> Identity:
        """Raises Refusal, TooManyRequests."""
        shown = self.credential
        if shown is None or shown.kind != "key":
            return await self.read(lambda identity: identity)
        identity = await identity_of_request(self.engine, callers.client_address(self.scope), shown)
        if identity is None:
            _refuse_key()
        self.engine.presence.key_used(identity.principal)
        return identity

    async def past(self, waiter: Waiter, position: int) -> None:
        """Wait until there is something after `position`, or the waiter has ended. Raises Refusal, WirelogError when access ends."""
        while waiter.waits(position):
            if self.in_doubt:
                await self.read(access.readable, self.stream)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self.who.expires - time.time() if self.who.expires is not None else None):
                    await waiter.news()

    @property
    def in_doubt(self) -> bool:
        """Whether access may have ended since it was read last."""
        expired = self.who.expires is not None and self.who.expires <= time.time()
        return expired or self.turn != self.engine.control.turn

    def take_seat(self) -> None:
        """For an answer that lasts, which counts as a connection until its end. Raises LimitExceeded."""
        seats, who = self.engine.seats, self.who
        if not seats.room_for(len(self.engine.sessions) + 1):
            raise LimitExceeded("connections to this process", limit("CONNECTIONS"))
        if seats.full(who):
            raise LimitExceeded("connections at a time", seats.most(who))
        self.at_end.enter_context(seats.held(who))

    def count_publishes(self, identity: Identity, count: int) -> None:
        """Raises TooManyRequests."""
        self.engine.rates.publish(identity, count, callers.client_address(self.scope))

    def header(self, name: str) -> str:
        """The header `name` as UTF-8; "" without. Raises BadRequest."""
        try:
            return callers.header(self.scope, name.lower().encode()).encode("latin-1").decode()
        except UnicodeDecodeError:
            raise BadRequest(name, "is not UTF-8") from None


def _read(credential: Credential | None, reading: Callable[..., T], args: tuple[Any, ...]) -> tuple[Identity, T]:
    identity = demand_identity(credential)
    try:
        return identity, reading(identity, *args)
    except WirelogError as error:
        demand_credential(identity, error)
        raise


def parse_query(text: bytes, query: type[T]) -> T:
    """Raises BadRequest, naming the parameter; for one that is not known, too: it would have meant something."""
    try:
        pairs = parse_qsl(text.decode(), keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise BadRequest("query", f"is not right: {error}") from None
    values = dict(pairs)
    if len(values) < len(pairs):
        raise BadRequest("query", "must name each parameter once")
    return from_text(values, query, "query")


def from_text(value: Any, wanted: type[T], name: str) -> T:
    """What is said as text, as what is `wanted`. Raises BadRequest, in words that a reader of HTTP has; `name` is that of the whole."""
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        flaw = misfit(error, name)
        problem = flaw.problem.removesuffix(", got `str`").replace("`int`", "a whole number").replace("`bool`", "true or false")
        raise BadRequest(flaw.field, problem) from None
