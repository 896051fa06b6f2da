"""The composer, for a browser without JavaScript."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from project.users.models import User
from realtime import engine
from realtime.models import Audience, Record, Stream
from realtime.rates import Rates

from .pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)


def write(client: Client, stream: str = "lobby", **form: str) -> Any:
    return client.post(f"/s/{stream}/?view=feed", form)


def test_the_form_publishes(page: Client, ana: User, lobby: Stream) -> None:
    answer = write(page, text="Grüße <b>", key="k1")
    assert (answer.status_code, answer["Location"]) == (302, "/s/lobby/?view=feed")
    record = Record.objects.get(stream=lobby)
    assert (json.loads(record.data), record.publisher, record.idempotency_key) == ({"text": "Grüße <b>"}, str(ana.pk), "k1")


def test_the_form_sent_twice_is_one_record(page: Client, lobby: Stream) -> None:
    write(page, text="hi", key="k1")
    write(page, text="hi", key="k1")
    assert Record.objects.filter(stream=lobby).count() == 1


def test_the_form_keeps_its_text_when_it_is_refused(page: Client, lobby: Stream) -> None:
    Stream.objects.filter(pk=lobby.pk).update(max_payload=20)
    answer = write(page, text="more than twenty bytes", key="k1")
    assert answer.status_code == 413
    assert "Not sent: payload too large" in text_of(answer)
    assert "more than twenty bytes</textarea>" in answer.content.decode()
    assert not Record.objects.exists()


@pytest.mark.parametrize("text", ["", "   \n "])
def test_nothing_is_not_sent(page: Client, lobby: Stream, text: str) -> None:
    answer = write(page, text=text, key="k1")
    assert answer.status_code == 400
    assert "There was nothing to send" in text_of(answer)
    assert not Record.objects.exists()


def test_the_form_counts_like_every_other_door(page: Client, lobby: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    server = SimpleNamespace(rates=Rates(lambda: 0.0))
    monkeypatch.setattr(engine, "running", lambda: server)
    answers = [write(page, text="hi", key=f"k{number}").status_code for number in range(102)]
    assert answers == [302] * 100 + [429] * 2
    assert "Not sent: too many requests" in text_of(write(page, text="hi", key="k"))
    assert Record.objects.filter(stream=lobby).count() == 100


def test_who_may_not_write_gets_no_form_and_is_refused(page: Client, lobby: Stream) -> None:
    Stream.objects.filter(pk=lobby.pk).update(writers=Audience.MEMBERS)
    assert "<textarea" not in page.get("/s/lobby/").content.decode()
    answer = write(page, text="hi", key="k1")
    assert answer.status_code == 403
    assert "you may not publish to" in text_of(answer)
    assert not Record.objects.exists()


def test_an_archived_stream_says_so(page: Client, ana: User, lobby: Stream) -> None:
    Stream.objects.filter(pk=lobby.pk).update(archived=lobby.created)
    shown = text_of(page.get("/s/lobby/"))
    assert "This stream is archived" in shown
    assert "archived, everyone signed in reads" in shown
    assert "Publish from anywhere" not in shown
    assert "archived" in text_of(page.get("/s/lobby/?view=chart"))
    assert write(page, text="hi", key="k1").status_code == 423


def test_the_form_wants_a_token(ana: User, lobby: Stream) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ana)
    answer = write(browser, text="hi", key="k1")
    assert answer.status_code == 403
    assert "This form is too old, or came from elsewhere" in text_of(answer)
    assert not Record.objects.exists()
