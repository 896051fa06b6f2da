"""The look at every connection: many at once, and what becomes of trouble."""

from typing import Any

import pytest
from django.db import DatabaseError

from realtime import access
from realtime.engine import Engine
from realtime.models import Database

from ..core import elsewhere, quiet
from ..waiting import eventually
from .club import close_to_members, enter, outcome, sign_out

pytestmark = pytest.mark.django_db(transaction=True)


async def test_one_look_at_many_takes_as_many_queries_as_one_at_few(engine: Engine, cookies: dict[str, str]) -> None:
    queries: list[str] = []

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        # The mark of the database is read in these threads, too.
        if "sqlite_sequence" not in sql and Database._meta.db_table not in sql:
            queries.append(sql)
        return execute(sql, params, many, context)

    for name in [*cookies] * 3:
        if name != "bob":
            client = await enter(engine, cookies, name, "open", "club")
            # Not looked at by itself.
            client.session.checked = engine.loop.time()
    await quiet(engine)
    # The thread of the looks opens its connection when it is first asked.
    await engine.control._reads.run(int)
    for reader in [*engine.reads._connections, *engine.control._reads._connections]:
        reader.execute_wrappers.append(count)
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: not engine.control._due and len(queries) >= 4)
    await quiet(engine)
    # Sessions with their users and groups, keys, streams, memberships.
    assert [sql.split("FROM ")[-1].split()[0].strip('"') for sql in queries] == [
        "users_session",
        "realtime_apikey",
        "realtime_stream",
        "realtime_membership",
    ]


async def test_a_look_that_fails_is_tried_again(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = await enter(engine, cookies, "alice", "open")

    def fail(*args: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr("realtime.control.RETRY_SECONDS", 0.01)
    monkeypatch.setattr(access, "judge", fail)
    await elsewhere(close_to_members, "", "")
    await eventually(lambda: "Rights could not be read again, this is tried until they are: away" in caplog.text)
    assert client.closing is None
    monkeypatch.undo()
    await eventually(lambda: outcome(client) == {"open": 2403})


async def test_whoever_cannot_be_judged_has_to_come_back(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = await enter(engine, cookies, "alice", "open")

    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(access, "judge", fail)
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: client.closing == 3004)
    assert "The rights of 1 connections could not be judged." in caplog.text
    monkeypatch.undo()
    # The control itself goes on.
    again = await enter(engine, cookies, "alice", "open")
    await elsewhere(sign_out, "alice", cookies["alice"])
    await eventually(lambda: again.closing == 4501)


async def test_everybody_is_looked_at_once_a_minute(engine: Engine, cookies: dict[str, str]) -> None:
    before = engine.loop.time()
    clients = [await enter(engine, cookies, name) for name in ("alice", "bob", "key")]
    now = engine.loop.time()
    assert all(before - 55 <= client.session.checked <= now for client in clients)
    engine.control.tick(max(client.session.checked for client in clients) + 55)
    await eventually(lambda: all(client.session.checked >= now for client in clients))
