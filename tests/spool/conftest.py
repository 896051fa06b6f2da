import threading
from collections.abc import Iterator

import pytest

from clients import wirelog_spool

from .server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wirelog_spool, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(wirelog_spool, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(wirelog_spool, "REFUSED_PAUSE", 0.01)
