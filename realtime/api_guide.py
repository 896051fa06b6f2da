"""The OpenAPI document as rows of the documentation page."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .openapi import Json, document

KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "array": "list", "object": "object"}
# What a reader puts the key of their own for.
KEY = "$KEY"


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a body; one within another has both names, with a dot between."""

    name: str
    kind: str
    required: bool
    help: str
    # Where a parameter goes; empty for a field of the body.
    place: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    # With a value for each name in the path.
    url: str
    # Whether it takes an API key.
    with_key: bool
    fields: list[Field]
    # What it answers, by name; nothing for an answer that is not JSON.
    answers: list[Field]
    # A request that shows what it is for; empty for one without a body.
    example: str
    content_type: str
    curl: str

    @property
    def rows(self) -> int:
        """Lines of the field for the body."""
        return self.example.count("\n") + 2


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    title: str
    calls: list[Call]


def parts(base_url: str) -> list[Part]:
    """Every operation, by its tag. `base_url` is where this server is."""
    told = document()
    calls = [(operation["tags"][0], _call(told, path, method, operation, base_url)) for path, method, operation in _operations(told)]
    return [Part(tag["name"], tag["description"], [call for name, call in calls if name == tag["name"]]) for tag in told["tags"]]


def error_rows() -> list[Json]:
    """Code, name and meaning of every error."""
    rows: list[Json] = document()["components"]["schemas"]["Error"]["properties"]["code"]["oneOf"]
    return [{"code": row["const"], "name": row["title"], "help": row["description"]} for row in rows]


def _operations(told: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _call(told: Json, path: str, method: str, operation: Json, base_url: str) -> Call:
    # What every method takes, by reference, is told once.
    parameters = [parameter for parameter in operation.get("parameters", []) if "$ref" not in parameter]
    content_type, body = next(iter(operation.get("requestBody", {}).get("content", {"": {}}).items()))
    example = json.dumps(body["example"], indent=2, ensure_ascii=False) if "example" in body else ""
    url = _url(path, parameters)
    with_key = operation.get("security") != []
    return Call(
        id=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        url=url,
        with_key=with_key,
        fields=[*map(_parameter, parameters), *_fields(told, body.get("schema", {}))],
        answers=list(_fields(told, _result(told, operation))),
        example=example,
        content_type=content_type,
        curl=_curl(method, base_url + url, with_key, content_type, body.get("example")),
    )


def _resolved(told: Json, part: Json) -> Json:
    """What a reference leads to; anything else is itself."""
    while "$ref" in part:
        kind, name = part["$ref"].split("/")[-2:]
        part = told["components"][kind][name]
    return part


def _url(path: str, parameters: list[Json]) -> str:
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", parameter["name"])))
    return path


def _curl(method: str, url: str, with_key: bool, content_type: str, example: Any) -> str:
    words = ["curl", *(["-X", method] if method not in ("GET", "POST") else []), url]
    if with_key:
        words += ["-H", f"X-API-Key: {KEY}"]
    if example is not None:
        words += [*(["-H", f"Content-Type: {content_type}"] if content_type != "application/json" else [])]
        words += ["-d", example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)]
    # In double quotes, so that the shell fills in the key.
    return " ".join(f'"{word}"' if KEY in word else shlex.quote(word) for word in words)


def _parameter(parameter: Json) -> Field:
    schema = parameter["schema"]
    required = parameter.get("required", False)
    return Field(parameter["name"], _kind(_given(schema)), required, parameter.get("description", ""), parameter["in"])


def _result(told: Json, operation: Json) -> Json:
    """The schema of a good answer, without the envelope."""
    good = next((_resolved(told, response) for status, response in operation["responses"].items() if status.startswith("2")), {})
    schema = good.get("content", {}).get("application/json", {}).get("schema", {})
    schema = _resolved(told, schema.get("oneOf", [schema])[0])
    return _resolved(told, schema.get("properties", {}).get("result", schema))


def _fields(told: Json, schema: Json, prefix: str = "") -> Iterator[Field]:
    schema = _resolved(told, schema)
    required = schema.get("required", ())
    for name, inner in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in required):
        told_of = _resolved(told, _given(inner))
        yield Field(prefix + name, _kind(told_of), name in required, told_of.get("description", inner.get("description", "")))
        yield from _fields(told, _items(told, told_of), f"{prefix}{name}.")


def _items(told: Json, schema: Json) -> Json:
    """What is in a list, or under the names of an object without fixed ones; else the schema itself."""
    inner = schema.get("items") or schema.get("additionalProperties")
    return _resolved(told, inner) if isinstance(inner, dict) else schema


def _given(schema: Json) -> Json:
    """What a field may be, when it is there."""
    return next(option for option in schema.get("anyOf", [schema]) if option.get("type") != "null")


def _kind(schema: Json) -> str:
    """The type and its bounds in words."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "contentEncoding" in schema:
        return "text, base64"
    kind = KINDS.get(schema.get("type", ""), "any JSON")
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None and most < 2**53:
        return f"{kind}, {least} to {most}"
    length = next((schema[name] for name in ("maxLength", "maxItems", "maxProperties") if name in schema), None)
    return kind if length is None else f"{kind}, at most {length}"
