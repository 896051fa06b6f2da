import json
import logging
import sys
from typing import Any

from project.logs import Brief, JsonFormatter, TextFormatter


def record(message: str, *arguments: object, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("realtime.session").makeRecord(
        "realtime.session", logging.WARNING, __file__, 1, message, arguments, extra.pop("exc_info", None), extra=extra
    )


def failure() -> Any:
    try:
        raise ValueError("first\nsecond \x1b[2J")
    except ValueError:
        return sys.exc_info()


def test_a_line_says_when_how_bad_where_and_what() -> None:
    line = TextFormatter().format(record("closed %s", "3008"))
    assert line.endswith(" WARNING realtime.session: closed 3008")


def test_what_a_client_sent_cannot_start_a_line_or_drive_a_terminal() -> None:
    line = TextFormatter().format(record("agent %s", "curl\r\n2026-01-01 ERROR root: forged\x1b[31m\u2028\x85"))
    assert len(line.splitlines()) == 1
    assert "curl\\r\\n2026-01-01 ERROR root: forged\\x1b[31m\\u2028\\x85" in line


def test_a_traceback_is_indented_under_its_line_and_as_harmless() -> None:
    first, *others = TextFormatter().format(record("failed", exc_info=failure())).splitlines()
    assert first.endswith("failed")
    assert others
    assert all(line.startswith("    ") for line in others)
    assert "\x1b" not in "".join(others)


def test_json_is_one_object_on_one_line_with_the_fields_of_the_call() -> None:
    text = JsonFormatter().format(record("closed\n%s", "now", client="c1", code=3008, exc_info=failure()))
    assert "\n" not in text
    event = json.loads(text)
    assert event.pop("traceback").startswith("Traceback")
    assert event.pop("time").endswith("+00:00")
    assert event == {"level": "WARNING", "logger": "realtime.session", "message": "closed\nnow", "client": "c1", "code": 3008}


def test_json_says_something_of_what_it_cannot_encode() -> None:
    event = json.loads(JsonFormatter().format(record("x", peer={1, 2})))
    assert event["peer"] == "{1, 2}"


def test_a_library_that_logs_a_traceback_for_a_state_is_made_brief() -> None:
    away = logging.makeLogRecord({"msg": "Away", "exc_info": (OSError, OSError("no route"), None)})
    assert Brief().filter(away)
    assert (away.getMessage(), away.exc_info) == ("Away: no route", None)
