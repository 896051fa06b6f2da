"""Who may do what, at every door: each command, method, route, page and admin view, for each kind of identity, in a stream of their own,
in one that is none of their business, and in one that does not exist. The last two must look the same, down to the queries.

What is needed is `access.RIGHTS`; what there is comes from the tables of the code. A command, method, route or page without a row fails.
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
from realtime import api, rpc_registry, stream_api, stream_events
from realtime.access import RIGHTS, Right
from realtime.models import ApiKey, Audience, Membership, Namespace, Stream
from realtime.session import Session

from .core import Client, answer, append
from .plainhttp import Door

pytestmark = pytest.mark.django_db(transaction=True)

NOTHING, READS, WRITES = Right.ANYONE, Right.READ, Right.READ | Right.PUBLISH
# In their own stream.
MAY: dict[str, Right] = {
    "anonymous": NOTHING,
    "stranger": NOTHING,
    "reader": READS,
    "writer": WRITES,
    "moderator": WRITES,
    "of the crew": WRITES,
    "key in scope": WRITES | Right.MANAGE,
    "key out of scope": NOTHING,
    "operator": WRITES,
}
KEYS = {"key in scope": "club", "key out of scope": "other:*"}
PEOPLE = MAY.keys() - KEYS.keys() - {"anonymous"}
OWN, FOREIGN, MISSING = "club", "vault", "nowhere"
everybody = pytest.mark.parametrize("kind", MAY)


def may(kind: str, stream: str) -> Right:
    """The operator reads all that exists; nobody else has anything to do with the foreign stream."""
    signed_in = Right.SIGNED_IN if kind in PEOPLE else NOTHING
    return signed_in | (MAY[kind] if stream == OWN or (stream == FOREIGN and kind == "operator") else NOTHING)


def rows(door: str) -> dict[str, Right]:
    """Those of RIGHTS for one door, without its name."""
    return {asked.removeprefix(f"{door} "): right for asked, right in RIGHTS.items() if asked.startswith(f"{door} ")}


def verdict(kind: str, stream: str, needs: Right) -> int:
    """0, or the code of the error."""
    rights = may(kind, stream)
    if needs in rights:
        return 0
    # That one must be a person, or manage everything, is no secret of a stream.
    return 103 if Right.READ in rights or Right.EVERYTHING in needs or Right.SIGNED_IN in needs & ~rights else 102


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


Ask = Callable[[str], dict[str, Any]]


def channel(**more: Any) -> Ask:
    return lambda stream: {"channel": stream, **more}


def rpc(name: str, params: str = "data", **more: Any) -> Ask:
    return lambda stream: {"method": name, params: {"stream": stream, **more}}


# WebSocket

# How one asks for it of a stream.
COMMANDS: dict[str, Ask] = {
    "subscribe": channel(),
    "publish": channel(data=1),
    "presence": channel(),
    "presence_stats": channel(),
    "history": channel(limit=10),
    "unsubscribe": channel(),
    "sub_refresh": channel(),
}
# Of no stream, or the end of the connection.
OTHER_COMMANDS = {"connect", "rpc", "send", "refresh"}
RPC = {
    "publish": rpc("publish", data=1),
    "latest": rpc("latest"),
    "series": rpc("series"),
    "mark_read": rpc("mark_read", offset=0),
    "names": rpc("names", principals=["1"]),
    "streams": rpc("streams"),
}


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
    assert rows("command").keys() == Session._handlers.keys() == COMMANDS.keys() | OTHER_COMMANDS
    assert rows("rpc").keys() == rpc_registry.METHODS.keys() == RPC.keys()


@everybody
def test_commands(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    client = client_of(door, cast, kind)
    door.run(client.connect())
    commands = [(f"command {name}", name, ask) for name, ask in COMMANDS.items()]
    for asking, command, ask in [*commands, *((f"rpc {name}", "rpc", ask) for name, ask in RPC.items())]:
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            reply, statements = queries.during(lambda: door.run(asked(client, command, ask(stream))()))  # noqa: B023
            expected = 108 if command == "sub_refresh" else verdict(kind, stream, RIGHTS[asking])
            assert (asking, stream, code_of(reply)) == (asking, stream, expected)
            found[stream] = hide(json.dumps(reply)), statements
        if kind != "operator":
            assert found[FOREIGN] == found[MISSING], asking
        if Right.SIGNED_IN in RIGHTS[asking] and kind not in PEOPLE:
            assert found[FOREIGN] == (found[OWN][0], [])


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


@pytest.mark.parametrize("kind", ["anonymous", "stranger", "key out of scope"])
def test_a_namespace_tells_nothing_to_whom_it_would_not_let_create(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    """Whom it would, it lets find out which names are taken: that is what creating on first use means."""
    Namespace.objects.create(name="lab", readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    Stream.objects.create(name="lab:vault", readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    client = client_of(door, cast, kind)
    door.run(client.connect())
    for command, request in (("subscribe", {}), ("publish", {"data": 1}), ("history", {"limit": 1})):
        found = []
        for stream in ("lab:vault", "lab:nowhere"):
            reply, statements = queries.during(lambda: door.run(asked(client, command, {"channel": stream, **request})()))  # noqa: B023
            assert (command, stream, code_of(reply)) == (command, stream, 102)
            found.append((hide(json.dumps(reply)), statements))
        assert found[0] == found[1], command


# The server API, for keys only

API: dict[str, Ask] = {
    "publish": channel(data=1),
    "broadcast": lambda stream: {"channels": [stream], "data": 1},
    "presence": channel(),
    "presence_stats": channel(),
    "history": channel(limit=10),
    "history_remove": channel(),
    "unsubscribe": channel(user="1"),
    "subscribe": channel(user="1"),
    "disconnect": channel(user="1"),
    "refresh": channel(user="1"),
    "info": lambda stream: {},
    "channels": lambda stream: {"pattern": stream},
    "rpc": rpc("latest", "params"),
    "batch": lambda stream: {"commands": [{"history": {"channel": stream, "limit": 10}}, {"presence": {"channel": stream}}]},
}
# What those are judged by that only pass on.
PASSED_ON = {"rpc": Right.READ, "batch": Right.READ}


def test_every_method_of_the_api_has_a_row() -> None:
    assert rows("api").keys() == api.METHODS.keys() == API.keys()


def codes_of(answered: dict[str, Any]) -> set[int]:
    """Of the answer, and of those within it."""
    replies = answered.get("replies") or answered.get("result", {}).get("responses") or [answered]
    return {reply.get("error", {"code": 0})["code"] for reply in replies}


@pytest.mark.parametrize("kind", KEYS)
def test_api(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    headers = {"X-API-Key": cast.secrets[kind], "Content-Type": "application/json"}
    for name, ask in API.items():
        needs = PASSED_ON.get(name, RIGHTS[f"api {name}"])
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            body = json.dumps(ask(stream)).encode()
            reply, statements = queries.during(lambda: door.post(f"/api/{name}", body, headers))  # noqa: B023
            assert (name, stream, codes_of(json.loads(reply.body))) == (name, stream, {verdict(kind, stream, needs)})
            found[stream] = reply.status, hide(reply.body.decode()), statements
        assert found[FOREIGN] == found[MISSING], name


def test_one_stream_of_a_broadcast_tells_nothing_of_the_others(door: Door, cast: Cast) -> None:
    headers = {"X-API-Key": cast.secrets["key in scope"]}
    reply = door.post("/api/broadcast", json.dumps({"channels": [OWN, FOREIGN, MISSING], "data": 1}).encode(), headers)
    own, foreign, missing = json.loads(reply.body)["result"]["responses"]
    assert own["result"]["offset"] == 2
    assert foreign["error"]["code"] == 102
    assert hide(json.dumps(foreign)) == hide(json.dumps(missing))


@pytest.mark.parametrize("kind", ["anonymous", *sorted(PEOPLE)])
def test_nobody_but_a_key_uses_the_api(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    headers = {"Cookie": f"sessionid={cast.sessions.get(kind, '')}", "Origin": "http://testserver"}
    for name in API:
        reply, statements = queries.during(lambda: door.post(f"/api/{name}", b"{}", headers))  # noqa: B023
        assert (name, reply.status, statements) == (name, 401, [])


def test_what_the_table_alone_enforces() -> None:
    """Rights on a stream the code judges too, so their rows are compared. To loosen one of these would change both sides at once."""
    general = Right.SIGNED_IN | Right.EVERYTHING
    alone = {asked for asked, right in RIGHTS.items() if right & general and not asked.startswith("page")}
    assert alone == {"rpc mark_read", "rpc names", "api subscribe", "api disconnect", "api refresh", "api info"}


# Plain HTTP

# Not JSON, so the route has no blob: who may read hears that the record is not there.
TARGETS = {"blobs/": "blobs/1"}


def test_every_route_has_a_row() -> None:
    assert {f"{verb} {path}" for verb in ("GET", "POST") for path in rows(verb)} == {
        f"{route.method} {route.path}" for route in stream_api.ROUTES
    }


@everybody
def test_routes(door: Door, cast: Cast, queries: Queries, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # An answer that ends with its first event; tests/test_stream_events.py reads the others.
    monkeypatch.setattr(stream_events, "MAX_SECONDS", 0)
    headers = {"X-API-Key": cast.secrets[kind]} if kind in KEYS else {"Origin": "http://testserver"}
    if kind in PEOPLE:
        headers["Cookie"] = f"sessionid={cast.sessions[kind]}"
    for verb, path in ((route.method, route.path) for route in stream_api.ROUTES):
        needs = RIGHTS[f"{verb} {path}"]
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            target = f"/api/streams/{stream}/{TARGETS.get(path, path)}"
            body = b"1" if verb == "POST" else b""
            reply, statements = queries.during(lambda: door.ask(verb, target, body, headers))  # noqa: B023
            assert (verb, path, stream, reply.status) == (verb, path, stream, status(kind, stream, needs, path))
            found[stream] = reply.status, hide(reply.body.decode()), statements
        if kind != "operator":
            assert found[FOREIGN] == found[MISSING], path


def status(kind: str, stream: str, needs: Right, path: str) -> int:
    code = verdict(kind, stream, needs)
    if code and kind == "anonymous":
        return 401
    if code:
        return {102: 404, 103: 403}[code]
    return {"records": 201 if needs is Right.PUBLISH else 200, "blobs/": 404}.get(path, 200)


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
