"""A record loses its payload and keeps its place, and nobody is told the payload any more."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client as Browser

from realtime import operations, rollups
from realtime.audit import Actor
from realtime.engine import Engine
from realtime.errors import BadRequest, StreamArchived
from realtime.models import Audience, AuditEntry, Delivery, Kind, Record, Rollup, Stream
from realtime.protocol import Publication, redacted_offset

from . import desk
from .core import Client, append, device, elsewhere, offsets
from .waiting import eventually

pytestmark = pytest.mark.django_db

OTTO = Actor("7", "10.0.0.1")


def make(**fields: Any) -> Stream:
    stream = Stream.objects.create(**{"name": "s", "readers": Audience.ANYONE} | fields)
    append("s", '{"text":"é"}', publisher="9", client="c", idempotency_key="k", key="a", tags={"t": "x"}, device_time=5)
    append("s", '"next"')
    stream.refresh_from_db()
    return stream


def redact(offset: int = 1) -> bool:
    return operations.redact(OTTO, Stream.objects.get(name="s"), offset, "spam")


def size() -> int:
    return Stream.objects.get(name="s").size


# The record


def test_a_redacted_record_keeps_its_place_and_loses_what_it_said() -> None:
    make()
    before = Record.objects.get(offset=1)
    assert redact()
    record = Record.objects.get(offset=1)
    lost = (record.data, record.blob, record.content_type, record.key, record.tags, record.digest, record.removed)
    assert lost == ("", None, "", "", "", None, False)
    stays = ("publisher", "client", "idempotency_key", "received", "device_time")
    assert [getattr(record, field) for field in stays] == [getattr(before, field) for field in stays]


def test_it_is_itself_a_record_and_in_the_audit_log() -> None:
    make()
    redact()
    told = Record.objects.get(offset=3)
    assert (told.data, told.tags, told.publisher) == ('{"text":"Redacted record 1."}', '{"redacts":"1"}', "7")
    entry = AuditEntry.objects.get(action="record.redact")
    assert (entry.actor, entry.subject, entry.detail, entry.address) == ("7", "s@1", {"reason": "spam"}, "10.0.0.1")


def test_what_it_took_away_is_not_counted_any_more() -> None:
    make()
    before = size()
    Record.objects.filter(offset=1).update(blob=b"12345")
    Stream.objects.filter(name="s").update(size=before + 5)
    redact()
    assert size() == before - len('{"text":"é"}'.encode()) + len('{"text":"Redacted record 1."}')


def test_a_retry_gets_the_old_offset() -> None:
    make()
    redact()
    assert offsets(append("s", '"anything"', publisher="9", idempotency_key="k")) == [1]
    assert Record.objects.get(offset=1).data == ""


def test_a_number_that_was_taken_away_is_in_no_rollup() -> None:
    make(kind=Kind.CHART)
    append("s", *['{"a":1}'] * 7, '{"a":99}', *['{"a":1}'] * 6)
    while rollups.roll_once():
        pass
    assert Rollup.objects.get().maximum == 99
    redact(10)
    assert (Rollup.objects.get().maximum, Rollup.objects.get().count) == (1, 13)


def test_a_record_that_had_stayed_for_latest_alone_is_removed() -> None:
    stream = make(keep_latest=True)
    Stream.objects.filter(pk=stream.pk).update(tail=2, size=6)
    redact()
    assert not Record.objects.filter(offset=1).exists()
    assert size() == 6 + len('{"text":"Redacted record 1."}')


def test_a_record_is_redacted_once_and_a_redaction_never() -> None:
    make()
    assert (redact(), redact()) == (True, False)
    assert Stream.objects.get(name="s").head == 3
    for offset in (0, 4, 3):
        with pytest.raises(BadRequest, match="bad request: offset"):
            redact(offset)


def test_no_tag_of_a_publisher_keeps_a_record_from_being_redacted() -> None:
    make()
    append("s", '"spam"', identity=device("*", "publish"), tags={"x": "redacts"})
    assert redact(3)
    assert Record.objects.get(offset=3).data == ""


def test_a_failed_redaction_takes_nothing_away() -> None:
    make()
    Stream.objects.filter(name="s").update(archived="2026-01-01T00:00Z")
    with pytest.raises(StreamArchived):
        redact()
    assert Record.objects.get(offset=1).data
    assert not AuditEntry.objects.exists()


def test_nobody_but_operators_can_claim_a_redaction() -> None:
    make()
    outcomes = append("s", "1", identity=device("*", "publish"), tags={"redacts": "1"})
    assert [str(outcome) for outcome in outcomes] == ["bad request: tags.redacts is only for redactions, which operators make"]


@pytest.mark.parametrize(
    "tags, offset", [("", 0), ('{"redacts":"12"}', 12), ('{"x":"redacts"}', 0), ('{"redacts":"-1"}', 0), ('{"redacts":"²"}', 0)]
)
def test_a_redaction_is_known_by_its_tag(tags: str, offset: int) -> None:
    assert redacted_offset(tags) == offset


# What readers get


@pytest.fixture
async def second(engine: Engine) -> AsyncIterator[Engine]:
    """Another server on the same database and layer."""
    found = Engine()
    await found.start(lenient=True)
    yield found
    await found.stop()


def told(client: Client) -> dict[int, Any]:
    return {publication["offset"]: publication["data"] for publication in client.pushes("pub")}


async def resumed(engine: Engine, count: int) -> dict[int, Any]:
    client = await Client(engine).connect()
    await client.ask("subscribe", channel="s", recover=True, offset=0)
    await client.received(count)
    return told(client)


@pytest.mark.django_db(transaction=True)
async def test_every_process_forgets_what_was_taken_away(engine: Engine, second: Engine) -> None:
    await elsewhere(make)
    engines = (engine, second)
    live = [await Client(each).connect() for each in engines]
    for client in live:
        await client.ask("subscribe", channel="s")
    await elsewhere(append, "s", '"secret"', '"last"')
    for each, client in zip(engines, live, strict=True):
        assert await client.received(2) == [3, 4]
        assert await resumed(each, 4) == {1: {"text": "é"}, 2: "next", 3: "secret", 4: "last"}

    assert await elsewhere(redact, 3)

    for each, client in zip(engines, live, strict=True):
        assert await client.received(3) == [3, 4, 5]
        assert client.pushes("pub")[-1]["tags"] == {"redacts": "3"}
        assert await resumed(each, 5) == {1: {"text": "é"}, 2: "next", 3: None, 4: "last", 5: {"text": "Redacted record 3."}}
    history = await live[0].ask("history", channel="s", limit=10)
    assert [publication["data"] for publication in history["publications"]][2] is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("delivery, count", [(Delivery.EVERY, 3), (Delivery.NEWEST, 1)])
async def test_a_page_that_was_read_before_the_redaction_is_read_again(engine: Engine, delivery: str, count: int) -> None:
    await elsewhere(make, delivery=delivery)
    live = await Client(engine).connect()
    await live.ask("subscribe", channel="s")
    (feed,) = engine.hub.feeds.values()
    run, reads = engine.reads.run, []

    async def late(read: Any, *args: Any) -> Any:
        """The first page is back only when the redaction has been told."""
        found = await run(read, *args)
        if isinstance(found, list) and all(isinstance(record, Publication) for record in found):
            reads.append([record.data for record in found])
            if len(reads) == 1:
                await elsewhere(redact)
                await eventually(lambda: feed.removals == 1)
        return found

    engine.reads.run = late  # type: ignore[method-assign]
    found = await resumed(engine, count)
    assert reads[0][0] == '{"text":"é"}'
    assert len(reads) > 1
    assert found.get(1) is None


@pytest.mark.django_db(transaction=True)
async def test_the_newest_of_a_key_is_the_one_before_that_which_was_taken_away(engine: Engine) -> None:
    await elsewhere(make, delivery=Delivery.NEWEST)
    live = await Client(engine).connect()
    await live.ask("subscribe", channel="s")
    await elsewhere(append, "s", '"one"', '"two"', key="a")
    assert await live.received(2) == [3, 4]
    assert await elsewhere(redact, 4)
    assert await live.received(3) == [3, 4, 5]
    assert await resumed(engine, 2) == {3: "one", 5: {"text": "Redacted record 4."}}


# Who may, and how


def run_command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("redact", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def test_the_command_asks_and_says_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run_command("s", "1")
    assert Record.objects.get(offset=1).data
    assert run_command("s", "1", "--noinput", "--reason", "spam") == "s@1 is redacted."
    assert run_command("s", "1", "--noinput") == "s@1 was redacted already."
    with pytest.raises(CommandError, match="offset 9 is not kept in 's'"):
        run_command("s", "9", "--noinput")
    assert AuditEntry.objects.get().detail == {"reason": "spam"}


@pytest.fixture
def operator_in(client: Browser) -> Browser:
    client.force_login(desk.operator())
    return client


def test_an_operator_redacts_on_the_page_of_a_record(operator_in: Browser) -> None:
    make()
    record = Record.objects.get(offset=1)
    page, confirm = f"/admin/realtime/record/{record.pk}/change/", f"/admin/realtime/record/{record.pk}/redact/"
    assert confirm in operator_in.get(page).content.decode()
    assert "s@1" in operator_in.get(confirm).content.decode()
    assert Record.objects.get(offset=1).data

    answer = operator_in.post(confirm, {"reason": "spam"}, follow=True).content.decode()

    assert "Redacted s@1." in answer
    assert confirm not in answer
    assert Record.objects.get(offset=1).data == ""
    assert AuditEntry.objects.get(action="record.redact").detail == {"reason": "spam"}
    assert "was redacted already" in operator_in.post(confirm, follow=True).content.decode()


def test_the_page_says_why_it_cannot(operator_in: Browser) -> None:
    stream = make(archived="2026-01-01T00:00Z")
    record = Record.objects.create(stream=stream, offset=1, data="1", received=0)
    assert "is archived" in operator_in.post(f"/admin/realtime/record/{record.pk}/redact/").content.decode()


def test_a_viewer_does_not_redact(client: Browser) -> None:
    client.force_login(desk.viewer())
    make()
    record = Record.objects.get(offset=1)
    url = f"/admin/realtime/record/{record.pk}/redact/"
    assert url not in client.get(f"/admin/realtime/record/{record.pk}/change/").content.decode()
    assert [client.get(url).status_code, client.post(url).status_code] == [403, 403]
    assert json.loads(Record.objects.get(offset=1).data) == {"text": "é"}
    assert Permission.objects.filter(codename="redact_record").count() == 1
