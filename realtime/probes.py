"""`/healthz` and `/readyz`, for whoever watches over the process."""

from .endpoint import TEXT, Endpoint
from .engine import current


class Healthz(Endpoint):
    """200 while the process serves, under any Host."""

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        return 200, TEXT, b"ok\n"


class Readyz(Endpoint):
    """200 when database and channel layer answer; 503 when not, and while draining."""

    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        engine = await current(lenient=True)
        if await engine.ready():
            return 200, TEXT, b"ready\n"
        return 503, TEXT, b"not ready\n"
