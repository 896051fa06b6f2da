"""`python wirelog_spool.py`, as devices run it."""

import ast
import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from clients import wirelog_spool
from clients.wirelog_spool import main

from ..machine import ROOT
from ..waiting import SECONDS, eventually_sync
from .server import Server, says, spool


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: bytes = b"") -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    return main(["--wait", str(SECONDS), *arguments])


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's handler is not for the test run."""
    monkeypatch.setattr(signal, "signal", lambda *args: None)


def test_the_command_sends_every_line(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_text("wl_ab_secret\n")
    place = ["--url", server.url, "--stream", "iot:shed", "--device", "d", "--folder", str(tmp_path / "spool")]
    fields = ["--key-file", str(key), "--time-field", "at", "--key-field", "sensor"]
    assert run(monkeypatch, *place, *fields, stdin=b'{"at": 1700000000, "sensor": 7}\n\n[1]\n"last"') == 0
    assert server.values == [{"at": 1700000000, "sensor": 7}, [1], "last"]
    first = next(iter(server.stored.values()))
    assert (first["device_time"], first["key"]) == (1_700_000_000_000, "7")
    assert server.heads[0][1]["Authorization"] == "Bearer wl_ab_secret"


def test_the_command_leaves_bad_lines_out_and_says_which(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WIRELOG_KEY", "wl_ab_secret")
    place = ["--url", server.url, "--stream", "iot:shed", "--folder", str(tmp_path)]
    assert run(monkeypatch, *place, stdin=b'1\n{"broken\nNaN\n\xff\n%b\n2\n' % (b"[" * 100_000)) == 1
    assert server.values == [1, 2]
    assert [line[:18] for line in capsys.readouterr().err.splitlines()] == [f"Line {number} is left out" for number in (2, 3, 4, 5)]


@pytest.mark.parametrize("time", ["x", -1, 1e300, [1]])
def test_a_time_that_is_none_is_told_in_words(
    time: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WIRELOG_KEY", "wl_ab_secret")
    place = ["--url", server.url, "--stream", "iot:shed", "--folder", str(tmp_path), "--time-field", "at"]
    assert run(monkeypatch, *place, stdin=json.dumps({"at": time}).encode()) == 1
    assert capsys.readouterr().err == f"Line 1 is left out: the time must be in seconds since 1970, not {time!r}\n"


def test_the_command_leaves_what_it_cannot_send_to_its_next_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WIRELOG_KEY", "wl_ab_secret")
    place = ["--stream", "iot:shed", "--folder", str(tmp_path)]
    assert run(monkeypatch, "--url", "http://127.0.0.1:9", *place, "--wait", "0", stdin=b"1\n2\n") == 0
    assert "2 records wait in" in capsys.readouterr().err
    assert run(monkeypatch, "--status", "--folder", str(tmp_path)) == 0
    assert json.loads(capsys.readouterr().out)["waiting"] == 2
    assert run(monkeypatch, "--url", server.url, *place, stdin=b"3\n") == 0
    assert server.values == [1, 2, 3]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--status"], "There is no spool in"),
        (["--stream", "s"], "Give --url and --stream."),
        (["--url", "http://x", "--stream", "s"], "The API key is empty"),
        (["--url", "http://x", "--stream", "s", "--key-file", "/no/such"], "No such file"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    monkeypatch.delenv("WIRELOG_KEY", raising=False)
    assert run(monkeypatch, *arguments, "--folder", str(tmp_path / "none")) == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: ")
    assert sentence in told


def test_a_key_cannot_be_given_where_every_process_reads_it() -> None:
    assert "--key" not in {option for action in wirelog_spool.parser()._actions for option in action.option_strings}


# What devices have


def test_it_needs_python_3_9_and_nothing_else() -> None:
    tree = ast.parse((ROOT / "clients" / "wirelog_spool.py").read_text(), feature_version=(3, 9))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {name for node in nodes for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])}
    assert {str(name).partition(".")[0] for name in modules} <= sys.stdlib_module_names


def test_it_waits_in_the_background(server: Server, tmp_path: Path) -> None:
    server.script += [says(503)] * 3
    with spool(server, tmp_path) as found:
        found.put(1)
        eventually_sync(lambda: server.values == [1])
