"""Whatever is sent by HTTP is answered in the form that is documented: nothing breaks, and what is refused changes nothing.

What there is to call comes from the tables of the code, so that a new method or route is tried without a word here.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import errors, openapi, stream_events, stream_request
from realtime.api import METHODS
from realtime.models import Audience, Namespace, Record, Stream
from realtime.rpc_registry import METHODS as RPC
from realtime.stream_api import ROUTES, Route
from realtime.stream_write import Envelope

from .core import api_key, append
from .generated import STRINGS, TEXTS, bodies, fitting, spoiled, written
from .plainhttp import Door, Reply
from .waiting import SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

# Names that mean something, so that not everything is refused at the first look.
STREAMS = ("room", "news", "cursors", "open:new", "missing", "#1")
WORDS = (
    *STREAMS,
    *METHODS,
    *RPC,
    "",
    "a/b",
    "true",
    "7",
    "0",
    "-1",
    "2026-01-01T00:00:00Z",
    "k" * 300,
    "text/plain",
    "*",
    "a=%FF",
    "a=1, b=2",
)
CODES = {error.code for error in openapi.errors()}
# What may be said of trouble that is not the fault of the request; here there is none, but of a disk that others fill.
TROUBLE = {errors.StorageFull.http_status}

Raw = list[tuple[bytes, bytes]]


@pytest.fixture(autouse=True)
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.WIRELOG = settings.WIRELOG | {"RATE_LIMITS": False}
    Namespace.objects.update_or_create(name="open", defaults={"create_on_use": True})
    Stream.objects.create(name="news", readers=Audience.ANYONE)
    Stream.objects.create(name="room", readers=Audience.USERS)
    Stream.objects.create(name="cursors", durable=False)
    append("room", *map(str, range(5)), key="k")
    append("news", "1")
    # Nobody waits for what comes next.
    monkeypatch.setattr(stream_request.Request, "past", out_of_time)
    monkeypatch.setattr(stream_events, "MAX_SECONDS", 0.01)


async def out_of_time(request: Any, waiter: Any, position: int) -> None:
    raise TimeoutError


@pytest.fixture
def key(world: None) -> str:
    return api_key("*", "read", "publish", "manage")


def state() -> dict[str, tuple[int, int]]:
    return {name: (head, tail) for name, head, tail in Stream.objects.values_list("name", "head", "tail")}


Ask = Callable[..., Reply]


@pytest.fixture
def ask(door: Door, key: str, caplog: pytest.LogCaptureFixture) -> Ask:
    """Asks with a key that may do everything. Asserts what holds of every answer."""

    def ask(method: str, target: str, body: bytes, raw: Raw, **headers: str) -> Reply:
        before = state()
        reply = door.open(method, target, {"X-API-Key": key} | headers, raw).give(body).reply()
        assert reply.status < 500 or reply.status in TROUBLE, reply
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []
        assert not any(sign in name + value for name, value in reply.headers.items() for sign in "\r\n\0")
        if reply.status >= 400 or (error_of(reply) is not None and method == "POST"):
            assert state() == before, reply
        return reply

    return ask


def error_of(reply: Reply) -> Any:
    """What an answer of JSON says of an error, if it is one."""
    if reply.headers.get("content-type") != "application/json" or not reply.body:
        return None
    said = reply.json()
    return said.get("error") if isinstance(said, dict) else None


# Headers: what a server hands on is any bytes but the ends of a line; others are tried as well.

HEADER_VALUES = st.sampled_from(WORDS).map(str.encode) | STRINGS.map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=20)


def headers_of(names: Mapping[str, str]) -> st.SearchStrategy[Raw]:
    every = [name.lower().encode() for name in (*names, "Content-Type", "If-None-Match", "Last-Event-ID", "Origin", "Cookie")]
    return st.lists(st.tuples(st.sampled_from(every), HEADER_VALUES), max_size=3)


# The server API


@pytest.mark.parametrize("method", METHODS)
def test_a_method_answers_with_a_result_or_an_error(ask: Ask, method: str) -> None:
    modes = st.sampled_from([{}, {"X-Centrifugo-Error-Mode": "transport"}])
    commands = st.lists(
        written(st.sampled_from([*METHODS]).flatmap(lambda name: st.fixed_dictionaries({name: fitting(METHODS[name].request, WORDS)}))),
        max_size=3,
    )
    batches = commands.map(lambda found: b'{"commands":[%b]}' % b",".join(found))
    sent = bodies(METHODS[method].request, WORDS)

    @settings(max_examples=25)
    @given(sent | batches | spoiled(batches) if method == "batch" else sent, modes)
    def call(body: bytes, mode: dict[str, str]) -> None:
        reply = ask("POST", f"/api/{method}", body, [], **mode)
        assert reply.headers["content-type"] == "application/json"
        said = reply.json()
        if reply.status == 200 and "error" not in said:
            assert said.keys() == ({"replies"} if method == "batch" else {"result"})
        else:
            assert said.keys() == {"error"}
            check_error(said["error"])
            assert reply.status in (200, 400) or mode

    call()


def check_error(error: Any) -> None:
    assert error["code"] in CODES - {errors.InternalError.code}, error
    assert error["message"]


# Plain HTTP to streams

ROOM = st.just("room")


def targets(route: Route) -> st.SearchStrategy[str]:
    """With parameters that fit, and with others."""
    wanted = fitting(route.query, WORDS).map(lambda values: [*values.items()])
    strange = st.lists(
        st.tuples(st.sampled_from([*route.query.__struct_fields__, "other"]) | STRINGS, st.sampled_from(WORDS) | STRINGS), max_size=3
    )
    queries = (wanted | strange).map(lambda pairs: urlencode([*map(parameter, pairs)], errors="surrogatepass"))
    rests = (
        st.integers(0, 9).map(str) | STRINGS.map(lambda text: quote(text, errors="replace")) if route.path.endswith("/") else st.just("")
    )
    names = ROOM | ROOM | st.sampled_from(STREAMS) | STRINGS.map(lambda text: text.replace("/", ""))
    return st.builds(
        lambda name, rest, query: f"/api/streams/{quote(name, safe='', errors='replace')}/{route.path}{rest}?{query}", names, rests, queries
    )


def parameter(pair: tuple[str, Any]) -> tuple[str, str]:
    name, value = pair
    return name, value if isinstance(value, str) else json.dumps(value)


LINES = st.lists(written(fitting(Envelope, WORDS)) | TEXTS.map(lambda text: text.replace(b"\n", b" ")), max_size=5)
BODIES = st.tuples(st.just("application/x-ndjson"), LINES.map(b"\n".join)) | st.tuples(
    st.sampled_from(["", "application/json", "image/png", "text/plain; charset=utf-8"]), bodies(list[Envelope], WORDS) | TEXTS
)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_answers_as_documented(ask: Ask, route: Route) -> None:
    documented = {content_type for _, content_type in route.answers}
    statuses = statuses_of(route)

    @settings(max_examples=60)
    @given(targets(route), headers_of(route.headers), BODIES if route.bodies else st.just(("", b"")), st.booleans())
    def call(target: str, raw: Raw, body: tuple[str, bytes], head: bool) -> None:
        method = "HEAD" if head and route.method == "GET" else route.method
        reply = ask(method, target, body[1], raw, **({"Content-Type": body[0]} if body[0] else {}))
        content_type = reply.headers.get("content-type", "").partition(";")[0]
        assert reply.status in statuses
        if reply.status < 400:
            assert content_type in documented or "*/*" in documented or reply.status == 304
        else:
            assert content_type == "application/problem+json"
            check_problem(reply, bool(method != "HEAD"))

    call()


def statuses_of(route: Route) -> set[int]:
    """Those that the document tells of."""
    paths = openapi.document()["paths"]
    (answers,) = (
        path[route.method.lower()]["responses"] for name, path in paths.items() if is_path_of(name, route) and route.method.lower() in path
    )
    return {*map(int, answers)}


def is_path_of(name: str, route: Route) -> bool:
    return name.removesuffix("{offset}").endswith(f"/{{stream}}/{route.path}")


def check_problem(reply: Reply, has_body: bool) -> None:
    if has_body:
        problem = reply.json()
        assert problem["status"] == reply.status
        assert problem["code"] in CODES - {errors.InternalError.code}, problem
        assert problem["detail"]


@pytest.mark.parametrize("atomic", [False, True])
def test_of_a_batch_each_line_is_stored_or_refused_by_itself(ask: Ask, atomic: bool) -> None:
    @settings(max_examples=60)
    @given(LINES)
    def publish(lines: list[bytes]) -> None:
        before = Stream.objects.get(name="room").head
        reply = ask(
            "POST",
            f"/api/streams/room/records?atomic={str(atomic).lower()}",
            b"\n".join(lines),
            [],
            **{"Content-Type": "application/x-ndjson"},
        )
        head = Stream.objects.get(name="room").head
        if reply.status != 200:
            assert (reply.status, head) == (reply.status, before)
            return
        answers = reply.lines()
        assert len(answers) == sum(bool(line.strip()) for line in lines)
        stored = [answer["offset"] for answer in answers if "error" not in answer and not answer.get("duplicate")]
        assert stored == list(range(before + 1, head + 1))
        assert not atomic or len(stored) + sum("duplicate" in answer for answer in answers) == len(answers)
        for answer in answers:
            if "error" in answer:
                check_error(answer["error"])

    publish()


# Halves


def test_a_body_that_stops_in_the_middle_changes_nothing(door: Door, key: str) -> None:
    before = state()

    @settings(max_examples=30)
    @given(
        st.sampled_from([("/api/publish", b'{"channel":"room","data":1}'), ("/api/streams/room/records", b'{"a":1}')]), st.integers(0, 27)
    )
    def stop(call: tuple[str, bytes], place: int) -> None:
        exchange = door.open("POST", call[0], {"X-API-Key": key}).give(call[1][:place], more=True)
        exchange.leave()
        exchange.done.result(SECONDS)
        assert exchange.sent == []

    stop()
    assert state() == before


def test_a_body_may_come_in_any_pieces(door: Door, key: str) -> None:
    body = '{"channel":"room","data":"ż"}'.encode()

    @settings(max_examples=20)
    @given(st.lists(st.integers(0, len(body)), max_size=4).map(sorted))
    def publish(places: list[int]) -> None:
        exchange = door.open("POST", "/api/publish", {"X-API-Key": key})
        for start, end in zip([0, *places], places, strict=False):
            exchange.give(body[start:end], more=True)
        assert "result" in exchange.give(body[places[-1] if places else 0 :]).reply().json()
        newest = Record.objects.order_by("-pk").first()
        assert newest is not None
        assert newest.data == '"ż"'

    publish()


# Anything


def test_nobody_is_answered_by_an_error_of_the_server(ask: Ask) -> None:
    methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "", "\r\n"])
    paths = st.sampled_from(["/api/", "/api/streams/", "/api/streams/room/", "/api/streams/room/blobs/"])
    rests = st.text(max_size=12).filter(lambda text: text != "docs").map(lambda text: quote(text, safe="/?=&"))

    @settings(max_examples=60)
    @given(methods, paths, rests, headers_of({"X-API-Key": "", "Authorization": "", "Host": "", "X-Forwarded-For": ""}), TEXTS)
    def call(method: str, path: str, rest: str, raw: Raw, body: bytes) -> None:
        assert ask(method, path + rest, body, raw).status in range(400, 500)

    call()
