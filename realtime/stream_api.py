"""Plain HTTP to streams, for devices and scripts: `/api/streams/<stream>/…`.

`ROUTES` is the one table of what there is; the documentation is made from it. Errors are `application/problem+json`.
"""

from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db import DatabaseError

from . import errors, problem, stream_download, stream_events, stream_read, stream_write
from .access import RIGHTS, Right
from .conf import limit
from .endpoint import Answer, Endpoint, Refusal, Streaming, check_host
from .engine import current
from .errors import UnknownMethod, WirelogError
from .journal import explain
from .stream_request import Request, credential_of, parse_query

PREFIX = "/api/streams/"
Handler = Callable[[Request], Coroutine[Any, Any, Answer | Streaming]]


@dataclass(frozen=True)
class Route:
    """One method of one path. What is said here is what clients are told in the documentation."""

    method: str
    # Below `/api/streams/<stream>/`; one that ends with a slash leaves `rest` open.
    path: str
    run: Handler
    summary: str
    # Parameters of the query, by name; unknown ones are refused.
    query: type[msgspec.Struct]
    # Headers of the request, and what they mean.
    headers: dict[str, str] = field(default_factory=dict)
    # Content types of the body, and what it holds; bytes: as it comes.
    bodies: dict[str, Any] = field(default_factory=dict)
    # Status and content type of an answer, and what it holds.
    answers: dict[tuple[int, str], Any] = field(default_factory=dict)
    errors: tuple[type[WirelogError], ...] = ()
    # Why the request itself may be refused, by the status that says it.
    refusals: dict[int, str] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        return Right.PUBLISH in RIGHTS[f"{self.method} {self.path}"]


READING = (errors.BadRequest, errors.UnknownStream, errors.InternalError)

ROUTES = (
    Route(
        "POST",
        "records",
        stream_write.publish,
        "Publish one record, or a batch.",
        stream_write.PublishQuery,
        stream_write.HEADERS,
        {
            "application/json": Any,
            "application/x-ndjson": stream_write.Envelope,
            "*/*": bytes,
        },
        {
            (201, "application/json"): stream_write.Stored,
            (200, "application/json"): stream_write.Stored | list[stream_write.Stored | stream_write.Failed],
            (200, "application/x-ndjson"): stream_write.Stored | stream_write.Failed,
        },
        (
            errors.BadRequest,
            errors.UnknownStream,
            errors.NotPermitted,
            errors.Conflict,
            errors.PayloadTooLarge,
            errors.StreamArchived,
            errors.LimitExceeded,
            errors.TooManyRequests,
            errors.StorageFull,
            errors.InternalError,
        ),
        {408: "107: The body stopped coming.", 415: "107: The body is compressed, or is no JSON and no Content-Type says what it is."},
    ),
    Route(
        "GET",
        "records",
        stream_read.records,
        "Read a page of records, or wait for the next one.",
        stream_read.RecordsQuery,
        answers={(200, "application/json"): stream_read.Records},
        errors=(*READING, errors.Unrecoverable, errors.NotAvailable, errors.LimitExceeded),
    ),
    Route(
        "GET",
        "latest",
        stream_read.latest_records,
        "Read the newest record of each key.",
        stream_read.LatestQuery,
        {"If-None-Match": "The ETag of the last answer: 304 when nothing has changed since."},
        answers={(200, "application/json"): stream_read.Latest, (304, ""): None},
        errors=READING,
    ),
    Route(
        "GET",
        "download",
        stream_download.download,
        "Take all records as a file.",
        stream_download.DownloadQuery,
        answers={(200, "application/x-ndjson"): Any, (200, "text/csv"): str},
        errors=(*READING, errors.Unrecoverable),
    ),
    Route(
        "GET",
        "events",
        stream_events.events,
        "Follow the records as server-sent events.",
        stream_events.EventsQuery,
        {"Last-Event-ID": "The id of the last event, `<epoch>:<offset>`: go on after it. EventSource sends it by itself."},
        answers={(200, "text/event-stream"): str},
        errors=(*READING, errors.Unrecoverable, errors.NotAvailable, errors.LimitExceeded),
    ),
    Route(
        "GET",
        "blobs/",
        stream_read.blob,
        "Read the bytes of a record that was not JSON.",
        stream_read.BlobQuery,
        {"If-None-Match": "The ETag of the last answer: 304 when the reader has the bytes."},
        answers={(200, "*/*"): bytes, (304, ""): None},
        errors=READING,
    ),
)


# Who asks for something else is told.
THERE = ", ".join(dict.fromkeys(f"{route.path}<offset>" if route.path.endswith("/") else route.path for route in ROUTES))


class StreamApi(Endpoint):
    """One request to a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = limit("MESSAGE_BYTES")

    def screen(self) -> None:
        check_host(self.scope)
        # No name of a stream holds a slash.
        self.stream_name, _, path = self.scope["path"].removeprefix(PREFIX).partition("/")
        routes = [route for route in ROUTES if _leads(route.path, path)]
        if not routes:
            raise Refusal(404, UnknownMethod.code, f"{UnknownMethod(self.scope['path'])}: a stream has {THERE}")
        self.allowed = tuple(method for route in routes for method in _methods(route))
        super().screen()
        self.route = next(route for route in routes if self.scope["method"] in _methods(route))
        self.rest = path.removeprefix(self.route.path)
        self.credential = credential_of(self.scope, self.route.writes)

    async def serve(self, body: bytes) -> None:
        with ExitStack() as at_end:
            answer = await self._answer(body, at_end)
            if isinstance(answer, Streaming):
                await self.stream(answer._replace(headers=(*SAFE, *answer.headers)))
            else:
                await self.respond(answer)

    async def _answer(self, body: bytes, at_end: ExitStack) -> Answer | Streaming:
        try:
            query = parse_query(self.scope["query_string"], self.route.query)
            engine = await current(lenient=True)
            request = Request(engine, self.scope, self.credential, self.stream_name, self.rest, query, body, at_end)
            answering = self.route.run(request)
            # A write goes on without its client: half of it would be worse.
            return await (answering if self.route.writes else self.while_connected(answering))
        except WirelogError as error:
            return problem.failed(error)
        except DatabaseError as error:
            return problem.failed(explain(error))

    async def refuse(self, refusal: Refusal) -> None:
        await self.respond(problem.refused(refusal))

    async def respond(self, answer: Answer) -> None:
        await super().respond(answer._replace(headers=(*SAFE, *answer.headers)))


# Records are what others wrote: no browser may take them for a page, nor a foreign page for its own.
SAFE = ((b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin"))


def _leads(route: str, path: str) -> bool:
    return path.startswith(route) and path != route if route.endswith("/") else path == route


def _methods(route: Route) -> tuple[str, ...]:
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)
