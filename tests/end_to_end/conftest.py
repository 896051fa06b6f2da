from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .servers import KINDS, Fleet, RunningServer, Template, make_template


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A migrated database with the cast of `seed.py`; made once, copied for each server."""
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def make_server(tmp_path: Path, template: Template) -> Iterator[Fleet]:
    """Makes servers: `make_server.new(kind, options, data, NAME=value …)`. They are ended after the test."""
    with Fleet(tmp_path, template) as fleet:
        yield fleet


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    """Each of the two servers."""
    return request.param


@pytest.fixture
def server(make_server: Fleet, kind: str) -> RunningServer:
    """A running server of the test's own."""
    server = make_server.new(kind)
    server.start()
    return server


@pytest.fixture(scope="module", params=KINDS)
def shared_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[RunningServer]:
    """A running server of the whole module, for tests that neither stop it nor mind what is in its streams."""
    with Fleet(tmp_path_factory.mktemp("shared"), template) as fleet:
        server = fleet.new(request.param)
        server.start()
        yield server
