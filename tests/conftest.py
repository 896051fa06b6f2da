import io
import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator

import pytest
from django.core.management import call_command
from django.test import Client as Browser
from hypothesis import HealthCheck, settings

from project.users.models import User
from realtime.engine import Engine
from realtime.models import Kind, Stream

from .cast import Cast, Queries, everyone
from .core import Client, api_key, running
from .plainhttp import Door
from .settings import FOLDER

REQUIRE_ALL = "WIRELOG_REQUIRE_ALL"

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them every server that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time where everything must run; new ones elsewhere. How long they take to make is no matter.
settings.register_profile(
    "wirelog", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=os.environ.get(REQUIRE_ALL) == "1"
)
settings.load_profile("wirelog")

Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    """Runs a command and returns what it printed as its result."""

    def run(*arguments: str, errors: io.StringIO | None = None) -> str:
        out = io.StringIO()
        call_command(*arguments, stdout=out, stderr=errors or io.StringIO())
        return out.getvalue()

    return run


@pytest.fixture(autouse=True)
def no_highwater() -> None:
    """A test whose database was emptied would be taken for a foreign restore by the next one."""
    (FOLDER / "highwater").unlink(missing_ok=True)


# The core and its doors


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    """A module says by one of its own who there is, and in which streams."""
    return {}


@pytest.fixture
async def engine(cookies: dict[str, str]) -> AsyncIterator[Engine]:
    async with running() as found:
        yield found


@pytest.fixture
async def alice(engine: Engine, cookies: dict[str, str]) -> Client:
    """Connected by her cookie."""
    return await Client(engine, cookies["alice"]).connect()


@pytest.fixture
def door(transactional_db: None) -> Iterator[Door]:
    with Door().opened() as found:
        yield found


@pytest.fixture
def key(transactional_db: None) -> dict[str, str]:
    """The header of a program that may do what plain HTTP is for."""
    return {"X-API-Key": api_key("*", "publish", "read")}


# Pages


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana", password="ana-ana-1", first_name="Ana", last_name="Nowak")


@pytest.fixture
def mika() -> User:
    return User.objects.create_user("mika", password="mika-mika-1", first_name="Mika", last_name="Sato")


@pytest.fixture
def page(client: Browser, ana: User) -> Browser:
    """The browser of ana."""
    client.force_login(ana)
    return client


@pytest.fixture
def lobby() -> Stream:
    return Stream.objects.get_or_create(name="lobby", defaults={"title": "Lobby", "kind": Kind.FEED})[0]


# The access matrix


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return everyone()


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> Queries:
    return Queries(monkeypatch)


# Nothing is skipped where everything must run


def must_run(report: pytest.CollectReport | pytest.TestReport) -> None:
    """Where everything must run, a test that did not is a test that failed."""
    if os.environ.get(REQUIRE_ALL) == "1" and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_ALL}=1, but: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    must_run(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    must_run(report)
    return report
