"""The methods of rpc but for publish, which is in test_session.py."""

import json
from typing import Any

import pytest

from realtime import presence, rpc_methods
from realtime.engine import Engine
from realtime.models import ApiKey, Audience, ReadMarker, Record, Stream

from .core import Client, api_key, append, cookie, elsewhere, person
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    Stream.objects.create(name="room", title="Room")
    Stream.objects.create(name="hidden", readers=Audience.MEMBERS)
    Stream.objects.create(name="news", readers=Audience.ANYONE, kind="chart")
    Stream.objects.create(name="old", archived="2026-01-01T00:00Z")
    for name in ("alice", "bob"):
        person(name, first_name=name.title())
    append("room", "1", "2", '{"a": 1.10}', publisher="7")
    return {name: cookie(name) for name in ("alice", "bob")}


@pytest.fixture
async def anonymous(engine: Engine) -> Client:
    return await Client(engine).connect()


@pytest.fixture
async def device(engine: Engine) -> Client:
    return await Client(engine, token=await elsewhere(api_key, "*", "read")).connect()


# mark_read


def marker() -> int:
    return ReadMarker.objects.get().offset


async def test_a_read_marker_moves_forward_only(alice: Client) -> None:
    for offset, found in ((2, 2), (1, 2), (3, 3), (0, 3)):
        assert await alice.rpc("mark_read", stream="room", offset=offset) == {}
        assert await elsewhere(marker) == found


@pytest.mark.parametrize("offset", [-1, 4, 2**70])
async def test_a_read_marker_stays_within_the_stream(alice: Client, offset: int) -> None:
    assert await alice.rpc("mark_read", stream="room", offset=offset) == 107
    assert not await elsewhere(ReadMarker.objects.exists)


async def test_only_people_have_read_markers_and_only_where_they_may_read(alice: Client, anonymous: Client, device: Client) -> None:
    assert await alice.rpc("mark_read", stream="hidden", offset=0) == 102
    assert await anonymous.rpc("mark_read", stream="news", offset=0) == 103
    assert await device.rpc("mark_read", stream="room", offset=0) == 103


# latest


async def test_the_newest_record_of_each_key_is_told_page_by_page(alice: Client, device: Client) -> None:
    await elsewhere(lambda: [append("news", "1", key=key) for key in ("b", "a", "b", "c")])
    page = await alice.rpc("latest", stream="news", limit=2)
    assert [(record["key"], record["offset"]) for record in page["publications"]] == [("a", 2), ("b", 3)]
    assert (page["next"], page["offset"]) == ("b", 4)
    rest = await alice.rpc("latest", stream="news", after=page["next"])
    assert [record["key"] for record in rest["publications"]] == ["c"]
    assert "next" not in rest
    assert [await alice.rpc("latest", stream="hidden"), await alice.rpc("latest", stream="news", limit=0)] == [102, 107]
    assert (await device.rpc("latest", stream="hidden"))["publications"] == []


# names


async def test_principals_are_told_as_people_know_them(alice: Client, device: Client) -> None:
    people = [client.session.identity.principal for client in (alice, device) if client.session.identity]
    assert await alice.rpc("names", principals=[*people, "cli:mika", "", "999", "key:gone", "9" * 30]) == {
        "names": {people[0]: "Alice", people[1]: "sensor", "cli:mika": "mika", "": "anonymous", "999": "999", "key:gone": "key:gone"}
        | {"9" * 30: "9" * 30}
    }


async def test_a_hundred_names_at_once_and_no_more(alice: Client) -> None:
    principals = [str(number) for number in range(101)]
    assert len((await alice.rpc("names", principals=principals[:100]))["names"]) == 100
    assert await alice.rpc("names", principals=principals) == 107


async def test_names_are_for_people_who_are_signed_in(anonymous: Client, device: Client) -> None:
    assert [await client.rpc("names", principals=["1"]) for client in (anonymous, device)] == [103, 103]


@pytest.mark.parametrize(
    "method, params, field",
    [
        ("names", {}, "principals"),
        ("names", {"principals": "x"}, "principals"),
        ("names", {"principals": [1]}, "principals[0]"),
        ("mark_read", {"stream": "room"}, "offset"),
    ],
)
async def test_params_of_another_shape_are_named_in_the_error(alice: Client, method: str, params: dict[str, Any], field: str) -> None:
    command = alice.command("rpc", method=method, data=params)
    await alice.frame(command)
    assert (await alice.reply(command["id"]))["error"]["message"].startswith(f"bad request: {field} ")


# streams


async def listed(client: Client) -> dict[str, Any]:
    return {stream["name"]: stream for stream in (await client.rpc("streams"))["streams"]}


async def test_the_list_holds_what_one_may_read(alice: Client, anonymous: Client, device: Client) -> None:
    assert list(await listed(alice)) == ["news", "room"]
    assert list(await listed(anonymous)) == ["news"]
    assert list(await listed(device)) == ["hidden", "news", "room"]


async def test_a_stream_is_told_with_its_newest_record_and_what_is_unread(alice: Client, engine: Engine) -> None:
    assert (await alice.ask("subscribe", channel="room"))["offset"] == 3
    await engine.presence.write()
    await alice.rpc("mark_read", stream="room", offset=1)
    found = await listed(alice)
    received = (await elsewhere(Record.objects.get, offset=3)).received
    last = {"offset": 3, "data": {"a": 1.1}, "publisher": "7", "time": received}
    assert found["room"] == {"name": "room", "title": "Room", "kind": "feed", "head": 3, "unread": 2, "last": last, "presence": 1}
    assert found["news"] == {"name": "news", "title": "", "kind": "chart", "head": 0, "unread": 0, "last": None, "presence": 0}


async def test_nothing_is_unread_for_a_device_and_pruned_records_for_nobody(alice: Client, device: Client) -> None:
    await elsewhere(Stream.objects.filter(name="room").update, tail=3)
    assert ((await listed(alice))["room"]["unread"], (await listed(device))["room"]["unread"]) == (1, 0)


def test_the_list_costs_as_many_queries_for_one_stream_as_for_many(cookies: dict[str, str], django_assert_num_queries: Any) -> None:
    Stream.objects.bulk_create(Stream(name=f"s{number}", readers=Audience.ANYONE) for number in range(600))
    for number in range(5):
        append(f"s{number}", "1")
    identity = person("charlie")
    with django_assert_num_queries(3):
        assert len(rpc_methods.stream_list(identity)) == rpc_methods.MAX_STREAMS


def test_a_large_payload_is_cut_and_one_that_was_taken_away_is_null(cookies: dict[str, str]) -> None:
    append("room", json.dumps({"x": "y" * 10_000}))
    streams = list(Stream.objects.filter(name="room"))
    gist = json.loads(bytes(rpc_methods.last_records(streams)[streams[0].pk]["data"]))
    assert isinstance(gist, str)
    assert len(gist) == 80
    Record.objects.update(data="")
    assert bytes(rpc_methods.last_records(streams)[streams[0].pk]["data"]) == b"null"


async def test_a_key_that_was_used_says_when(device: Client, engine: Engine) -> None:
    await engine.presence.write()
    # By this write, or by one that was under way.
    await eventually(lambda: elsewhere(ApiKey.objects.filter(last_used__isnull=False).exists))
    assert presence.USED_SECONDS > 0
