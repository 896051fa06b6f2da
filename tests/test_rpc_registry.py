"""Methods of `rpc` that any app may add."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from realtime import publish, rpc, rpc_registry
from realtime.access import Identity
from realtime.engine import Engine, current
from realtime.errors import NotPermitted
from realtime.models import Audience, Record, Stream
from realtime.reads import THREADS

from .core import Client, append, cookie, elsewhere, person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_registry, "METHODS", dict(rpc_registry.METHODS))


@pytest.fixture
async def alice(engine: Engine) -> Client:
    await elsewhere(person, "alice")
    await elsewhere(Stream.objects.create, name="room", readers=Audience.ANYONE)
    return await Client(engine, await elsewhere(cookie, "alice")).connect()


class Sum(msgspec.Struct):
    numbers: list[int]
    scale: int = 1


async def test_a_method_gets_who_calls_and_its_decoded_parameters(alice: Client) -> None:
    @rpc("sum")
    def add(identity: Identity, params: Sum) -> dict[str, Any]:
        return {"sum": sum(params.numbers) * params.scale, "for": identity.label}

    assert await alice.rpc("sum", numbers=[1, 2], scale=2) == {"sum": 6, "for": "alice"}
    assert await alice.rpc("sum", numbers="x") == 107
    assert await alice.rpc("sum") == 107
    assert await alice.rpc("subtract") == 104


async def test_a_method_without_parameters_and_without_an_answer(alice: Client) -> None:
    @rpc("nothing")
    def nothing(identity: Identity) -> None: ...

    assert await alice.rpc("nothing") is None
    assert await alice.rpc("nothing", what="ever") is None


async def test_a_plain_function_runs_in_a_reader_thread_and_cannot_write(alice: Client) -> None:
    @rpc("where")
    def where(identity: Identity) -> str:
        return threading.current_thread().name

    @rpc("write")
    def write(identity: Identity) -> None:
        Stream.objects.create(name="new")

    assert (await alice.rpc("where")).startswith("wirelog-reads")
    assert await alice.rpc("write") == 100
    assert not await elsewhere(Stream.objects.filter(name="new").exists)


async def test_slow_methods_hold_up_no_connect_and_no_delivery(engine: Engine, alice: Client) -> None:
    gate = threading.Event()

    @rpc("slow")
    def slow(identity: Identity) -> bool:
        return gate.wait(60)

    clients = [await Client(engine, alice.session.caller.session_key).connect() for _ in range(THREADS)]
    calls = [asyncio.create_task(client.rpc("slow")) for client in clients]
    try:
        reader = await Client(engine, alice.session.caller.session_key).connect()
        assert isinstance(await reader.ask("subscribe", channel="room"), dict)
        # No hint tells of it: it is read.
        await elsewhere(append, "room", "1")
        assert await reader.received(1) == [1]
    finally:
        gate.set()
    assert await asyncio.gather(*calls) == [True] * THREADS


async def test_a_coroutine_function_runs_on_the_loop(alice: Client) -> None:
    @rpc("loop")
    async def on_loop(identity: Identity) -> bool:
        return asyncio.get_running_loop() is (await current()).loop

    assert await alice.rpc("loop") is True


async def test_a_method_that_writes_is_one_transaction_and_what_it_publishes_is_part_of_it(alice: Client) -> None:
    @rpc("buy", writes=True)
    def buy(identity: Identity) -> int:
        Stream.objects.create(name="receipt")
        return publish("room", {"bought": 1}).offset

    @rpc("fail", writes=True)
    def fail(identity: Identity) -> None:
        publish("room", {"bought": 2})
        raise NotPermitted("buy in", "room")

    await alice.ask("subscribe", channel="room")
    assert await alice.rpc("fail") == 103
    assert await alice.rpc("buy") == 1
    assert await alice.received(1) == [1]
    assert await elsewhere(lambda: (Record.objects.count(), Stream.objects.filter(name="receipt").exists())) == (1, True)


async def test_a_mistake_in_a_method_is_logged_and_ends_one_call_only(alice: Client, caplog: pytest.LogCaptureFixture) -> None:
    @rpc("broken")
    def broken(identity: Identity) -> None:
        raise KeyError("x")

    @rpc("object")
    def unencodable(identity: Identity) -> Any:
        return connections

    assert [await alice.rpc("broken"), await alice.rpc("object")] == [100, 100]
    assert alice.closing is None
    assert [record.getMessage() for record in caplog.records] == [f"The rpc method '{name}' failed." for name in ("broken", "object")]


def test_a_name_is_given_once() -> None:
    for name in ("publish", "streams"):
        with pytest.raises(ImproperlyConfigured, match=f"There are two rpc methods '{name}'"):
            rpc(name)(lambda identity: None)


def test_a_method_must_say_what_its_parameters_are() -> None:
    for function in (lambda: None, lambda identity, params: None, lambda identity, params, more: None):
        with pytest.raises(ImproperlyConfigured, match="must take an identity"):
            rpc("odd")(function)


async def test_publish_may_be_called_without_a_session(engine: Engine) -> None:
    alice = await elsewhere(person, "alice")
    await elsewhere(Stream.objects.create, name="room")
    answer = await rpc_registry.call(engine, alice, "publish", msgspec.Raw(b'{"stream":"room","data":1.10,"idempotency_key":"k"}'))
    assert msgspec.json.decode(answer)["offset"] == 1
    assert await elsewhere(lambda: Record.objects.values_list("data", "publisher").get()) == ("1.10", alice.principal)


def test_the_module_rpc_of_an_app_is_found_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "rpc.py").write_text('from realtime import rpc\n\n@rpc("shop.stock")\ndef stock(identity):\n    return 3\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "shop"]

    apps.get_app_config("realtime").ready()

    assert "shop.stock" in rpc_registry.METHODS
