"""A server answers as its own OpenAPI document says, whatever is sent to it."""

import subprocess
import sys
from pathlib import Path

from .servers import Fleet

CONFIG = Path(__file__).with_name("schemathesis.toml")
PROGRAM = Path(sys.executable).with_name("schemathesis")
# Rules between fields, and what is not available, stand in the descriptions: a schema cannot tell them.
CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")


def test_schemathesis_finds_nothing(make_server: Fleet, tmp_path: Path) -> None:
    server = make_server.new()
    server.start()
    assert server.manage("streams", "create", "pictures").returncode == 0
    key = server.cast.keys["backend"]
    picture = {"X-API-Key": key, "Content-Type": "image/png"}
    assert server.request("POST", "/api/streams/pictures/records", b"\x89PNG", picture).status == 201
    # Else errors of a method come with status 200.
    headers = ("-H", f"X-API-Key: {key}", "-H", "X-Centrifugo-Error-Mode: transport")
    options = (*CHECKS, *headers, "--continue-on-failure", "--no-color", "--warnings", "off")
    command = [str(PROGRAM), "--config-file", str(CONFIG), "run", f"{server.url}/api/openapi.json", *options]
    # It keeps its notes where it runs.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
