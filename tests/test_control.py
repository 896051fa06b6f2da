"""What notices ask of the connections of this process."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import transaction

from realtime import access, credentials, notices
from realtime.engine import Engine
from realtime.group_read import GroupRead
from realtime.models import Notice, Stream

from .core import Client, append, cookie, elsewhere, person, quiet, running
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    for name in ("room", "plain"):
        Stream.objects.create(name=name)
    for name in ("alice", "bob"):
        person(name)
    return {name: cookie(name) for name in ("alice", "bob")}


@pytest.fixture
async def tabs(engine: Engine, cookies: dict[str, str]) -> list[Client]:
    """Two of alice, one of bob; each reads `room` and `plain`."""
    clients = [await Client(engine, cookies[name]).connect() for name in ("alice", "alice", "bob")]
    for client in clients:
        for name in ("room", "plain"):
            await client.ask("subscribe", channel=name)
    return clients


def user(client: Client) -> str:
    assert client.session.identity is not None
    return client.session.identity.principal


async def post(engine: Engine, kind: str, **subject: Any) -> None:
    """Post, and wait until this process has acted on it."""
    await elsewhere(notices.post, kind, **subject)
    newest = await elsewhere(notices.newest)
    await eventually(lambda: engine._tick._newest_notice >= newest)
    await quiet(engine)


# disconnect


@pytest.mark.parametrize(
    "names, closed",
    [
        (["user"], [3503, 3503, None]),
        (["user", "client"], [3503, None, None]),
        (["client"], [3503, None, None]),
        (["session"], [3503, None, None]),
        (["client", "session"], [3503, None, None]),
        ([], [None, None, None]),
    ],
)
async def test_disconnect_closes_whom_it_names(engine: Engine, tabs: list[Client], names: list[str], closed: list[int | None]) -> None:
    client = tabs[0].session.client
    subject = {"user": user(tabs[0]), "client": client, "session": client}
    await post(engine, "disconnect", **{name: subject[name] for name in names})
    assert [tab.closing for tab in tabs] == closed


async def test_disconnect_of_somebody_elses_connection_closes_none(engine: Engine, tabs: list[Client]) -> None:
    await post(engine, "disconnect", user=user(tabs[0]), client=tabs[2].session.client)
    await post(engine, "disconnect", client=tabs[0].session.client, session=tabs[1].session.client)
    await post(engine, "disconnect", user="999")
    assert [tab.closing for tab in tabs] == [None, None, None]


async def test_disconnect_leaves_who_is_on_the_whitelist(engine: Engine, tabs: list[Client]) -> None:
    await post(engine, "disconnect", user=user(tabs[0]), whitelist=[tabs[1].session.client])
    assert [tab.closing for tab in tabs] == [3503, None, None]


async def test_disconnect_has_the_code_and_reason_that_were_asked_for(engine: Engine, tabs: list[Client]) -> None:
    await post(engine, "disconnect", user=user(tabs[2]), code=4100, reason="come back later")
    assert tabs[2].session.closing == (4100, "come back later")


# unsubscribe


async def test_unsubscribe_ends_the_subscriptions_of_one_person_to_one_stream(engine: Engine, tabs: list[Client]) -> None:
    await post(engine, "unsubscribe", user=user(tabs[0]), channel="room")
    assert [tab.pushes("unsubscribe") for tab in tabs] == [[{"code": 2000, "reason": "server unsubscribe"}]] * 2 + [[]]
    assert [sorted(tab.session.subscriptions) for tab in tabs] == [["plain"], ["plain"], ["plain", "room"]]
    await elsewhere(append, "room", "1")
    assert await tabs[2].received(1) == [1]
    assert (tabs[0].pushes("pub"), tabs[1].pushes("pub")) == ([], [])


async def test_unsubscribe_of_one_connection_with_a_code_of_ones_own(engine: Engine, tabs: list[Client]) -> None:
    await post(engine, "unsubscribe", user=user(tabs[0]), client=tabs[1].session.client, channel="room", code=2300, reason="game over")
    assert [tab.pushes("unsubscribe") for tab in tabs] == [[], [{"code": 2300, "reason": "game over"}], []]


async def test_unsubscribe_from_what_nobody_reads_changes_nothing(engine: Engine, tabs: list[Client]) -> None:
    await post(engine, "unsubscribe", user=user(tabs[0]), channel="nowhere")
    assert all(len(tab.session.subscriptions) == 2 for tab in tabs)


async def test_a_subscribe_under_way_is_refused(engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    client = await Client(engine, cookies["alice"]).connect()

    def read_and_lose(asked: Sequence[Any]) -> Sequence[Any]:
        streams = access.judge(asked)
        engine.loop.call_soon_threadsafe(engine.control.take, [Notice(kind="unsubscribe", subject=subject)])
        return streams

    subject = {"user": user(client), "channel": "room"}
    monkeypatch.setattr(engine, "readable", GroupRead(engine.reads, read_and_lose))
    assert await client.ask("subscribe", channel="room") == 103
    monkeypatch.undo()
    await elsewhere(append, "room", "1")
    await quiet(engine, client)
    assert (client.pushes("pub"), client.session.subscriptions) == ([], {})
    assert isinstance(await client.ask("subscribe", channel="room"), dict)


# What is no business of this process


async def test_notices_from_before_the_start_are_not_acted_on(cookies: dict[str, str]) -> None:
    alice = await elsewhere(credentials.identity_of, credentials.of_session(cookies["alice"]))
    assert alice is not None
    await elsewhere(notices.post, "disconnect", user=alice.principal)
    async with running() as engine:
        client = await Client(engine, cookies["alice"]).connect()
        await post(engine, "disconnect", user="999")
        assert client.closing is None


async def test_a_notice_that_makes_no_sense_costs_no_other(engine: Engine, tabs: list[Client], caplog: pytest.LogCaptureFixture) -> None:
    def revoke() -> None:
        with transaction.atomic():
            notices.post("unsubscribe", user=user(tabs[0]))
            notices.post("disconnect", user=user(tabs[0]), whitelist=None)
            Stream.objects.get(name="room").delete()

    await elsewhere(revoke)
    await eventually(lambda: [list(tab.session.subscriptions) for tab in tabs] == [["plain"]] * 3)
    assert engine.control.turn == 1
    assert caplog.text.count("This notice could not be acted on") == 2


async def test_an_unknown_kind_is_ignored_and_logged(engine: Engine, tabs: list[Client], caplog: pytest.LogCaptureFixture) -> None:
    await post(engine, "teleport", user=user(tabs[0]))
    await post(engine, "disconnect", client=tabs[0].session.client)
    assert [tab.closing for tab in tabs] == [3503, None, None]
    assert "A notice of the unknown kind 'teleport' was ignored." in caplog.text
