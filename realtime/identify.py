"""Who a connection is, by what it shows when it connects."""

from . import access, credentials
from .access import ANONYMOUS, Caller, Identity
from .credentials import Credential
from .engine import Engine
from .errors import BAD_REQUEST, INVALID_TOKEN, Disconnect

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
    credential = credentials.of_key(token) if token else credentials.of_session(caller.session_key) if caller.session_key else None
    identity = await engine.reads.run(credentials.identity_of, credential) if credential is not None else None
    if identity is not None:
        return credential, identity
    if token:
        raise Disconnect(INVALID_TOKEN)
    if caller.origin_allowed and await engine.reads.run(access.anonymous_may_read_something):
        return None, ANONYMOUS
    raise Disconnect(BAD_REQUEST)
