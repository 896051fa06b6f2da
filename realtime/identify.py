"""Who a connection or a request is, by what it shows."""

from . import access, credentials
from .access import ANONYMOUS, Identity
from .callers import Caller
from .credentials import Credential
from .engine import Engine
from .errors import BAD_REQUEST, INVALID_TOKEN, TOO_MANY_REQUESTS, Disconnect, TooManyRequests

Shown = tuple[Credential | None, Identity]


async def identify(engine: Engine, caller: Caller, token: str) -> Shown:
    """By `token`, which goes before the cookie; by no credential where something is open to anyone. Raises Disconnect."""
    while True:
        turn = engine.control.turn
        shown = await _read(engine, caller, token)
        # Nobody looks again at a connection that has no identity yet: what was read while access changed is read once more.
        if turn == engine.control.turn:
            return shown


async def _read(engine: Engine, caller: Caller, token: str) -> Shown:
    if token:
        return await _by_key(engine, caller, token)
    if caller.session_key:
        credential = credentials.of_session(caller.session_key)
        identity = await engine.identities.ask(credential)
        if identity is not None:
            return credential, identity
    if caller.origin_allowed and await engine.reads.run(access.anonymous_may_read_something):
        return None, ANONYMOUS
    raise Disconnect(BAD_REQUEST)


async def _by_key(engine: Engine, caller: Caller, token: str) -> Shown:
    credential = credentials.of_key(token)
    try:
        identity = await identity_of_key(engine, caller.address, credential)
    except TooManyRequests:
        raise Disconnect(TOO_MANY_REQUESTS) from None
    if identity is None:
        raise Disconnect(INVALID_TOKEN)
    return credential, identity


async def identity_of_key(engine: Engine, address: str | None, credential: Credential | None) -> Identity | None:
    """Whose key it is, None for a wrong one. Raises TooManyRequests for an address that has shown too many of those."""
    if credential is None:
        return None
    engine.guesses.admit(address, credential)
    identity = await engine.identities.ask(credential)
    engine.guesses.note(address, credential, identity is not None)
    return identity


async def identity_of_request(engine: Engine, address: str | None, credential: Credential | None) -> Identity | None:
    """`identity_of_key`, for who shows the same key over and over."""
    if credential is None:
        return None
    known = engine.known_keys.get(credential)
    if known is not None:
        return known
    turn = engine.control.turn
    identity = await identity_of_key(engine, address, credential)
    if identity is not None:
        engine.known_keys.keep(credential, identity, turn)
    return identity
