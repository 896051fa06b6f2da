"""The communicators of asgiref and Channels, which by themselves wait for an answer no longer than a second."""

from typing import Any

from asgiref.testing import ApplicationCommunicator
from channels.testing import WebsocketCommunicator

from .waiting import SECONDS


class Communicator(ApplicationCommunicator):
    async def receive_output(self, *seconds: float) -> Any:
        return await super().receive_output(SECONDS)  # type: ignore[no-untyped-call]

    async def wait(self, *seconds: float) -> None:
        await super().wait(SECONDS)  # type: ignore[no-untyped-call]


class SocketCommunicator(Communicator, WebsocketCommunicator):
    pass
