"""A Redis for tests that kill and stop it. Imports nothing of Django: `make faults` runs without."""

import socket
import subprocess
from pathlib import Path

from tests.machine import require

from ..waiting import SECONDS, eventually_sync


class Redis:
    """A redis-server of the test's own, that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [require("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        eventually_sync(self.answers, "redis-server answers")

    def answers(self) -> bool:
        with socket.socket() as client:
            client.settimeout(SECONDS)
            if client.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
            client.sendall(b"PING\r\n")
            return client.recv(100).startswith(b"+PONG")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
