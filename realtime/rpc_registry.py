"""The methods of the `rpc` command: `from realtime import rpc`. Any app may add its own, in a module `rpc.py`, which is found by itself."""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction

from . import access
from .access import Identity
from .errors import InternalError, UnknownMethod, WirelogError
from .protocol import decode_params

if TYPE_CHECKING:
    from .engine import Engine

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Method:
    function: Callable[..., Any]
    # What the parameters are decoded as; None for a method without any.
    params: type | None
    writes: bool

    async def run(self, engine: "Engine", *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(self.function):
            return await self.function(*arguments)
        if self.writes:
            return await engine.journal.run(partial(_in_transaction, self.function, *arguments))
        return await engine.calls.run(self.function, *arguments)


METHODS: dict[str, Method] = {}


def rpc(name: str, *, writes: bool = False) -> Callable[[F], F]:
    """Make a function the method `name`. It gets the Identity of the caller and, if it takes a second argument, the parameters, decoded
    and checked as the type of that argument (a msgspec.Struct); what it returns is the answer, as JSON.

    A plain function runs in a reader thread, where it cannot write. With `writes` it is one transaction in the write thread, and what it
    publishes is part of it: keep it short, since every publisher waits. A coroutine function runs on the event loop.
    Whatever it raises but WirelogError is logged, and an internal error (100) to the caller.
    """

    def register(function: F) -> F:
        if name in METHODS:
            raise ImproperlyConfigured(f"There are two rpc methods {name!r}: {METHODS[name].function!r} and {function!r}.")
        METHODS[name] = Method(function, _params_of(function), writes)
        return function

    return register


def _params_of(function: Callable[..., Any]) -> type | None:
    names = list(inspect.signature(function).parameters)
    if len(names) == 1:
        return None
    hints = get_type_hints(function)
    if len(names) != 2 or names[1] not in hints:
        raise ImproperlyConfigured(f"The rpc method {function!r} must take an identity and, if anything, parameters with a type.")
    found: type = hints[names[1]]
    return found


def _in_transaction(function: Callable[..., Any], *arguments: Any) -> Any:
    with transaction.atomic():
        return function(*arguments)


async def call(engine: "Engine", identity: Identity, name: str, params: msgspec.Raw) -> bytes:
    """The answer of the method `name` as JSON. Raises WirelogError, DatabaseError."""
    method = METHODS.get(name)
    if method is None:
        raise UnknownMethod(name)
    if (asked := f"rpc {name}") in access.RIGHTS:
        access.demand(asked, identity)
    arguments: list[Any] = [] if method.params is None else [decode_params(params, method.params)]
    try:
        return msgspec.json.encode(await method.run(engine, identity, *arguments))
    except (WirelogError, DatabaseError):
        raise
    except Exception:
        # The edge to the code of other apps: a mistake there ends one call, not the connection.
        logger.exception("The rpc method %r failed.", name)
        raise InternalError from None
