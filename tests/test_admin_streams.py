from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse

from realtime.models import AuditEntry, Membership, Namespace, Stream
from realtime.namespaces import TEMPLATE_FIELDS

from . import desk

pytestmark = pytest.mark.django_db

LIST = "/admin/realtime/stream/"


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(desk.operator())
    return client


@pytest.fixture
def stream() -> Stream:
    found = desk.stream(title="Pi 4")
    desk.append(found.name, "1", "2")
    found.refresh_from_db()
    return found


def act(client: Client, action: str, *streams: Stream) -> str:
    data = {"action": action, "_selected_action": [stream.pk for stream in streams]}
    return client.post(LIST, data, follow=True).content.decode()


def form_of(stream: Stream, **changed: Any) -> dict[str, Any]:
    fields = ("title", "kind", "readers", "writers", "delivery", "max_payload", "keep_days", "keep_records", "keep_bytes")
    management = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    switches = {"presence": "on", "join_leave": "on", "durable": "on"}
    return {field: getattr(stream, field) for field in fields} | switches | management | changed


def test_an_operator_archives_and_unarchives_and_it_is_audited(operator: Client, stream: Stream) -> None:
    assert "Now archived: iot:pi." in act(operator, "archive", stream)
    assert Stream.objects.get(pk=stream.pk).archived is not None

    assert "Now open again: iot:pi." in act(operator, "unarchive", stream)
    assert Stream.objects.get(pk=stream.pk).archived is None

    actor = str(operator.session["_auth_user_id"])
    entries = AuditEntry.objects.order_by("pk").values_list("actor", "action", "subject", "address")
    assert list(entries) == [
        (actor, "stream.archive", "iot:pi", "127.0.0.1"),
        (actor, "stream.unarchive", "iot:pi", "127.0.0.1"),
    ]


def test_archiving_twice_changes_nothing_and_says_so(operator: Client, stream: Stream) -> None:
    act(operator, "archive", stream)
    stream.refresh_from_db()
    first = stream.archived

    assert "Nothing was changed" in act(operator, "archive", stream)
    stream.refresh_from_db()
    assert stream.archived == first
    assert AuditEntry.objects.count() == 1


def test_a_viewer_is_offered_no_action(client: Client, stream: Stream) -> None:
    client.force_login(desk.viewer())

    act(client, "archive", stream)

    stream.refresh_from_db()
    assert stream.archived is None


def test_saving_the_form_leaves_alone_what_the_journal_moved_meanwhile(operator: Client, stream: Stream, monkeypatch: Any) -> None:
    construct = Stream.save

    def save_late(self: Stream, **options: Any) -> None:
        # A record is stored between loading the form's stream and saving it.
        Stream.objects.filter(pk=self.pk).update(head=F("head") + 1)
        construct(self, **options)

    monkeypatch.setattr(Stream, "save", save_late)
    response = operator.post(f"{LIST}{stream.pk}/change/", form_of(stream, title="Pi 5"))

    assert response.status_code == 302
    after = Stream.objects.get(pk=stream.pk)
    assert (after.title, after.head, after.epoch) == ("Pi 5", stream.head + 1, stream.epoch)


def test_a_change_is_audited_with_before_and_after(operator: Client, stream: Stream) -> None:
    operator.post(f"{LIST}{stream.pk}/change/", form_of(stream, readers="members"))

    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.detail) == ("stream.change", "iot:pi", {"readers": ["users", "members"]})


def test_saving_without_a_change_is_not_audited(operator: Client, stream: Stream) -> None:
    operator.post(f"{LIST}{stream.pk}/change/", form_of(stream))

    assert not AuditEntry.objects.exists()


def test_a_member_added_on_the_page_of_the_stream_is_audited(operator: Client, stream: Stream) -> None:
    bob = desk.user("bob")
    members = {
        "memberships-TOTAL_FORMS": 1,
        "memberships-0-user": bob.pk,
        "memberships-0-role": "reader",
        "memberships-0-stream": stream.pk,
    }

    operator.post(f"{LIST}{stream.pk}/change/", form_of(stream) | members)

    assert Membership.objects.get().role == "reader"
    assert AuditEntry.objects.get().detail == {"added": ["bob is reader of iot:pi"]}


@pytest.mark.parametrize("field, found", [("user", "otto"), ("group", "Operator")])
def test_an_operator_finds_who_could_be_a_member(operator: Client, field: str, found: str) -> None:
    query = {"app_label": "realtime", "model_name": "membership", "field_name": field, "term": found}

    assert [row["text"] for row in operator.get("/admin/autocomplete/", query).json()["results"]] == [found]


def test_a_new_stream_gets_its_epoch_and_is_audited(operator: Client) -> None:
    response = operator.post(f"{LIST}add/", form_of(Stream(), name="market", title="Market"))

    assert response.status_code == 302
    made = Stream.objects.get(name="market")
    assert (len(made.epoch), made.head, made.tail) == (8, 0, 1)
    assert AuditEntry.objects.get().action == "stream.create"


@pytest.mark.parametrize("name", ["", "a b", "a/b", ":x", "é", "x" * 129, "lobby"])
def test_a_name_that_cannot_be_or_is_taken_is_refused(operator: Client, name: str) -> None:
    before = Stream.objects.count()

    response = operator.post(f"{LIST}add/", form_of(Stream(), name=name))

    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert Stream.objects.count() == before


def test_position_and_name_cannot_be_changed(operator: Client, stream: Stream) -> None:
    operator.post(f"{LIST}{stream.pk}/change/", form_of(stream, name="other", head=77, tail=7, epoch="x"))

    after = Stream.objects.get(pk=stream.pk)
    assert (after.name, after.head, after.tail, after.epoch) == (stream.name, stream.head, stream.tail, stream.epoch)


def test_the_list_shows_positions_and_leads_to_page_and_records(operator: Client, stream: Stream) -> None:
    page = operator.get(LIST).content.decode()

    assert f'href="{reverse("stream", args=[stream.name])}"' in page
    assert 'href="/admin/realtime/record/?q=iot%3Api"' in page
    assert '<td class="field-head">2</td>' in page
    assert operator.get("/admin/realtime/record/?q=iot%3Api").status_code == 200


def test_whether_a_stream_is_durable_is_settled_when_it_is_made(operator: Client, stream: Stream) -> None:
    operator.post(f"{LIST}{stream.pk}/change/", form_of(stream, durable="", title="New"))
    stream.refresh_from_db()
    assert (stream.title, stream.durable) == ("New", True)
    operator.post(f"{LIST}add/", form_of(Stream(), name="cursors", durable=""))
    assert not Stream.objects.get(name="cursors").durable


# Namespaces

NAMESPACES = "/admin/realtime/namespace/"


NUMBERS = {"max_payload": 1_000, "keep_days": 1, "keep_records": 2, "keep_bytes": 3}
WORDS = {"kind": "chart", "readers": "anyone", "writers": "members", "delivery": "newest"}


@pytest.mark.parametrize("name, shown", [("iot", "iot:*"), ("", "*")])
def test_every_field_of_a_namespace_can_be_set(operator: Client, name: str, shown: str) -> None:
    Namespace.objects.all().delete()
    # What is not ticked is off.
    response = operator.post(f"{NAMESPACES}add/", {"name": name, "keep_latest": "on"} | NUMBERS | WORDS)
    assert response.status_code == 302
    namespace = Namespace.objects.get()
    switches = {"presence": False, "join_leave": False, "durable": False, "create_on_use": False, "keep_latest": True}
    wanted = {"name": name} | NUMBERS | WORDS | switches
    assert {field: getattr(namespace, field) for field in wanted} == wanted
    assert wanted.keys() - {"name", "create_on_use"} == set(TEMPLATE_FIELDS)
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.subject) == ("namespace.create", shown)


@pytest.mark.parametrize("name", ["a:b", "../x", "x" * 65, "-x", "#7"])
def test_a_name_that_no_stream_could_begin_with_is_refused(operator: Client, name: str) -> None:
    before = Namespace.objects.count()
    page = operator.post(f"{NAMESPACES}add/", {"name": name} | NUMBERS | WORDS).content.decode()
    assert "errorlist" in page
    assert Namespace.objects.count() == before
