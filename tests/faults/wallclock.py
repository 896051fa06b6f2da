"""The wall clock of a server under test: each SIGUSR1 sets it a day back, then a day ahead, then right again."""

import itertools
import signal
import time
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

DAY_SECONDS = 86_400

_shifts = itertools.cycle((-DAY_SECONDS, DAY_SECONDS, 0))
_shift = 0
_time, _time_ns = time.time, time.time_ns


def install() -> None:
    time.time = lambda: _time() + _shift
    time.time_ns = lambda: _time_ns() + _shift * 1_000_000_000
    timezone.now = lambda: datetime.fromtimestamp(time.time(), UTC)
    signal.signal(signal.SIGUSR1, _jump)


def _jump(number: int, frame: Any) -> None:
    global _shift
    _shift = next(_shifts)
