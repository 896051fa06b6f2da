"""Calls of `/api/<method>` without the door: what a method answers to an identity."""

import json
from typing import Any

from realtime import api
from realtime.access import Identity, Scope
from realtime.engine import Engine
from realtime.errors import WirelogError

from .core import device

ALL = device("*", "read", "publish", "manage")


def key_of(pattern: str, *actions: str) -> Identity:
    return Identity("key:cd", "key", scopes=(Scope(pattern, frozenset(actions)),))


class Refused(str):
    """The code of an error, and its sentence."""

    code: int


async def call(engine: Engine, method: str, /, who: Identity = ALL, **request: Any) -> Any:
    """The result of one call by `who`, or its error."""
    try:
        return json.loads(await api.run(engine, who, method, api.METHODS[method], json.dumps(request).encode()))
    except WirelogError as error:
        refused = Refused(error)
        refused.code = error.code
        return refused


async def refused(engine: Engine, method: str, /, who: Identity = ALL, **request: Any) -> tuple[int, str]:
    answer = await call(engine, method, who=who, **request)
    assert isinstance(answer, Refused), answer
    return answer.code, str(answer)
