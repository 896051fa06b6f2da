"""An HTTP/1.1 client that keeps its connection: one request, its answer, the next."""

import asyncio
import time
from array import array
from collections import Counter

Request = tuple[str, str, bytes, dict[str, str]]


class HttpClient:
    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        # Nanoseconds of each request.
        self.samples: array[int] = array("q")
        self.statuses: Counter[int] = Counter()
        self.body = b""

    async def repeat(self, request: Request, deadline: float) -> None:
        """Send `request` over and over until the monotonic clock says `deadline`."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 24)
        data = self._bytes(*request)
        try:
            while time.monotonic() < deadline:
                started = time.monotonic_ns()
                writer.write(data)
                status, self.body = await answer(reader)
                self.samples.append(time.monotonic_ns() - started)
                self.statuses[status] += 1
        finally:
            writer.close()

    def _bytes(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = int(head.split(" ", 2)[1])
    fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
    if fields.get("transfer-encoding") == "chunked":
        return status, await chunks(reader)
    return status, await reader.readexactly(int(fields.get("content-length", 0)))


async def chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
