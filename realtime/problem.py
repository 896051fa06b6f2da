"""Errors under `/api/streams/`: `application/problem+json` (RFC 9457), with our code and, where there is one, the field and the line."""

from http import HTTPStatus

import msgspec

from .endpoint import Answer, Headers, Refusal, retry_headers
from .errors import WirelogError

CONTENT_TYPE = b"application/problem+json"


class Problem(msgspec.Struct, omit_defaults=True):
    """`code` is that of the tables of errors; `line` counts the lines of a batch from 1."""

    type: str
    title: str
    status: int
    detail: str
    code: int
    field: str = ""
    line: int = 0


def refused(refusal: Refusal) -> Answer:
    return _answer(refusal.status, refusal.message, refusal.code, refusal.headers)


def failed(error: WirelogError, line: int = 0) -> Answer:
    return _answer(error.http_status, str(error), error.code, retry_headers(error), field_of(error), line)


def _answer(status: int, detail: str, code: int, headers: Headers, field: str = "", line: int = 0) -> Answer:
    problem = Problem("about:blank", HTTPStatus(status).phrase, status, detail, code, field, line)
    return Answer(status, CONTENT_TYPE, msgspec.json.encode(problem), headers)


def field_of(error: WirelogError) -> str:
    return str(getattr(error, "field", ""))
