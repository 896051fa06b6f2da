"""A small world for the tests of admin and commands: one of everything that Wirelog keeps."""

import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connections

from realtime import credentials, journal
from realtime.access import Identity
from realtime.audit import Actor, note
from realtime.items import Item
from realtime.models import (
    ApiKey,
    Connection,
    Kind,
    Membership,
    Namespace,
    Notice,
    Presence,
    ReadMarker,
    Record,
    ServerProcess,
    Stream,
)


def user(name: str, **fields: Any) -> Any:
    return get_user_model().objects.create_user(name, password="secret", **fields)


def viewer(name: str = "vera") -> Any:
    """Somebody who may enter the admin and look."""
    return member_of("Viewer", name)


def operator(name: str = "otto") -> Any:
    return member_of("Operator", name)


def member_of(group: str, name: str) -> Any:
    person = user(name, is_staff=True)
    person.groups.add(Group.objects.get(name=group))
    return person


def stream(name: str = "iot:pi", **fields: Any) -> Stream:
    return Stream.objects.create(name=name, **fields)


def append(name: str, *payloads: str, **fields: Any) -> list[journal.Outcome]:
    return journal.append_batch(connections["default"], [Item(name, data, **fields) for data in payloads])


def identity_of_key(secret: str) -> Identity | None:
    return credentials.identity_of(credentials.of_key(secret))


def world(author: Any) -> dict[str, Any]:
    """One row at least of each model, by model name."""
    pi = stream(title="Pi 4", kind=Kind.CHART)
    append(pi.name, '{"value": 1.10}', '{"value": 2}', publisher=str(author.pk), key="t1", device_time=1_795_000_000_123)
    process = ServerProcess.objects.create(id=uuid.uuid4(), host="lab", pid=4711)
    connection = Connection.objects.create(id=uuid.uuid4(), process=process, user=author, label="Ana", address="10.0.0.7", agent="curl")
    key, _ = ApiKey.generate(name="pi", scopes=[{"pattern": "iot:*", "actions": ["publish"]}], created_by=author)
    rows: list[Any] = [
        pi,
        process,
        connection,
        key,
        Record.objects.filter(stream=pi).first(),
        Namespace.objects.create(name="iot"),
        Membership.objects.create(stream=pi, user=author),
        Presence.objects.create(stream=pi, connection=connection),
        ReadMarker.objects.create(user=author, stream=pi, offset=1),
        Notice.objects.create(kind="revoke", subject={"key": "x"}),
        note(Actor(str(author.pk)), "stream.create", "iot:pi", kind="chart"),
    ]
    return {row._meta.model_name: row for row in rows}
