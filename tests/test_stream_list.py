"""The list of streams, as rows of a page."""

import re
import time

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from project.users.models import User
from realtime.models import Audience, Kind, Membership, Record, Stream

from .pages import say, text_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_list_tells_of_each_stream_in_words_of_its_kind(page: Client, mika: User, lobby: Stream) -> None:
    Stream.objects.create(name="host:pi", title="Pi", kind=Kind.CHART)
    say("lobby", {"text": "restarting node 2"}, mika)
    say("host:pi", {"cpu": 14.2, "load": 0.42}, times=3)
    text = text_of(page.get("/"))
    assert re.search(r"People Lobby 1 lobby Mika Sato restarting node 2 \d+ s ", text)
    assert "Machines Pi" in text
    assert re.search(r"CPU 14.2 % · load 0.42 \d+ s ", text)


def test_a_measurement_is_never_unread(page: Client) -> None:
    Stream.objects.create(name="host:pi", kind=Kind.CHART)
    say("host:pi", {"cpu": 1}, times=5)
    assert page.get("/?show=unread").context["count"] == 0


def test_the_list_leaves_out_what_may_not_be_read(page: Client, ana: User) -> None:
    secret = Stream.objects.create(name="secret", readers=Audience.MEMBERS)
    assert "secret" not in text_of(page.get("/"))
    group = Group.objects.create(name="staff")
    ana.groups.add(group)
    Membership.objects.create(stream=secret, group=group)
    assert "secret" in text_of(page.get("/"))


@pytest.mark.parametrize(
    "query, names",
    [
        ("", {"lobby", "iot:old", "iot:new", "iot:never"}),
        ("?show=unread", {"lobby"}),
        ("?show=mine", {"iot:new"}),
        ("?show=silent", {"iot:old", "iot:never"}),
        ("?show=nonsense", {"lobby", "iot:old", "iot:new", "iot:never"}),
        ("?q=GREEN", {"iot:new"}),
        ("?q=iot&show=silent", {"iot:old", "iot:never"}),
        ("?q=nothing-like-it", set()),
    ],
)
def test_filters_are_in_the_address(page: Client, ana: User, mika: User, lobby: Stream, query: str, names: set[str]) -> None:
    old, new, _ = [Stream.objects.create(name=f"iot:{name}", kind=Kind.CHART) for name in ("old", "new", "never")]
    Stream.objects.filter(pk=new.pk).update(title="Greenhouse")
    Membership.objects.create(stream=new, user=ana)
    say("lobby", {"text": "hi"}, mika)
    say("iot:old", 1)
    say("iot:new", 1)
    Record.objects.filter(stream=old).update(received=int(time.time() * 1000) - 3_600_000)
    assert set(re.findall(r'data-stream="([^"]+)"', page.get(f"/{query}").content.decode())) - {""} == names


def test_an_empty_list_says_how_to_fill_it(page: Client) -> None:
    Stream.objects.all().delete()
    assert "No streams yet" in text_of(page.get("/"))
    assert "No stream matches “x”" in text_of(page.get("/?q=x"))


def test_only_who_may_add_a_stream_is_offered_to(page: Client, ana: User) -> None:
    assert "New stream" not in text_of(page.get("/"))
    User.objects.filter(pk=ana.pk).update(is_staff=True, is_superuser=True)
    assert "New stream" in text_of(page.get("/"))


def test_the_list_costs_the_same_queries_however_long_it_is(
    page: Client, mika: User, lobby: Stream, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for count in (1, 30):
        for number in range(count):
            Stream.objects.get_or_create(name=f"iot:{number}", defaults={"kind": Kind.CHART})
            say(f"iot:{number}", {"v": number}, mika, times=3)
        # Session, user, groups, two of permissions; streams, last records, presence, names, memberships, sparklines.
        with django_assert_num_queries(11):
            page.get("/")
