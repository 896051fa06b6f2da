"""The servers of the end-to-end tests serve here too."""

import json
from collections.abc import Iterator

import pytest

from ..end_to_end.conftest import kind, make_server, template
from ..end_to_end.servers import Fleet
from .host import ENV, Host, NewHost, reports

__all__ = ["kind", "make_server", "new_host", "template"]


@pytest.fixture
def new_host(make_server: Fleet, kind: str) -> NewHost:
    """Makes a host of the test's own, on each of the two servers: `new_host(NAME=value …)` for `async with`."""

    def new_host(**env: str) -> Host:
        return Host(make_server.new(kind, (), None, **ENV | env))

    return new_host


@pytest.fixture(autouse=True)
def counts(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test counted goes into the report of the run (`run.py`)."""
    reports.clear()
    yield
    request.node.user_properties += [("counts", json.dumps(report.numbers())) for report in reports]
