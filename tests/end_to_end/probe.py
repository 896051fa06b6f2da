"""A tiny application on either server, without the product: `python -m tests.end_to_end.probe uvicorn|daphne`.

Over a WebSocket it does what a text message says; it shows what the servers themselves do about sizes, stuck readers and the end.
"""

import asyncio
import importlib
import json
import os
import signal
import sys
from typing import Any

import django
from django.conf import settings

LIMITS = ("MESSAGE_BYTES", "ABORT_SECONDS", "DRAIN_SECONDS")
APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "realtime"]
settings.configure(WIRELOG={name: int(os.environ[name]) for name in LIMITS if name in os.environ}, INSTALLED_APPS=APPS)
django.setup()

from realtime import lifetime, listener  # noqa: E402 they need the settings

FLOOD = "x" * 60_000

senders: set[Any] = set()
# Set by GET /go, so that a test decides how long an application is busy.
go = asyncio.Event()
# Set a moment after the sessions are closed: what waits for it, and for all of them to be gone, is a request that outlasts them.
flushed = asyncio.Event()
events: list[dict[str, Any]] = []
# Requests that have begun: a test that ends the server knows that it has them.
waiting: set[str] = set()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await http(scope, receive, send)


async def http(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/go":
        go.set()
    elif scope["path"] in ("/wait", "/outlast"):
        waiting.add(scope["path"])
        await (go if scope["path"] == "/wait" else flushed).wait()
        while scope["path"] == "/outlast" and senders:
            await asyncio.sleep(0.01)
    elif scope["path"] == "/half":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("after the start")
    answer = json.dumps({"events": events, "root_path": scope["root_path"], "open": len(senders), "waiting": list(waiting)}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    senders.add(send)
    try:
        while (message := await receive())["type"] != "websocket.disconnect":
            await obey(message.get("text") or "", scope, send)
        events.append(message)
    except asyncio.CancelledError:
        events.append({"type": "cancelled"})
        raise
    except (OSError, StopAsyncIteration):
        events.append({"type": "ended"})
    finally:
        senders.discard(send)


async def obey(order: str, scope: Any, send: Any) -> None:
    verb, _, rest = order.partition(" ")
    if verb == "scope":
        shown = {name: scope[name] for name in ("scheme", "root_path")} | {"extensions": sorted(scope["extensions"])}
        await send({"type": "websocket.send", "text": json.dumps(shown)})
    elif verb == "flood":
        for _ in range(int(rest)):
            await send({"type": "websocket.send", "text": FLOOD})
    elif verb == "abort":
        scope["extensions"]["wirelog"]["abort"]()
    elif verb == "close":
        code, _, reason = rest.partition(" ")
        await send({"type": "websocket.close", "code": int(code), "reason": reason})
    elif verb == "return":
        raise StopAsyncIteration
    elif verb == "wait":
        await go.wait()
    else:
        await send({"type": "websocket.send", "text": f"{len(order)}"})


async def flush(seconds: float) -> None:
    """As the engine does: close everybody, and wait for those who let it."""
    closes = [asyncio.ensure_future(close(send)) for send in senders]
    if closes:
        await asyncio.wait(closes, timeout=seconds)
    asyncio.get_running_loop().call_later(0.3, flushed.set)


async def close(send: Any) -> None:
    await send({"type": "websocket.close", "code": 3001, "reason": "shutdown"})


async def main(kind: str) -> None:
    server = importlib.import_module(f"realtime.{kind}_server")
    sock = listener.bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    run = lifetime.Lifetime(lambda: print(port, flush=True), flush, settings.WIRELOG.get("DRAIN_SECONDS", 10))  # noqa: T201
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, run.stopping.set)
    listener.listen(sock)
    await server.serve(application, sock, run)


if __name__ == "__main__":
    module = importlib.import_module(f"realtime.{sys.argv[1]}_server")
    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
