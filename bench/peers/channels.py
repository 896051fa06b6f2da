"""Django Channels as its tutorial does it: `python -m bench.peers.channels uvicorn|daphne`.

A consumer for each connection, all of them in a group of the in-memory layer, AuthMiddlewareStack around it. Nothing is kept.
"""

import json
import socket
import sys
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "channels"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402 they need the settings
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.room_group_name = f"chat_{self.scope['url_route']['kwargs']['room_name']}"
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = json.loads(text_data or "")
        await self.channel_layer.group_send(self.room_group_name, {"type": "chat.message", "message": message})

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps({"message": event["message"]}))


# Channels' types leave out what its tutorial does.
routes: Any = [re_path(r"ws/(?P<room_name>[\w-]+)/$", ChatConsumer.as_asgi())]  # type: ignore[arg-type]
application: Any = ProtocolTypeRouter({"websocket": AuthMiddlewareStack(URLRouter(routes))})


def main(server: str) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(2_048)
    print(f"ready :{sock.getsockname()[1]}", flush=True)
    if server == "uvicorn":
        import uvicorn

        config = uvicorn.Config(application, lifespan="off", log_level="error", ws_per_message_deflate=False)
        uvicorn.Server(config).run(sockets=[sock])
    else:
        from daphne.server import Server

        Server(application, endpoints=[f"fd:fileno={sock.fileno()}"], signal_handlers=False).run()


if __name__ == "__main__":
    main(sys.argv[1])
