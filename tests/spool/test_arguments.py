"""What the spool does not take."""

from pathlib import Path
from typing import Any

import pytest

from clients.wirelog_spool import Spool, SpoolError

from .server import LIMIT, fill, spool


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"url": "wirelog.example.org"}, "The URL must look like https://"),
        ({"url": "ftp://x"}, "The URL must look like https://"),
        ({"key": ""}, "The API key is empty"),
        ({"key": "wl_ab\r\nX: y"}, "The API key is empty or has characters"),
        ({"device": ""}, "The device must have a name"),
        ({"device": "a\nb"}, "The device must have a name"),
        ({"limit_bytes": 1000}, "The limit must be at least 65536 bytes, not 1000"),
        ({"full": "explode"}, "A full spool can drop or refuse"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence_and_leave_no_folder(tmp_path: Path, arguments: dict[str, Any], sentence: str) -> None:
    right: dict[str, Any] = {"url": "http://127.0.0.1:9", "stream": "s", "key": "k", "device": "d", "folder": tmp_path / "spool"}
    with pytest.raises(SpoolError, match=sentence):
        Spool(**(right | arguments))
    assert not (tmp_path / "spool").exists()


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with spool(None, tmp_path) as found:
        with pytest.raises(SpoolError, match="Another process uses the spool"):
            spool(None, tmp_path)
        found.close(0)


def test_a_folder_belongs_to_one_stream_and_one_device(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(SpoolError, match="is of device 'shed-pi' for stream 'iot:shed'"):
        Spool("http://127.0.0.1:9", "iot:other", "k", "shed-pi", tmp_path)


def deep() -> Any:
    value: Any = 0
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"data": float("nan")},
        {"data": "\ud800"},
        {"data": {1, 2}},
        {"data": deep()},
        {"data": "x" * LIMIT},
        {"data": 1, "time": -1.0},
        {"data": 1, "time": float("nan")},
        {"data": 1, "time": 1_700_000_000_000.0},
        {"data": 1, "time": "now"},
        {"data": 1, "tags": "unit"},
    ],
    ids=["nan", "surrogate", "set", "deep", "large", "before 1970", "nan time", "milliseconds", "word", "tags"],
)
def test_what_cannot_be_sent_is_not_taken(tmp_path: Path, fields: dict[str, Any]) -> None:
    found = spool(None, tmp_path, limit_bytes=LIMIT)
    with pytest.raises((ValueError, TypeError)):
        found.put(**fields)
    assert found.status()["waiting"] == 0
    found.close(0)
