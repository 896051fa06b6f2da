"""Whose records `append_batch` takes, and what the others are told."""

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from realtime import access
from realtime.access import ANONYMOUS, Identity
from realtime.errors import WirelogError
from realtime.items import Item
from realtime.journal import append_batch
from realtime.models import Audience, Membership, Stream

from .core import append, device, person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stream() -> Stream:
    return Stream.objects.create(name="a")


def cast() -> dict[str, Identity]:
    """By their relationship to stream `a`."""
    stream, group = Stream.objects.get(name="a"), Group.objects.create(name="crew")
    names = ("stranger", "reader", "writer", "moderator", "grouped")
    people = {name: person(name) for name in names}
    Membership.objects.create(stream=stream, group=group, role="writer")
    for role in ("reader", "writer", "moderator"):
        Membership.objects.create(stream=stream, user_id=people[role].user_id, role=role)
    people["grouped"] = Identity("g", "g", people["grouped"].user_id, group_ids=frozenset({group.pk}))
    people["superuser"] = person("root", is_superuser=True)
    return people | {
        "anonymous": ANONYMOUS,
        "reading key": device("*", "read"),
        "publishing key": device("a*", "publish"),
        "full key": device("a", "publish", "read"),
        "other key": device("b", "publish", "read"),
    }


MEMBERS = {"reader", "writer", "moderator", "grouped", "superuser"}
WRITERS = {"writer", "moderator", "grouped", "superuser"}
KEYS = {"publishing key", "full key"}
EVERYBODY = MEMBERS | {"stranger", "anonymous"}


@pytest.mark.parametrize(
    "readers, writers, may, may_only_read",
    [
        ("anyone", "anyone", EVERYBODY, {"reading key"}),
        ("anyone", "users", EVERYBODY - {"anonymous"}, {"anonymous", "reading key"}),
        ("anyone", "members", WRITERS, EVERYBODY - WRITERS | {"reading key"}),
        ("users", "anyone", EVERYBODY, {"reading key"}),
        ("users", "users", EVERYBODY - {"anonymous"}, {"reading key"}),
        ("users", "members", WRITERS, {"stranger", "reader", "reading key"}),
        ("members", "users", EVERYBODY - {"anonymous"}, {"reading key"}),
        ("members", "members", WRITERS, {"reader", "reading key"}),
    ],
)
def test_who_may_not_write_is_told_so_and_who_may_not_read_is_told_nothing(
    readers: str, writers: str, may: set[str], may_only_read: set[str]
) -> None:
    people = cast()
    Stream.objects.filter(name="a").update(readers=readers, writers=writers)
    outcomes = append_batch(connection, [Item("a", "1", identity) for identity in people.values()])
    codes = {name: outcome.code if isinstance(outcome, WirelogError) else 0 for name, outcome in zip(people, outcomes, strict=True)}
    assert {name for name, code in codes.items() if code == 0} == may | KEYS
    assert {name for name, code in codes.items() if code == 103} == may_only_read
    assert {name for name, code in codes.items() if code == 102} == people.keys() - may - KEYS - may_only_read


def test_a_refused_and_a_missing_stream_get_the_same_sentence() -> None:
    Stream.objects.filter(name="a").update(readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    stranger = person("stranger")
    (hidden, asked), (missing, asked_too) = (said_and_asked(name, stranger) for name in ("a", "x"))
    assert hidden[0] == missing[0]
    assert hidden[1].replace("'a'", "'x'") == missing[1]
    # Nor do they take different times.
    assert asked == asked_too


def said_and_asked(name: str, identity: Identity) -> tuple[tuple[int, str], list[str]]:
    """The refusal of a publish, and the tables that were asked for it."""
    with CaptureQueriesContext(connection) as queries:
        (outcome,) = append(name, "1", identity=identity)
    tables = [query["sql"].partition("FROM ")[2].split()[0].strip('"') for query in queries if "FROM " in query["sql"]]
    assert isinstance(outcome, WirelogError)
    return (outcome.code, str(outcome)), tables


def test_a_role_of_ones_own_goes_before_that_of_a_group_and_the_stronger_group_counts() -> None:
    stream = Stream.objects.get(name="a")
    weak, strong = Group.objects.create(name="weak"), Group.objects.create(name="strong")
    alice = person("alice")
    both = Identity(alice.principal, "", alice.user_id, group_ids=frozenset({weak.pk, strong.pk}))
    Membership.objects.create(stream=stream, group=strong, role="moderator")
    Membership.objects.create(stream=stream, group=weak, role="reader")
    assert access.roles([both], [stream.pk], "default") == {(both.principal, stream.pk): "moderator"}
    Membership.objects.create(stream=stream, user_id=alice.user_id, role="reader")
    assert access.roles([both], [stream.pk], "default") == {(both.principal, stream.pk): "reader"}
