"""What a browser is told about pages and cookies, and what it cannot be made to do."""

from typing import Any

import pytest
from django.test import Client

from project.users.models import User
from realtime.models import Audience, Stream

pytestmark = pytest.mark.django_db

HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), midi=(), payment=(), usb=()",
}
NOTHING_ELSEWHERE = ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")


@pytest.fixture(autouse=True)
def alice(db: None) -> User:
    Stream.objects.create(name="room", readers=Audience.USERS, writers=Audience.USERS)
    return User.objects.create_user("alice", password="right", is_staff=True, is_superuser=True)


@pytest.mark.parametrize(
    "path", ["/", "/s/room/", "/s/missing/", "/accounts/login/", "/accounts/password_change/", "/admin/", "/api/docs", "/x"]
)
@pytest.mark.parametrize("signed_in", [True, False])
def test_every_page_tells_the_browser_what_it_may_do(client: Client, alice: User, path: str, signed_in: bool) -> None:
    if signed_in:
        client.force_login(alice)
    page = client.get(path)
    assert {name: page.headers.get(name) for name in HEADERS} == HEADERS
    policy = page["Content-Security-Policy"]
    assert [part for part in NOTHING_ELSEWHERE if part not in policy] == []
    assert "unsafe" not in policy


def test_the_session_cookie_is_for_the_browser_alone(client: Client) -> None:
    client.post("/accounts/login/", {"username": "alice", "password": "right"})
    cookie = client.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Lax", "/", "")


@pytest.mark.parametrize(
    "path", ["/accounts/login/", "/accounts/logout/", "/accounts/password_change/", "/accounts/link/", "/s/room/", "/admin/users/user/add/"]
)
def test_what_changes_something_needs_the_token_of_a_page_of_ours(alice: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    for headers in ({}, {"Origin": "http://evil.test"}, {"Referer": "http://evil.test/"}):
        answer: Any = client.post(path, {"text": "hi", "username": "alice", "password": "right"}, headers=headers)
        assert (answer.status_code, headers) == (403, headers)
    assert Stream.objects.get(name="room").head == 0


@pytest.mark.parametrize("target", ["//evil.test", "https://evil.test/", "javascript:alert(1)", "/\\evil.test", "\thttp://evil.test"])
def test_signing_in_leads_to_no_other_site(client: Client, target: str) -> None:
    answer = client.post("/accounts/login/", {"username": "alice", "password": "right", "next": target})
    assert (answer.status_code, answer["Location"]) == (302, "/")
