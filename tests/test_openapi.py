"""The document is compared with the tables that it is made from, and with what is really answered."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from realtime import api, openapi, routing
from realtime.access import RIGHTS, Right
from realtime.errors import WirelogError
from realtime.stream_api import PREFIX, ROUTES, Route

from .communicators import Communicator
from .machine import ROOT

DOCUMENT: dict[str, Any] = json.loads(openapi.encoded())


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            yield path, operation


def test_it_is_a_valid_document() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_method_has_an_entry_and_no_other() -> None:
    paths = {path for path, operation in operations() if "methods" in operation["tags"]}
    assert paths == {f"/api/{name}" for name in api.METHODS}


def test_every_route_of_streams_has_an_entry_and_no_other() -> None:
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods if path.startswith(PREFIX)}
    assert {(method, path.removeprefix(f"{PREFIX}{{stream}}/").replace("{offset}", "")) for method, path in told} == {
        (route.method, route.path) for route in ROUTES
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method}-{route.path}")
def test_a_route_tells_its_parameters_bodies_answers_and_errors(route: Route) -> None:
    path = f"{PREFIX}{{stream}}/{route.path}" + ("{offset}" if route.path.endswith("/") else "")
    operation = DOCUMENT["paths"][path][route.method.lower()]
    named = {place: {one["name"] for one in operation["parameters"] if one["in"] == place} for place in ("path", "query", "header")}
    assert named["path"] == set(re.findall(r"{(\w+)}", path))
    assert named["query"] == {field.name for field in msgspec.structs.fields(route.query)}
    assert named["header"] == route.headers.keys()
    assert operation.get("requestBody", {"content": {}})["content"].keys() == route.bodies.keys()
    assert {str(status) for status, _ in route.answers} <= operation["responses"].keys()
    for error in route.errors:
        answer = operation["responses"][str(error.http_status)]
        assert f"{error.code}: " in answer["description"]
        assert answer["content"].keys() == {"application/problem+json"}


def test_every_method_stands_in_the_documentation() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "http-api.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(api.METHODS)


def test_the_probes_have_entries() -> None:
    for path in ("/healthz", "/readyz"):
        assert ("http", path) in routing.PATHS
        assert DOCUMENT["paths"][path]["get"]["security"] == []


def test_every_operation_says_what_it_is_for_and_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, operation in operations()]
    assert len(set(names)) == len(names)
    assert all(operation["summary"].endswith(".") for _, operation in operations())


@pytest.mark.parametrize("name", api.METHODS)
def test_an_entry_tells_what_a_key_needs(name: str) -> None:
    description = DOCUMENT["paths"][f"/api/{name}"]["post"]["description"]
    right = RIGHTS[f"api {name}"]
    words = {Right.ANYONE: "Every key may call it", Right.EVERYTHING: "The key needs `manage` on everything: the scope `*=manage`."}
    assert description.startswith(words.get(right, f"The key needs `{str(right.name).lower()}` on the stream."))


@pytest.mark.parametrize("name", api.METHODS)
def test_the_example_of_a_method_fits_its_request(name: str) -> None:
    body = DOCUMENT["paths"][f"/api/{name}"]["post"]["requestBody"]["content"]["application/json"]
    assert api.decode(json.dumps(body["example"]).encode(), api.METHODS[name].request) is not None
    validator(body["schema"]).validate(body["example"])


def validator(schema: dict[str, Any]) -> Any:
    return Draft202012Validator(schema | {"components": DOCUMENT["components"]})


def test_every_error_is_listed_with_its_code() -> None:
    listed = {one["const"]: one["title"] for one in DOCUMENT["components"]["schemas"]["Error"]["properties"]["code"]["oneOf"]}
    assert listed == {error.code: error.__name__ for error in WirelogError.__subclasses__()}


async def test_it_is_served_to_everybody() -> None:
    scope = {"type": "http", "method": "GET", "path": "/api/openapi.json", "headers": [(b"host", b"any.example")]}
    client: Any = Communicator(routing.Application(None), scope)  # type: ignore[no-untyped-call]
    await client.send_input({"type": "http.request", "body": b""})
    start = await client.receive_output()
    body = (await client.receive_output())["body"]
    await client.wait()
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (200, b"application/json")
    assert json.loads(body)["openapi"] == "3.1.0"
