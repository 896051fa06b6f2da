"""The door of plain HTTP: what there is, who may come in, and how it says no. Reading and writing have files of their own."""

from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from realtime.models import ApiKey, Audience, Namespace, Stream
from realtime.stream_api import ROUTES

from .core import Trouble, api_key, cookie, head, person
from .plainhttp import Door, Reply
from .waiting import SECONDS, eventually_sync

pytestmark = pytest.mark.django_db(transaction=True)

OWN = {"Origin": "http://testserver"}
FOREIGN = {"Origin": "http://evil.example"}
PUBLISH = "/api/streams/room/records"


@pytest.fixture(autouse=True)
def room(transactional_db: None) -> Stream:
    Namespace.objects.all().delete()
    return Stream.objects.create(name="room", readers=Audience.USERS, writers=Audience.USERS)


def bearer(*actions: str, pattern: str = "*", **fields: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key(pattern, *actions, **fields)}"}


def session(name: str = "alice") -> dict[str, str]:
    person(name)
    return {"Cookie": f"sessionid={cookie(name)}"}


def problem(reply: Reply) -> tuple[int, int]:
    """The status and the code of a refusal, which is a whole problem."""
    assert reply.headers["content-type"] == "application/problem+json"
    said = reply.json()
    assert (said["type"], said["status"]) == ("about:blank", reply.status)
    assert said["title"]
    assert said["detail"]
    return reply.status, said["code"]


def publish(door: Door, headers: dict[str, str] | None = None, path: str = PUBLISH, body: bytes = b"1") -> int | tuple[int, int]:
    reply = door.post(path, body, headers)
    return reply.status if reply.status < 400 else problem(reply)


# Who may come in


def test_a_key_opens_it_by_either_header(door: Door) -> None:
    secret = api_key("room", "publish")
    assert publish(door, {"X-API-Key": secret}) == 201
    assert publish(door, {"Authorization": f"Bearer {secret}"}) == 201
    assert publish(door, {"Authorization": f"bearer  {secret}"}) == 201
    assert head("room") == 3


BAD_KEYS = [
    "wl_00000000_x",
    "x",
    "wl_é_x",
    "expired",
    "revoked",
]


@pytest.mark.parametrize("kind", BAD_KEYS)
def test_a_key_that_is_not_valid_opens_nothing(door: Door, kind: str) -> None:
    ends: dict[str, Any] = {"expired": {"expires": timezone.now()}, "revoked": {"revoked": timezone.now()}}
    secret = api_key("*", "publish", "read", **ends[kind]) if kind in ends else kind
    reply = door.post(PUBLISH, b"1", {"X-API-Key": secret})
    assert problem(reply) == (401, 101)
    assert reply.headers["www-authenticate"] == "Bearer"
    assert head("room") == 0


def test_the_right_prefix_with_a_wrong_rest_opens_nothing(door: Door) -> None:
    assert publish(door, {"X-API-Key": api_key("*", "publish") + "x"}) == (401, 101)


def test_a_key_in_the_url_is_no_key(door: Door) -> None:
    secret = api_key("*", "publish")
    assert publish(door, path=f"{PUBLISH}?api_key={secret}") == (401, 101)


def test_a_wrong_key_is_refused_whatever_cookie_comes_with_it(door: Door) -> None:
    assert publish(door, session() | OWN | {"X-API-Key": "wl_x_y"}) == (401, 101)


SCOPES = [
    (["publish"], "room", 201),
    (["read", "publish"], "r*", 201),
    (["read"], "room", (403, 103)),
    (["read", "publish"], "other", (404, 102)),
    (["manage"], "room", (404, 102)),
    ([], "room", (404, 102)),
]


@pytest.mark.parametrize("actions, pattern, expected", SCOPES)
def test_the_scope_of_a_key_decides(door: Door, actions: list[str], pattern: str, expected: Any) -> None:
    assert publish(door, bearer(*actions, pattern=pattern)) == expected


def test_a_missing_stream_looks_like_one_that_may_not_be_read(door: Door) -> None:
    key = bearer("publish", pattern="room")
    Stream.objects.create(name="secret")
    missing, secret = [(door.post(f"/api/streams/{name}/records", b"1", key)).json() for name in ("nowhere", "secret")]
    assert missing | {"detail": ""} == secret | {"detail": ""}
    assert missing["detail"].replace("nowhere", "secret") == secret["detail"]


def test_a_session_writes_only_from_a_page_of_ours(door: Door) -> None:
    cookie_of_alice = session()
    assert publish(door, cookie_of_alice | OWN) == 201
    assert publish(door, cookie_of_alice) == (401, 101)
    assert publish(door, cookie_of_alice | FOREIGN) == (403, 103)
    assert publish(door, cookie_of_alice | {"Origin": "null"}) == (403, 103)
    assert head("room") == 1


def test_a_key_needs_no_good_origin(door: Door) -> None:
    """No browser sends one by itself."""
    assert publish(door, bearer("publish") | FOREIGN) == 201


def test_what_a_session_publishes_is_signed_by_its_user(door: Door, room: Stream) -> None:
    alice = person("bob")
    publish(door, {"Cookie": f"sessionid={cookie('bob')}"} | OWN)
    assert room.records.get().publisher == alice.principal


def test_nobody_writes_where_anyone_may_from_a_page_of_ours(door: Door, room: Stream) -> None:
    assert publish(door, OWN) == (401, 101)
    Stream.objects.update(readers=Audience.ANYONE, writers=Audience.ANYONE)
    assert publish(door, OWN) == 201
    assert publish(
        door,
    ) == (401, 101)
    assert publish(door, FOREIGN) == (403, 103)


def test_nobody_is_asked_who_they_are_where_only_others_may_write(door: Door) -> None:
    Stream.objects.update(readers=Audience.ANYONE)
    assert publish(door, OWN) == (401, 101)


def test_a_session_that_has_ended_is_nobodys(door: Door) -> None:
    assert publish(door, {"Cookie": "sessionid=gone"} | OWN) == (401, 101)


def test_the_use_of_a_key_is_noted(door: Door) -> None:
    publish(door, bearer("publish"))
    door.run(door.engine.presence.write())
    # By this write, or by one that was under way.
    eventually_sync(ApiKey.objects.filter(last_used__isnull=False).exists)


# What there is


def test_a_foreign_host_is_refused(door: Door) -> None:
    assert publish(door, bearer("publish") | {"Host": "evil.example"}) == (400, 107)


UNKNOWN = ["", "room", "room/", "room/nothing", "room/records/", "room/records/1", "room//records"]


def test_an_unknown_path_is_not_found(door: Door) -> None:
    key = bearer("publish")
    for path in UNKNOWN:
        assert publish(door, key, f"/api/streams/{path}") == (404, 104), path
    detail = door.get("/api/streams/room", key).json()["detail"]
    assert detail == "unknown method '/api/streams/room': a stream has records, latest, download, events, blobs/<offset>"


def test_another_method_is_told_which_ones_there_are(door: Door) -> None:
    key = bearer("publish")
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
        reply = door.ask(method, PUBLISH, headers=key)
        assert problem(reply) == (405, 107)
        assert "POST" in reply.headers["allow"].split(", ")


NAMES = ["%20", "a%0d%0aSet-Cookie:%20x=1", "%00", "room%2f..", "ro%C3%B3m", "r" * 129, "%23", "%2301", "🎈"]


def test_a_name_that_no_stream_can_have_is_not_found(door: Door) -> None:
    Namespace.objects.create(name="")
    key = bearer("publish")
    for name in NAMES:
        reply = door.post(f"/api/streams/{name}/records", b"1", key)
        assert reply.status == 404, name
        assert not any("\n" in value or "\r" in value for value in reply.headers.values())
    assert Stream.objects.count() == 1


def test_a_personal_stream_is_named_by_its_escaped_hash(door: Door) -> None:
    alice = person("alice")
    key = bearer("publish", pattern="#*")
    assert publish(door, key, f"/api/streams/%23{alice.user_id}/records") == 201
    assert head(f"#{alice.user_id}") == 1


QUERIES = [
    ("atomc=1", "atomc"),
    ("atomic=maybe", "atomic"),
    ("batch", "query"),
    ("batch=%ff", "query"),
    ("batch=1&batch=0", "query"),
    ("&".join(["batch=1"] * 30), "query"),
]


def test_a_query_that_is_not_understood_is_refused_by_name(door: Door) -> None:
    key = bearer("publish")
    for query, field in QUERIES:
        reply = door.post(f"{PUBLISH}?{query}", b"1", key)
        assert problem(reply) == (400, 107), query
        assert reply.json()["field"] == field
    assert head("room") == 0


def test_a_query_is_told_in_words_what_it_must_be(door: Door) -> None:
    for query, told in (
        ("limit=x", "limit must be a whole number"),
        ("limit=-1", "limit must be a whole number >= 0"),
        ("newest=maybe", "newest must be true or false"),
    ):
        reply = door.get(f"/api/streams/room/records?{query}", bearer("read"))
        assert reply.json()["detail"] == f"bad request: {told}"


def test_every_answer_forbids_to_guess_what_it_is(door: Door) -> None:
    for headers in (bearer("publish"), {}):
        reply = door.post(PUBLISH, b"1", headers)
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert reply.headers["cache-control"] == "no-store"


# Bodies


def test_a_body_in_pieces_is_put_together(door: Door, room: Stream) -> None:
    exchange = door.open("POST", PUBLISH, bearer("publish"))
    for piece in (b'{"a"', b":", b"1"):
        exchange.give(piece, more=True)
    assert (exchange.give(b"}").reply()).status == 201
    assert room.records.get().data == '{"a":1}'


def test_a_body_that_is_said_to_be_too_large_is_refused_before_it_is_read(door: Door) -> None:
    exchange = door.open("POST", PUBLISH, bearer("publish") | {"Content-Length": str(2**31)})
    assert problem(exchange.reply()) == (413, 413)


def test_a_body_that_turns_out_too_large_is_refused_at_that_moment(door: Door) -> None:
    exchange = door.open("POST", PUBLISH, bearer("publish"))
    for _ in range(17):
        exchange.give(b"x" * 65_536, more=True)
    assert problem(exchange.reply()) == (413, 413)


def test_a_client_that_leaves_in_the_middle_of_its_body_changes_nothing(door: Door) -> None:
    exchange = door.open("POST", PUBLISH, bearer("publish")).give(b"1", more=True)
    exchange.leave()
    exchange.done.result(SECONDS)
    assert exchange.sent == []
    assert head("room") == 0


def test_a_body_that_stops_in_the_middle_is_not_waited_for_for_ever(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.endpoint.BODY_SECONDS", 0)
    reply = door.open("POST", PUBLISH, bearer("publish")).give(b"1", more=True).reply()
    assert problem(reply) == (408, 107)
    assert reply.headers["connection"] == "close"
    assert head("room") == 0


# Trouble


def test_a_full_disk_says_when_to_come_back(door: Door) -> None:
    key = bearer("publish")
    door.run(Trouble(DatabaseError("database or disk is full")).befall(door.engine.journal))
    reply = door.post(PUBLISH, b"1", key)
    assert problem(reply) == (507, 507)
    assert reply.headers["retry-after"] == "30"


def test_a_full_journal_says_when_to_come_back(door: Door) -> None:
    key = bearer("publish")
    door.engine.journal._limit = 0
    reply = door.post(PUBLISH, b"1", key)
    assert problem(reply) == (429, 111)
    assert int(reply.headers["retry-after"]) >= 1


def test_a_database_in_trouble_is_no_traceback(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: Any) -> None:
        raise DatabaseError("disk on fire")

    monkeypatch.setattr(door.engine.reads, "run", fail)
    reply = door.post(PUBLISH, b"1", {"X-API-Key": "wl_x_y"})
    assert problem(reply) == (500, 100)
    assert "fire" not in reply.body.decode()


def test_an_archived_stream_is_locked(door: Door) -> None:
    Stream.objects.update(archived=timezone.now())
    assert publish(door, bearer("publish")) == (423, 423)


# The table


def test_every_route_tells_what_its_documentation_needs() -> None:
    for route in ROUTES:
        assert route.summary.endswith(".")
        assert route.answers
        assert route.errors
        assert (route.method == "POST") == bool(route.bodies)
