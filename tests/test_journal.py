"""`append_batch`: what one transaction does with a batch. The thread that calls it is in test_group_commit.py."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from realtime import hints, journal, protocol
from realtime.access import ANONYMOUS, Identity
from realtime.errors import BadRequest, Conflict, InternalError, PayloadTooLarge, StorageFull, WirelogError
from realtime.history import history
from realtime.items import MAX_JSON, MAX_KEY, MAX_TAGS, Item
from realtime.journal import Appended, Outcome
from realtime.models import Audience, Membership, Record, Stream

from . import core
from .core import Trouble, head, offsets, person
from .machine import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def streams() -> None:
    for name in ("a", "b"):
        Stream.objects.create(name=name)


def append(*items: Item) -> list[Outcome]:
    return journal.append_batch(connections["default"], items)


def one(stream: str = "a", data: str = "1", **fields: Any) -> Outcome:
    return append(Item(stream, data, **fields))[0]


def stored(stream: str = "a") -> list[tuple[int, str]]:
    return list(Record.objects.filter(stream__name=stream).order_by("offset").values_list("offset", "data"))


def refused(outcome: Outcome) -> tuple[int, str]:
    assert isinstance(outcome, WirelogError)
    return outcome.code, str(outcome)


# Offsets


def test_a_record_is_stored_as_it_was_sent() -> None:
    outcome = one("a", "1.10", publisher="7", client="c", key="k", removed=True, tags={"a": "ż"}, device_time=5)
    record = Record.objects.get()
    fields = ("data", "publisher", "client", "key", "removed", "tags", "device_time", "idempotency_key", "digest", "blob")
    assert [getattr(record, field) for field in fields] == ["1.10", "7", "c", "k", True, '{"a":"ż"}', 5, "", None, None]
    assert isinstance(outcome, Appended)
    assert (outcome.offset, outcome.epoch, outcome.duplicate) == (1, Stream.objects.get(name="a").epoch, False)
    assert outcome.publication is not None
    assert outcome.publication.time == record.received > 1_700_000_000_000


def test_offsets_of_each_stream_are_dense_and_in_the_order_of_the_batch() -> None:
    assert offsets(append(*(Item("ab"[number % 3 == 2], str(number)) for number in range(6)))) == [1, 2, 1, 3, 4, 2]
    assert offsets(append(Item("a", "6"), Item("b", "7"))) == [5, 3]
    assert stored("a") == [(1, "0"), (2, "1"), (3, "3"), (4, "4"), (5, "6")]
    assert stored("b") == [(1, "2"), (2, "5"), (3, "7")]
    assert (head("a"), head("b")) == (5, 3)


def test_an_empty_batch_is_no_error() -> None:
    assert append() == []


BAD = [
    (Item("nowhere", "1"), 102, "unknown stream 'nowhere': it does not exist, or you may not read it"),
    (Item("a", "1", identity=ANONYMOUS), 102, "unknown stream 'a': it does not exist, or you may not read it"),
    (Item("a", "1", expect_offset=9), 113, "conflict: the head of 'a' is 1, not 9"),
    (Item("a", f'"{"x" * 131_071}"'), 413, "payload too large: 131073 bytes, 'a' takes at most 131072"),
    (Item("a", "1", idempotency_key="x" * 201), 107, "bad request: idempotency_key must be at most 200 printable characters"),
    (Item("a", "1", key="a\nb"), 107, "bad request: key must be at most 200 printable characters"),
    (Item("a", "1", key=7), 107, "bad request: key must be text, not int"),  # type: ignore[arg-type]
    (Item("a", "1", tags={"\0": "x"}), 107, "bad request: tags must be at most 200 printable characters"),
    (Item("a", "1", tags={"unit": "x" * 201}), 107, "bad request: tags.unit must be at most 200 printable characters"),
    (Item("a", "1", tags={str(number): "" for number in range(33)}), 107, "bad request: tags must be at most 32"),
]


@pytest.mark.parametrize("item, code, sentence", BAD, ids=lambda value: None if isinstance(value, Item) else str(value)[:30])
def test_a_bad_item_fails_alone_and_offsets_stay_dense(item: Item, code: int, sentence: str) -> None:
    first, bad, last = append(Item("a", "1"), item, Item("a", "2"))
    assert offsets([first, last]) == [1, 2]
    assert refused(bad) == (code, sentence)
    assert stored() == [(1, "1"), (2, "2")]


def test_a_field_is_named_by_the_error() -> None:
    outcome = one(key="\0")
    assert isinstance(outcome, BadRequest)
    assert (outcome.field, outcome.problem) == ("key", "must be at most 200 printable characters")


def test_an_archived_stream_takes_nothing_and_tells_so_only_to_who_may_write() -> None:
    Stream.objects.filter(name="a").update(archived="2026-01-01T00:00Z")
    assert refused(one()) == (423, "stream 'a' is archived: it can be read, not written")
    assert refused(one(identity=ANONYMOUS))[0] == 102
    assert head("a") == 0


@pytest.mark.parametrize("limit, data, size", [(10, '"12345678"', 10), (10, '"ąćęł"', 10), (7, '"🎈a"', 7)])
def test_the_limit_of_a_stream_counts_bytes(limit: int, data: str, size: int) -> None:
    Stream.objects.filter(name="a").update(max_payload=limit)
    assert offsets([one(data=data)]) == [1]
    Stream.objects.filter(name="a").update(max_payload=limit - 1)
    outcome = one(data=data)
    assert isinstance(outcome, PayloadTooLarge)
    assert (outcome.size, outcome.limit) == (size, limit - 1)


def test_a_stream_may_take_more_than_the_default() -> None:
    Stream.objects.filter(name="a").update(max_payload=200_000)
    assert offsets([one(data=f'"{"x" * 199_998}"')]) == [1]


def test_json_is_never_too_large_for_a_message() -> None:
    Stream.objects.filter(name="a").update(max_payload=2_000_000)
    largest = f'"{"x" * (MAX_JSON - 2)}"'
    labels = {"key": "\U0001f600" * MAX_KEY, "publisher": "9" * 200, "client": "c" * 36}
    tags = {f"{number:02}".ljust(MAX_KEY, "\U0001f600"): "\U0001f600" * MAX_KEY for number in range(MAX_TAGS)}
    outcome = one(data=largest, tags=tags, **labels)
    assert isinstance(outcome, Appended)
    assert outcome.publication is not None
    assert len(protocol.publication_push(protocol.quote("s" * 128), outcome.publication).encode()) <= 1_048_576
    page = history(Identity("7", "", superuser=True), protocol.HistoryRequest("a", 1))
    assert len(protocol.reply(1, "history", page)) <= protocol.MAX_REPLY
    assert refused(one(data=f"{largest} ")) == (413, f"payload too large: {MAX_JSON + 1} bytes, 'a' takes at most {MAX_JSON}")
    assert offsets([one(data="", blob=b"x" * 2_000_000)]) == [2]


def test_a_blob_counts_by_its_bytes() -> None:
    Stream.objects.filter(name="a").update(max_payload=100)
    assert offsets([one(data="", blob=b"x" * 100), one(data="", blob=b"x" * 101)]) == [1, "PayloadTooLarge"]


def test_a_stream_knows_how_many_payload_bytes_it_keeps() -> None:
    one(data='"é"', idempotency_key="k1")
    one(data='"é"', idempotency_key="k1")
    assert Stream.objects.get(name="a").size == 4
    one(data="345")
    one(data="", blob=bytes(10), content_type="image/png")
    reference = Record.objects.get(stream__name="a", offset=3).data
    assert Stream.objects.get(name="a").size == 4 + 3 + 10 + len(reference)


# Idempotency


def keyed(key: str = "k", data: str = "1", publisher: str = "7", stream: str = "a") -> Item:
    return Item(stream, data, publisher=publisher, idempotency_key=key)


def test_a_repeat_gets_the_first_offset_and_is_told_to_nobody() -> None:
    first, other = append(keyed(), Item("a", "2"))
    (repeat,) = append(keyed())
    assert isinstance(repeat, Appended)
    assert isinstance(first, Appended)
    assert (repeat.offset, repeat.epoch, repeat.duplicate, repeat.publication) == (1, first.epoch, True, None)
    assert journal.hint_of([repeat]) == hints.Hint()
    assert (len(stored()), head("a")) == (2, 2)
    assert isinstance(other, Appended)


def test_equal_keys_inside_one_batch_are_one_record() -> None:
    outcomes = append(keyed(), keyed(), Item("a", "2"), keyed())
    assert offsets(outcomes) == [1, 1, 2, 1]
    assert [isinstance(outcome, Appended) and outcome.duplicate for outcome in outcomes] == [False, True, False, True]
    assert stored() == [(1, "1"), (2, "2")]


@pytest.mark.parametrize("together", [True, False])
def test_another_payload_under_a_used_key_is_refused_with_the_offset_of_the_first(together: bool) -> None:
    items = [keyed(), keyed(data="2")]
    outcomes = append(*items) if together else [*append(items[0]), *append(items[1])]
    assert offsets(outcomes)[0] == 1
    assert refused(outcomes[1]) == (107, "bad request: idempotency_key was used for another payload, at offset 1")
    assert stored() == [(1, "1")]


def test_a_key_is_of_one_publisher_in_one_stream() -> None:
    items = [keyed(), keyed(publisher="8", data="2"), keyed(stream="b", data="3"), keyed(key="K", data="4")]
    assert offsets(append(*items)) == [1, 2, 1, 3]
    # In one batch and in another.
    assert offsets(append(*items)) == [1, 2, 1, 3]
    assert (head("a"), head("b")) == (3, 1)


def test_a_failed_item_does_not_use_up_its_key() -> None:
    stale = keyed()
    stale.expect_offset = 5
    assert offsets([*append(stale), *append(keyed())]) == ["Conflict", 1]


def test_the_retry_of_a_redacted_record_still_gets_its_offset() -> None:
    append(keyed())
    Record.objects.update(data="", digest=None)
    assert offsets(append(keyed())) == [1]
    assert stored() == [(1, "")]


def test_a_repeat_of_a_blob_is_told_by_its_bytes() -> None:
    frame = {"data": "", "publisher": "7", "idempotency_key": "k"}
    assert offsets([one(blob=b"1", **frame), one(blob=b"1", **frame), one(blob=b"2", **frame)]) == [1, 1, "BadRequest"]


# Compare and set


def test_of_two_who_saw_the_same_head_one_wins() -> None:
    first, second = append(Item("a", "1", expect_offset=0), Item("a", "2", expect_offset=0))
    assert offsets([first]) == [1]
    assert isinstance(second, Conflict)
    assert (second.expected, second.head) == (0, 1)
    assert offsets([one(data="2", expect_offset=1)]) == [2]


def test_the_retry_of_a_set_that_was_stored_is_no_conflict() -> None:
    def item() -> Item:
        return Item("a", "1", publisher="7", idempotency_key="k", expect_offset=0)

    assert offsets([*append(item()), *append(Item("a", "2")), *append(item())]) == [1, 2, 1]


# The transaction


def test_a_failed_transaction_leaves_no_trace() -> None:
    append(Item("a", "1"))
    with connection.execute_wrapper(Trouble(OperationalError("no"), "UPDATE realtime_stream")), pytest.raises(DatabaseError):
        append(Item("a", "2"), Item("b", "3"))
    assert (stored("a"), stored("b"), head("a"), head("b")) == ([(1, "1")], [], 1, 0)
    assert offsets(append(Item("a", "2"))) == [2]


def test_it_goes_with_the_transaction_of_its_caller() -> None:
    with transaction.atomic():
        assert offsets(append(Item("a", "1"))) == [1]
        assert stored() == [(1, "1")]
        transaction.set_rollback(True)
    assert (stored(), head("a")) == ([], 0)
    assert offsets(append(Item("a", "2"))) == [1]


def test_items_that_belong_together_leave_no_trace_when_one_is_bad() -> None:
    items = [Item("a", "1", idempotency_key="k"), Item("a", "2", expect_offset=7), Item("no", "3")]
    with pytest.raises(journal.Rejected) as rejected:
        journal.append_together(connections["default"], items)
    assert (rejected.value.index, rejected.value.error.code) == (1, 113)
    assert (stored(), head("a")) == ([], 0)


def batch(count: int, identity: Identity) -> list[Item]:
    return [Item("ab"[number % 2], "1", identity, identity.principal, idempotency_key=str(number)) for number in range(count)]


def test_a_thousand_items_cost_as_many_statements_as_one() -> None:
    Stream.objects.update(readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    alice = person("alice")
    for stream in Stream.objects.all():
        Membership.objects.create(stream=stream, user_id=alice.user_id, role="writer")
    counts = []
    for items in (batch(1, alice), batch(1_000, alice)):
        with CaptureQueriesContext(connection) as queries:
            append(*items)
        counts.append(len([query for query in queries if "SAVEPOINT" not in query["sql"]]))
    # Streams, roles, known keys, the rows, the heads.
    assert counts == [5, 5]
    assert Record.objects.count() == 1_000


def test_a_batch_may_be_for_a_thousand_streams() -> None:
    Stream.objects.bulk_create(Stream(name=f"s{number}") for number in range(1_000))
    assert set(offsets(append(*(Item(f"s{number}", "1") for number in range(1_000))))) == {1}


def plan(sql: str, params: list[Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        return "\n".join(row[-1] for row in cursor.fetchall())


def test_known_keys_are_looked_up_in_the_partial_index() -> None:
    found = plan(journal._KNOWN.format(values="(%s,%s,%s),(%s,%s,%s)"), [1, "7", "k", 2, "7", "l"])
    assert "SEARCH realtime_record USING INDEX record_idempotency (stream_id=? AND publisher=? AND idempotency_key=?)" in found
    assert "SCAN realtime_record" not in found


# What the others hear


def test_the_hint_holds_the_new_records_of_each_stream_in_order() -> None:
    outcomes = append(Item("a", "1"), Item("b", "2"), Item("nowhere", "3"), keyed(data="4"), keyed(data="4"))
    hint = journal.hint_of(outcomes)
    streams = {stream.pk: stream for stream in Stream.objects.all()}
    runs = {streams[run.stream_id].name: run for run in hint.runs}
    assert {name: (run.first, run.head, [record.data for record in run.records]) for name, run in runs.items()} == {
        "a": (1, 2, ["1", "4"]),
        "b": (1, 1, ["2"]),
    }
    assert all(run.epoch == streams[run.stream_id].epoch for run in hint.runs)
    assert hint.events == []


def test_a_process_that_serves_nothing_appends_and_then_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, list[int]]] = []
    monkeypatch.setattr(hints, "send_now", lambda hint: told.append((head("a"), [run.head for run in hint.runs])))
    assert offsets(journal.append_now([Item("a", "1"), Item("a", "2")])) == [1, 2]
    assert told == [(2, [2])]


@pytest.mark.parametrize(
    "sentence, error, fatal",
    [
        ("database or disk is full", StorageFull, False),
        ("database is locked", InternalError, False),
        ("disk I/O error", InternalError, True),
        ("anything else", InternalError, False),
    ],
)
def test_what_a_failed_transaction_means(sentence: str, error: type[WirelogError], fatal: bool) -> None:
    problem = OperationalError(sentence)
    assert type(journal.explain(problem)) is error
    assert journal.is_fatal(problem) == fatal


# Appends without a pause, until it is told that the other one is done.
APPEND = """
import select, sys
import django; django.setup()
from realtime.history import history
from realtime.items import MAX_JSON, MAX_KEY, MAX_TAGS, Item
from realtime.journal import append_now
def append():
    append_now([Item("a", "1", publisher="other"), Item("a", "2", publisher="other")])
append()
print("started", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    append()
append()
"""


@pytest.mark.django_db(transaction=True)
def test_two_processes_that_append_at_once_make_one_dense_order(tmp_path: Path) -> None:
    database = {
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "WIRELOG_DATA": str(tmp_path),
        "WIRELOG_ENV_FILE": os.devnull,
    }
    environment = {**os.environ, **database, "DJANGO_SETTINGS_MODULE": "project.settings"}
    other = subprocess.Popen(
        [sys.executable, "-c", APPEND], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "started\n"
        for _ in range(25):
            core.append("a", "1", "2", publisher="mine")
        other.stdin.close()
        assert other.wait(30) == 0
    theirs, mine = (Record.objects.filter(publisher=publisher).values_list("offset", flat=True) for publisher in ("other", "mine"))
    assert len(mine) == 50
    assert min(theirs) < min(mine) < max(mine) < max(theirs)
    assert sorted([*mine, *theirs]) == list(range(1, head("a") + 1)) == [offset for offset, _ in stored()]
