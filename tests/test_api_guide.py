"""The documentation page of the HTTP API, made from the OpenAPI document."""

import html
import json
import re
import shlex

import pytest
from django.test import Client as Browser

from realtime import api, api_guide, openapi
from realtime.api_guide import Call

CALLS = {call.id: call for part in api_guide.parts("http://127.0.0.1:8000") for call in part.calls}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=lambda call: call.id)


def test_every_operation_of_the_document_is_told() -> None:
    told = {(call.path, call.method.lower()) for call in CALLS.values()}
    assert told == {(path, method) for path, methods in openapi.document()["paths"].items() for method in methods}


@pytest.mark.parametrize("name", api.METHODS)
def test_every_field_says_what_it_means(name: str) -> None:
    inner = {"since.offset", "since.epoch", "disconnect.reason"}
    assert [field.name for field in CALLS[name].fields if not field.help.endswith(".") and field.name not in inner] == []


@calls
def test_the_curl_line_is_a_command_for_this_call(call: Call) -> None:
    words = shlex.split(call.curl)
    assert words[0] == "curl"
    assert f"http://127.0.0.1:8000{call.url}" in words
    assert ("X-API-Key: $KEY" in words) == call.with_key
    if call.content_type == "application/json":
        assert json.loads(words[words.index("-d") + 1]) == json.loads(call.example)


def test_the_bounds_of_a_field_are_told_in_words() -> None:
    kinds = {field.name: field.kind for field in [*CALLS["disconnect"].fields, *CALLS["publish"].fields, *CALLS["history"].fields]}
    assert kinds["user"] == "text, at most 200"
    assert kinds["disconnect.code"] == "whole number, 3000 to 4999"
    assert kinds["b64data"] == "text, base64"
    assert kinds["data"] == "any JSON"
    assert kinds["since"] == "object"
    assert kinds["reverse"] == "true or false"


def test_required_fields_come_first() -> None:
    assert CALLS["broadcast"].fields[0].name == "channels"
    assert [field.required for field in CALLS["disconnect"].fields[:2]] == [True, False]


@pytest.mark.django_db
def test_everybody_may_read_the_page_and_without_a_script(client: Browser) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    text = html.unescape(page.content.decode())
    for call in CALLS.values():
        assert f'<details class="call" id="{call.id}">' in text
    for row in api_guide.error_rows():
        assert f"<code>{row['code']}</code>" in text
    assert "`" not in re.sub(r"<(pre|textarea).*?</\1>", "", text, flags=re.DOTALL)
    assert "curl http://testserver/api/publish" in text
    assert "on" + "click" not in text


@pytest.mark.django_db
def test_what_stands_in_backquotes_is_code_and_nothing_else_is(client: Browser) -> None:
    text = client.get("/api/docs").content.decode()
    assert "Either this or <code>b64data</code>." in text
    assert "<code>{&quot;&lt;method&gt;&quot;: {…}}</code>" in text
