"""One server, with the load generator before it: the steps that scenarios are made of."""

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import crew as crews
from .crew import Crew
from .dialects import DIALECTS, Login
from .servers import SIZES, Server, Template
from .stats import summary

SETTLE_SECONDS = 60.0
# What a checker counts, in words.
FAULTS = {
    "missing": "records missing",
    "repeated": "repeated",
    "disordered": "stored twice or out of order",
    "unequal": "subscribers have not as many as were published",
    "differs": "got other bytes",
}


class Wrong(Exception):
    """What was received is not what should be there: every record once, in order."""


@dataclass(frozen=True)
class Measure:
    """One figure of one server; `at` is where it stands on a curve."""

    name: str
    value: float
    details: dict[str, float] = field(default_factory=dict)
    at: int | None = None


@dataclass
class Window:
    """What happened between two moments."""

    received: float
    seconds: float
    server_cpu: float
    load_cpu: float

    @property
    def rate(self) -> float:
        return self.received / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.received / self.server_cpu if self.server_cpu else 0.0

    @property
    def details(self) -> dict[str, float]:
        return {
            "per_cpu_second": self.per_cpu_second,
            "server_cpu": self.server_cpu / self.seconds,
            "load_cpu": self.load_cpu / self.seconds,
        }


class Field:
    def __init__(
        self, crew: Crew, server: Server, template: Template | None = None, full: bool = False, sizes: Sequence[int] = SIZES
    ) -> None:
        self.crew = crew
        self.server = server
        self.full = full
        # Lengths of the streams `log<length>`, which are there from the start.
        self.sizes = sizes
        self.key = template.key if template else ""
        self.publisher = template.publisher() if template else Login()
        self.readers: Sequence[Login] = template.readers(server.port) if template else [Login()]
        self.lossy = DIALECTS[server.kind.dialect].lossy
        self.window = server.kind.window

    def begin(self) -> None:
        """Nobody is connected any more."""
        self.crew.begin(self.server.kind.dialect, self.server.port)

    def seconds(self, quick: float, full: float) -> float:
        return full if self.full else quick

    # Connections

    def subscribe(self, count: int, streams: Sequence[str], **params: Any) -> dict[str, Any]:
        return self.crew.subscribe(count, streams=streams, logins=self.readers, **params)

    def monitor(self, stream: str) -> None:
        """A subscriber in the process that publishes, which sets its pace: the last to come, wherever in its round the server serves it."""
        answer = self.crew.writer.call("subscribe", streams=[stream], count=1, logins=self.readers)
        if answer["refused"]:
            raise crews.LoadFailed(f"the subscriber of the publishing process was refused: {answer['refused'][0]}")

    def publishers(self, count: int, streams: Sequence[str], size: int = 100) -> None:
        refused = self.crew.writer.call("publishers_open", streams=streams, count=count, login=self.publisher, size=size)
        if refused:
            raise crews.LoadFailed(f"{len(refused)} of {count} publishers were refused, the first: {refused[0]}")

    # Measuring

    def watch(self, seconds: float, warm_up: float = 1.0) -> Window:
        """What the subscribers of the readers receive in `seconds`."""
        time.sleep(warm_up)
        cpu, load, before = self.server.cpu(), self.crew.cpu(), self.crew.each("received")
        time.sleep(seconds)
        after, cpu_after, load_after = self.crew.each("received"), self.server.cpu(), self.crew.cpu()
        got = sum(late - early for (early, _), (late, _) in zip(before, after, strict=True))
        took = statistics.fmean(late - early for (_, early), (_, late) in zip(before, after, strict=True)) / 1e9
        return Window(got, took, cpu_after - cpu, load_after - load)

    def settle(self, seconds: float = SETTLE_SECONDS) -> dict[str, float]:
        """Stop publishing, wait for what is on its way, and look whether everybody got everything once, in order.

        Raises Wrong; of a server that promises nothing it returns what was lost."""
        self.crew.writer.call("stop")
        published = self._published()
        if published["refused"] or published["broken"]:
            raise Wrong(f"{published['refused']} publishes were refused, and these publishers cut off: {published['broken']}")
        return self.check(self.crew.writer.call("published_to"), 2 if self.lossy else seconds)

    def check(self, published: Counter[str], seconds: float = SETTLE_SECONDS) -> dict[str, float]:
        """As `settle`, of records that somebody else has published: so many by stream."""
        found = self.crew.everybody("faults", published=published, seconds=seconds)
        broken = [reason for faults in found for reason in faults["broken"]]
        counts = {name: sum(faults[name] for faults in found) for name in FAULTS}
        heard = {said for faults in found for said in faults["digests"].items()}
        counts["differs"] += len(heard) - len(dict(heard))
        if self.lossy:
            return {"missing": counts["missing"], "closed": len(broken)}
        if broken or any(counts.values()):
            told = ", ".join(f"{counts[name]} {words}" for name, words in FAULTS.items())
            raise Wrong(f"{told}; {len(broken)} connections ended: {broken[:1]}")
        return {}

    def _published(self) -> dict[str, Any]:
        """What was published in all, once it is answered where the server answers."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            published: dict[str, Any] = self.crew.writer.call("published")
            if published["answered"] in (0, published["sent"]) or published["broken"] or time.monotonic() > deadline:
                return published
            time.sleep(0.05)

    def delays(self) -> dict[str, float]:
        """Milliseconds from due to delivered, of what was received since the last call."""
        return summary(crews.joined(self.crew.each("samples")), 1e6)

    def publishing(self, seconds: float, warm_up: float = 0.5) -> tuple[float, dict[str, float]]:
        """Answered publishes a second, and the milliseconds that the answers took."""
        writer = self.crew.writer
        time.sleep(warm_up)
        before, cpu = writer.call("published"), self.server.cpu()
        time.sleep(seconds)
        after, cpu_after = writer.call("published"), self.server.cpu()
        took = (after["now"] - before["now"]) / 1e9
        rate = (after["answered"] - before["answered"]) / took
        return rate, summary(after["samples"], 1e6) | {"server_cpu": (cpu_after - cpu) / took}

    def http(self, requests: Iterable[tuple[str, str, bytes, dict[str, str]]], at_once: int, seconds: float) -> dict[str, Any]:
        """How many requests, how many a second, their milliseconds and the last body. Raises LoadFailed for another status than 200."""
        answer = self.crew.writer.call("http", requests=list(requests), at_once=at_once, seconds=seconds)
        statuses = answer["statuses"]
        if statuses.keys() - {200}:
            raise crews.LoadFailed(f"HTTP answered with {statuses}")
        done = sum(statuses.values())
        return {"done": done, "rate": done / answer["seconds"], "body": answer["body"], **summary(answer["samples"], 1e6)}
