"""`manage.py namespace`."""

import json
from typing import Any

import pytest
from django.core.management import CommandError

from realtime.audit import command_principal
from realtime.models import AuditEntry, Namespace, Stream
from realtime.namespaces import TEMPLATE_FIELDS

from .conftest import Run
from .core import append, offsets

pytestmark = pytest.mark.django_db

ALL = {
    "create_on_use": ("off", False),
    "kind": ("chart", "chart"),
    "read": ("anyone", "anyone"),
    "write": ("members", "members"),
    "presence": ("no", False),
    "join_leave": ("0", False),
    "delivery": ("newest", "newest"),
    "durable": ("False", False),
    "max_payload": ("1000", 1_000),
    "keep_records": ("10", 10),
    "keep_days": ("0", 0),
    "keep_bytes": ("5", 5),
    "keep_latest": ("YES", True),
}


@pytest.fixture(autouse=True)
def no_namespaces(db: None) -> None:
    Namespace.objects.all().delete()


def test_every_field_of_the_template_can_be_set(run: Run) -> None:
    told = run("namespace", "set", "iot", *(f"{key}={written}" for key, (written, _) in ALL.items()), "--json")

    assert len(ALL) == len(TEMPLATE_FIELDS) + 1
    assert json.loads(told) == {"name": "iot"} | {key: value for key, (_, value) in ALL.items()}
    assert run("namespace", "list", "--json") == told
    namespace = Namespace.objects.get()
    assert (namespace.name, namespace.readers, namespace.writers, namespace.keep_records) == ("iot", "anyone", "members", 10)


def test_what_is_not_given_stays(run: Run) -> None:
    assert run("namespace", "set", "iot", "kind=chart", "keep_days=7") == "iot:* is set. Streams that are there already stay as they are.\n"
    run("namespace", "set", "iot", "keep_days=8")
    assert run("namespace", "set", "iot", "keep_days=8") == "iot:* was so already.\n"

    namespace = Namespace.objects.get()
    assert (namespace.kind, namespace.keep_days, namespace.create_on_use) == ("chart", 8, True)
    entries = AuditEntry.objects.order_by("pk").values_list("actor", "action", "subject", "detail")
    assert list(entries) == [
        (command_principal(), "namespace.create", "iot:*", {"kind": "chart", "keep_days": 7}),
        (command_principal(), "namespace.change", "iot:*", {"keep_days": [7, 8]}),
    ]


@pytest.mark.parametrize("written", ["-", ""])
def test_the_namespace_of_names_without_a_colon_is_a_dash(run: Run, written: str) -> None:
    assert offsets(append("plain", "1")) == ["UnknownStream"]
    run("namespace", "set", written, "kind=raw")
    assert Namespace.objects.get().name == ""
    assert offsets(append("plain", "1") + append("iot:a", "1")) == [1, "UnknownStream"]
    assert run("namespace", "list").splitlines()[1].split()[0] == "-"
    run("namespace", "remove", written, "--noinput")
    assert not Namespace.objects.exists()


def test_the_list_tells_what_a_stream_would_be(run: Run) -> None:
    run("namespace", "set", "iot", "kind=chart", "write=members", "keep_records=100")
    run("namespace", "set", "cursors", "durable=off", "create_on_use=off")
    run("namespace", "set", "all", "keep_days=0")

    rows = [line.split("  ") for line in run("namespace", "list").splitlines()[1:]]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["all", "on first use", "feed", "users", "users", "every", "all"],
        ["cursors", "no", "feed", "users", "users", "every", "nothing"],
        ["iot", "on first use", "chart", "users", "members", "every", "30 days, 100 records"],
    ]


BAD = [
    ("iot", ["colour=red"], "'colour=red' is no setting of a namespace: write KEY=VALUE, with a key of create_on_use, kind, read, write,"),
    ("iot", ["kind"], "'kind' is no setting of a namespace"),
    ("iot", ["readers=users"], "'readers=users' is no setting of a namespace"),
    ("iot", ["kind=table"], "kind is one of feed, chart, latest, image, game, raw, not 'table'."),
    ("iot", ["read=everybody"], "read is one of anyone, users, members, not 'everybody'."),
    ("iot", ["durable=maybe"], "durable is on or off, not 'maybe'."),
    ("iot", ["durable="], "durable is on or off, not ''."),
    ("iot", ["keep_days=-1"], "keep_days is a whole number, 0 or more, not '-1'."),
    ("iot", ["keep_days=1.5"], "keep_days is a whole number"),
    ("iot", ["keep_days=٣"], "keep_days is a whole number"),
    ("iot", [f"keep_records={10**30}"], "keep_records: Ensure this value is less than or equal to"),
    ("iot", ["kind=\x1b[2J"], "not '\\\\u001b[2J'"),
    ("a:b", [], "'a:b' cannot name a namespace"),
    ("#7", [], "'#7' cannot name a namespace"),
    ("../iot", [], "'../iot' cannot name a namespace: use 1 to 64 letters"),
    ("x\n", [], "cannot name a namespace"),
    ("x" * 65, [], "name: Ensure this value has at most 64 characters"),
]


@pytest.mark.parametrize("name, settings, sentence", BAD)
def test_what_makes_no_sense_is_refused_in_a_sentence(run: Run, name: str, settings: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as error:
        run("namespace", "set", name, *settings)
    assert sentence in str(error.value)
    assert (Namespace.objects.count(), AuditEntry.objects.count()) == (0, 0)


def test_one_bad_setting_leaves_the_others_unset(run: Run) -> None:
    run("namespace", "set", "iot", "kind=chart")
    with pytest.raises(CommandError):
        run("namespace", "set", "iot", "kind=feed", "keep_days=x")
    assert Namespace.objects.get().kind == "chart"


def test_a_removed_namespace_keeps_its_streams_and_makes_no_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("namespace", "set", "iot")
    assert offsets(append("iot:a", "1")) == [1]
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("namespace", "remove", "iot")

    assert run("namespace", "remove", "iot", "--noinput") == "iot:* is removed.\n"

    assert offsets(append("iot:a", "2") + append("iot:b", "1")) == [2, "UnknownStream"]
    assert list(Stream.objects.filter(name__startswith="iot").values_list("name", flat=True)) == ["iot:a"]
    assert AuditEntry.objects.latest("pk").action == "namespace.delete"


def test_a_missing_namespace_is_named_with_the_cure(run: Run) -> None:
    with pytest.raises(CommandError, match=r"There is no namespace 'iot'\. See what there is: manage\.py namespace list"):
        run("namespace", "remove", "iot", "--noinput")


def test_a_stream_is_as_its_template_was_on_its_first_use(run: Run) -> None:
    fields: dict[str, Any] = {key: value for key, (_, value) in ALL.items()} | {"create_on_use": True}
    run("namespace", "set", "iot", *(f"{key}={value}" for key, value in fields.items()))
    append("iot:a", "1")
    run("namespace", "set", "iot", "kind=feed", "read=users")
    stream = Stream.objects.get(name="iot:a")
    template = {"readers": "anyone", "writers": "members"} | {key: fields[key] for key in fields.keys() & set(TEMPLATE_FIELDS)}
    assert {field: getattr(stream, field) for field in TEMPLATE_FIELDS} == template
