"""`/api/asyncapi.yaml`: what is said over WebSockets, for everybody. It tells nothing of what is here."""

from pathlib import Path

from .endpoint import Endpoint

YAML = b"application/yaml; charset=utf-8"
DOCUMENT = Path(__file__).with_suffix(".yaml").read_bytes()


class AsyncApi(Endpoint):
    async def answer(self, body: bytes) -> tuple[int, bytes, bytes]:
        return 200, YAML, DOCUMENT
