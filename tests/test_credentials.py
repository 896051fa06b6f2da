"""Who shows a session or an API key."""

import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore as PlainStore
from django.test import Client as Browser
from django.test import RequestFactory
from django.utils import timezone

from project.users.models import Session, User
from realtime import credentials, operations
from realtime.access import Identity, Scope
from realtime.audit import Actor
from realtime.models import ApiKey

from . import desk
from .core import api_key, cookie

# Sessions


def who(session_key: str) -> Identity | None:
    return credentials.identity_of(credentials.of_session(session_key))


@pytest.fixture
def alice(db: None) -> User:
    return get_user_model().objects.create_user("alice", first_name="Alice", last_name="A.")


def test_a_session_tells_whose_it_is(alice: User) -> None:
    group = Group.objects.create(name="crew")
    alice.groups.add(group)
    key = cookie("alice")
    ends = Session.objects.get(session_key=key).expire_date.timestamp()
    assert who(key) == Identity(str(alice.pk), "Alice A.", alice.pk, False, frozenset({group.pk}), expires=ends)


def test_sessions_users_and_groups_are_one_query(alice: User, django_assert_num_queries: Any) -> None:
    groups = [Group.objects.create(name=name) for name in ("crew", "night")]
    alice.groups.set(groups)
    User.objects.create_user("bob")
    keys = {name: cookie(name) for name in ("alice", "bob")}
    with django_assert_num_queries(1):
        found = credentials.identities_of_sessions([*keys.values(), "unknown"])
    assert {key: identity.label for key, identity in found.items()} == {keys["alice"]: "Alice A.", keys["bob"]: "bob"}
    assert found[keys["alice"]].group_ids == {group.pk for group in groups}
    assert found[keys["bob"]].group_ids == frozenset()


@pytest.mark.parametrize("key", ["", "x", "x" * 500, "'; --", "\0", "ż"])
def test_a_cookie_that_is_no_session_is_nobody(alice: User, key: str) -> None:
    assert who(key) is None


def expire(alice: User, key: str) -> None:
    Session.objects.filter(session_key=key).update(expire_date=timezone.now() - timedelta(seconds=1))


def log_out(alice: User, key: str) -> None:
    browser = Browser()
    browser.cookies["sessionid"] = key
    browser.post("/accounts/logout/")


def deactivate(alice: User, key: str) -> None:
    User.objects.update(is_active=False)


def change_password(alice: User, key: str) -> None:
    alice.set_password("new")
    alice.save()


def tamper(alice: User, key: str) -> None:
    Session.objects.filter(session_key=key).update(session_data="tampered")


def steal(alice: User, key: str) -> None:
    """The row names another user than the signed data does, and one with the very same password hash."""
    Session.objects.filter(session_key=key).update(user=User.objects.create(username="mallory", password=alice.password))


def delete(alice: User, key: str) -> None:
    alice.delete()


@pytest.mark.parametrize("end", [expire, log_out, deactivate, change_password, tamper, steal, delete])
def test_a_session_that_has_ended_is_nobody(alice: User, end: Any) -> None:
    key = cookie("alice")
    assert who(key) is not None
    end(alice, key)
    assert who(key) is None


@pytest.mark.parametrize("fallbacks, signed_in", [(True, True), (False, False)])
def test_rotating_the_secret_key_signs_nobody_out_while_the_old_one_is_kept(
    alice: User, settings: Any, fallbacks: bool, signed_in: bool
) -> None:
    key = cookie("alice")
    row = Session.objects.values().get(session_key=key)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY] if fallbacks else []
    settings.SECRET_KEY = "another secret key"
    assert (who(key) is not None) == signed_in
    # Looking at it has changed nothing: Django's own middleware flushes or renews it.
    assert Session.objects.values().get(session_key=key) == row


def test_the_session_engine_of_another_project_is_asked_by_its_own_load(alice: User, settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    key = cookie("alice")
    assert PlainStore(key).load()
    identity = who(key)
    assert identity is not None
    assert (identity.user_id, identity.expires) == (alice.pk, None)
    deactivate(alice, key)
    assert who(key) is None
    User.objects.update(is_active=True)
    assert who(key) == identity
    change_password(alice, key)
    assert who(key) is None
    assert who("unknown") is None


def test_in_a_project_without_sessions_a_cookie_is_nobodys(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        @classmethod
        def get_model_class(cls) -> None:
            raise RuntimeError("Model class Session isn't in an application in INSTALLED_APPS.")

    monkeypatch.setitem(sys.modules, "without_sessions", SimpleNamespace(SessionStore=Store))
    settings.SESSION_ENGINE = "without_sessions"
    assert who("made up") is None


def test_a_session_of_nobody_is_nobody(db: None) -> None:
    request = RequestFactory().get("/")
    request.session = Session.get_session_store_class()()
    request.session["seen"] = 1
    request.session.save()
    assert who(request.session.session_key or "") is None


# Keys


@pytest.mark.django_db
def test_a_key_tells_what_it_may_do() -> None:
    ends = timezone.now() + timedelta(hours=1)
    secret = api_key("iot:*", "read", "publish", expires=ends, publish_rate=5, max_connections=2)
    identity = desk.identity_of_key(secret)
    prefix = secret.split("_")[1]
    scopes = (Scope("iot:*", frozenset({"read", "publish"})),)
    assert identity == Identity(f"key:{prefix}", "sensor", scopes=scopes, expires=ends.timestamp(), publish_rate=5, max_connections=2)


@pytest.mark.django_db
def test_a_key_that_is_expired_or_revoked_is_nobody() -> None:
    now, second = timezone.now(), timedelta(seconds=1)
    assert desk.identity_of_key(api_key("*", "read", expires=now - second)) is None
    assert desk.identity_of_key(api_key("*", "read", revoked=now)) is None
    assert desk.identity_of_key(api_key("*", "read", expires=now + 60 * second)) is not None


@pytest.mark.django_db
def test_anything_but_the_exact_secret_is_nobody() -> None:
    secret = api_key("*", "read")
    _, prefix, rest = secret.split("_", 2)
    digest = ApiKey.objects.get().digest
    wrong = ["", "wl", "wl__", f"wl_{prefix}", f"wl_{prefix}_", secret[:-1], secret + "x", secret.upper(), f"xx_{prefix}_{rest}"]
    wrong += [f"wl_00000000_{rest}", f" {secret}", f"wl_{prefix}_{digest}", digest, f"wl_{prefix}_ż", "wl_\0_x", "x" * 10_000]
    assert [text for text in wrong if desk.identity_of_key(text) is not None] == []
    assert desk.identity_of_key(secret) is not None


@pytest.mark.django_db
def test_a_wrong_prefix_takes_the_same_comparison_as_a_wrong_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = api_key("*", "read")
    compared: list[tuple[int, int]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(credentials, "constant_time_compare", compare)
    for text in (secret, secret + "x", "wl_00000000_x"):
        desk.identity_of_key(text)
    assert compared == [(64, 64), (0, 64)] * 3


HOUR = timedelta(hours=1)
ACTOR = Actor("cli:ops")


@pytest.mark.django_db
def test_after_a_rotation_both_secrets_are_the_same_key_until_the_overlap_ends() -> None:
    old = api_key("*", "read")
    key = ApiKey.objects.get()
    new = operations.rotate(ACTOR, key, HOUR)
    before, after = desk.identity_of_key(old), desk.identity_of_key(new)
    assert before is not None
    assert after is not None
    assert key.previous_until is not None
    assert before.principal == after.principal
    # What uses the old secret is to be closed in time.
    assert (before.expires, after.expires) == (key.previous_until.timestamp(), None)
    ApiKey.objects.update(previous_until=timezone.now())
    assert desk.identity_of_key(old) is None
    assert desk.identity_of_key(new) == after


@pytest.mark.django_db
def test_the_old_secret_never_outlives_the_key() -> None:
    ends = timezone.now() + HOUR
    old = api_key("*", "read", expires=ends)
    operations.rotate(ACTOR, ApiKey.objects.get(), 24 * HOUR)
    identity = desk.identity_of_key(old)
    assert identity is not None
    assert identity.expires == ends.timestamp()
    ApiKey.objects.update(expires=timezone.now())
    assert desk.identity_of_key(old) is None


@pytest.mark.django_db
def test_without_an_overlap_and_after_a_second_rotation_a_secret_ends_at_once() -> None:
    first = api_key("*", "read")
    key = ApiKey.objects.get()
    second = operations.rotate(ACTOR, key, timedelta(0))
    assert desk.identity_of_key(first) is None
    third = operations.rotate(ACTOR, key, HOUR)
    fourth = operations.rotate(ACTOR, key, HOUR)
    assert [desk.identity_of_key(secret) is not None for secret in (second, third, fourth)] == [False, True, True]


@pytest.mark.django_db
def test_revoking_ends_both_secrets() -> None:
    old = api_key("*", "read")
    key = ApiKey.objects.get()
    new = operations.rotate(ACTOR, key, HOUR)
    operations.revoke(ACTOR, key)
    assert desk.identity_of_key(old) is desk.identity_of_key(new) is None
