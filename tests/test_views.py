"""The pages of a stream, of signing in, and what holds for every page. The list of streams and the composer have files of their own."""

import re
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from pytest_django import DjangoAssertNumQueries

from project.urls import urlpatterns as project_urls
from project.users.models import User
from realtime.items import Item
from realtime.journal import append_now
from realtime.models import Audience, Kind, ReadMarker, Stream

from .pages import embedded, say, text_of

pytestmark = pytest.mark.django_db(transaction=True)


# Signing in and out


def test_the_login_page_says_what_to_do_when_nobody_can_sign_in_yet(client: Client) -> None:
    assert "python manage.py createsuperuser" in text_of(client.get("/accounts/login/"))


def test_the_login_page_is_plain_when_somebody_can(client: Client) -> None:
    User.objects.create_superuser("operator", password="operator-1")
    assert "createsuperuser" not in text_of(client.get("/accounts/login/"))


def test_a_wrong_password_gets_a_sentence_and_keeps_name_and_way(client: Client, ana: User) -> None:
    answer = client.post("/accounts/login/", {"username": "ana", "password": "wrong", "next": "/s/lobby/"})
    assert "Name and password do not match an active account." in text_of(answer)
    assert 'value="ana"' in answer.content.decode()
    assert 'name="next" value="/s/lobby/"' in answer.content.decode()


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/password_change/"])
def test_what_is_wrong_with_a_field_is_read_out_with_it(client: Client, ana: User, path: str) -> None:
    if "password" in path:
        client.force_login(ana)
    source = client.post(path, {}).content.decode()
    described = re.findall(r'aria-invalid="true" aria-describedby="([^"]+)"', source)
    assert len(described) >= 2
    assert all(f'<div id="{name}"><p class="field-error">This field is required.' in source for name in described)


def test_signing_in_leads_on(client: Client, ana: User) -> None:
    answer = client.post("/accounts/login/", {"username": "ana", "password": "ana-ana-1", "next": "/s/lobby/"})
    assert (answer.status_code, answer["Location"]) == (302, "/s/lobby/")


def test_signing_out_is_a_post(page: Client) -> None:
    assert page.get("/accounts/logout/").status_code == 405
    assert page.post("/accounts/logout/").status_code == 302
    assert page.get("/").status_code == 302


@pytest.mark.parametrize("path", ["/", "/s/lobby/", "/s/nowhere/", "/styleguide/"])
def test_pages_ask_to_sign_in(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/accounts/login/")


def test_whoami_tells_who_a_session_is(client: Client, ana: User) -> None:
    assert client.get("/accounts/whoami/").status_code == 401
    client.force_login(ana)
    assert client.get("/accounts/whoami/").json() == {"principal": str(ana.pk), "name": "Ana Nowak"}


# A stream


def test_a_feed_is_readable_without_javascript(page: Client, ana: User, mika: User, lobby: Stream) -> None:
    say("lobby", {"text": "The lens. Boxes are right."}, mika)
    say("lobby", {"text": "Thanks."}, ana)
    say("lobby", {"fps": 12}, None)
    text = text_of(page.get("/s/lobby/"))
    assert re.search(r"(?:Today|Yesterday) 1 Mika Sato \d\d:\d\d The lens. Boxes are right. 2 You \d\d:\d\d Thanks. 3", text)
    assert '{"fps": 12}' in text


def test_a_page_says_up_to_where_it_was_rendered(page: Client, mika: User, lobby: Stream) -> None:
    say("lobby", {"text": "hi"}, mika, times=3)
    lobby.refresh_from_db()
    source = page.get("/s/lobby/").content.decode()
    assert f'data-epoch="{lobby.epoch}" data-head="3"' in source


def test_the_page_embeds_its_records_as_the_wire_sends_them(page: Client, mika: User, lobby: Stream) -> None:
    say("lobby", {"text": "</script><b>"}, mika)
    answer = page.get("/s/lobby/")
    [record] = embedded(answer, "records")
    assert (record["offset"], record["data"], record["info"]["user"]) == (1, {"text": "</script><b>"}, str(mika.pk))
    assert embedded(answer, "names") == {str(mika.pk): "Mika Sato"}


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "\u2028"])
def test_what_people_write_never_becomes_markup(page: Client, ana: User, evil: str, lobby: Stream) -> None:
    User.objects.filter(pk=ana.pk).update(first_name=evil[:150])
    Stream.objects.filter(pk=lobby.pk).update(title=evil)
    say("lobby", {"text": evil, evil: 1}, ana)
    for address in ("/", "/s/lobby/", "/s/lobby/?view=chart", "/s/lobby/?view=raw"):
        source = page.get(address).content.decode()
        assert "<script>alert" not in source
        assert "<img" not in source


def test_a_long_stream_is_read_in_pages(page: Client, mika: User, lobby: Stream) -> None:
    say("lobby", {"text": "hi"}, mika, times=170)
    newest = page.get("/s/lobby/")
    assert [record["offset"] for record in embedded(newest, "records")] == list(range(71, 171))
    assert "?view=feed&amp;before=71" in newest.content.decode()
    assert [record["offset"] for record in embedded(page.get("/s/lobby/?before=21"), "records")] == list(range(1, 21))
    assert "Older records" not in text_of(page.get("/s/lobby/?before=21"))


@pytest.mark.parametrize("before", ["", "x", "-1", "0", "9" * 30, "٣"])
def test_a_page_that_makes_no_sense_is_harmless(page: Client, mika: User, lobby: Stream, before: str) -> None:
    say("lobby", {"text": "hi"}, mika)
    assert page.get("/s/lobby/", {"before": before}).status_code == 200


def test_an_older_page_of_raw_records_leads_back_to_the_newest(page: Client, mika: User, lobby: Stream) -> None:
    say("lobby", {"text": "hi"}, mika, times=3)
    assert "Newest records" not in text_of(page.get("/s/lobby/?view=raw"))
    assert "Newest records" in text_of(page.get("/s/lobby/?view=raw&before=3"))


def test_new_stands_where_one_stopped_reading(page: Client, ana: User, mika: User, lobby: Stream) -> None:
    say("lobby", {"text": "old"}, mika)
    say("lobby", {"text": "fresh"}, mika)
    ReadMarker.objects.create(user=ana, stream=lobby, offset=1)
    assert re.search(r"old NEW 2 Mika Sato \d\d:\d\d fresh", text_of(page.get("/s/lobby/")))


@pytest.mark.parametrize("kind, view", [("feed", "feed"), ("chart", "chart"), ("latest", "chart"), ("raw", "raw"), ("game", "raw")])
def test_the_kind_of_a_stream_picks_its_view(page: Client, kind: str, view: str) -> None:
    Stream.objects.create(name="one", kind=kind)
    assert page.get("/s/one/").context["view"] == view
    assert page.get("/s/one/?view=raw").context["view"] == "raw"
    assert page.get("/s/one/?view=nonsense").context["view"] == view


def test_a_chart_has_a_table_for_who_cannot_see_it(page: Client) -> None:
    Stream.objects.create(name="iot:pi", kind=Kind.CHART)
    say("iot:pi", {"t": 21.5, "on": True})
    say("iot:pi", {"t": 22, "h": 1204})
    say("iot:pi", "no number")
    table = text_of(page.get("/s/iot:pi/"))
    assert re.search(r"Time t h \d\d:\d\d:\d\d 22 1 204 \d\d:\d\d:\d\d 21.5", table)


def test_raw_shows_each_record_as_it_was_sent(page: Client, lobby: Stream) -> None:
    append_now([Item("lobby", '{"v":1.10}', key="pi", removed=True, tags={"unit": "C"})])
    text = text_of(page.get("/s/lobby/?view=raw"))
    assert 'key pi · removed · {"unit":"C"} { "v": 1.10 }' in text


def test_a_missing_stream_and_a_forbidden_one_look_the_same(page: Client) -> None:
    Stream.objects.create(name="secret", readers=Audience.MEMBERS)
    missing, forbidden = page.get("/s/nothing/"), page.get("/s/secret/")
    assert (missing.status_code, forbidden.status_code) == (404, 404)
    assert text_of(missing) == text_of(forbidden)


def test_anybody_reads_what_is_open_to_anyone(client: Client) -> None:
    Stream.objects.create(name="open", readers=Audience.ANYONE)
    answer = client.get("/s/open/")
    assert answer.status_code == 200
    assert "You may read this stream, not write to it." in text_of(answer)


def test_a_stream_costs_the_same_queries_however_long_it_is(
    page: Client, ana: User, mika: User, lobby: Stream, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for times in (1, 60):
        for person in (ana, mika):
            say("lobby", {"text": "hi"}, person, times=times)
        # Session, user, groups, two of permissions; stream, records, names, role; the feed asks for its read marker as well.
        for view, queries in (("feed", 10), ("chart", 9), ("raw", 9)):
            with django_assert_num_queries(queries):
                page.get(f"/s/lobby/?view={view}")


def test_a_line_of_curl_publishes_to_the_stream(page: Client, ana: User, lobby: Stream) -> None:
    Stream.objects.create(name=f"#{ana.pk}")
    assert "http://testserver/api/streams/lobby/records" in page.get("/s/lobby/").content.decode()
    assert f"http://testserver/api/streams/%23{ana.pk}/records" in page.get(f"/s/%23{ana.pk}/").content.decode()


# The rest


def test_the_styleguide_is_for_staff(page: Client, ana: User) -> None:
    assert "You may not do this" in text_of(page.get("/styleguide/"))
    User.objects.filter(pk=ana.pk).update(is_staff=True)
    assert "The wire" in text_of(page.get("/styleguide/"))


def test_no_page_has_inline_script_or_style(page: Client, ana: User, lobby: Stream) -> None:
    User.objects.filter(pk=ana.pk).update(is_staff=True, is_superuser=True)
    say("lobby", {"text": "hi"}, ana)
    for address in ("/", "/s/lobby/", "/s/lobby/?view=chart", "/s/lobby/?view=raw", "/styleguide/", "/s/nowhere/"):
        source = page.get(address).content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", source), address
        for attributes in re.findall(r"<script([^>]*)>", source):
            assert "src=" in attributes or 'type="application/json"' in attributes, address


def failing(request: Any) -> HttpResponse:
    raise {"400": SuspiciousOperation, "403": PermissionDenied}.get(request.GET["as"], RuntimeError)("on purpose")


urlpatterns = [path("failing/", failing), *project_urls]


@override_settings(ROOT_URLCONF="tests.test_views")
@pytest.mark.parametrize(
    "status, sentence",
    [(400, "This request makes no sense to the server"), (403, "You may not do this"), (500, "The server failed at this page")],
)
def test_an_error_says_what_happened_and_what_to_do(page: Client, status: int, sentence: str) -> None:
    page.raise_request_exception = False
    answer = page.get(f"/failing/?as={status}")
    assert answer.status_code == status
    assert sentence in text_of(answer)
    assert "Go to the streams" in text_of(answer)
    assert "on purpose" not in text_of(answer)


def test_a_missing_page_says_so(page: Client) -> None:
    answer = page.get("/nothing/here/")
    assert answer.status_code == 404
    assert "There is nothing here" in text_of(answer)
