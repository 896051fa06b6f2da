"""The access matrix, for what Django serves: every page and every view of the admin. See test_access_matrix.py."""

import re
from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.test import Client as Browser
from django.urls import URLPattern, URLResolver, get_resolver

from project.users.models import User
from realtime.access import RIGHTS, Right

from .cast import FOREIGN, MISSING, NOTHING, OWN, PEOPLE, Cast, Queries, hide, may, rows, verdict

pytestmark = pytest.mark.django_db(transaction=True)


# Pages

# What a GET answers that nothing speaks against; 200 where it is not named.
FINE = {"logout": 405, "signin_link": 403}


def patterns(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for found in resolver.url_patterns:
        path = prefix + str(found.pattern)
        if isinstance(found, URLResolver):
            yield from patterns(found, path)
        else:
            yield path, found


ALL = list(patterns(get_resolver()))


def test_every_page_has_a_row() -> None:
    assert {pattern.name for path, pattern in ALL if not path.startswith("admin/")} == rows("page").keys()


def test_pages_that_need_nothing_are_those_that_ask_nobody_to_sign_in() -> None:
    """A stream may be open to anyone, and whoami answers a script."""
    open_pages = {name for name, right in rows("page").items() if right is Right.ANYONE} | {"stream", "whoami"}
    pages = {
        pattern.name for path, pattern in ALL if not path.startswith("admin/") and not getattr(pattern.callback, "login_required", True)
    }
    assert pages == open_pages


def browser_of(cast: Cast, kind: str) -> Browser:
    browser = Browser()
    if kind in PEOPLE:
        browser.cookies["sessionid"] = cast.sessions[kind]
    return browser


@pytest.mark.parametrize("kind", ["anonymous", *sorted(PEOPLE)])
def test_pages(cast: Cast, queries: Queries, kind: str) -> None:
    browser = browser_of(cast, kind)
    for path, pattern in ALL:
        if pattern.name != "stream" and not path.startswith("admin/"):
            assert (path, browser.get(f"/{path}").status_code) == (path, page_status(kind, pattern.name or ""))
    found = {}
    for stream in (OWN, FOREIGN, MISSING):
        page, statements = queries.during(lambda: browser.get(f"/s/{stream}/"))  # noqa: B023
        missing = 302 if kind == "anonymous" else 404
        assert (stream, page.status_code) == (stream, 200 if Right.READ in may(kind, stream) else missing)
        where = page.headers.get("Location", "")
        found[stream] = page.status_code, hide(where), hide(page.content.decode()), statements
        wrote = browser.post(f"/s/{stream}/", {"text": "hi"})
        assert (stream, wrote.status_code) == (stream, written(kind, stream))
    if kind != "operator":
        assert found[FOREIGN] == found[MISSING]


def page_status(kind: str, name: str) -> int:
    rights = may(kind, MISSING) | (Right.STAFF if kind == "operator" else NOTHING)
    if name == "login" and kind in PEOPLE:
        # Away to where they are signed in.
        return 302
    if RIGHTS[f"page {name}"] in rights:
        return FINE.get(name, 200)
    if kind in PEOPLE:
        # Signing in again would change nothing.
        return 403
    return 401 if name == "whoami" else 302


def written(kind: str, stream: str) -> int:
    if kind == "anonymous":
        return 302
    return {0: 302, 102: 404, 103: 403}[verdict(kind, stream, Right.PUBLISH)]


# Admin

# Away, forbidden, not there, or not for this method.
AWAY = (302, 403, 404, 405)
# For whoever works here; the views behind them ask for more.
FOR_STAFF = {"index", "login", "logout", "password_change", "password_change_done", "jsi18n"}


def admin_paths() -> list[tuple[str, str]]:
    """Path and name of every admin view, with something in place of its parameters."""
    found = []
    for path, pattern in ALL:
        if path.startswith("admin/"):
            path = re.sub(r"<path:object_id>|<int:\w+>|<int>", "1", path)
            path = re.sub(r"<path:content_type_id>|<path:object_id>", "1", path).replace("(?P<app_label>auth|users|realtime)", "auth")
            path = re.sub(r"\^\(\?P<app_label>[^)]*\)/\$", "auth/", path).replace("(?P<url>.*)$", "nowhere")
            found.append(("/" + path, pattern.name or ""))
    return found


def needs_staff(name: str) -> bool:
    return RIGHTS.get(f"admin {name}", RIGHTS["admin"]) is Right.STAFF


def test_admin_views_are_all_of_the_site() -> None:
    names = {name for _, name in admin_paths()}
    for model in admin.site._registry:
        assert f"{model._meta.app_label}_{model._meta.model_name}_changelist" in names


@pytest.mark.parametrize("kind", ["anonymous", *sorted(PEOPLE - {"operator"})])
def test_admin_is_closed_to_who_is_no_member_of_staff(cast: Cast, kind: str) -> None:
    browser = browser_of(cast, kind)
    for path, name in admin_paths():
        if needs_staff(name):
            for answered in (browser.get(path), browser.post(path, {})):
                away = answered.headers.get("Location", "").startswith(("/admin/login/", "/accounts/login/"))
                assert (path, away) == (path, True), answered.status_code


def test_admin_shows_nothing_to_staff_without_permissions(cast: Cast) -> None:
    User.objects.filter(username="stranger").update(is_staff=True)
    browser = browser_of(cast, "stranger")
    for path, name in admin_paths():
        if name not in FOR_STAFF:
            for answered in (browser.get(path), browser.post(path, {})):
                assert (path, answered.status_code in AWAY) == (path, True), answered.status_code


def test_the_operator_sees_every_list(cast: Cast) -> None:
    browser = browser_of(cast, "operator")
    for path, name in admin_paths():
        if name.endswith("_changelist"):
            assert (path, browser.get(path).status_code) == (path, 200)
