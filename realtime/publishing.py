"""Publishing from Django code: `from realtime import publish, apublish`.

Inside a transaction the record is part of it: it is stored when that commits and announced after, or never was. Outside, it goes through
the journal of the server where this process is one.
"""

import asyncio
import json
from functools import partial
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import SynchronousOnlyOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction

from . import engine, hints, protocol
from .errors import BadRequest, WirelogError
from .items import Item, check_types
from .journal import Appended, Outcome, append_batch, append_now, hint_of, tell_receivers


class Published(NamedTuple):
    """Where the record is. In an ephemeral stream the offset is 0: it is stored nowhere."""

    offset: int
    epoch: str
    # Whether the idempotency key had been used: this is where its record has been since then.
    duplicate: bool


def publish(stream: str, data: Any, *, user: AbstractBaseUser | AnonymousUser | None = None, **fields: Any) -> Published:
    """Append `data`, whatever DjangoJSONEncoder takes, to `stream`, with the rights of the server.

    `user` stands in the record as its publisher. `fields` are those of `Item`: idempotency_key, key, removed, tags, device_time,
    expect_offset. Raises WirelogError; in a coroutine SynchronousOnlyOperation, since waiting there would stop the loop that commits.
    """
    item = _item(stream, data, user, fields)
    if connection.in_atomic_block:
        return publish_within(item)
    if _on_a_loop():
        raise SynchronousOnlyOperation("realtime.publish() waits for a commit: in a coroutine use `await realtime.apublish()`.")
    running = engine.running()
    if running is None:
        return _published(append_now([item])[0])
    return _published(asyncio.run_coroutine_threadsafe(running.journal.append(item), running.loop).result())


async def apublish(stream: str, data: Any, *, user: AbstractBaseUser | AnonymousUser | None = None, **fields: Any) -> Published:
    """`publish` for coroutines. It is never part of a transaction: Django has none that spans an await."""
    running = engine.running()
    if running is None or running.loop is not asyncio.get_running_loop():
        return await sync_to_async(publish)(stream, data, user=user, **fields)
    return _published(await running.journal.append(_item(stream, data, user, fields)))


def _item(stream: str, data: Any, user: AbstractBaseUser | AnonymousUser | None, fields: dict[str, Any]) -> Item:
    try:
        text = json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        checked = protocol.payload(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest("data", f"cannot be JSON: {error}") from None
    item = Item(stream, checked, publisher=str(user.pk) if user and user.pk is not None else "", **fields)
    check_types(item)
    return item


def publish_within(item: Item) -> Published:
    """Append in the transaction of the caller; who listens is told when it has committed. Raises WirelogError."""
    (outcome,) = append_batch(connection, [item])
    hint = hint_of([outcome])
    if hint:
        transaction.on_commit(partial(_announce, item, outcome, hint), robust=True)
    return _published(outcome)


def _announce(item: Item, outcome: Outcome, hint: hints.Hint) -> None:
    tell_receivers([item], [outcome])
    running = engine.running()
    if running is None:
        hints.send_now(hint)
    else:
        running.loop.call_soon_threadsafe(running.announce, hints.encode(hint))


def _published(outcome: Outcome) -> Published:
    if isinstance(outcome, WirelogError):
        raise outcome
    assert isinstance(outcome, Appended)
    return Published(outcome.offset, outcome.epoch, outcome.duplicate)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
