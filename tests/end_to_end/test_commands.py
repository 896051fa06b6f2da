"""Commands as the processes that they are: beside each other, at the end of a pipe, stopped by Ctrl-C. No server runs."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from ..waiting import SECONDS, eventually_sync
from .servers import ROOT, Template, copy_template, environment

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def env(tmp_path: Path, template: Template) -> dict[str, str]:
    return environment(copy_template(template, tmp_path / "data"))


@pytest.fixture
def manage(env: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    """Runs a command to its end."""

    def manage(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(command(arguments), cwd=ROOT, env=env, input=stdin, capture_output=True, timeout=SECONDS, check=False)

    return manage


@pytest.fixture
def start(env: dict[str, str]) -> Iterator[Start]:
    """Starts commands; what still runs after the test is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command(arguments), cwd=ROOT, env=env, stdin=pipe, stdout=pipe, stderr=pipe))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        # Closes the pipes, and waits.
        process.__exit__(None, None, None)


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "manage.py", *arguments]


def line_of(stream: IO[bytes] | None) -> Any:
    assert stream is not None
    return json.loads(stream.readline())


def stop(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Ctrl-C: exit status, and what was said on stderr."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    return process.returncode, errors.decode()


def peak_memory(process: "subprocess.Popen[bytes]") -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_tail_follows_what_other_processes_write_and_ctrl_c_ends_it(start: Start, manage: Any) -> None:
    manage("publish", "lobby", '"before"')
    process = start("tail", "lobby", "--since", "0", "--json")
    assert line_of(process.stdout)["data"] == "before"

    for number in range(3):
        manage("publish", "lobby", str(number))
        told = line_of(process.stdout)
        assert (told["offset"], told["data"]) == (number + 2, number)

    assert stop(process) == (0, "\n")


def test_tail_ends_quietly_when_its_reader_ends(start: Start, manage: Any) -> None:
    manage("publish", "lobby", "-", stdin=b"1\n" * 5000)
    process = start("tail", "lobby", "--since", "0", "--json")
    line_of(process.stdout)
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(SECONDS) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_an_idle_tail_ends_when_its_reader_ends(start: Start, manage: Any) -> None:
    manage("publish", "lobby", "1")
    process = start("tail", "lobby", "--json")
    line_of(process.stdout)
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(SECONDS) == 0


def test_tail_of_a_large_stream_needs_little_memory(start: Start, manage: Any) -> None:
    manage("publish", "lobby", "1")
    small = start("tail", "lobby", "--json")
    line_of(small.stdout)
    before = peak_memory(small)
    manage("publish", "lobby", "-", stdin=b'"%s"\n' % (b"x" * 40_000) * 1000)
    large = start("tail", "lobby", "--since", "0", "--json")

    assert [line_of(large.stdout)["offset"] for _ in range(1001)] == list(range(1, 1002))
    # 40 MB went through; SQLite keeps at most 20 of them in its cache.
    assert peak_memory(large) - before < 20_000_000


def test_publish_stores_a_line_as_soon_as_it_is_there(start: Start, manage: Any) -> None:
    writer = start("publish", "lobby", "-")
    reader = start("tail", "lobby", "--since", "0", "--json")
    assert writer.stdin is not None
    for number in range(3):
        writer.stdin.write(b"%d\n" % number)
        writer.stdin.flush()
        assert line_of(reader.stdout)["data"] == number

    writer.stdin.close()
    assert writer.wait(SECONDS) == 0


def test_a_large_file_is_published_whole_and_in_order(manage: Any) -> None:
    done = manage("publish", "lobby", "-", stdin=b"".join(b'{"n": %d}\n' % number for number in range(20_000)))

    assert done.stdout == b"Published 20,000 records to lobby, offsets 1 to 20000.\n"
    # No progress where no terminal is.
    assert done.stderr == b""


def test_the_host_feed_publishes_until_ctrl_c(start: Start) -> None:
    feed = start("feed", "host", "--name", "lab", "--interval", "0.1")
    assert feed.stderr is not None
    assert b"Publishing this machine to host:lab" in feed.stderr.readline()
    reader = start("tail", "host:lab", "--since", "0", "--json")
    samples = [line_of(reader.stdout) for _ in range(3)]

    assert [sample["offset"] for sample in samples] == [1, 2, 3]
    assert all(0 <= sample["data"]["cpu"] <= 100 for sample in samples)
    assert stop(feed) == (0, "\n")


@pytest.mark.parametrize("arguments", [["tail", "nope"], ["publish", "nope", "1"], ["streams", "archive", "nope"]])
def test_an_error_is_one_sentence_and_status_1(manage: Any, arguments: list[str]) -> None:
    done = manage(*arguments)

    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"CommandError: There is no stream 'nope'.")
    assert done.stderr.count(b"\n") == 1


def test_a_database_without_tables_names_the_cure(tmp_path: Path) -> None:
    env = environment(tmp_path / "empty")
    done = subprocess.run(command(["streams", "list"]), cwd=ROOT, env=env, capture_output=True, timeout=SECONDS, check=False)

    assert done.returncode == 1
    assert b"Run: manage.py migrate" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_key_can_be_kept_by_a_shell(manage: Any) -> None:
    done = manage("apikey", "create", "pi", "--scope", "lobby=publish")

    assert done.stdout.startswith(b"wl_")
    assert done.stdout.count(b"\n") == 1
    assert done.stdout.strip() not in done.stderr


def test_tail_notes_nothing_twice_when_the_stream_is_archived(start: Start, manage: Any) -> None:
    process = start("tail", "lobby", "--json")
    manage("publish", "lobby", "1")
    line_of(process.stdout)
    manage("streams", "archive", "lobby")
    errors: list[bytes] = []
    assert process.stderr is not None
    errors.append(process.stderr.readline())
    manage("streams", "create", "other")

    eventually_sync(lambda: process.poll() is None, "tail goes on")
    assert b"lobby is archived now" in errors[0]
    assert stop(process) == (0, "\n")
