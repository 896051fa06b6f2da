"""Who guesses passwords has to wait."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.utils import timezone

from project.users.lockout import client_address
from project.users.models import User

pytestmark = pytest.mark.django_db

TRIES = settings.AXES_FAILURE_LIMIT


@pytest.fixture(autouse=True)
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="right", is_staff=True)


def sign_in(client: Client, password: str, name: str = "alice", path: str = "/accounts/login/", **fields: Any) -> Any:
    return client.post(path, {"username": name, "password": password}, **fields)


def guess(client: Client, times: int, **fields: Any) -> Any:
    for _ in range(times - 1):
        assert sign_in(client, "wrong", **fields).status_code == 200
    return sign_in(client, "wrong", **fields)


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_after_too_many_wrong_passwords_one_has_to_wait(client: Client, path: str) -> None:
    answer = guess(client, TRIES, path=path)
    assert answer.status_code == 429
    # From the last try on, of which a slow machine is some seconds past.
    assert 840 < int(answer["Retry-After"]) <= 900
    page = answer.content.decode()
    assert "Too many tries" in page
    assert "Try again in 15 minutes." in page
    # The right one is refused too, at either door, and the wait is not prolonged by it.
    assert sign_in(client, "right", path=path).status_code == sign_in(client, "right").status_code == 429
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=14))
    assert "Try again in 1 minute." in sign_in(client, "right", path=path).content.decode()
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert sign_in(client, "right", path=path).status_code == 302


def test_only_this_name_from_this_address_has_to_wait(client: Client) -> None:
    User.objects.create_user("bob", password="right")
    assert guess(client, TRIES).status_code == 429
    assert sign_in(Client(), "right", "bob").status_code == 302
    assert sign_in(Client(), "right", REMOTE_ADDR="198.51.100.7").status_code == 302


def test_a_name_that_does_not_exist_looks_the_same(client: Client) -> None:
    assert guess(client, TRIES, name="nobody").status_code == 429


def test_the_right_password_starts_the_count_anew(client: Client) -> None:
    guess(client, TRIES - 1)
    assert sign_in(client, "right").status_code == 302
    client.logout()
    assert guess(client, TRIES - 1).status_code == 200


def test_the_operator_ends_a_wait(client: Client) -> None:
    guess(client, TRIES)
    call_command("axes_reset_username", "alice", verbosity=0)
    assert sign_in(client, "right").status_code == 302


def test_no_password_reaches_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(TRIES + 1):
        sign_in(client, "correct horse", "alice\r\nbattery staple")
    assert "correct horse" not in caplog.text
    assert "\nbattery" not in caplog.text
    assert not AccessAttempt.objects.filter(post_data__contains="correct horse").exists()


@pytest.mark.parametrize("found", ["198.51.100.7", None])
def test_the_address_is_the_one_that_the_router_found(found: str | None) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR=found or "", HTTP_X_FORWARDED_FOR="203.0.113.9")
    assert client_address(request) == found
