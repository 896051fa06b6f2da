"""The OpenAPI document of all that is answered by HTTP but the pages, made from the tables that answer it."""

import functools
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
from django.conf import settings

from .access import RIGHTS, Right
from .api import METHODS
from .api_methods import Method
from .api_requests import STREAM_NAME, ErrorAnswer, Publication
from .conf import option
from .endpoint import JSON, Answer, Endpoint
from .errors import TooManyRequests, Unauthorized, WirelogError
from .problem import Problem
from .stream_api import PREFIX, ROUTES, Route

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
ABOUT = """\
`/api/streams/<stream>/…` is for devices, scripts and browsers: the body is the record, and errors are problem+json with a status of their
own. `/api/<method>` is the server API that comes with the Centrifuge protocol, as clients like `cent` call it: a POST with a JSON body, and
in the answer either `result` or `error`. Errors of a method come with status 200, or, with the header
`X-Centrifugo-Error-Mode: transport`, with a status of their own. What a key may do is up to its scopes: a pattern of stream names, and
read, publish or manage.
"""


def errors() -> list[type[WirelogError]]:
    """Every error that an answer can tell, by its code."""
    return sorted(WirelogError.__subclasses__(), key=lambda error: error.code)


def needs(right: Right) -> str:
    if right is Right.ANYONE:
        return "Every key may call it; it sees what its scopes cover."
    if right is Right.EVERYTHING:
        return "The key needs `manage` on everything: the scope `*=manage`."
    return f"The key needs `{str(right.name).lower()}` on the stream."


def document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Wirelog", "version": option("VERSION"), "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"bearer": []}],
        "tags": [
            {"name": "streams", "description": "Streams, by plain HTTP"},
            {"name": "methods", "description": "The server API"},
            {"name": "probes", "description": "Probes, for whoever watches over the server"},
        ],
        "paths": _methods() | _streams() | PROBES,
        "components": {"schemas": _schemas(), "securitySchemes": SECURITY, "responses": RESPONSES, "parameters": PARAMETERS},
    }


# The server API


def _methods() -> Json:
    return {f"/api/{name}": {"post": _method(name, method, needs(RIGHTS[f"api {name}"]))} for name, method in METHODS.items()}


def _method(name: str, method: Method, need: str) -> Json:
    body = {"schema": _reference(method.request), "example": method.example}
    return {
        "operationId": name,
        "tags": ["methods"],
        "summary": method.summary,
        "description": need,
        "parameters": [{"$ref": "#/components/parameters/error_mode"}],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {"description": "The result, or the error.", "content": {"application/json": {"schema": _answer(name, method)}}},
            "400": {"$ref": "#/components/responses/refused"},
            "401": {"$ref": "#/components/responses/unauthorized"},
            "413": {"$ref": "#/components/responses/refused"},
            "default": {"$ref": "#/components/responses/refused"},
        },
    }


def _answer(name: str, method: Method) -> Json:
    result = _reference(method.result)
    wrapped = {"type": "object", "properties": {"result": result}, "required": ["result"]}
    return {"oneOf": [result if name == "batch" else wrapped, _reference(ErrorAnswer)]}


# Streams


def _streams() -> Json:
    paths: Json = {}
    for route in ROUTES:
        # The one thing that follows a path is an offset.
        path = f"{PREFIX}{{stream}}/{route.path}{'{offset}' if route.path.endswith('/') else ''}"
        paths.setdefault(path, {})[route.method.lower()] = _route(route, path)
    return paths


def _route(route: Route, path: str) -> Json:
    operation = {
        "operationId": f"{route.method.lower()}_{route.path.strip('/')}",
        "tags": ["streams"],
        "summary": route.summary,
        "security": [{"key": []}, {"bearer": []}, {"session": []}, *([] if route.writes else [{}])],
        "parameters": [*_path_parameters(path), *_query_parameters(route.query), *_header_parameters(route.headers)],
        "responses": _good_answers(route) | _problems(route),
    }
    return operation | ({"requestBody": {"required": True, "content": _contents(route.bodies)}} if route.bodies else {})


def _path_parameters(path: str) -> list[Json]:
    return [parameter for parameter in IN_PATH if f"{{{parameter['name']}}}" in path]


def _query_parameters(query: type[msgspec.Struct]) -> list[Json]:
    """One for each field, whose description is that of the parameter."""
    properties: Json = _components()[1][query.__name__]["properties"]
    described = ((name, schema, schema.get("description", "")) for name, schema in properties.items())
    return [{"name": name, "in": "query", "description": description, "schema": schema} for name, schema, description in described]


def _header_parameters(headers: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "in": "header", "description": text, "schema": {"type": "string"}} for name, text in headers.items()]


def _contents(types: Mapping[str, Any]) -> Json:
    return {content_type: {"schema": _reference(of)} | EXAMPLES.get((content_type, of), {}) for content_type, of in types.items()}


def _good_answers(route: Route) -> Json:
    answers: dict[int, dict[str, Any]] = {}
    for (status, content_type), of in route.answers.items():
        answers.setdefault(status, {}).update({content_type: of} if content_type else {})
    return {str(status): {"description": HTTPStatus(status).phrase, "content": _contents(types)} for status, types in answers.items()}


def _problems(route: Route) -> Json:
    """The errors of a route, and why it refuses requests, by their status."""
    told: dict[int, list[str]] = {}
    met: set[type[WirelogError]] = {*route.errors, Unauthorized, TooManyRequests}
    for error in sorted(met, key=lambda error: error.code):
        told.setdefault(error.http_status, []).append(f"{error.code}: {error.__doc__}")
    for status, reason in (*REFUSALS.items(), *route.refusals.items()):
        told.setdefault(status, []).append(reason)
    content = {"application/problem+json": {"schema": _reference(Problem)}}
    return {str(status): {"description": " ".join(sentences), "content": content} for status, sentences in told.items()}


# Schemas


def _types() -> Iterator[Any]:
    """Every type that the document tells of."""
    for method in METHODS.values():
        yield from (method.request, method.result)
    for route in ROUTES:
        yield from (route.query, *route.bodies.values(), *route.answers.values())
    yield from (ErrorAnswer, Publication, Problem)


def _leaves(of: Any) -> Iterator[Any]:
    """What unions and lists are made of."""
    parts = get_args(of) if get_origin(of) in (list, UnionType) else ()
    if not parts:
        yield of
    for part in parts:
        yield from _leaves(part)


@functools.cache
def _components() -> tuple[Mapping[Any, Json], Json]:
    """The schema of each type, and what the references in them lead to."""
    types = list(dict.fromkeys(leaf for of in _types() for leaf in _leaves(of)))
    references, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    # Bytes as they come: only within JSON they are base64.
    return dict(zip(types, references, strict=True)) | {bytes: {}}, schemas


def _reference(of: Any) -> Json:
    # Unions of structs, which is more than msgspec knows by itself.
    if get_origin(of) is UnionType:
        return {"anyOf": [_reference(part) for part in get_args(of)]}
    if get_origin(of) is list:
        return {"type": "array", "items": _reference(get_args(of)[0])}
    return _components()[0][of]


def _schemas() -> Json:
    """The structs, and what they cannot say: every code of an error, and what the raw JSON of a page is."""
    schemas = _components()[1]
    codes = [{"const": error.code, "title": error.__name__, "description": error.__doc__} for error in errors()]
    return schemas | {
        "Error": _with_property(schemas["Error"], "code", {"type": "integer", "oneOf": codes}),
        "HistoryResult": _with_property(schemas["HistoryResult"], "publications", {"type": "array", "items": _reference(Publication)}),
    }


def _with_property(schema: Json, name: str, of: Json) -> Json:
    return schema | {"properties": schema["properties"] | {name: of}}


# Of every route.
REFUSALS = {403: "103: The page is of a foreign Origin."}
SECURITY = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key: `manage.py apikey create`."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key."},
    "session": {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME, "description": "Of a page of this server."},
}
IN_PATH: list[Json] = [
    {
        "name": "stream",
        "in": "path",
        "required": True,
        "description": "Name of the stream.",
        "schema": {"type": "string", "pattern": STREAM_NAME},
        "example": "lobby",
    },
    {
        "name": "offset",
        "in": "path",
        "required": True,
        "description": "Offset of the record.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
]
EXAMPLES: Mapping[tuple[str, Any], Json] = {("application/json", Any): {"example": {"text": "hello"}}}
PARAMETERS = {
    "error_mode": {
        "name": "X-Centrifugo-Error-Mode",
        "in": "header",
        "description": "`transport`: errors of the method have a status of their own, not 200. Anything else says nothing.",
        "schema": {"type": "string"},
        "example": "transport",
    }
}
_ERROR = {"application/json": {"schema": {"$ref": REFERENCE.format(name="ErrorAnswer")}}}
RESPONSES = {
    "refused": {"description": "An error, with its code and a sentence.", "content": _ERROR},
    "unauthorized": {
        "description": "No key, or one that is wrong, expired or revoked.",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
        "content": _ERROR,
    },
}


def _probe(name: str, summary: str, *statuses: tuple[str, str]) -> Json:
    text = {"text/plain": {"schema": {"type": "string"}}}
    responses = {status: {"description": description, "content": text} for status, description in statuses}
    return {"get": {"operationId": name, "tags": ["probes"], "summary": summary, "security": [], "responses": responses}}


PROBES = {
    "/healthz": _probe("healthz", "Whether the process serves, under any Host.", ("200", "It does.")),
    "/readyz": _probe(
        "readyz",
        "Whether the process is ready for clients.",
        ("200", "Database and channel layer answer."),
        ("503", "One of them does not, or the process is about to stop."),
    ),
}


@functools.cache
def encoded() -> bytes:
    return msgspec.json.encode(document())


class OpenApi(Endpoint):
    """`/api/openapi.json`, for everybody: it tells nothing of what is here."""

    async def answer(self, body: bytes) -> Answer:
        return Answer(200, JSON, encoded())
