"""Every field of every method: what is missing, of the wrong type, out of range or too long is refused by its name.

The rows are made from the schema that OpenAPI tells, so a new field has its rows, or fails here.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from realtime import api
from realtime.errors import BadRequest

TYPES = {"string": 7, "integer": "7", "boolean": 1, "array": {}, "object": []}
# Any JSON value is right for these. What a payload may not be is in test_api.py.
ANYTHING = {"publish.data", "broadcast.data", "rpc.params"}


class Row(NamedTuple):
    method: str
    # Where in the request, in the words of the error.
    field: str
    what: str
    request: Any


def schemas_of(request: type[msgspec.Struct]) -> tuple[dict[str, Any], dict[str, Any]]:
    (reference,), components = msgspec.json.schema_components([request], ref_template="{name}")
    return components[reference["$ref"]], components


def rows() -> Iterator[Row]:
    for name, method in api.METHODS.items():
        schema, components = schemas_of(method.request)
        right = method.example | sample(schema, components)
        for field, wrong in fields(schema, components):
            for what, value in wrong:
                yield Row(name, field, what, with_value(right, field, value))


def sample(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """An object for each nested struct, so that its fields can be set."""
    properties = schema["properties"].items()
    return {name: {} for name, inner in properties if fields_of(inner, components)}


MISSING = object()


def with_value(request: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    name, _, rest = field.partition(".")
    if rest:
        return request | {name: with_value(request[name], rest, value)}
    return {key: old for key, old in request.items() if key != name} | ({} if value is MISSING else {name: value})


def fields(schema: dict[str, Any], components: dict[str, Any], path: str = "") -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Each field, and what it must not be."""
    for name, inner in schema["properties"].items():
        missing = [("missing", MISSING)] if name in schema["required"] else []
        yield path + name, missing + wrong_values(inner)
        if nested := fields_of(inner, components):
            yield from fields(nested, components, f"{path}{name}.")


def options(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]


def fields_of(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """The struct that a field holds; empty for any other."""
    found = [components[option["$ref"]] for option in options(schema) if "$ref" in option]
    found += [components[option["$ref"]] for part in options(schema) for option in part.get("allOf", []) if "$ref" in option]
    return found[0] if found else {}


def wrong_values(schema: dict[str, Any]) -> list[tuple[str, Any]]:
    (option,) = options(schema)
    kind = option.get("type", "object" if "$ref" in option or "allOf" in option else "")
    wrong: list[tuple[str, Any]] = [("type", TYPES[kind])] if kind else []
    if "maxLength" in option:
        wrong.append(("too long", "a" * (option["maxLength"] + 1)))
    if option.get("minLength", 0):
        wrong.append(("too short", ""))
    if "pattern" in option:
        wrong += [("form", text) for text in ("", "a\n", "\n", "a\r\nb", "é")]
    if "contentEncoding" in option:
        wrong.append(("form", "?"))
    if "minimum" in option:
        wrong.append(("out of range", option["minimum"] - 1))
    if "maximum" in option:
        wrong.append(("out of range", option["maximum"] + 1))
    if "maxItems" in option:
        wrong.append(("too many", ["a"] * (option["maxItems"] + 1)))
    if option.get("minItems", 0):
        wrong.append(("too few", []))
    if "maxProperties" in option:
        wrong.append(("too many", {str(number): "" for number in range(option["maxProperties"] + 1)}))
    return wrong


ROWS = list(rows())


@pytest.mark.parametrize("method", api.METHODS)
def test_every_field_has_a_row(method: str) -> None:
    schema, components = schemas_of(api.METHODS[method].request)
    known = {name for name, _ in fields(schema, components)}
    assert known - {row.field for row in ROWS if row.method == method} == {name for name in known if f"{method}.{name}" in ANYTHING}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method}-{row.field}-{row.what}")
def test_a_field_that_is_wrong_is_refused_by_its_name(row: Row) -> None:
    with pytest.raises(BadRequest) as refused:
        api.decode(json.dumps(row.request).encode(), api.METHODS[row.method].request)
    assert refused.value.field == row.field
    assert str(refused.value).startswith(f"bad request: {row.field} ")


def unbounded(schema: dict[str, Any]) -> bool:
    """Whether it takes a text or a list of any length."""
    lengths = {"string": ("maxLength", "pattern"), "array": ("maxItems",), "object": ("maxProperties",)}
    return any(option.get("type") in lengths and not option.keys() & set(lengths[option["type"]]) for option in options(schema))


@pytest.mark.parametrize("method", api.METHODS)
def test_every_text_and_list_is_bounded(method: str) -> None:
    schema, components = schemas_of(api.METHODS[method].request)
    every = [schema, *(component for component in components.values() if "properties" in component)]
    loose = {name for one in every for name, inner in one["properties"].items() if unbounded(inner)}
    # Bytes are bounded by what the stream takes.
    assert loose <= {"b64data"}


@pytest.mark.parametrize(
    "body", [b"", b"x", b"{", b'{"channel":"lobby","data":NaN}', b'{"channel":7', b"\xff\xfe", b"[" * 100_000, b"{} {}"]
)
@pytest.mark.parametrize("method", api.METHODS)
def test_what_is_not_json_is_no_request(method: str, body: bytes) -> None:
    with pytest.raises(api.NotJson):
        api.decode(body, api.METHODS[method].request)


def test_a_request_without_a_body_is_told_what_to_send() -> None:
    with pytest.raises(api.NotJson, match=r"body is not JSON: there is none, send at least \{\}$"):
        api.decode(b"", api.METHODS["info"].request)


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"'])
@pytest.mark.parametrize("method", api.METHODS)
def test_what_is_no_object_is_refused(method: str, body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^bad request: body must be `object`, got "):
        api.decode(body, api.METHODS[method].request)
