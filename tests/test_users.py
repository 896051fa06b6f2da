from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import UpdateError
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from project.users.models import Session, User
from project.users.sessions import SessionStore

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password="correct horse")


def test_the_session_engine_is_ours() -> None:
    assert import_module(settings.SESSION_ENGINE).SessionStore is SessionStore


def test_a_session_of_nobody_has_no_user() -> None:
    store = SessionStore()
    store["colour"] = "blue"
    store.save()
    session = Session.objects.get(pk=store.session_key)
    assert session.user is None
    assert session.get_decoded() == {"colour": "blue"}


def test_signing_in_writes_whose_session_it_is(client: Client, alice: User) -> None:
    answer = client.post("/accounts/login/", {"username": "alice", "password": "correct horse"})
    assert answer.status_code == 302
    assert [session.user for session in Session.objects.all()] == [alice]


def test_signing_out_ends_the_session(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert Session.objects.filter(user=alice).count() == 1
    client.post("/accounts/logout/")
    assert not Session.objects.filter(user=alice).exists()


def test_saving_a_session_again_keeps_its_user(alice: User) -> None:
    store = SessionStore()
    store[SESSION_KEY] = str(alice.pk)
    store.save()
    again = SessionStore(store.session_key)
    again["colour"] = "blue"
    again.save()
    assert Session.objects.get(pk=store.session_key).user == alice


@pytest.mark.django_db(transaction=True)
async def test_it_works_without_blocking_the_loop() -> None:
    bob = await User.objects.acreate(username="bob")
    store = SessionStore()
    await store.aset(SESSION_KEY, str(bob.pk))
    await store.asave()
    assert (await Session.objects.aget(pk=store.session_key)).user_id == bob.pk


def test_a_deleted_user_takes_their_sessions_with_them(client: Client, alice: User) -> None:
    client.force_login(alice)
    store = client.session
    assert store[SESSION_KEY] == str(alice.pk)
    alice.delete()
    assert not Session.objects.exists()
    store["colour"] = "blue"
    with pytest.raises(UpdateError):
        store.save()


def test_a_session_never_shows_its_key(alice: User, client: Client) -> None:
    client.force_login(alice)
    session = Session.objects.get()
    assert session.pk not in str(session)
    assert "alice" in str(session)


def test_expired_sessions_are_cleared() -> None:
    Session.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1))
    Session.objects.create(session_key="new", session_data="", expire_date=timezone.now() + timedelta(days=1))
    call_command("clearsessions")
    assert [session.pk for session in Session.objects.all()] == ["new"]


def test_the_operator_signs_somebody_out_everywhere(admin_client: Client, alice: User) -> None:
    phone, laptop = Client(), Client()
    phone.force_login(alice)
    laptop.force_login(alice)
    asked: dict[str, Any] = {"action": "sign_out", "_selected_action": [alice.pk]}
    answer = admin_client.post("/admin/users/user/", asked, follow=True)
    assert "2 sessions ended." in answer.content.decode()
    assert not Session.objects.filter(user=alice).exists()
    assert Session.objects.count() == 1, "the operator stays signed in"
