"""A Django project of its own that installs Wirelog as an app (`tests/embedded`)."""

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.waiting import SECONDS, eventually, eventually_sync

from .servers import ROOT, Answer, Cast, RunningServer
from .test_clients_python import Reader, connected
from .wireclient import WireClient

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Shop(RunningServer):
    program = ("-m", "tests.embedded")

    def __init__(self, data: Path, kind: str = "uvicorn") -> None:
        self.sessions: dict[str, str] = {}
        super().__init__(data, Cast(self.sessions, {}), kind, DJANGO_SETTINGS_MODULE="tests.embedded.settings", SHOP_DATA=str(data))

    def form(self, path: str, session: str = "", **fields: str) -> Answer:
        headers = FORM | ({"Cookie": self.cookie(session)} if session else {})
        return self.request("POST", path, urlencode(fields).encode(), headers)

    def sign_in(self, name: str) -> None:
        answer = self.form("/sign-in/", name=name, password="secret")
        self.sessions[name] = SimpleCookie(answer.headers["set-cookie"])["sessionid"].value


class PlainShop(Shop):
    """Served by the server's own command, which knows nothing of Wirelog."""

    commands = {
        "uvicorn": ("-m", "uvicorn", "--port", "0", "tests.embedded.asgi:application"),
        "daphne": ("-m", "daphne", "--port", "0", "tests.embedded.asgi:application"),
    }

    def start(self) -> str:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *self.commands[self.kind]], cwd=ROOT, env=self.env, stderr=log)
        eventually_sync(lambda: re.search(r"127\.0\.0\.1:\d+", self.log()))
        line = self.log()
        self.port = int(re.findall(r"127\.0\.0\.1:(\d+)", line)[0])
        return line


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's database after `migrate`, with one user and the stream `orders`."""
    data = tmp_path_factory.mktemp("shop")
    shop = Shop(data)
    shop.env |= {"DJANGO_SUPERUSER_PASSWORD": "secret"}
    for command in (
        ["migrate", "--verbosity", "0"],
        ["createsuperuser", "--noinput", "--name", "alice"],
        ["streams", "create", "orders", "--read", "users"],
    ):
        done = shop.manage(*command)
        assert done.returncode == 0, done.stderr
    return data


@pytest.fixture
def data(empty: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    with closing(sqlite3.connect(empty / "shop.sqlite3")) as source, closing(sqlite3.connect(tmp_path / "shop.sqlite3")) as copy:
        source.backup(copy)
    return tmp_path


@pytest.fixture(params=[Shop, PlainShop])
def shop(request: pytest.FixtureRequest, data: Path, kind: str) -> Iterator[Shop]:
    shop: Shop = request.param(data, kind)
    shop.start()
    try:
        shop.sign_in("alice")
        yield shop
    finally:
        shop.kill()
    assert "Traceback" not in shop.log(), shop.log()


def select(data: Path, query: str) -> list[tuple[str | int, ...]]:
    with closing(sqlite3.connect(data / "shop.sqlite3")) as database:
        return database.execute(query).fetchall()


def test_its_users_are_known_whatever_they_are_made_of(data: Path) -> None:
    shop = Shop(data)
    shop.start()
    try:
        shop.sign_in("alice")
        with WireClient(shop, session="alice") as alice:
            user, name = (alice.hello["data"][field] for field in ("user", "name"))
            names = alice.call("rpc", {"method": "names", "data": {"principals": [user, "7"]}})["rpc"]["data"]["names"]
            eventually_sync(lambda: select(data, "SELECT user_id FROM realtime_connection") == [(user.replace("-", ""),)])
    finally:
        shop.kill()
    assert (name, names) == ("alice", {user: "alice", "7": "7"})


def test_its_view_and_its_model_publish_in_their_own_transactions(shop: Shop) -> None:
    with WireClient(shop, session="alice") as alice:
        alice.subscribe("orders")
        assert shop.form("/orders/", "alice", number="A1").status == 201
        placed = alice.publication()
        assert (placed["offset"], placed["data"]) == (1, {"number": "A1", "state": "placed"})
        assert placed["info"]["user"] == alice.hello["data"]["user"]
        # The row is refused after the record was made: both are gone, and nobody has heard of it.
        assert shop.form("/orders/", "alice", number="A1").status == 409
        assert alice.call("rpc", {"method": "orders.open"})["rpc"]["data"] == ["A1"]
        assert shop.form("/orders/A1/paid/", "alice").status == 200
        paid = alice.publication()
        assert (paid["offset"], paid["data"]) == (2, {"number": "A1", "state": "paid"})
    assert select(shop.data, 'SELECT "offset" FROM realtime_record') == [(1,), (2,)]


async def test_a_published_client_follows_the_orders(shop: Shop) -> None:
    key = shop.manage("apikey", "create", "till", "--scope", "orders=read").stdout.strip()
    reader = Reader()
    async with connected(shop, key) as client:
        subscription = client.new_subscription("orders", events=reader)
        await subscription.subscribe()
        await subscription.ready(SECONDS)
        # Nobody has signed in here.
        assert (await asyncio.to_thread(shop.form, "/orders/", number="B1")).status == 201
        await eventually(lambda: reader.publications)
    (publication,) = reader.publications
    assert (publication.offset, publication.data, publication.info) == (1, {"number": "B1", "state": "placed"}, None)


def test_the_rest_of_the_project_is_as_before(shop: Shop) -> None:
    assert (shop.get("/").body, shop.get("/healthz").body, shop.get("/no/such").status) == (b"the shop", b"ok\n", 404)
    assert (shop.get("/api/stock/").body, shop.get("/api/stock").status) == (b"of an API of its own", 301)
    assert json.loads(shop.get("/api/no/such").body)["error"]["code"] == 104
    assert select(shop.data, "SELECT name FROM orders_customer") == [("alice",)]


def test_the_admin_of_the_project_shows_the_streams_and_the_keys(data: Path) -> None:
    shop = Shop(data)
    made = json.loads(shop.manage("apikey", "create", "till", "--scope", "orders=publish", "--json").stdout)
    assert shop.manage("publish", "orders", "1").returncode == 0
    ((key,), (record,)) = (select(data, f"SELECT id FROM realtime_{table}")[0] for table in ("apikey", "record"))
    shop.start()
    try:
        shop.sign_in("alice")
        pages = ["stream/", "record/", f"record/{record}/change/", "apikey/add/", f"apikey/{key}/change/", f"apikey/{key}/rotate/"]
        pages += ["membership/add/", *(f"{table}/?q=alice" for table in ("apikey", "membership", "readmarker", "connection"))]
        found = {page: shop.get(f"/admin/realtime/{page}", "alice") for page in pages}
    finally:
        shop.kill()
    assert {page: answer.status for page, answer in found.items()} == dict.fromkeys(pages, 200)
    assert made["name"].encode() in found[f"apikey/{key}/rotate/"].body
    assert "Traceback" not in shop.log()


def test_nothing_of_wirelog_is_wrong_with_such_a_project(data: Path) -> None:
    done = Shop(data).manage("check", "--fail-level", "WARNING", "--tag", "compatibility", "--database", "default")
    # Whether the SQLite of this Python is new enough is another question.
    assert set(re.findall(r"realtime\.[EW]\d+", done.stderr)) <= {"realtime.W001"}
    assert Shop(data).manage("makemigrations", "--check", "--dry-run").returncode == 0


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["serve"], "Cannot find ASGI_APPLICATION setting. Name the application in your asgi.py"),
        (["signin_link", "alice"], "This project has a sign-in of its own"),
    ],
)
def test_what_such_a_project_lacks_is_told_in_a_sentence(data: Path, options: list[str], sentence: str) -> None:
    shop = Shop(data)
    shop.env |= {"SHOP_ASGI_APPLICATION": ""}
    done = shop.manage(*options)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
