"""Who may do what with a stream."""

from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from project.users.models import User
from realtime import access
from realtime.access import ANONYMOUS, Identity, Scope
from realtime.credentials import identity_of_user
from realtime.errors import NotPermitted, UnknownStream
from realtime.models import Audience, Membership, Stream

from .core import device, person

AUDIENCES = [str(audience) for audience in Audience.values]


# The table

MEMBERS = {"reader", "writer", "moderator", "grouped reader", "grouped writer", "superuser"}
WRITERS = {"writer", "moderator", "grouped writer", "superuser"}
SIGNED_IN = MEMBERS | {"stranger"}
READERS = {"anyone": SIGNED_IN | {"anonymous"}, "users": SIGNED_IN, "members": MEMBERS}
PUBLISHERS = {"anyone": SIGNED_IN | {"anonymous"}, "users": SIGNED_IN, "members": WRITERS}


@pytest.fixture
def cast(db: None) -> dict[str, Identity]:
    """By their relationship to every stream of the test; the keys by their scopes."""
    groups = {role: Group.objects.create(name=role) for role in ("reader", "writer")}
    people = {name: person(name) for name in ("stranger", "reader", "writer", "moderator", "grouped reader", "grouped writer")}
    for role, group in groups.items():
        User.objects.get(username=f"grouped {role}").groups.add(group)
        people[f"grouped {role}"] = identity_of_user(User.objects.get(username=f"grouped {role}"))
    people["superuser"] = person("superuser", is_superuser=True)
    return people | {
        "anonymous": ANONYMOUS,
        "reading key": device("lab:*", "read"),
        "publishing key": device("lab:*", "publish"),
        "managing key": device("lab:*", "manage"),
        "other key": device("office:*", "read", "publish"),
        "key without scopes": Identity("key:cd", "device", scopes=()),
    }


def make(name: str, readers: str, writers: str) -> Stream:
    stream = Stream.objects.create(name=name, readers=readers, writers=writers)
    for role in ("reader", "writer", "moderator"):
        Membership.objects.create(stream=stream, user=User.objects.get(username=role), role=role)
    for role in ("reader", "writer"):
        Membership.objects.create(stream=stream, group=Group.objects.get(name=role), role=role)
    return stream


def roles(cast: dict[str, Identity], *streams: Stream) -> Any:
    return access.roles(cast.values(), [stream.pk for stream in streams], "default")


@pytest.mark.parametrize("readers, writers", list(product(AUDIENCES, AUDIENCES)))
def test_the_table(cast: dict[str, Identity], readers: str, writers: str) -> None:
    stream = make("lab:a", readers, writers)
    role = {name: roles(cast, stream).get((identity.principal, stream.pk)) for name, identity in cast.items()}
    may_read = {name for name, identity in cast.items() if access.may_read(identity, stream, role[name])}
    may_write = {name for name, identity in cast.items() if access.may_write(identity, stream, role[name])}
    assert may_read == READERS[readers] | {"reading key"}
    assert may_write == PUBLISHERS[writers] | {"publishing key"}


def test_the_filter_agrees_with_the_table_for_everybody_and_every_stream(cast: dict[str, Identity]) -> None:
    owner = cast["stranger"].user_id
    names = ["lab:a", "office:b", "lab", "xlab:c", "lab:", "labx"]
    streams = [make(f"{name}{index}", *audiences) for name in names for index, audiences in enumerate(product(AUDIENCES, AUDIENCES))]
    streams += [Stream.objects.create(name=f"#{owner}"), Stream.objects.create(name="#999999", readers=Audience.ANYONE)]
    patterns = ["*", "lab*", "*:*", "l*b:a*", "lab.a*", "#*", f"#{owner}", "lab:a0", "", "[a-z]*", "a|b", "office:b*"]
    cast |= {f"key {pattern}": device(pattern, "read") for pattern in patterns}
    cast["two scopes"] = Identity("key:e", "", scopes=(Scope("lab:a*", frozenset({"read"})), Scope("office:*", frozenset({"read"}))))
    found = roles(cast, *streams)
    for name, identity in cast.items():
        allowed = {s.name for s in streams if access.may_read(identity, s, found.get((identity.principal, s.pk)))}
        filtered = Stream.objects.filter(access.readable_by(identity)).exclude(name="lobby")
        assert sorted(filtered.values_list("name", flat=True)) == sorted(allowed), name
        assert [stream.name for stream in streams if reads(identity, stream.name)] == [s.name for s in streams if s.name in allowed], name


def reads(identity: Identity, name: str) -> bool:
    try:
        return access.readable(identity, name).name == name
    except UnknownStream:
        return False


def test_a_personal_stream_is_for_its_user_alone_whatever_its_row_says(cast: dict[str, Identity]) -> None:
    stream = make(f"#{cast['reader'].user_id}", Audience.ANYONE, Audience.ANYONE)
    assert [name for name, identity in cast.items() if access.may_read(identity, stream, "moderator")] == ["reader"]
    assert [name for name, identity in cast.items() if access.may_write(identity, stream, "moderator")] == ["reader"]


def test_missing_and_forbidden_get_the_same_error(cast: dict[str, Identity]) -> None:
    hidden = make("lab:hidden", "members", "members")
    for name in ("stranger", "anonymous", "other key", "publishing key"):
        with pytest.raises(UnknownStream) as forbidden:
            access.readable(cast[name], hidden.name)
        with pytest.raises(UnknownStream) as missing:
            access.readable(cast[name], "lab:absent")
        assert str(forbidden.value).replace("hidden", "absent") == str(missing.value)


def test_missing_and_forbidden_ask_the_database_the_same(cast: dict[str, Identity]) -> None:
    owner = cast["reader"].user_id
    names = [make("lab:hidden", "members", "members").name, make(f"#{owner}", "anyone", "anyone").name, "lab:absent", "#999999"]
    for name in ("stranger", "anonymous", "other key"):
        counts = []
        for stream in names:
            with CaptureQueriesContext(connection) as queries, pytest.raises(UnknownStream):
                access.readable(cast[name], stream)
            counts.append(len(queries))
        assert counts == [2 if name == "stranger" else 1] * len(names), name


def test_who_may_read_is_told_that_it_may_not_write(cast: dict[str, Identity]) -> None:
    stream = make("lab:a", "users", "members")
    assert str(access.refusal(cast["reader"], stream, "reader")) == "permission denied: you may not publish to 'lab:a'"
    assert isinstance(access.refusal(cast["stranger"], stream, None), NotPermitted)
    assert isinstance(access.refusal(ANONYMOUS, stream, None), UnknownStream)


def test_roles_of_many_people_in_many_streams_are_one_query(cast: dict[str, Identity], django_assert_num_queries: Any) -> None:
    streams = [make(f"lab:{number}", "members", "members") for number in range(5)]
    with django_assert_num_queries(1):
        found = roles(cast, *streams)
    assert found[cast["grouped writer"].principal, streams[4].pk] == "writer"
    assert len(found) == 5 * 5


@pytest.mark.parametrize(
    "pattern, stream, covered",
    [
        ("iot:*", "iot:pi", True),
        ("iot:*", "iot:", True),
        ("iot:*", "iot", False),
        ("iot:*", "xiot:pi", False),
        ("iot:*", "iot:pi:cpu", True),
        ("*:cpu", "iot:pi:cpu", True),
        ("*:cpu", "iot:cpus", False),
        ("iot.pi", "iot-pi", False),
        ("iot", "iot\n", False),
        ("*", "anything", True),
        ("", "x", False),
        ("IOT", "iot", False),
        ("a*a*a*a*a*a*b", "a" * 60, False),
        ("[ab]", "a", False),
        # "Everything" was never meant to be everybody's own stream.
        ("*", "#5", False),
        ("*5", "#5", False),
        ("#*", "#5", True),
        ("#5", "#5", True),
        ("#5", "#55", False),
    ],
)
def test_a_star_stands_for_any_text_and_nothing_else_does(pattern: str, stream: str, covered: bool) -> None:
    assert Scope(pattern, frozenset({"read"})).covers(stream, "read") == covered
    assert not Scope(pattern, frozenset({"read"})).covers(stream, "publish")


@pytest.mark.django_db
def test_anonymous_visitors_are_let_in_while_there_is_something_to_read_for_them() -> None:
    assert not access.anonymous_may_read_something()
    Stream.objects.create(name="open", readers=Audience.ANYONE)
    assert access.anonymous_may_read_something()
