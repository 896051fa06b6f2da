"""Access that was taken away: whom each change concerns, and what they are told."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from project.users.models import Session as SessionRow
from project.users.models import User
from realtime import credentials
from realtime.engine import Engine
from realtime.models import ApiKey, Notice, Stream

from ..core import cookie, elsewhere
from ..waiting import eventually
from .club import CHANGES, Told, deactivate, enter, more_records, outcome, sign_out

pytestmark = pytest.mark.django_db(transaction=True)


everything = pytest.mark.parametrize("change, name, told", CHANGES, ids=lambda value: getattr(value, "__name__", ""))


@everything
async def test_whoever_is_concerned_is_told_and_hears_nothing_more(
    engine: Engine, cookies: dict[str, str], change: Any, name: str, told: Told
) -> None:
    client = await enter(engine, cookies, name, "open", "club")
    other = await enter(engine, cookies, "bob", "open")
    # Without the look of every minute: the notice alone.
    client.session.checked = engine.loop.time() + 1_000
    await elsewhere(change, name, cookies[name])
    await eventually(lambda: outcome(client) == told)
    heard = await more_records(client)
    assert heard == ([] if isinstance(told, int) else [stream for stream in ("open", "club") if stream not in told])
    assert other.closing is None


def lose_the_notice(change: Callable[[str, str], None], name: str, session_key: str) -> None:
    with transaction.atomic():
        change(name, session_key)
        Notice.objects.all().delete()


@everything
async def test_when_the_notice_is_lost_the_look_of_every_minute_finds_out(
    engine: Engine, cookies: dict[str, str], change: Any, name: str, told: Told
) -> None:
    client = await enter(engine, cookies, name, "open", "club")
    await elsewhere(lose_the_notice, change, name, cookies[name])
    assert await elsewhere(Notice.objects.count) == 0
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: outcome(client) == told)
    assert await more_records(client) == ([] if isinstance(told, int) else [stream for stream in ("open", "club") if stream not in told])


@pytest.mark.parametrize(
    "sql, told",
    [
        ("UPDATE users_user SET is_active = 0", 4501),
        ("DELETE FROM users_session", 4501),
        ("UPDATE users_user SET password = 'x'", 4501),
        ("DELETE FROM realtime_membership", {"club": 2403}),
        ("UPDATE realtime_stream SET readers = 'members' WHERE name = 'open'", {"open": 2403}),
        ("UPDATE realtime_stream SET archived = '2026-01-01' WHERE name = 'club'", {"club": 2404}),
    ],
)
async def test_what_sql_does_behind_the_orm_is_found_within_a_minute(engine: Engine, cookies: dict[str, str], sql: str, told: Told) -> None:
    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    client = await enter(engine, cookies, "alice", "open", "club")
    await elsewhere(run)
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: outcome(client) == told)


# Notices


@pytest.fixture
def no_notices(cookies: dict[str, str]) -> None:
    Notice.objects.all().delete()


def subjects() -> list[dict[str, Any]]:
    return [notice.subject for notice in Notice.objects.order_by("pk")]


def test_a_notice_about_a_session_does_not_name_its_key(cookies: dict[str, str]) -> None:
    sign_out("alice", cookies["alice"])
    assert {"credential": credentials.of_session(cookies["alice"]).digest} in subjects()
    assert cookies["alice"] not in str(subjects())


def test_what_takes_nothing_away_tells_nobody(no_notices: None) -> None:
    # Signing in writes the time of it.
    cookie("bob")
    person = User.objects.create_user("dora")
    person.save(update_fields=["first_name"])
    key, _ = ApiKey.generate(name="new")
    key.last_used = timezone.now()
    key.save(update_fields=["last_used"])
    stream = Stream.objects.create(name="new")
    stream.title = "New"
    stream.save(update_fields=["title"])
    SessionRow.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1), user=person)
    call_command("clearsessions")
    assert subjects() == []


@pytest.mark.parametrize(
    "model, fields",
    [
        (User, ["password", "is_active", "is_superuser"]),
        (
            ApiKey,
            ["revoked", "expires", "scopes", "digest", "previous_digest", "previous_until", "publish_rate", "max_connections"],
        ),
        (Stream, ["name", "readers", "writers", "archived", "durable", "max_payload"]),
    ],
)
def test_each_column_that_decides_of_access_is_told_of_by_itself(no_notices: None, model: Any, fields: list[str]) -> None:
    for count, name in enumerate(fields, 1):
        model.objects.first().save(update_fields=[name])
        assert len(subjects()) == count, name


def test_a_notice_is_part_of_the_transaction_of_the_change(no_notices: None) -> None:
    with transaction.atomic():
        deactivate("alice", "")
        assert len(subjects()) == 1
        transaction.set_rollback(True)
    assert subjects() == []


def test_sessions_of_an_engine_without_a_model_end_by_the_signal_of_signing_out(db: None) -> None:
    from types import SimpleNamespace

    from realtime.revocation import logged_out

    logged_out(request=SimpleNamespace(session=SimpleNamespace(session_key="abc")))
    logged_out(request=SimpleNamespace(session=SimpleNamespace(session_key=None)))
    assert subjects() == [{"credential": credentials.of_session("abc").digest}]
