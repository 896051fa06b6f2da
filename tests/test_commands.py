"""`manage.py streams` and `publish`, and what all commands have in common."""

import io
import json
import runpy
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.core import management
from django.core.management import CommandError
from django.db import DatabaseError, OperationalError

from realtime import journal
from realtime.audit import command_principal
from realtime.management import terminal
from realtime.management.commands import publish
from realtime.models import AuditEntry, Namespace, Record, Stream

from . import desk
from .conftest import Run
from .machine import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Puts bytes on stdin."""

    def type_in(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return type_in


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_ctrl_c_before_there_is_anything_to_end_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(argv: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(management, "execute_from_command_line", interrupt)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "manage.py"), run_name="__main__")
    assert ended.value.code == 130


# streams


def test_a_stream_is_made_as_asked_and_audited(run: Run) -> None:
    run(
        "streams",
        "create",
        "iot:pi",
        "--title",
        "Pi 4",
        "--kind",
        "chart",
        "--read",
        "anyone",
        "--write",
        "members",
        "--no-presence",
        "--keep-days",
        "7",
        "--delivery",
        "newest",
        "--no-durable",
    )

    stream = Stream.objects.get(name="iot:pi")
    assert (stream.title, stream.kind, stream.readers, stream.writers) == ("Pi 4", "chart", "anyone", "members")
    assert (stream.presence, stream.join_leave, stream.keep_days) == (False, True, 7)
    assert (stream.delivery, stream.durable) == ("newest", False)
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject) == (command_principal(), "stream.create", "iot:pi")


def test_what_is_not_asked_is_the_default_of_the_model(run: Run) -> None:
    run("streams", "create", "plain")

    made, default = Stream.objects.get(name="plain"), Stream()
    for field in ("kind", "readers", "writers", "presence", "join_leave", "keep_days", "keep_records", "keep_bytes", "max_payload"):
        assert getattr(made, field) == getattr(default, field)


def test_what_is_not_asked_is_that_of_the_namespace(run: Run) -> None:
    Namespace.objects.create(name="iot", kind="chart", readers="members", presence=False, keep_days=7)

    run("streams", "create", "iot:pi", "--keep-days", "0")

    made = Stream.objects.get(name="iot:pi")
    assert (made.kind, made.readers, made.writers, made.presence, made.keep_days) == ("chart", "members", "users", False, 0)


def test_a_made_stream_is_told_as_json(run: Run) -> None:
    made = json.loads(run("streams", "create", "iot:pi", "--json"))

    assert (made["name"], made["head"], made["epoch"]) == ("iot:pi", 0, Stream.objects.get(name="iot:pi").epoch)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["lobby"], "There is a stream 'lobby' already."),
        (["a b"], "'a b' cannot name a stream"),
        ([""], "'' cannot name a stream"),
        (["x\x1b[31m"], "cannot name a stream"),
        (["x" * 129], "cannot name a stream"),
        (["ok", "--keep-days", "-1"], "keep_days: Ensure this value is greater than or equal to 0."),
        (["ok", "--title", "x" * 200], "title: Ensure this value has at most 128 characters"),
        (["ok", "--kind", "nope"], "invalid choice: 'nope'"),
        (["ok", "--read", "nope"], "invalid choice: 'nope'"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_in_a_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    before = Stream.objects.count()
    with pytest.raises(CommandError) as error:
        run("streams", "create", *arguments)

    assert sentence in str(error.value)
    assert str(error.value).isprintable()
    assert (Stream.objects.count(), AuditEntry.objects.count()) == (before, 0)


def test_streams_are_listed_for_people_and_for_programs(run: Run) -> None:
    desk.stream(title="Pi\x1b[31m 4")
    desk.append("iot:pi", "1", "2")

    listed = run("streams", "list").splitlines()
    assert listed[0].split() == ["NAME", "KIND", "READ", "WRITE", "HEAD", "KEPT", "STATE", "TITLE"]
    assert listed[1].split() == ["iot:pi", "feed", "users", "users", "2", "2", "open", "Pi\\u001b[31m", "4"]
    assert [(row["name"], row["head"], row["archived"]) for row in lines(run("streams", "list", "--json"))] == [
        ("iot:pi", 2, None),
        ("lobby", 0, None),
    ]


def test_an_archived_stream_is_read_and_not_written_until_it_is_unarchived(run: Run) -> None:
    assert "is archived" in run("streams", "archive", "lobby")
    assert "was archived already" in run("streams", "archive", "lobby")
    with pytest.raises(CommandError, match="'lobby' is archived"):
        run("publish", "lobby", "1")
    assert "can be written again" in run("streams", "unarchive", "lobby")
    assert "was not archived" in run("streams", "unarchive", "lobby")
    run("publish", "lobby", "1")

    assert Record.objects.count() == 1
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == ["stream.archive", "stream.unarchive"]


@pytest.mark.parametrize("command", [["streams", "archive"], ["streams", "unarchive"], ["tail"]])
def test_a_missing_stream_is_named_with_the_cure(run: Run, command: list[str]) -> None:
    with pytest.raises(CommandError) as error:
        run(*command, "nope")

    assert (
        str(error.value) == "There is no stream 'nope'. See what there is: manage.py streams list. Make it: manage.py streams create nope"
    )


# publish


def test_a_record_is_stored_as_it_was_written_and_its_position_printed(run: Run) -> None:
    told = run("publish", "lobby", '{"value": 1.10}', "--key", "t1")

    record = Record.objects.get()
    assert (record.data, record.key, record.publisher) == ('{"value": 1.10}', "t1", command_principal())
    assert told == f"offset 1 epoch {Stream.objects.get(name='lobby').epoch}\n"


def test_a_repeat_with_the_same_key_stores_nothing_and_gets_the_first_offset(run: Run) -> None:
    first = json.loads(run("publish", "lobby", "1", "--idempotency-key", "k", "--json"))
    again = json.loads(run("publish", "lobby", "1", "--idempotency-key", "k", "--json"))

    assert again == first | {"duplicate": True}
    assert Record.objects.count() == 1


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["lobby", "{"], "data is not valid JSON"),
        (["lobby", ""], "data is missing"),
        (["lobby", "NaN"], "data is not valid JSON"),
        (["lobby", '"\udcff"'], "is not UTF-8. Nothing was changed."),
        (["lobby", "[" * 100 + "]" * 100], "nested deeper"),
        (["lobby", '"' + "x" * 200_000 + '"'], "payload too large: 200002 bytes"),
        (["lobby", "1", "--key", "x" * 201], "key must be at most 200 printable characters"),
        (["lobby", "1", "--idempotency-key", "a\nb"], "idempotency_key must be at most 200 printable characters"),
        (["nope", "1"], "There is no stream 'nope'"),
        (["no/pe\x1b", "1"], "There is no stream 'no/pe\\\\u001b'. See what there is: manage.py streams list."),
    ],
)
def test_what_cannot_be_stored_is_refused_in_a_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as error:
        run("publish", *arguments)

    assert sentence in str(error.value)
    assert str(error.value).isprintable()
    assert not Record.objects.exists()


def test_each_line_of_stdin_is_a_record(run: Run, type_in: Callable[[bytes], None]) -> None:
    type_in('{"a": 1}\n\n  \r\n"zwei ü"\r\n3'.encode())

    told = run("publish", "lobby", "-")

    assert list(Record.objects.order_by("offset").values_list("data", flat=True)) == ['{"a": 1}', '"zwei ü"', "3"]
    assert told == "Published 3 records to lobby, offsets 1 to 3.\n"


def test_lines_are_told_as_json(run: Run, type_in: Callable[[bytes], None]) -> None:
    type_in(b"1\n2\n")

    assert [line["offset"] for line in lines(run("publish", "lobby", "-", "--json"))] == [1, 2]


def test_many_lines_are_stored_in_order_by_few_transactions(
    run: Run, type_in: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    append_now = journal.append_now

    def counted(items: Any) -> Any:
        sizes.append(len(items))
        return append_now(items)

    monkeypatch.setattr(publish, "append_now", counted)
    type_in(b"".join(b"%d\n" % number for number in range(2500)))

    run("publish", "lobby", "-")

    assert sizes == [1000, 1000, 500]
    assert list(Record.objects.order_by("offset").values_list("data", flat=True)) == [str(number) for number in range(2500)]


def test_a_bad_line_fails_alone_and_is_told_by_its_number(run: Run, type_in: Callable[[bytes], None]) -> None:
    errors = io.StringIO()
    type_in(b"1\n\nnope\n3\n")

    with pytest.raises(CommandError, match="1 of 3 lines were refused"):
        run("publish", "lobby", "-", errors=errors)

    assert list(Record.objects.order_by("offset").values_list("data", flat=True)) == ["1", "3"]
    assert errors.getvalue().startswith("line 3: bad request: data is not valid JSON")


def test_a_million_bad_lines_are_counted_and_not_told_one_by_one(run: Run, type_in: Callable[[bytes], None]) -> None:
    errors = io.StringIO()
    type_in(b"nope\n" * 500)

    with pytest.raises(CommandError, match="500 of 500 lines were refused"):
        run("publish", "lobby", "-", errors=errors)

    assert len(errors.getvalue().splitlines()) == publish.TOLD + 1


def test_lines_sent_again_with_the_same_key_are_stored_once(run: Run, type_in: Callable[[bytes], None]) -> None:
    for _ in range(2):
        type_in(b"1\n2\n")
        run("publish", "lobby", "-", "--idempotency-key", "file1")

    assert Record.objects.count() == 2


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(run: Run, type_in: Callable[[bytes], None]) -> None:
    type_in(b"1\n" + b"[" * 3_000_000)

    with pytest.raises(CommandError, match="line 2 is over 1,048,576 bytes; those before are stored"):
        run("publish", "lobby", "-")

    assert Record.objects.count() == 1


def test_lines_for_a_missing_stream_are_one_error(run: Run, type_in: Callable[[bytes], None]) -> None:
    type_in(b"1\n2\n")

    with pytest.raises(CommandError, match="There is no stream 'nope'"):
        run("publish", "nope", "-")


def test_lines_for_a_namespace_make_their_stream(run: Run, type_in: Callable[[bytes], None]) -> None:
    Namespace.objects.create(name="iot")
    type_in(b"1\n2\n")

    assert run("publish", "iot:new", "-") == "Published 2 records to iot:new, offsets 1 to 2.\n"


def test_a_database_that_fails_is_told_with_the_lines_concerned(
    run: Run, type_in: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(items: Any) -> Any:
        raise OperationalError("database is locked")

    monkeypatch.setattr(publish, "append_now", fail)
    type_in(b"1\n2\n")

    with pytest.raises(CommandError, match=r"lines 1 to 2 may not be stored.*holds the write lock"):
        run("publish", "lobby", "-")


def test_stopping_is_told_in_a_word_and_not_in_a_traceback(
    run: Run, type_in: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(items: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "append_now", stop)
    type_in(b"1\n")

    with pytest.raises(CommandError, match=r"Stopped\.") as error:
        run("publish", "lobby", "-")
    assert error.value.returncode == 130


# What they have in common


@pytest.mark.parametrize(
    "reason, cure",
    [
        ("no such table: realtime_stream", "Run: manage.py migrate"),
        ("database is locked", "holds the write lock"),
        ("attempt to write a readonly database", "WIRELOG_DATA"),
        ("unable to open database file", "WIRELOG_DATA"),
        ("something else", "something else"),
    ],
)
def test_a_database_error_is_a_sentence_with_its_cure(reason: str, cure: str) -> None:
    assert cure in terminal.explain_database(DatabaseError(reason))


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "a\nb", "\x9b31m", "\u202egnp.exe", "\u2028", "\ufeff", "\x00"])
def test_what_a_terminal_would_obey_is_made_visible(text: str) -> None:
    assert terminal.escape(text).isprintable()
    # In JSON the escaped text still means the same.
    assert json.loads(terminal.escape(json.dumps(text, ensure_ascii=False))) == text


def test_ordinary_text_is_left_alone() -> None:
    assert terminal.escape("Füße → 日本語 🙂") == "Füße → 日本語 🙂"


def test_a_user_without_a_name_still_has_a_principal(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("getpass.getuser", nameless)

    assert command_principal().startswith("cli:")
    assert command_principal().removeprefix("cli:").isdigit()


# A feed to another server


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--to", "wirelog.example.org"], "The URL must look like https://wirelog.example.org"),
        (["--to", "http://127.0.0.1:9"], "The API key is empty"),
        (["--to", "http://127.0.0.1:9", "--key-file", "/no/such"], "The key file cannot be read"),
    ],
)
def test_a_feed_that_cannot_be_sent_is_told_in_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], sentence: str
) -> None:
    monkeypatch.delenv("WIRELOG_KEY", raising=False)
    with pytest.raises(CommandError, match=sentence):
        run("feed", "host", *options)


def test_a_project_without_the_client_is_told_where_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clients.wirelog_spool", None)
    with pytest.raises(CommandError, match="which a checkout of Wirelog has"):
        run("feed", "host", "--to", "http://127.0.0.1:9")
