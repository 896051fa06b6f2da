import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections

from realtime import failpoints
from realtime.errors import InternalError
from realtime.failpoints import NAMES, arm, failpoint
from realtime.group_commit import UNCONFIRMED, Journal
from realtime.items import Item
from realtime.journal import append_batch
from realtime.models import Record, Stream

from .machine import ROOT


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    arm("")


def test_nothing_is_armed_unless_a_test_says_so() -> None:
    assert failpoints._armed == {}
    for name in NAMES:
        failpoint(name)


def test_every_name_is_one_place_in_the_code() -> None:
    code = "".join(path.read_text() for path in (ROOT / "realtime").glob("*.py"))
    assert sorted(re.findall(r'^ *failpoint\("([\w.]+)"\)', code, re.MULTILINE)) == sorted(NAMES)


def test_sleep_waits_each_time_and_only_there() -> None:
    arm("reads.page=sleep:0.02")
    started = time.monotonic()
    failpoint("reads.page")
    failpoint("reads.page")
    failpoint("subscribe.state")
    assert time.monotonic() - started >= 0.04


def test_kill_ends_the_process_at_the_given_pass() -> None:
    code = "from realtime.failpoints import *; arm('reads.page=kill:3'); [print(failpoint('reads.page'), flush=True) for _ in range(9)]"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "None\nNone\n")


@pytest.mark.parametrize(
    "text", ["reads.page", "reads.page=", "reads.pages=kill:1", "reads.page=explode:1", "reads.page=kill:soon", "reads.page=sleep:"]
)
def test_a_mistake_is_told_and_arms_nothing(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(text)):
        arm(f"subscribe.state=sleep:1; {text}")
    assert failpoints._armed == {}


@pytest.mark.django_db(transaction=True)
def test_a_failure_before_the_commit_stores_nothing() -> None:
    Stream.objects.create(name="s")
    arm("journal.before_commit=raise:disk I/O error")
    with pytest.raises(OperationalError, match="disk I/O error"):
        append_batch(connections["default"], [Item("s", "1")])
    assert not Record.objects.exists()
    arm("")
    append_batch(connections["default"], [Item("s", "1")])
    assert Record.objects.count() == 1


@pytest.mark.django_db(transaction=True)
async def test_a_failure_after_the_commit_is_an_unknown_outcome_of_what_is_stored() -> None:
    await Stream.objects.acreate(name="s")
    arm("journal.committed=raise:disk I/O error")
    fatal: list[str] = []
    journal = Journal(lambda blob: None, fatal.append)
    journal.start()
    try:
        with pytest.raises(InternalError):
            await journal.append(Item("s", "1"))
    finally:
        journal.stop()
    assert fatal == [UNCONFIRMED]
    assert await Record.objects.acount() == 1
