"""A stream as a file."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from realtime import stream_download
from realtime.access import Identity
from realtime.models import Audience, Record, Stream
from realtime.reads import Page
from realtime.stream_download import defused

from .core import append
from .plainhttp import Door
from .waiting import SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

DOWNLOAD = "/api/streams/room/download"


@pytest.fixture(autouse=True)
def room(transactional_db: None) -> Stream:
    return Stream.objects.create(name="room", readers=Audience.ANYONE)


def test_all_records_line_by_line(door: Door, room: Stream) -> None:
    append("room", *(f'{{"n":{number}}}' for number in range(700)))
    reply = door.get(DOWNLOAD)
    assert [record["offset"] for record in reply.lines()] == list(range(1, 701))
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.headers["content-disposition"] == 'attachment; filename="room.ndjson"'
    assert (reply.headers["wirelog-epoch"], reply.headers["wirelog-head"]) == (room.epoch, "700")
    assert [record["offset"] for record in door.get(f"{DOWNLOAD}?after=698").lines()] == [699, 700]


def test_an_empty_stream_is_an_empty_file(door: Door) -> None:
    assert door.get(DOWNLOAD).body == b""
    assert door.get(f"{DOWNLOAD}?format=csv").body == b"offset,time,publisher,key,removed,tags,device_time,data\r\n"


def test_rows_hold_every_field(door: Door) -> None:
    append("room", '{"a":"x, \\"y\\""}', publisher="7", key="k", tags={"u": "é"}, device_time=0)
    append("room", "null", key="k", removed=True)
    Record.objects.update(received=1_795_000_000_123)
    rows = list(csv.DictReader(io.StringIO(door.get(f"{DOWNLOAD}?format=csv").body.decode())))
    assert rows[0] == {
        "offset": "1",
        "time": "2026-11-18T11:06:40.123Z",
        "publisher": "7",
        "key": "k",
        "removed": "",
        "tags": '{"u":"é"}',
        "device_time": "1970-01-01T00:00:00.000Z",
        "data": '{"a":"x, \\"y\\""}',
    }
    assert (rows[1]["removed"], rows[1]["data"], rows[1]["device_time"]) == ("true", "null", "")


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1+1", "-", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff20A1", "-1e5x", "=cmd|' /C calc'!A0"]
)
def test_a_cell_computes_nothing(cell: str) -> None:
    assert defused(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "1", "-1", "-1.5", "-1e5", "-1.5E-7", "a=1", '"=1"', "'=1"])
def test_a_cell_that_computes_nothing_is_left_alone(cell: str) -> None:
    assert defused(cell) == cell


def test_formulas_in_a_file_are_defused(door: Door) -> None:
    append("room", "-5", key="=HYPERLINK(1)", publisher="@x")
    (row,) = csv.DictReader(io.StringIO(door.get(f"{DOWNLOAD}?format=csv").body.decode()))
    assert (row["key"], row["publisher"], row["data"]) == ("'=HYPERLINK(1)", "'@x", "-5")


@pytest.mark.parametrize("name, file", [("iot:boiler", "iot-boiler.csv"), ("a.b-c_d", "a.b-c_d.csv")])
def test_the_name_of_the_file_is_safe(door: Door, name: str, file: str) -> None:
    Stream.objects.create(name=name, readers=Audience.ANYONE)
    reply = door.ask("HEAD", f"/api/streams/{name}/download?format=csv")
    assert reply.headers["content-disposition"] == f'attachment; filename="{file}"'
    assert reply.body == b""


def test_what_follows_a_position_that_is_no_longer_kept_is_no_whole_file(door: Door, room: Stream) -> None:
    append("room", *map(str, range(5)))
    Record.objects.filter(offset__lt=4).delete()
    Stream.objects.update(tail=4)
    assert door.get(f"{DOWNLOAD}?after=1").json()["code"] == 112
    assert [record["offset"] for record in door.get(DOWNLOAD).lines()] == [4, 5]


@pytest.mark.parametrize("gone", [301, 302, 600])
def test_a_file_that_cannot_be_whole_is_broken_off(door: Door, room: Stream, gone: int) -> None:
    append("room", *map(str, range(700)))
    Record.objects.filter(offset=gone).delete()
    exchange = door.open("GET", DOWNLOAD).give(b"")
    exchange.done.result(SECONDS)
    assert not exchange.complete
    assert len(exchange.body.splitlines()) == 300


def take_access_away() -> None:
    Stream.objects.update(readers=Audience.USERS)
    connections.close_all()


def test_access_that_ends_breaks_it_off(door: Door, room: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    append("room", *map(str, range(700)))

    def read_page(identity: Identity, stream: Stream, position: int) -> Page:
        page = original(identity, stream, position)
        # A reader's own connection cannot write.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(take_access_away).result()
        return page

    original = stream_download.read_page
    monkeypatch.setattr(stream_download, "read_page", read_page)
    exchange = door.open("GET", DOWNLOAD).give(b"")
    exchange.done.result(SECONDS)
    assert not exchange.complete
    assert json.loads(exchange.body.splitlines()[-1])["offset"] == 300
