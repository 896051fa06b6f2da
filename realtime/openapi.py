"""The OpenAPI document of all that is answered by HTTP but the pages, made from the tables that answer it."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from . import access
from .access import Right
from .api import METHODS
from .api_methods import Method
from .api_requests import ErrorAnswer, Publication
from .conf import option
from .endpoint import JSON, Endpoint
from .errors import WirelogError

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
ABOUT = """\
`/api/<method>` is the server API that comes with the Centrifuge protocol, as clients like `cent` call it: a POST with a JSON body, and in
the answer either `result` or `error`. Errors of a method come with status 200, or, with the header `X-Centrifugo-Error-Mode: transport`,
with a status of their own. What a key may do is up to its scopes: a pattern of stream names, and read, publish or manage.
"""


def errors() -> list[type[WirelogError]]:
    """Every error that an answer can tell, by its code."""
    return sorted(WirelogError.__subclasses__(), key=lambda error: error.code)


def methods_by_right() -> Iterable[tuple[str, Method, str]]:
    """Every method, and what a key needs for it."""
    return ((name, method, needs(access.API_RIGHTS[name])) for name, method in METHODS.items())


def needs(right: Right | None) -> str:
    if right is None:
        return "Every key may call it; it sees what its scopes cover."
    if right.everywhere:
        return f"The key needs `{right.action}` on everything: the scope `*={right.action}`."
    return f"The key needs `{right.action}` on the stream."


def document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Wirelog", "version": option("VERSION"), "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"bearer": []}],
        "tags": [
            {"name": "methods", "description": "The server API"},
            {"name": "probes", "description": "Probes, for whoever watches over the server"},
        ],
        "paths": {f"/api/{name}": {"post": _method(name, method, need)} for name, method, need in methods_by_right()} | PROBES,
        "components": {"schemas": _schemas(), "securitySchemes": SECURITY, "responses": RESPONSES, "parameters": PARAMETERS},
    }


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


def _types() -> list[type[msgspec.Struct]]:
    """Every struct that the document tells of."""
    return [*(part for method in METHODS.values() for part in (method.request, method.result)), ErrorAnswer, Publication]


@functools.cache
def _components() -> tuple[Mapping[type[msgspec.Struct], Json], Json]:
    """A reference for each struct, and what the references lead to."""
    types = list(dict.fromkeys(_types()))
    references, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    return dict(zip(types, references, strict=True)), schemas


def _reference(struct: type[msgspec.Struct]) -> Json:
    return _components()[0][struct]


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


SECURITY = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key: `manage.py apikey create`."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key."},
}
PARAMETERS = {
    "error_mode": {
        "name": "X-Centrifugo-Error-Mode",
        "in": "header",
        "description": "`transport`: errors of the method have a status of their own, not 200.",
        "schema": {"type": "string", "enum": ["transport"]},
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

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        return 200, JSON, encoded()
