"""Streams that come into being on first use."""

from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from project.users.models import User
from realtime import namespaces
from realtime.access import ANONYMOUS, Identity, Scope
from realtime.credentials import identity_of_user
from realtime.errors import BadRequest, Conflict, LimitExceeded, PayloadTooLarge, StreamArchived, UnknownStream, WirelogError
from realtime.items import Item
from realtime.journal import Appended, Outcome, append_batch, hint_of
from realtime.models import Audience, Namespace, Record, Stream

pytestmark = pytest.mark.django_db


def append(*items: Item) -> list[Outcome]:
    return append_batch(connections["default"], items)


def append_one(stream: str, identity: Identity | None = None, **fields: Any) -> Outcome:
    return append(Item(stream, "1", identity=identity, **fields))[0]


@pytest.fixture
def alice() -> Identity:
    return identity_of_user(User.objects.create_user("alice"))


def device(pattern: str) -> Identity:
    return Identity("key:ab", "device", scopes=(Scope(pattern, frozenset({"publish"})),))


def test_the_first_publish_creates_the_stream_by_its_template() -> None:
    Namespace.objects.create(name="iot", kind="latest", readers=Audience.ANYONE, keep_days=7, presence=False)
    first, second = append(Item("iot:pi-4", "1"), Item("iot:pi-4", "2"))
    stream = Stream.objects.get(name="iot:pi-4")
    assert isinstance(first, Appended)
    assert isinstance(second, Appended)
    assert (first.offset, second.offset, stream.head) == (1, 2, 2)
    assert (stream.kind, stream.readers, stream.keep_days, stream.presence) == ("latest", "anyone", 7, False)


def test_the_default_namespace_is_for_names_without_a_colon() -> None:
    Namespace.objects.create(name="")
    assert isinstance(append_one("plain"), Appended)
    assert isinstance(append_one("other:x"), UnknownStream)


@pytest.mark.parametrize("namespace", [None, {"name": "iot", "create_on_use": False}, {"name": "io"}])
def test_without_a_template_that_allows_it_the_stream_stays_unknown(namespace: dict[str, Any] | None) -> None:
    if namespace is not None:
        Namespace.objects.create(**namespace)
    assert isinstance(append_one("iot:pi-4"), UnknownStream)
    assert not Stream.objects.filter(name="iot:pi-4").exists()


@pytest.mark.parametrize("name", ["iot:", "iot:a b", "iot:ż", "iot:" + "x" * 200, "iot:a\n"])
def test_a_template_creates_only_what_is_a_stream_name(name: str) -> None:
    Namespace.objects.create(name="iot")
    created = isinstance(append_one(name), Appended)
    assert created == (name == "iot:")


def test_who_may_not_write_by_the_template_creates_nothing(alice: Identity) -> None:
    Namespace.objects.create(name="iot", writers=Audience.MEMBERS)
    Namespace.objects.create(name="chat", writers=Audience.USERS)
    assert isinstance(append_one("iot:x", alice), UnknownStream)
    assert isinstance(append_one("chat:x", ANONYMOUS), UnknownStream)
    assert isinstance(append_one("chat:x", alice), Appended)
    assert isinstance(append_one("iot:x", device("iot:*")), Appended)
    assert isinstance(append_one("iot:y", device("chat:*")), UnknownStream)
    assert set(Stream.objects.exclude(name="lobby").values_list("name", flat=True)) == {"chat:x", "iot:x"}


@pytest.mark.parametrize(
    "durable, fields, refusal",
    [
        (True, {"data": f'"{"x" * 20}"'}, PayloadTooLarge),
        (True, {"expect_offset": 1}, Conflict),
        (False, {"expect_offset": 0}, BadRequest),
        (False, {"blob": b""}, BadRequest),
    ],
)
def test_a_record_that_is_refused_creates_nothing(durable: bool, fields: dict[str, Any], refusal: type[WirelogError]) -> None:
    Namespace.objects.create(name="iot", max_payload=10, durable=durable)
    refused, stored = append(Item(**{"stream": "iot:x", "data": "1", **fields}), Item("iot:y", "1"))
    assert isinstance(refused, refusal)
    assert isinstance(stored, Appended)
    assert list(Stream.objects.filter(name__startswith="iot").values_list("name", flat=True)) == ["iot:y"]


def test_a_namespace_takes_so_many_streams_and_its_neighbours_are_not_counted(settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "STREAMS_PER_NAMESPACE": 2}
    for name in ("iot", "iot2", ""):
        Namespace.objects.create(name=name)
    Stream.objects.create(name="iot2:a")
    assert [type(append_one(f"iot:{number}")) for number in range(3)] == [Appended, Appended, LimitExceeded]
    assert isinstance(append_one("iot:0"), Appended)
    assert isinstance(append_one("iot2:b"), Appended)


def test_a_flood_of_new_names_counts_the_streams_of_a_full_namespace_once(settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "STREAMS_PER_NAMESPACE": 1}
    Namespace.objects.create(name="iot")
    Stream.objects.create(name="iot:a")
    with CaptureQueriesContext(connection) as queries:
        outcomes = append(*(Item(f"iot:{number}", "1") for number in range(20)), Item("iot:a", "1"))
    assert [type(outcome) for outcome in outcomes] == [LimitExceeded] * 20 + [Appended]
    assert sum("COUNT(" in query["sql"] for query in queries) == 1


def test_a_subscriber_creates_only_where_it_may_write(alice: Identity) -> None:
    Namespace.objects.create(name="chat")
    Namespace.objects.create(name="news", writers=Audience.MEMBERS, readers=Audience.ANYONE)
    assert namespaces.open_or_create(alice, "chat:x").head == 0
    with pytest.raises(UnknownStream):
        namespaces.open_or_create(alice, "news:x")
    assert not Stream.objects.filter(name="news:x").exists()


def test_a_personal_stream_is_written_by_programs_and_read_by_its_user_alone(alice: Identity) -> None:
    bob = identity_of_user(User.objects.create_user("bob"))
    operator = identity_of_user(User.objects.create_superuser("operator"))
    name = f"#{alice.user_id}"
    assert isinstance(append_one(name, bob), UnknownStream)
    assert isinstance(append_one(name, device("#*")), Appended)
    assert isinstance(append_one(name), Appended)
    assert namespaces.open_or_create(alice, name).head == 2
    for other in (bob, operator, ANONYMOUS):
        with pytest.raises(UnknownStream):
            namespaces.open_or_create(other, name)


def test_a_personal_stream_ends_with_its_user(alice: Identity) -> None:
    name = f"#{alice.user_id}"
    append_one(name)
    User.objects.get(username="alice").delete()
    assert isinstance(append_one(name, device("#*")), StreamArchived)


@pytest.mark.parametrize(("pattern", "covers"), [("*", False), ("*7", False), ("#*", True), ("#7", True), ("#8", False)])
def test_a_personal_stream_is_in_the_scope_of_keys_that_name_it(pattern: str, covers: bool) -> None:
    assert Scope(pattern, frozenset({"read"})).covers("#7", "read") == covers


@pytest.mark.parametrize("name", ["#", "#0", "#01", "#-1", "#x", "#1:a", "#999999", "#" + "9" * 30])
def test_a_personal_stream_of_nobody_does_not_exist(name: str) -> None:
    assert isinstance(append_one(name), UnknownStream)


def test_a_record_of_an_ephemeral_stream_is_passed_on_and_stored_nowhere() -> None:
    Stream.objects.create(name="cursors", durable=False)
    (outcome,) = append(Item("cursors", '{"x":1}', publisher="7"))
    assert isinstance(outcome, Appended)
    assert outcome.offset == 0
    hint = hint_of([outcome])
    assert hint.runs == []
    assert [event.kind for event in hint.events] == ["pub"]
    assert hint.events[0].body.startswith('{"data":{"x":1},"time":')
    assert not Record.objects.exists()
    assert Stream.objects.get(name="cursors").head == 0


@pytest.mark.parametrize("field, given", [("expect_offset", {"expect_offset": 0}), ("data", {"blob": b"x"}), ("data", {"blob": b""})])
def test_an_ephemeral_stream_refuses_what_needs_a_stored_record(field: str, given: dict[str, Any]) -> None:
    Stream.objects.create(name="cursors", durable=False)
    refused = append_one("cursors", **given)
    assert isinstance(refused, BadRequest)
    assert refused.field == field


def test_a_blob_is_kept_beside_the_reference_that_json_clients_get() -> None:
    outcome = append(Item("lobby", "", blob=b"\x89PNG", content_type="image/png"))[0]
    assert not isinstance(outcome, WirelogError)
    record = Record.objects.get()
    assert bytes(record.blob or b"") == b"\x89PNG"
    assert record.data == f'{{"content_type":"image/png","size":4,"url":"/api/streams/lobby/blobs/1?epoch={outcome.epoch}"}}'
    assert outcome.publication is not None
    assert outcome.publication.data == record.data
