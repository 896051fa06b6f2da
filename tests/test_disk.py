"""Too little room on the disk of the database."""

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from realtime import disk, publish
from realtime.errors import StorageFull, UnknownStream
from realtime.items import Item
from realtime.journal import Appended
from realtime.models import Namespace, Record, Stream
from realtime.namespaces import open_or_create

from .core import Client, append, cookie, elsewhere, head, offsets, person, running

pytestmark = pytest.mark.django_db(transaction=True)


class Disk:
    """Seen through the setting: full when it asks for more than any disk has."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def fill(self) -> None:
        self.settings.WIRELOG = {**self.settings.WIRELOG, "FREE_DISK_BYTES": 10**18}

    def free(self) -> None:
        self.settings.WIRELOG = {**self.settings.WIRELOG, "FREE_DISK_BYTES": 1}


@pytest.fixture
def full(settings: Any, transactional_db: None) -> Disk:
    Stream.objects.create(name="room")
    Stream.objects.create(name="cursors", durable=False)
    append("room", "1", idempotency_key="k")
    found = Disk(settings)
    found.fill()
    return found


def test_room_is_what_the_operating_system_says_of_the_folder_of_the_database(db: None, settings: Any) -> None:
    found = os.statvfs(os.path.dirname(settings.DATABASES["default"]["NAME"]))
    free = found.f_bavail * found.f_frsize
    for least, room in ((free // 2, True), (free * 2, False), (0, True)):
        settings.WIRELOG = {**settings.WIRELOG, "FREE_DISK_BYTES": least}
        assert disk.has_room("default") == room


# Doors of Django code and of the command line; those of the server are below.


def by_command() -> None:
    call_command("publish", "room", "2", stdout=io.StringIO())


def from_django() -> None:
    publish("room", 2)


def in_a_transaction() -> None:
    with transaction.atomic():
        publish("room", 2)


@pytest.mark.parametrize("door", [by_command, from_django, in_a_transaction])
def test_nothing_is_stored_and_no_offset_used_up_until_there_is_room(full: Disk, door: Callable[[], None]) -> None:
    with pytest.raises((StorageFull, CommandError), match="storage full: nothing was stored"):
        door()
    assert (Record.objects.count(), head("room")) == (1, 1)
    full.free()
    door()
    assert (Record.objects.count(), head("room")) == (2, 2)


def test_what_needs_no_room_goes_on(full: Disk) -> None:
    # A repeat is told where its record is; an ephemeral record is only passed on.
    assert offsets(append("room", "1", idempotency_key="k")) == [1]
    (passed_on,) = append("cursors", "1")
    assert isinstance(passed_on, Appended)
    assert passed_on.publication is not None


def test_no_stream_is_made_and_a_forbidden_one_looks_as_before(full: Disk) -> None:
    Namespace.objects.create(name="lab", writers="users")
    Namespace.objects.create(name="closed", writers="members", readers="members")
    alice = person("alice")
    assert offsets(append("lab:a", "1")) == ["StorageFull"]
    with pytest.raises(StorageFull):
        open_or_create(alice, "lab:a")
    assert offsets(append("closed:a", "1", identity=alice) + append("nowhere", "1", identity=alice)) == ["UnknownStream"] * 2
    with pytest.raises(UnknownStream):
        open_or_create(alice, "closed:a")
    assert not Stream.objects.filter(name__contains=":").exists()


async def test_the_server_goes_on_reading_and_delivering_and_then_writing(full: Disk) -> None:
    full.free()
    alice = await elsewhere(person, "alice")
    key = await elsewhere(cookie, "alice")
    async with running() as engine:
        client = await Client(engine, key).connect()
        await client.ask("subscribe", channel="room", recover=True, offset=0)
        await client.ask("subscribe", channel="cursors")
        full.fill()
        assert await client.ask("publish", channel="room", data=2) == 507
        assert await client.rpc("publish", stream="room", data=2) == 507
        with pytest.raises(StorageFull):
            await engine.journal.append(Item("room", "2", alice))
        assert (await client.ask("history", channel="room", limit=10))["offset"] == 1
        assert await client.ask("publish", channel="cursors", data=3) == {}
        assert sorted(await client.received(2)) == [0, 1]
        full.free()
        assert await client.ask("publish", channel="room", data=4) == {}
        assert sorted(await client.received(3)) == [0, 1, 2]


@pytest.mark.parametrize("path", ["/nowhere/wirelog.sqlite3", "/dev/null/wirelog.sqlite3"])
def test_a_file_that_cannot_be_found_is_none(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk.file_id("default") is not None
    monkeypatch.setitem(connection.settings_dict, "NAME", path)
    assert disk.file_id("default") is None
