import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from realtime.models import AuditEntry, Connection, Membership, ReadMarker, Stream

from . import desk

pytestmark = pytest.mark.django_db

MODELS = sorted(model._meta.model_name or "" for model in admin.site._registry if model._meta.app_label == "realtime")
ADDED = {"stream", "namespace", "membership", "apikey"}
# Session, user, groups, permissions and the page itself, whatever the number of rows.
MOST_QUERIES = 14


@pytest.fixture
def ana() -> Any:
    return desk.user("ana", is_staff=True, is_superuser=True, first_name="Ana")


@pytest.fixture
def rows(ana: Any) -> dict[str, Any]:
    return desk.world(ana)


@pytest.fixture(params=["superuser", "operator", "viewer"])
def visitor(request: pytest.FixtureRequest, client: Client, ana: Any) -> Client:
    people: dict[str, Callable[[], Any]] = {"superuser": lambda: ana, "operator": desk.operator, "viewer": desk.viewer}
    client.force_login(people[request.param]())
    return client


@pytest.fixture
def superuser(client: Client, ana: Any) -> Client:
    client.force_login(ana)
    return client


def test_every_model_is_registered(rows: dict[str, Any]) -> None:
    assert set(MODELS) == set(rows)


@pytest.mark.parametrize("model", MODELS)
def test_every_list_and_every_row_is_shown_to_everybody_who_may_look(model: str, visitor: Client, rows: dict[str, Any]) -> None:
    listing = visitor.get(reverse(f"admin:realtime_{model}_changelist"))
    page = visitor.get(reverse(f"admin:realtime_{model}_change", args=[rows[model].pk]))
    history = visitor.get(reverse(f"admin:realtime_{model}_history", args=[rows[model].pk]))

    assert (listing.status_code, page.status_code, history.status_code) == (200, 200, 200)


@pytest.mark.parametrize("model", MODELS)
def test_a_list_leads_to_its_rows(model: str, superuser: Client, rows: dict[str, Any]) -> None:
    page = superuser.get(reverse(f"admin:realtime_{model}_changelist")).content.decode()

    assert f'href="{reverse(f"admin:realtime_{model}_change", args=[quote(rows[model].pk)])}' in page


@pytest.mark.parametrize("model", MODELS)
def test_every_list_can_be_searched(model: str, superuser: Client, rows: dict[str, Any]) -> None:
    for term in ("pi", "iot:pi", "iot:pi@2", "iot:pi 1.10", "iot:pi@99999999999999999999", "%", "'; --", "é\u202e"):
        assert superuser.get(reverse(f"admin:realtime_{model}_changelist"), {"q": term}).status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_what_machines_write_cannot_be_added(model: str, superuser: Client, rows: dict[str, Any]) -> None:
    added = superuser.get(reverse(f"admin:realtime_{model}_add"))

    assert added.status_code == (200 if model in ADDED else 403)


@pytest.mark.parametrize("model", MODELS)
def test_a_viewer_can_change_nothing(model: str, client: Client, ana: Any, rows: dict[str, Any]) -> None:
    client.force_login(desk.viewer())

    assert client.get(reverse(f"admin:realtime_{model}_add")).status_code == 403
    assert client.post(reverse(f"admin:realtime_{model}_change", args=[rows[model].pk]), {}).status_code == 403
    assert client.get(reverse(f"admin:realtime_{model}_delete", args=[rows[model].pk])).status_code == 403


@pytest.mark.parametrize("model", [model for model in MODELS if model not in {"namespace", "membership"}])
def test_not_even_a_superuser_can_delete(model: str, superuser: Client, rows: dict[str, Any]) -> None:
    assert superuser.post(reverse(f"admin:realtime_{model}_delete", args=[rows[model].pk]), {"post": "yes"}).status_code == 403
    assert "delete_selected" not in superuser.get(reverse(f"admin:realtime_{model}_changelist")).content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_a_list_takes_as_many_queries_for_thirty_rows_as_for_one(model: str, superuser: Client, ana: Any, rows: dict[str, Any]) -> None:
    url = reverse(f"admin:realtime_{model}_changelist")
    superuser.get(url)
    with CaptureQueriesContext(connection) as few:
        superuser.get(url)
    multiply(ana)
    with CaptureQueriesContext(connection) as many:
        superuser.get(url)

    assert len(many) <= len(few) + 1
    assert len(many) <= MOST_QUERIES


def multiply(ana: Any) -> None:
    process = Connection.objects.get().process
    for number in range(30):
        person = desk.user(f"user{number}")
        stream = desk.stream(f"iot:{number}")
        desk.append(stream.name, "1", publisher=str(person.pk))
        Membership.objects.create(stream=stream, user=person)
        ReadMarker.objects.create(stream=stream, user=person)
        AuditEntry.objects.create(actor=str(person.pk), action="stream.create", subject=stream.name)
        row = Connection.objects.get(process=process, user=ana)
        row.pk = uuid.uuid4()
        row.user = person
        row.save(force_insert=True)
        stream.present.create(connection=row)


def test_deleting_a_user_takes_the_rows_of_machines_along(superuser: Client, rows: dict[str, Any]) -> None:
    bob = desk.user("bob")
    ReadMarker.objects.create(user=bob, stream=rows["stream"])

    superuser.post(reverse("admin:users_user_delete", args=[bob.pk]), {"post": "yes"})

    assert not type(bob).objects.filter(pk=bob.pk).exists()
    assert not ReadMarker.objects.filter(user_id=bob.pk).exists()


def test_an_audit_entry_names_its_actor_and_shows_what_changed(superuser: Client, rows: dict[str, Any]) -> None:
    page = superuser.get(reverse("admin:realtime_auditentry_change", args=[rows["auditentry"].pk])).content.decode()

    assert f"Ana ({rows['auditentry'].actor})" in page
    assert "&quot;kind&quot;: &quot;chart&quot;" in page


def test_markup_in_names_and_payloads_is_shown_and_not_obeyed(superuser: Client, ana: Any) -> None:
    desk.stream("x", title="<script>alert(1)</script>")
    desk.append("x", '{"text": "<img src=x onerror=alert(1)>"}', key="<b>")

    pages = [superuser.get(reverse(f"admin:realtime_{model}_changelist")).content.decode() for model in ("stream", "record")]

    assert "<script>alert" not in pages[0]
    assert "<img src=x" not in pages[1]
    assert "&lt;img src=x" in pages[1]
    assert Stream.objects.get(name="x").title == "<script>alert(1)</script>"
