"""`manage.py apikey`."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError
from django.test import Client
from django.utils import timezone

from realtime import access
from realtime.audit import command_principal
from realtime.models import ApiKey, AuditEntry

from . import desk
from .conftest import Run

pytestmark = pytest.mark.django_db


def test_a_key_is_printed_alone_so_that_a_shell_can_keep_it(run: Run) -> None:
    errors = io.StringIO()
    secret = run("apikey", "create", "pi", "--scope", "iot:*=publish,read", "--scope", "lobby=read", errors=errors).strip()

    identity = desk.identity_of_key(secret)
    assert identity is not None
    assert identity.scopes == (access.Scope("iot:*", frozenset({"read", "publish"})), access.Scope("lobby", frozenset({"read"})))
    assert "shown only now" in errors.getvalue()
    assert secret not in errors.getvalue()


def test_a_key_as_json_has_key_prefix_and_scopes(run: Run) -> None:
    made = json.loads(run("apikey", "create", "pi", "--scope", "iot:*=publish", "--expires", "7", "--json"))

    assert made["key"].startswith(f"{made['prefix']}_")
    assert made["scopes"] == [{"pattern": "iot:*", "actions": ["publish"]}]
    key = ApiKey.objects.get()
    assert key.expires is not None
    assert (key.expires - key.created).days in (6, 7)


def test_a_key_is_audited_without_its_secret(run: Run) -> None:
    secret = run("apikey", "create", "pi", "--scope", "iot:*=publish").strip()

    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.detail) == (command_principal(), "apikey.create", {"scopes": ["iot:*=publish"]})
    assert secret.split("_", 2)[2] not in f"{entry.subject} {entry.detail}"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["pi", "--scope", "iot:*"], "'iot:*' is not a scope: write PATTERN=ACTIONS"),
        (["pi", "--scope", "iot:*=write"], "'write' is not an action of 'iot:*=write': use read, publish, manage."),
        (["pi", "--scope", "iot:*="], "nothing is not an action"),
        (["pi", "--scope", " =read"], "'' is not a pattern"),
        (["pi", "--scope", "a/b=read"], "'a/b' is not a pattern"),
        (["pi", "--scope", "#ana=read"], "'#ana' is not a pattern"),
        (["pi", "--scope", " "], "A key without a scope may do nothing"),
        (["pi"], "the following arguments are required: --scope"),
        (["pi", "--scope", "*=read", "--expires", "0"], "--expires: give 1 to 36500 days"),
        (["pi", "--scope", "*=read", "--expires", "9999999"], "--expires: give 1 to 36500 days"),
        (["pi", "--scope", "*=read", "--publish-rate", "-1"], "publish_rate: Ensure this value is greater than or equal to 0."),
        (["pi", "--scope", "*=read", "--max-connections", "x"], "argument --max-connections: invalid int value: 'x'"),
        ([" ", "--scope", "*=read"], "The name of a key has 1 to 100 characters."),
        (["x" * 101, "--scope", "*=read"], "The name of a key has 1 to 100 characters."),
    ],
)
def test_a_key_that_cannot_be_is_refused_in_a_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as error:
        run("apikey", "create", *arguments)

    assert sentence in str(error.value)
    assert not ApiKey.objects.exists()


def test_a_project_without_time_zones_reads_of_its_keys_too(run: Run, client: Client, settings: Any) -> None:
    settings.USE_TZ = False
    secret = run("apikey", "create", "pi", "--scope", "iot:*=publish", "--expires", "1").strip()
    ends = f"{ApiKey.objects.get().expires:%Y-%m-%d}"
    assert ends in run("apikey", "list")
    assert desk.identity_of_key(secret) is not None
    client.force_login(desk.operator())
    assert ends in client.get("/admin/realtime/apikey/").content.decode()


def test_keys_are_listed_without_their_secrets(run: Run) -> None:
    secret = run("apikey", "create", "pi", "--scope", "iot:*=publish").strip()

    listed, told = run("apikey", "list"), run("apikey", "list", "--json")

    assert listed.splitlines()[1].split() == [f"wl_{ApiKey.objects.get().prefix}", "pi", "usable", "never", "never", "iot:*=publish"]
    assert secret.split("_", 2)[2] not in listed + told
    assert json.loads(told)["state"] == "usable"


def test_a_key_may_have_limits(run: Run) -> None:
    run("apikey", "create", "pi", "--scope", "iot:*=publish", "--publish-rate", "5", "--max-connections", "2")
    assert list(ApiKey.objects.values_list("publish_rate", "max_connections")) == [(5, 2)]


def test_a_rotated_key_is_printed_alone_and_both_secrets_work(run: Run) -> None:
    old = run("apikey", "create", "pi", "--scope", "iot:*=publish").strip()
    errors = io.StringIO()

    new = run("apikey", "rotate", f"wl_{ApiKey.objects.get().prefix}", errors=errors).strip()

    before, after = desk.identity_of_key(old), desk.identity_of_key(new)
    assert before is not None
    assert after is not None
    assert before.principal == after.principal
    assert "The one before it works until" in errors.getvalue()
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.detail) == ("apikey.rotate", {"overlap_seconds": 86_400})
    assert new.split("_", 2)[2] not in f"{entry.subject} {entry.detail} {errors.getvalue()}"


def test_a_rotation_without_an_overlap_asks_first_and_ends_the_old_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    old = run("apikey", "create", "pi", "--scope", "iot:*=publish").strip()
    rotate = ("apikey", "rotate", ApiKey.objects.get().prefix, "--overlap", "0")
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run(*rotate)
    assert desk.identity_of_key(old) is not None

    made = json.loads(run(*rotate, "--noinput", "--json"))

    assert desk.identity_of_key(old) is None
    assert desk.identity_of_key(made["key"]) is not None
    assert made["previous_until"] is None


@pytest.mark.parametrize(
    "ended, overlap, sentence",
    [
        ({}, "-1", "The overlap is 0 to 365 days."),
        ({}, "9000", "The overlap is 0 to 365 days."),
        ({}, "9" * 30, "The overlap is 0 to 365 days."),
        ({"revoked": timezone.now()}, "1", "is revoked: make a new key instead."),
        ({"expires": timezone.now()}, "1", "is expired: make a new key instead."),
    ],
)
def test_a_key_that_cannot_be_rotated_keeps_its_secret(run: Run, ended: dict[str, Any], overlap: str, sentence: str) -> None:
    key, _ = ApiKey.generate(name="pi", scopes=[{"pattern": "*", "actions": ["read"]}], **ended)
    with pytest.raises(CommandError) as error:
        run("apikey", "rotate", key.prefix, "--overlap", overlap, "--noinput")
    assert sentence in str(error.value)
    assert ApiKey.objects.get().digest == key.digest


@pytest.mark.parametrize("written", [lambda key: key.prefix, lambda key: f"wl_{key.prefix}", lambda key: f"wl_{key.prefix}_pasted_whole"])
def test_a_revoked_key_ends_at_once(run: Run, written: Callable[[ApiKey], str]) -> None:
    secret = run("apikey", "create", "pi", "--scope", "iot:*=publish").strip()
    key = ApiKey.objects.get()

    told = run("apikey", "revoke", written(key), "--noinput")

    assert told == f"pi (wl_{key.prefix}) is revoked.\n"
    assert desk.identity_of_key(secret) is None
    assert run("apikey", "revoke", key.prefix, "--noinput").endswith("was revoked already.\n")
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == ["apikey.create", "apikey.revoke"]


@pytest.mark.parametrize("answer, revoked", [("y", True), ("yes", True), ("n", False), ("", False), (None, False)])
def test_revoking_asks_first(run: Run, monkeypatch: pytest.MonkeyPatch, answer: str | None, revoked: bool) -> None:
    run("apikey", "create", "pi", "--scope", "iot:*=publish")
    key = ApiKey.objects.get()

    def respond(question: str) -> str:
        assert "cannot be undone" in question
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", respond)
    if revoked:
        run("apikey", "revoke", key.prefix)
    else:
        with pytest.raises(CommandError, match=r"Nothing was changed|--noinput"):
            run("apikey", "revoke", key.prefix)

    assert (ApiKey.objects.get().revoked is not None) is revoked


def test_an_unknown_key_is_told_without_repeating_a_secret(run: Run) -> None:
    with pytest.raises(CommandError) as error:
        run("apikey", "revoke", "wl_00000000_topsecret", "--noinput")

    assert "no key with the prefix 'wl_00000000'" in str(error.value)
    assert "topsecret" not in str(error.value)
