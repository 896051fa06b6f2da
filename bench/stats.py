"""Exact percentiles, and schedules that no stall of the server can stretch."""

import math
import time
from collections.abc import Sequence


def percentile(ordered: Sequence[float], part: float) -> float:
    """The smallest of the sorted samples that at least `part` of them (0 to 1) do not exceed. Nearest rank: always a real sample."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def summary(samples: Sequence[float], scale: float = 1.0) -> dict[str, float]:
    """p50, p99 and max, each divided by `scale`; empty without samples."""
    if not samples:
        return {}
    ordered = sorted(samples)
    return {name: percentile(ordered, part) / scale for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def shares(count: int, among: int) -> list[int]:
    """`count` things, as evenly as it goes."""
    return [count // among + (index < count % among) for index in range(among)]


class Schedule:
    """When each of a steady row of sends is due.

    Latency is counted from then, not from when the sender got round to it: a server that stalls for a second delays a second's worth of
    sends, and each of them waited (coordinated omission).
    """

    def __init__(self, rate: float, start: int | None = None) -> None:
        self._step = 1e9 / rate
        self.start = time.monotonic_ns() if start is None else start
        self.sent = 0

    def due(self, now: int) -> list[int]:
        """The times of all sends that are due at `now`, oldest first, each told once."""
        count = int((now - self.start) / self._step) + 1 - self.sent
        times = [self.start + round((self.sent + index) * self._step) for index in range(count)]
        self.sent += len(times)
        return times

    def wait(self, now: int) -> float:
        """Seconds until the next."""
        return max(0.0, (self.start + self.sent * self._step - now) / 1e9)
