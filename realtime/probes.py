"""`/healthz` and `/readyz`, for whoever watches over the process."""

from .endpoint import TEXT, Answer, Endpoint
from .engine import current


class Healthz(Endpoint):
    """200 while the process serves, under any Host."""

    async def answer(self, body: bytes) -> Answer:
        return Answer(200, TEXT, b"ok\n")


class Readyz(Endpoint):
    """200 when database and channel layer answer; 503 when not, and while draining."""

    async def answer(self, body: bytes) -> Answer:
        engine = await current(lenient=True)
        if await engine.ready():
            return Answer(200, TEXT, b"ready\n")
        return Answer(503, TEXT, b"not ready\n")
