"""How a request on Daphne waits for its reader. Real servers are driven in end_to_end/."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.testing import StringTransport
from twisted.web.test.requesthelper import DummyChannel

from realtime.daphne_http import Factory, Request

START = {"type": "http.response.start", "status": 200, "headers": []}


class Server(SimpleNamespace):
    """The part of Daphne's that a request calls."""

    def __init__(self) -> None:
        super().__init__(server_name="")

    def protocol_connected(self, request: Any) -> None:
        pass

    def protocol_disconnected(self, request: Any) -> None:
        pass

    def log_action(self, *args: Any) -> None:
        pass


@pytest.fixture
def request_() -> Any:
    channel: Any = DummyChannel()  # type: ignore[no-untyped-call]
    channel.factory = SimpleNamespace(server=Server(), log=lambda request: None)
    request = Request(channel, False)
    request.gotLength(0)
    request.method, request.uri, request.clientproto, request.client_addr = b"GET", b"/", b"HTTP/1.1", None
    return request


def body(more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": b"x", "more_body": more}


async def test_an_answer_waits_while_the_transport_is_full(request_: Any) -> None:
    request_.handle_reply(START)
    request_.handle_reply(body(more=True))
    assert request_.writable.is_set()
    request_.producer.pauseProducing()
    assert not request_.writable.is_set()
    request_.producer.resumeProducing()
    await asyncio.wait_for(request_.writable.wait(), 1)


async def test_an_answer_that_ends_on_a_full_transport_waits_for_nothing(request_: Any) -> None:
    """The transport tells a request that is done no more: its application would hang."""
    request_.handle_reply(START)
    request_.producer.pauseProducing()
    request_.handle_reply(body(more=False))
    await asyncio.wait_for(request_.writable.wait(), 1)


async def test_an_answer_whose_reader_leaves_waits_for_nothing(request_: Any) -> None:
    request_.handle_reply(START)
    request_.producer.pauseProducing()
    request_.connectionLost(ConnectionError())
    await asyncio.wait_for(request_.writable.wait(), 1)


@pytest.mark.parametrize("status, phrase", [(201, "Created"), (423, "Locked"), (429, "Too Many Requests"), (599, "")])
def test_every_status_has_its_phrase(request_: Any, status: int, phrase: str) -> None:
    request_.setResponseCode(status)
    assert request_.code_message == phrase.encode()


def test_a_length_that_is_no_number_is_refused_without_a_traceback() -> None:
    channel = Factory(Server()).buildProtocol(None)
    transport: Any = StringTransport()  # type: ignore[no-untyped-call]
    channel.makeConnection(transport)
    channel.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 400 ")
    assert transport.disconnecting
