import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.serializers import serialize
from django.test import Client
from django.utils import timezone

from project.users.models import Session, User
from realtime import access
from realtime.models import ApiKey, AuditEntry

from . import desk

pytestmark = pytest.mark.django_db

LIST = "/admin/realtime/apikey/"
SECRET = re.compile(r"wl_[0-9a-f]+_[A-Za-z0-9_-]{40,}")
FORM = {
    "name": "pi-4",
    "scopes": "iot:*=read,publish\r\nlobby=read",
    "expires_0": "",
    "expires_1": "",
    "publish_rate": "0",
    "max_connections": "0",
}


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(desk.operator())
    return client


def make(client: Client, **changed: Any) -> str:
    """The page after the form."""
    return client.post(f"{LIST}add/", FORM | changed, follow=True).content.decode()


def test_a_new_key_is_shown_with_a_line_of_curl_and_works(operator: Client) -> None:
    page = make(operator)

    secret = SECRET.search(page)
    assert secret is not None
    key = ApiKey.objects.get()
    assert key.scopes == [{"pattern": "iot:*", "actions": ["read", "publish"]}, {"pattern": "lobby", "actions": ["read"]}]
    assert key.created_by is not None
    assert key.created_by.username == "otto"
    identity = desk.identity_of_key(secret[0])
    assert identity is not None
    assert identity.principal == f"key:{key.prefix}"
    assert f"Authorization: Bearer {secret[0]}" in page
    assert "http://testserver/api/streams/iot:example/records" in page


def test_the_key_is_shown_once(operator: Client) -> None:
    make(operator)
    created = f"{LIST}{ApiKey.objects.get().pk}/created/"

    again = operator.get(created)

    assert not SECRET.search(again.content.decode())
    assert "cannot be shown again" in again.content.decode()
    assert "no-store" in again["Cache-Control"]


def test_the_cookie_of_a_key_goes_to_its_page_alone(operator: Client) -> None:
    response = operator.post(f"{LIST}add/", FORM)

    cookie = next(morsel for name, morsel in response.cookies.items() if "api_key" in name)
    assert cookie["path"] == response["Location"]
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Strict", 120)


def test_a_forged_cookie_shows_nothing(operator: Client) -> None:
    make(operator)
    key = ApiKey.objects.get()
    operator.cookies[f"wirelog_api_key_{key.pk}"] = "wl_00000000_forged:1234:abcd"

    assert "forged" not in operator.get(f"{LIST}{key.pk}/created/").content.decode()


def test_the_secret_is_kept_nowhere(operator: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        secret = SECRET.search(make(operator))
    assert secret is not None
    rest = secret[0].split("_", 2)[2]

    for model in (ApiKey, AuditEntry, LogEntry):
        assert model._default_manager.exists()
        assert rest not in serialize("json", model._default_manager.all())
    for session in Session.objects.all():
        assert rest not in str(session.get_decoded())
    assert rest not in caplog.text


def test_making_a_key_is_audited_once(operator: Client) -> None:
    make(operator)

    entry = AuditEntry.objects.get()
    key = ApiKey.objects.get()
    assert (entry.action, entry.subject, entry.detail) == ("apikey.create", str(key), {"name": "pi-4", "scopes": key.scopes})


@pytest.mark.parametrize(
    "scopes, sentence",
    [
        ("", "A key without a scope may do nothing"),
        ("iot:*", "is not a scope: write PATTERN=ACTIONS"),
        ("iot:*=write", "is not an action of"),
        ("iot:*=", "is not an action of"),
        ("a b=read", "is not a pattern of stream names"),
        ("iot:*=read\r\nnonsense", "&#x27;nonsense&#x27; is not a scope"),
    ],
)
def test_a_scope_that_makes_no_sense_is_told_and_no_key_made(operator: Client, scopes: str, sentence: str) -> None:
    assert sentence in make(operator, scopes=scopes)
    assert not ApiKey.objects.exists()


def test_an_expiry_in_the_past_is_refused(operator: Client) -> None:
    assert "This is in the past" in make(operator, expires_0="2020-01-01", expires_1="00:00:00")
    assert not ApiKey.objects.exists()


def test_changing_a_key_keeps_its_secret_and_is_audited(operator: Client) -> None:
    secret = SECRET.search(make(operator))
    assert secret is not None
    key = ApiKey.objects.get()

    response = operator.post(f"{LIST}{key.pk}/change/", FORM | {"scopes": "iot:*=read"})

    assert response.status_code == 302
    identity = desk.identity_of_key(secret[0])
    assert identity is not None
    assert identity.scopes == (access.Scope("iot:*", frozenset({"read"})),)
    entry = AuditEntry.objects.latest("pk")
    assert entry.action == "apikey.change"
    assert list(entry.detail) == ["scopes"]


def test_saving_a_key_unchanged_changes_and_audits_nothing(operator: Client) -> None:
    make(operator)
    key = ApiKey.objects.get()

    operator.post(f"{LIST}{key.pk}/change/", FORM)

    assert [entry.action for entry in AuditEntry.objects.all()] == ["apikey.create"]


def test_revoking_ends_a_key_for_good(operator: Client) -> None:
    secret = SECRET.search(make(operator))
    assert secret is not None
    key = ApiKey.objects.get()
    data = {"action": "revoke", "_selected_action": [key.pk]}

    page = operator.post(LIST, data, follow=True).content.decode()
    again = operator.post(LIST, data, follow=True).content.decode()

    assert f"Revoked: pi-4 (wl_{key.prefix})." in page
    assert "revoked already" in again
    assert desk.identity_of_key(secret[0]) is None
    assert operator.post(f"{LIST}{key.pk}/change/", FORM).status_code == 403
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == ["apikey.create", "apikey.revoke"]


def test_the_list_tells_usable_from_expired_and_revoked(operator: Client) -> None:
    now = timezone.now()
    for name, fields in {"good": {}, "old": {"expires": now - timedelta(days=1)}, "gone": {"revoked": now}}.items():
        ApiKey.generate(name=name, scopes=[{"pattern": "*", "actions": ["read"]}], **fields)

    for state, name in {"usable": "good", "expired": "old", "revoked": "gone"}.items():
        page = operator.get(LIST, {"state": state}).content.decode()
        assert f">{name}</a>" in page
        assert page.count('class="action-select"') == 1


def test_a_key_has_limits(operator: Client) -> None:
    make(operator, publish_rate="5", max_connections="2")
    assert list(ApiKey.objects.values_list("publish_rate", "max_connections")) == [(5, 2)]
    assert "greater than or equal to 0" in make(operator, publish_rate="-1")
    assert ApiKey.objects.count() == 1


def test_rotating_shows_another_secret_of_the_same_key_once(operator: Client) -> None:
    old = SECRET.search(make(operator))
    key = ApiKey.objects.get()
    assert f"{LIST}{key.pk}/rotate/" in operator.get(f"{LIST}{key.pk}/change/").content.decode()

    page = operator.post(f"{LIST}{key.pk}/rotate/", {"overlap": "2"}, follow=True).content.decode()

    new = SECRET.search(page)
    assert old is not None
    assert new is not None
    assert new[0] != old[0]
    assert "The one before it works until" in page
    assert [desk.identity_of_key(secret[0]) is not None for secret in (old, new)] == [True, True]
    assert not SECRET.search(operator.get(f"{LIST}{key.pk}/created/").content.decode())
    entry = AuditEntry.objects.latest("pk")
    assert (entry.actor, entry.action, entry.detail) == (
        str(User.objects.get(username="otto").pk),
        "apikey.rotate",
        {"overlap_seconds": 7_200},
    )


@pytest.mark.parametrize("overlap", ["", "-1", "9999", "x", "1.5"])
def test_an_overlap_that_makes_no_sense_rotates_nothing(operator: Client, overlap: str) -> None:
    make(operator)
    key = ApiKey.objects.get()
    response = operator.post(f"{LIST}{key.pk}/rotate/", {"overlap": overlap})
    assert "errorlist" in response.content.decode()
    assert ApiKey.objects.get().digest == key.digest


def test_an_expired_key_is_not_rotated_and_a_revoked_one_cannot_be_changed(operator: Client) -> None:
    key, _ = ApiKey.generate(name="old", scopes=[{"pattern": "*", "actions": ["read"]}], expires=timezone.now() - timedelta(days=1))
    page = operator.post(f"{LIST}{key.pk}/rotate/", {"overlap": "0"}).content.decode()
    assert "is expired: make a new key instead." in page
    ApiKey.objects.update(revoked=timezone.now())
    assert operator.post(f"{LIST}{key.pk}/rotate/", {"overlap": "0"}).status_code == 403
    assert ApiKey.objects.get().digest == key.digest


def test_who_may_only_look_cannot_rotate(client: Client) -> None:
    key, secret = ApiKey.generate(name="pi", scopes=[{"pattern": "*", "actions": ["read"]}])
    client.force_login(desk.viewer())
    assert "/rotate/" not in client.get(f"{LIST}{key.pk}/change/").content.decode()
    assert client.get(f"{LIST}{key.pk}/rotate/").status_code == 403
    assert client.post(f"{LIST}{key.pk}/rotate/", {"overlap": "0"}).status_code == 403
    assert desk.identity_of_key(secret) is not None


def test_a_viewer_sees_keys_and_cannot_open_the_page_of_a_new_one(client: Client) -> None:
    key, _ = ApiKey.generate(name="pi", scopes=[{"pattern": "*", "actions": ["read"]}])
    client.force_login(desk.viewer())

    assert f"wl_{key.prefix}" in client.get(LIST).content.decode()
    assert client.get(f"{LIST}{key.pk}/created/").status_code == 403
