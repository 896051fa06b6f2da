"""Requests on Daphne: a body is bounded before it is stored, and an answer waits for its reader."""

# Overridden methods have the names that Twisted gave them.
# ruff: noqa: N802, N815

import asyncio
from http.client import responses
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet import reactor as twisted_reactor
from twisted.web import http as twisted_http

from . import problem
from .conf import limit
from .endpoint import Answer, enveloped, head_of, too_large
from .routing import is_api
from .stream_api import PREFIX

# Their declared types are zope interfaces, or missing, which the type checker does not understand.
reactor: Any = twisted_reactor
http: Any = twisted_http


class Request(WebRequest):  # type: ignore[misc]
    """Twisted keeps a body, whatever its size, until it is complete, and Daphne's `send` never waits: not so here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received = 0
        self.refused = False
        # Set while the transport takes what is written.
        self.writable = asyncio.Event()
        self.writable.set()

    # In

    def gotLength(self, length: int | None) -> None:
        if self.refuses(length or 0):
            # Nothing of it is stored.
            length = 0
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if not self.refuses(self.received):
            super().handleContentChunk(data)

    def refuses(self, size: int) -> bool:
        """Whether a body of `size` is too large for the API. If so, the answer is out, and what else comes is dropped.

        The connection is left open for a while: a reset would hide the answer from a client that is still sending.
        """
        most = limit("MESSAGE_BYTES")
        if not self.refused and size > most and is_api(self.channel._path.partition(b"?")[0].decode("latin-1")):
            self.refused = True
            self.requestHeaders.removeHeader(b"Expect")
            self.channel.dataReceived = lambda data: None
            self.channel.setTimeout(None)
            told = problem.refused if self.channel._path.startswith(PREFIX.encode()) else enveloped
            self.channel.transport.write(_raw(told(too_large(most))))
            reactor.callLater(limit("ABORT_SECONDS"), self.channel.transport.abortConnection)
        return self.refused

    def process(self) -> Any:
        # Anybody can send it; Daphne would take it for the root path of the site.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        return super().process()

    # Out

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        # Twisted does not know all of them.
        super().setResponseCode(code, message or _phrase(code))

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self.channel is not None:
            self.registerProducer(self, True)
        super().handle_reply(message)

    def pauseProducing(self) -> None:
        self.writable.clear()

    def resumeProducing(self) -> None:
        self.writable.set()

    stopProducing = resumeProducing

    def finish(self) -> None:
        if self.producer is not None:
            self.unregisterProducer()
        # What is written is the transport's, which tells this request no more.
        self.writable.set()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        self.writable.set()
        super().connectionLost(reason)

    def application_done(self, task: "asyncio.Task[None]") -> None:
        """An answer that was begun and not finished: the client must not wait for the rest."""
        if self._response_started and not self.finished and self.channel is not None:
            self.transport.abort()

    def handle_exception(self, exception: BaseException) -> None:
        if self._response_started:
            self.transport.abort()
        else:
            super().handle_exception(exception)


def _phrase(status: int) -> bytes:
    return responses.get(status, "").encode()


def _raw(answer: Answer) -> bytes:
    """`answer` as the last one of its connection."""
    headers = [(b"connection", b"close"), (b"content-length", b"%d" % len(answer.content)), *head_of(answer.content_type, answer.headers)]
    head = b"".join(b"%s: %s\r\n" % header for header in headers)
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (answer.status, _phrase(answer.status), head, answer.content)


class Channel(http.HTTPChannel):  # type: ignore[misc]
    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # A length of thousands of digits, which Python makes no number of.
            self._respondToBadRequestAndDisconnect()
            return False


class Factory(HTTPFactory):  # type: ignore[misc]
    protocol = staticmethod(lambda: http._GenericHTTPChannelProtocol(Channel()))

    def buildProtocol(self, addr: Any) -> Any:
        channel = super().buildProtocol(addr)
        channel.requestFactory = Request
        return channel
