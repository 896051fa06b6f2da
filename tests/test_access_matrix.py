"""Who may do what, at every door: each command, method, route, page and admin view, for each kind of identity, in a stream of their own,
in one that is none of their business, and in one that does not exist. The last two must look the same, down to the queries.

What there is comes from the tables of the code, so a command, method, route or page without a row here fails.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.backends.utils import CursorWrapper
from django.test import Client as Browser
from django.urls import URLPattern, URLResolver, get_resolver

from project.users.models import User
from realtime import registry, stream_api
from realtime.access import API_RIGHTS
from realtime.api_methods import COMMANDS
from realtime.models import ApiKey, Audience, Membership, Stream
from realtime.session import Session

from .core import Client, answer, append
from .plainhttp import Door

pytestmark = pytest.mark.django_db(transaction=True)

MAY: dict[str, frozenset[str]] = {
    "anonymous": frozenset(),
    "stranger": frozenset(),
    "reader": frozenset({"read"}),
    "writer": frozenset({"read", "write"}),
    "moderator": frozenset({"read", "write"}),
    "of the crew": frozenset({"read", "write"}),
    "key in scope": frozenset({"read", "write", "manage"}),
    "key out of scope": frozenset(),
    "operator": frozenset({"read", "write"}),
}
KEYS = {"key in scope": "club", "key out of scope": "other:*"}
PEOPLE = MAY.keys() - KEYS.keys() - {"anonymous"}
OWN, FOREIGN, MISSING = "club", "vault", "nowhere"
everybody = pytest.mark.parametrize("kind", MAY)


def may(kind: str, stream: str) -> frozenset[str]:
    """The operator reads all that exists; nobody else has anything to do with the foreign stream."""
    return MAY[kind] if stream == OWN or (stream == FOREIGN and kind == "operator") else frozenset()


@dataclass
class Cast:
    sessions: dict[str, str]
    secrets: dict[str, str]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    for name in (OWN, FOREIGN):
        stream = Stream.objects.create(name=name, readers=Audience.MEMBERS, writers=Audience.MEMBERS)
        append(name, '{"a":1}', key="k")
    # Without it nobody is let in who is anonymous.
    Stream.objects.create(name="square", readers=Audience.ANYONE)
    crew = Group.objects.create(name="crew")
    club = Stream.objects.get(name=OWN)
    Membership.objects.create(stream=club, group=crew)
    Membership.objects.create(stream=stream, user=User.objects.create_user("somebody else"))
    sessions = {}
    for kind in PEOPLE:
        user = User.objects.create_user(kind, is_superuser=kind == "operator", is_staff=kind == "operator")
        if kind in Membership.Role.values:
            Membership.objects.create(stream=club, user=user, role=kind)
        if kind == "of the crew":
            user.groups.add(crew)
        browser = Browser()
        browser.force_login(user)
        sessions[kind] = browser.cookies["sessionid"].value
    everything = ["read", "publish", "manage"]
    secrets = {kind: ApiKey.generate(name=kind, scopes=[{"pattern": pattern, "actions": everything}])[1] for kind, pattern in KEYS.items()}
    return Cast(sessions, secrets)


class Queries:
    """The statements of readers, of the write thread and of pages, without their parameters."""

    # Written behind at any time.
    NOISE = re.compile(r'"realtime_(connection|presence|serverprocess|notice)"|realtime_apikey" SET|users_session|SAVEPOINT|PRAGMA')

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        execute = CursorWrapper.execute

        def record(cursor: Any, sql: Any, params: Any = None) -> Any:
            thread = threading.current_thread()
            asks = thread is threading.main_thread() or thread.name.startswith(("wirelog-reads", "wirelog-journal"))
            if asks and not self.NOISE.search(str(sql)):
                self.statements.append(re.sub(r"\d+", "0", str(sql)))
            return execute(cursor, sql, params)

        monkeypatch.setattr(CursorWrapper, "execute", record)

    def during(self, work: Callable[[], Any]) -> tuple[Any, list[str]]:
        self.statements.clear()
        result = work()
        return result, list(self.statements)


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> Queries:
    return Queries(monkeypatch)


@pytest.fixture
def door(cast: Cast) -> Iterator[Door]:
    with Door().opened() as found:
        yield found


@dataclass
class Row:
    """What is needed, and how one asks for it of a stream; None: it is the same for all streams."""

    needs: str | None
    ask: Callable[[str], dict[str, Any]] = lambda stream: {}


def channel(**more: Any) -> Callable[[str], dict[str, Any]]:
    return lambda stream: {"channel": stream, **more}


def method(name: str, **more: Any) -> Callable[[str], dict[str, Any]]:
    return lambda stream: {"method": name, "data": {"stream": stream, **more}}


# WebSocket

SOCKET = {
    "connect": Row(None),
    "subscribe": Row("read", channel()),
    "publish": Row("write", channel(data=1)),
    "presence": Row("read", channel()),
    "presence_stats": Row("read", channel()),
    "history": Row("read", channel(limit=10)),
    # To end what one has needs no right; there is nothing to be learned from it.
    "unsubscribe": Row(None, channel()),
    "rpc": Row(None),
    "send": Row(None),
    "refresh": Row(None),
    "sub_refresh": Row(None, channel()),
}
RPC = {
    "publish": Row("write", method("publish", data=1)),
    "latest": Row("read", method("latest")),
    "series": Row("read", method("series")),
    "mark_read": Row("read", method("mark_read", offset=0)),
    "names": Row(None),
    "streams": Row(None),
}


def verdict(kind: str, stream: str, needs: str) -> int:
    """0, or the code of the error."""
    rights = may(kind, stream)
    if needs in rights:
        return 0
    return 103 if "read" in rights else 102


def client_of(door: Door, cast: Cast, kind: str) -> Client:
    return Client(door.engine, cast.sessions.get(kind, ""), cast.secrets.get(kind, ""))


def asked(client: Client, command: str, request: dict[str, Any]) -> Callable[[], Any]:
    async def ask() -> Any:
        message = client.command(command, **request)
        await client.frame(message)
        return await client.reply(message["id"])

    return lambda: client.engine and ask()


def code_of(reply: dict[str, Any]) -> int:
    found = answer(reply)
    return found if isinstance(found, int) else 0


def hide(text: str) -> str:
    """Without what differs anyway: the name of the stream, the number of the command, the token of a form."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", text)
    return re.sub(r'"id": ?\d+', '"id":0', text.replace(FOREIGN, "*").replace(MISSING, "*"))


def test_every_command_and_rpc_method_has_a_row() -> None:
    assert SOCKET.keys() == Session._handlers.keys()
    assert RPC.keys() == registry.METHODS.keys()


@everybody
def test_commands(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    client = client_of(door, cast, kind)
    door.run(client.connect())
    rows = [(name, name, row) for name, row in SOCKET.items()] + [(f"rpc {name}", "rpc", row) for name, row in RPC.items()]
    for name, command, row in rows:
        if row.needs is None:
            continue
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            reply, statements = queries.during(lambda: door.run(asked(client, command, row.ask(stream))()))  # noqa: B023
            expected = verdict(kind, stream, row.needs)
            if name == "rpc mark_read" and kind not in PEOPLE:
                # Only people have markers, and they hear so before any stream is looked for.
                expected = 103
            assert (name, stream, code_of(reply)) == (name, stream, expected)
            found[stream] = hide(json.dumps(reply)), statements
        if kind != "operator":
            assert found[FOREIGN] == found[MISSING], name


@pytest.mark.parametrize("kind", ["anonymous", "stranger", "key in scope", "operator"])
def test_the_personal_stream_of_somebody_else_looks_like_that_of_nobody(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    client = client_of(door, cast, kind)
    door.run(client.connect())
    other = f"#{User.objects.get(username='somebody else').pk}"
    for command, request in (("subscribe", {}), ("publish", {"data": 1}), ("history", {"limit": 1})):
        found = []
        for stream in (other, "#999999"):
            reply, statements = queries.during(lambda: door.run(asked(client, command, {"channel": stream, **request})()))  # noqa: B023
            assert (command, stream, code_of(reply)) == (command, stream, 102)
            found.append((hide(json.dumps(reply)).replace(stream, "*"), statements))
        assert found[0] == found[1], command


# The server API, for keys only

API = {
    "publish": Row("write", channel(data=1)),
    "broadcast": Row(None),
    "presence": Row("read", channel()),
    "presence_stats": Row("read", channel()),
    "history": Row("read", channel(limit=10)),
    "history_remove": Row("manage", channel()),
    "unsubscribe": Row("manage", channel(user="1")),
    "subscribe": Row("everything", channel(user="1")),
    "disconnect": Row("everything", channel(user="1")),
    "refresh": Row("everything", channel(user="1")),
    "info": Row("everything"),
    "channels": Row(None),
    "rpc": Row(None),
    "batch": Row(None),
}


def test_every_method_of_the_api_has_a_row() -> None:
    assert API.keys() == API_RIGHTS.keys()
    assert COMMANDS.keys() <= API.keys()


@pytest.mark.parametrize("kind", KEYS)
def test_api(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    headers = {"X-API-Key": cast.secrets[kind], "Content-Type": "application/json"}
    for name, row in API.items():
        if row.needs is None:
            continue
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            body = json.dumps(row.ask(stream)).encode()
            reply, statements = queries.during(lambda: door.post(f"/api/{name}", body, headers))  # noqa: B023
            error = json.loads(reply.body).get("error", {"code": 0})["code"]
            assert (name, stream, error) == (name, stream, 103 if row.needs == "everything" else verdict(kind, stream, row.needs))
            found[stream] = reply.status, hide(reply.body.decode()), statements
        assert found[FOREIGN] == found[MISSING], name


@pytest.mark.parametrize("kind", ["anonymous", *sorted(PEOPLE)])
def test_nobody_but_a_key_uses_the_api(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    headers = {"Cookie": f"sessionid={cast.sessions.get(kind, '')}", "Origin": "http://testserver"}
    for name in API:
        reply, statements = queries.during(lambda: door.post(f"/api/{name}", b"{}", headers))  # noqa: B023
        assert (name, reply.status, statements) == (name, 401, [])


# Plain HTTP

ROUTES = {
    ("POST", "records"): "write",
    ("GET", "records"): "read",
    ("GET", "latest"): "read",
    ("GET", "download"): "read",
    ("GET", "events"): "read",
    ("GET", "blobs/"): "read",
}
# Not JSON, so the route has no blob: who may read hears that the record is not there.
TARGETS = {"blobs/": "blobs/1"}


def test_every_route_has_a_row() -> None:
    assert ROUTES.keys() == {(route.method, route.path) for route in stream_api.ROUTES}


@everybody
def test_routes(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    headers = {"X-API-Key": cast.secrets[kind]} if kind in KEYS else {"Origin": "http://testserver"}
    if kind in PEOPLE:
        headers["Cookie"] = f"sessionid={cast.sessions[kind]}"
    for (verb, path), needs in ROUTES.items():
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            target = f"/api/streams/{stream}/{TARGETS.get(path, path)}"
            if path == "events" and "read" in may(kind, stream):
                # It would go on for a minute; tests/test_stream_events.py reads it.
                continue
            body = b"1" if verb == "POST" else b""
            reply, statements = queries.during(lambda: door.ask(verb, target, body, headers))  # noqa: B023
            assert (verb, path, stream, reply.status) == (verb, path, stream, status(kind, stream, needs, path))
            found[stream] = reply.status, hide(reply.body.decode()), statements
        if kind != "operator":
            assert found[FOREIGN] == found[MISSING], path


def status(kind: str, stream: str, needs: str, path: str) -> int:
    code = verdict(kind, stream, needs)
    if code and kind == "anonymous":
        return 401
    if code:
        return {102: 404, 103: 403}[code]
    return {"records": 201 if needs == "write" else 200, "blobs/": 404}.get(path, 200)


# Pages

PAGES = {
    "login": (200, 302),
    "logout": (302, 405),
    "password_change": (302, 200),
    # Without a token.
    "signin_link": (403, 403),
    "streams": (302, 200),
    "whoami": (401, 200),
    "api": (200, 200),
    "styleguide": (302, 302),
}


def patterns(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for found in resolver.url_patterns:
        path = prefix + str(found.pattern)
        if isinstance(found, URLResolver):
            yield from patterns(found, path)
        else:
            yield path, found


ALL = list(patterns(get_resolver()))


def test_every_page_has_a_row() -> None:
    assert {pattern.name for path, pattern in ALL if not path.startswith("admin/")} == PAGES.keys() | {"stream"}


def browser_of(cast: Cast, kind: str) -> Browser:
    browser = Browser()
    if kind in PEOPLE:
        browser.cookies["sessionid"] = cast.sessions[kind]
    return browser


@pytest.mark.parametrize("kind", ["anonymous", *sorted(PEOPLE)])
def test_pages(cast: Cast, queries: Queries, kind: str) -> None:
    browser = browser_of(cast, kind)
    for path, pattern in ALL:
        if pattern.name in PAGES and not path.startswith("admin/"):
            expected = PAGES[pattern.name][kind in PEOPLE]
            expected = 200 if (pattern.name, kind) == ("styleguide", "operator") else expected
            assert (path, browser.get(f"/{path}").status_code) == (path, expected)
    found = {}
    for stream in (OWN, FOREIGN, MISSING):
        page, statements = queries.during(lambda: browser.get(f"/s/{stream}/"))  # noqa: B023
        missing = 302 if kind == "anonymous" else 404
        assert (stream, page.status_code) == (stream, 200 if "read" in may(kind, stream) else missing)
        where = page.headers.get("Location", "")
        found[stream] = page.status_code, hide(where), hide(page.content.decode()), statements
        wrote = browser.post(f"/s/{stream}/", {"text": "hi"})
        assert (stream, wrote.status_code) == (stream, written(kind, stream))
    if kind != "operator":
        assert found[FOREIGN] == found[MISSING]


def written(kind: str, stream: str) -> int:
    if kind == "anonymous":
        return 302
    return {0: 302, 102: 404, 103: 403}[verdict(kind, stream, "write")]


# Admin

# Away, forbidden, not there, or not for this method.
NOTHING = (302, 403, 404, 405)
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


def test_admin_views_are_all_of_the_site() -> None:
    names = {name for _, name in admin_paths()}
    for model in admin.site._registry:
        assert f"{model._meta.app_label}_{model._meta.model_name}_changelist" in names


@pytest.mark.parametrize("kind", ["anonymous", *sorted(PEOPLE - {"operator"})])
def test_admin_is_closed_to_who_is_no_member_of_staff(cast: Cast, kind: str) -> None:
    browser = browser_of(cast, kind)
    for path, name in admin_paths():
        # Signing in and out is for everybody.
        if name not in ("login", "logout"):
            for answered in (browser.get(path), browser.post(path, {})):
                away = answered.headers.get("Location", "").startswith(("/admin/login/", "/accounts/login/"))
                assert (path, away) == (path, True), answered.status_code


def test_admin_shows_nothing_to_staff_without_permissions(cast: Cast) -> None:
    User.objects.filter(username="stranger").update(is_staff=True)
    browser = browser_of(cast, "stranger")
    for path, name in admin_paths():
        if name not in FOR_STAFF:
            for answered in (browser.get(path), browser.post(path, {})):
                assert (path, answered.status_code in NOTHING) == (path, True), answered.status_code


def test_the_operator_sees_every_list(cast: Cast) -> None:
    browser = browser_of(cast, "operator")
    for path, name in admin_paths():
        if name.endswith("_changelist"):
            assert (path, browser.get(path).status_code) == (path, 200)
