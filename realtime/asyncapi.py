"""`/api/asyncapi.yaml`: what is said over WebSockets, for everybody. It tells nothing of what is here."""

from pathlib import Path

from .endpoint import Answer, Endpoint

YAML = b"application/yaml; charset=utf-8"
DOCUMENT = Path(__file__).with_suffix(".yaml").read_bytes()


class AsyncApi(Endpoint):
    async def answer(self, body: bytes) -> Answer:
        return Answer(200, YAML, DOCUMENT)
