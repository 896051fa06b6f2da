"""Access that is taken away, in every state of a connection."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from project.users.models import Session as SessionRow
from realtime import access, credentials
from realtime.engine import Engine
from realtime.errors import SLOW
from realtime.group_read import GroupRead
from realtime.models import ApiKey, Audience, Notice, Stream
from realtime.reads import THREADS

from ..core import Client, append, elsewhere, head, quiet
from ..test_group_commit import Desk
from ..waiting import SECONDS, eventually
from .club import (
    archive,
    browser,
    end_membership,
    enter,
    leave_group,
    more_records,
    outcome,
    remove_stream,
    sign_out,
    user,
)

pytestmark = pytest.mark.django_db(transaction=True)


async def test_in_the_middle_of_a_replay(engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    await elsewhere(append, "club", *("2" * 900))
    gate, asked = asyncio.Event(), asyncio.Event()
    page = engine.reads.page

    async def slow_page(*args: Any) -> Any:
        found = await page(*args)
        asked.set()
        await gate.wait()
        return found

    monkeypatch.setattr(engine.reads, "page", slow_page)
    client = await enter(engine, cookies, "alice")
    await client.frame(client.command("subscribe", channel="club", recover=True, offset=0, epoch=""))
    await asked.wait()
    await elsewhere(end_membership, "alice", "")
    await eventually(lambda: outcome(client) == {"club": 2403})
    gate.set()
    await quiet(engine, client)
    assert client.pushes("pub") == []
    assert not any("club" in task.get_name() for task in asyncio.all_tasks())


async def test_what_waits_for_a_slow_reader_is_forgotten(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "open", "club")
    client.drain()
    await elsewhere(append, "club", *("2" * 100))
    await elsewhere(append, "open", *("2" * 100))
    await eventually(lambda: engine.hub.delivered == 200)
    # It has read nothing of this yet.
    await elsewhere(end_membership, "alice", "")
    await eventually(lambda: "club" not in client.session.subscriptions)
    assert outcome(client) == {"club": 2403}
    assert {message["push"]["channel"] for message in client.messages if "pub" in message.get("push", {})} == {"open"}
    assert client.session.outbox.waiting == 0


async def test_with_a_publish_in_flight_its_commit_is_answered_first(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "open")
    desk = Desk.__new__(Desk)
    desk.journal = engine.journal
    gate = await desk.busy()
    command = client.command("publish", channel="open", data=2)
    await client.frame(command)
    await elsewhere(sign_out, "alice", cookies["alice"])
    await eventually(lambda: client.closing == 4501)
    assert not client.session.finished
    gate.set()
    await eventually(lambda: client.session.finished)
    assert client.drain()[-1] == {"id": command["id"], "publish": {}}
    # It was durable before it was answered, and the publisher did not hear of it any more.
    assert await elsewhere(head, "open") == 2
    assert client.pushes("pub") == []


@pytest.mark.parametrize("change, answer", [(end_membership, 102), (leave_group, 102), (sign_out, None), (remove_stream, 102)])
async def test_in_the_middle_of_a_subscribe(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, change: Any, answer: int | None
) -> None:
    """Access is read, then taken away, and only then does the subscribe go on."""
    name = "carol" if change is leave_group else "alice"
    client = await enter(engine, cookies, name)
    entered, gate = threading.Event(), threading.Event()

    def slow_judge(asked: Any) -> Any:
        found = access.judge(asked)
        entered.set()
        gate.wait(SECONDS)
        return found

    monkeypatch.setattr(engine, "readable", GroupRead(engine.reads, slow_judge))
    command = client.command("subscribe", channel="club")
    subscribing = asyncio.create_task(client.frame(command))
    await asyncio.to_thread(entered.wait, SECONDS)
    turn = engine.control.turn
    await elsewhere(change, name, cookies[name])
    await eventually(lambda: engine.control.turn > turn and not engine.control._due)
    await elsewhere(lambda: None)
    # That the stream is gone the subscribe finds out by itself.
    await eventually(lambda: change is remove_stream or client.closing or client.session.subscriptions["club"].ended)
    gate.set()
    await subscribing
    if answer is None:
        assert client.closing == 4501
    else:
        assert (await client.reply(command["id"]))["error"]["code"] == answer
    assert client.session.subscriptions == {}
    await more_records(client)
    assert client.pushes("pub") == []


@pytest.mark.parametrize("change, name, code", [(end_membership, "alice", 2403), (leave_group, "carol", 2403), (archive, "alice", 2404)])
async def test_as_a_subscription_begins(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, change: Any, name: str, code: int
) -> None:
    """Access is read, then taken away; and while that is found out about the subscribe under way, it becomes a subscription."""
    client = await enter(engine, cookies, name)
    opened, opening = asyncio.Event(), asyncio.Event()
    judged, judging = threading.Event(), threading.Event()
    open_feed, judge = engine.hub.open, access.judge

    async def slow_open(stream: Stream) -> Any:
        feed = await open_feed(stream)
        opening.set()
        await opened.wait()
        return feed

    def slow_judge(asked: Any) -> Any:
        found = judge(asked)
        judging.set()
        judged.wait(SECONDS)
        return found

    monkeypatch.setattr(engine.hub, "open", slow_open)
    subscribing = asyncio.create_task(client.ask("subscribe", channel="club"))
    await opening.wait()
    monkeypatch.setattr(access, "judge", slow_judge)
    await elsewhere(change, name, cookies[name])
    await asyncio.to_thread(judging.wait, SECONDS)
    opened.set()
    assert isinstance(await subscribing, dict)
    # No later look is to find it out.
    client.session.checked = engine.loop.time() + 1_000
    judged.set()
    await eventually(lambda: outcome(client) == {"club": code})
    assert await more_records(client) == []


async def test_a_connection_that_ends_while_it_is_looked_at_ends_no_other(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, carol = [await enter(engine, cookies, name, "club") for name in ("alice", "carol")]
    judge = access.judge

    def judge_late(asked: Any) -> Any:
        found = judge(asked)
        engine.loop.call_soon_threadsafe(alice.session.close, SLOW)
        return found

    monkeypatch.setattr(access, "judge", judge_late)
    await elsewhere(archive, "", "")
    await eventually(lambda: outcome(carol) == {"club": 2404})
    assert (alice.closing, carol.closing) == (3008, None)


async def test_while_everybody_waits_for_reads(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "open", "club")
    gate = threading.Event()
    held = [asyncio.create_task(engine.reads.run(gate.wait)) for _ in range(THREADS)]
    try:
        await elsewhere(end_membership, "alice", "")
        await eventually(lambda: outcome(client) == {"club": 2403})
        await elsewhere(sign_out, "alice", cookies["alice"])
        await eventually(lambda: client.closing == 4501)
    finally:
        gate.set()
    await asyncio.gather(*held)


async def test_in_the_middle_of_a_connect(engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is read, then it ends, and nobody is told, since nobody is known yet."""
    entered, gate = threading.Event(), threading.Event()
    identities = credentials.identities

    def slow_identities(shown: Any) -> Any:
        found = identities(shown)
        entered.set()
        gate.wait(SECONDS)
        return found

    await elsewhere(Stream.objects.filter(name="open").update, readers=Audience.USERS)
    monkeypatch.setattr(credentials, "identities", slow_identities)
    client = Client(engine, cookies["alice"])
    connecting = asyncio.create_task(client.frame(client.command("connect")))
    await asyncio.to_thread(entered.wait, SECONDS)
    await elsewhere(sign_out, "alice", cookies["alice"])
    await eventually(lambda: engine.control.turn)
    gate.set()
    await connecting
    assert client.closing == 3501
    assert client.session.identity is None


async def test_away_and_coming_back(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "club")
    client.session.leave()
    await elsewhere(end_membership, "alice", "")
    back = await enter(engine, cookies, "alice")
    assert await back.ask("subscribe", channel="club", recover=True, offset=1, epoch="") == 102
    back.session.leave()
    await elsewhere(sign_out, "alice", cookies["alice"])
    last = Client(engine, cookies["alice"])
    await last.frame(last.command("connect"))
    assert last.closing == 3501


async def test_what_was_asked_before_the_end_is_not_told_after_it(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await enter(engine, cookies, "alice")
    run = engine.reads.run
    entered, gate = asyncio.Event(), asyncio.Event()

    async def slow_run(read: Any, *args: Any) -> Any:
        found = await run(read, *args)
        if getattr(read, "__name__", "") == "history":
            entered.set()
            await gate.wait()
        return found

    monkeypatch.setattr(engine.reads, "run", slow_run)
    asking = asyncio.create_task(client.frame(client.command("history", channel="club", limit=10)))
    await entered.wait()
    before = len(client.drain())
    await elsewhere(sign_out, "alice", cookies["alice"])
    await eventually(lambda: client.closing == 4501)
    gate.set()
    await asking
    assert client.drain()[before:] == []


@pytest.mark.parametrize("name", ["alice", "key"])
async def test_a_credential_that_expires_ends_at_that_moment(engine: Engine, cookies: dict[str, str], name: str) -> None:
    client = await enter(engine, cookies, name, "open")
    soon = timezone.now() + timedelta(seconds=1)
    await elsewhere(SessionRow.objects.update, expire_date=soon)
    await elsewhere(ApiKey.objects.update, expires=soon)
    engine.control.tick(engine.loop.time() + 60)
    # Known to the connection before it comes; on a slow machine it has come already.
    await eventually(lambda: client.closing or client.session.identity.expires == soon.timestamp())  # type: ignore[union-attr]
    client.session.checked = engine.loop.time() + 1_000
    await eventually(lambda: client.closing == 4501)
    assert timezone.now() >= soon


async def test_a_session_that_is_prolonged_stays(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice")
    later = timezone.now() + timedelta(days=30)
    await elsewhere(SessionRow.objects.update, expire_date=later)
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: client.session.identity.expires == later.timestamp())  # type: ignore[union-attr]


async def test_what_is_given_is_there_without_a_new_connection(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "bob")
    assert await client.ask("subscribe", channel="club") == 102

    def join() -> None:
        user("bob").groups.add(Group.objects.get())

    await elsewhere(join)
    await eventually(lambda: client.session.identity.group_ids)  # type: ignore[union-attr]
    assert isinstance(await client.ask("subscribe", channel="club"), dict)


async def test_a_stream_that_was_archived_before_can_be_read(engine: Engine, cookies: dict[str, str]) -> None:
    await elsewhere(archive, "", "")
    client = await enter(engine, cookies, "alice", "club")
    looked = client.session.checked
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: client.session.checked > looked)
    # The verdicts of a look are given before those of the next one are read.
    await elsewhere(end_membership, "alice", "")
    await eventually(lambda: outcome(client) == {"club": 2403})


async def test_a_subscribe_that_comes_before_the_notice_of_the_archive_stays(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = engine.control.take
    held: list[list[Notice]] = []
    monkeypatch.setattr(engine.control, "take", held.append)
    await elsewhere(archive, "", "")
    await eventually(lambda: held)
    client = await enter(engine, cookies, "alice", "club")
    client.session.checked = engine.loop.time() + 1_000
    monkeypatch.setattr(engine.control, "take", take)
    take(held[0])
    await eventually(lambda: client.session.checked <= engine.loop.time())
    await elsewhere(end_membership, "alice", "")
    await eventually(lambda: outcome(client) == {"club": 2403})


async def test_an_own_password_change_ends_the_sockets_and_keeps_the_person_signed_in(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "open")
    tab = browser("alice", cookies["alice"])
    form = {"old_password": "old", "new_password1": "correct horse 7", "new_password2": "correct horse 7"}
    assert (await elsewhere(tab.post, "/accounts/password_change/", form)).status_code == 302
    await eventually(lambda: client.closing == 4501)
    assert (await elsewhere(tab.get, "/accounts/whoami/")).json()["name"] == "alice"
    again = Client(engine, tab.cookies["sessionid"].value)
    assert (await again.ask("connect"))["data"]["name"] == "alice"
