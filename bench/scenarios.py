"""What is measured. Each scenario is a function that is given a running server and yields figures; the table at the end names them."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .field import Field, Measure, Wrong
from .http import Request
from .stats import summary

PAYLOAD = 100
BATCH = 100
# Records in a page.
PAGE = 100


# Fan-out


def fan_out(field: Field, name: str, subscribers: int, size: int = PAYLOAD) -> Measure:
    """50 publishers that never wait for one answer before the next record."""
    stream = f"bench:{name}-{subscribers}-{size}"
    field.begin()
    field.subscribe(subscribers, [stream])
    field.publishers(50, [stream], size)
    field.monitor(stream)
    field.crew.writer.call("circulate", window=max(50, field.window * 50 * PAYLOAD // size))
    # One broadcast to a thousand takes the stock way seconds.
    window = field.watch(field.seconds(12, 15), 3.0) if field.lossy else field.watch(field.seconds(3, 6))
    lost = field.settle()
    return Measure(name, window.rate, window.details | lost)


def saturated(field: Field) -> Iterator[Measure]:
    yield fan_out(field, "saturated", 1_000)


def trickle(field: Field) -> Iterator[Measure]:
    field.begin()
    field.subscribe(1_000, ["bench:trickle"])
    field.publishers(1, ["bench:trickle"])
    field.monitor("bench:trickle")
    field.crew.writer.call("circulate", window=1)
    window = field.watch(field.seconds(3, 6))
    yield Measure("trickle", window.rate, window.details | field.settle())


def subscribers(field: Field) -> Iterator[Measure]:
    for count in (100, 300, 1_000, 2_000, 5_000):
        measure = fan_out(field, "subscribers", count)
        yield Measure("subscribers", measure.details["per_cpu_second"], measure.details | {"rate": measure.value}, count)


def payloads(field: Field) -> Iterator[Measure]:
    for size in (100, 1_000, 10_000, 100_000):
        measure = fan_out(field, "payloads", 100, size)
        yield Measure("payloads", measure.value * size / 1e6, measure.details | {"rate": measure.value}, size)


def streams(field: Field) -> Iterator[Measure]:
    """The same 2,000 records a second over more and more streams, each with one subscriber.

    There are 5,000 connections always, which hear nothing where they are too many: what pings cost is no cost of streams."""
    for count in (10, 100, 1_000, 5_000):
        names = [f"bench:streams-{count}-{index}" for index in range(count)]
        field.begin()
        field.subscribe(count, names)
        field.subscribe(5_000 - count, ["bench:silent"])
        field.publishers(20, names)
        field.crew.writer.call("steady", rate=2_000)
        # By then each stream has had a record.
        window = field.watch(field.seconds(3, 6), warm_up=3.0)
        field.settle()
        yield Measure("streams", window.per_cpu_second, window.details | {"rate": window.rate}, count)


# Publishes


def publish_one(field: Field) -> Iterator[Measure]:
    yield from _publishes(field, "publish-one", publishers=1, window=1)


def publish_pipelined(field: Field) -> Iterator[Measure]:
    yield from _publishes(field, "publish-20", publishers=20, window=100)


def _publishes(field: Field, name: str, publishers: int, window: int) -> Iterator[Measure]:
    field.begin()
    field.subscribe(1, [f"bench:{name}"])
    field.publishers(publishers, [f"bench:{name}"])
    field.crew.writer.call("flood", window=window)
    rate, details = field.publishing(field.seconds(2, 5))
    field.settle()
    yield Measure(name, rate, details)
    yield Measure(f"{name}-p50", details["p50"], details)


def publish_http(field: Field) -> Iterator[Measure]:
    """One by one, a hundred at once, and a hundred in a batch, of which each record counts."""
    data = {"value": 1, "pad": "x" * 70}
    one = call(field, "publish", {"channel": "bench:http", "data": data})
    lines = (json.dumps({"data": data}, separators=(",", ":")) + "\n").encode() * BATCH
    batch = ("POST", "/api/streams/bench:http/records", lines, {"X-API-Key": field.key, "Content-Type": "application/x-ndjson"})
    field.begin()
    field.subscribe(1, ["bench:http"])
    stored: Counter[str] = Counter()
    for name, request, at_once, records in (("http-one", one, 1, 1), ("http-100", one, 100, 1), ("http-batch", batch, 1, BATCH)):
        answer = field.http([request], at_once, field.seconds(1.5, 4))
        stored["bench:http"] += answer["done"] * records
        field.check(stored)
        yield Measure(name, answer["rate"] * records, percentiles(answer))


def call(field: Field, method: str, params: dict[str, Any]) -> Request:
    """A request to `/api/<method>`."""
    return "POST", f"/api/{method}", json.dumps(params).encode(), {"X-API-Key": field.key, "Content-Type": "application/json"}


def percentiles(answer: dict[str, Any]) -> dict[str, float]:
    return {part: answer[part] for part in ("p50", "p99", "max")}


# Latency


def latency(field: Field) -> Iterator[Measure]:
    for count, rate in ((100, 100), (1_000, 20)):
        stream = f"bench:latency-{count}"
        field.begin()
        field.subscribe(count, [stream], timed=True)
        field.publishers(1, [stream])
        field.crew.writer.call("steady", rate=rate)
        time.sleep(1)
        field.delays()
        time.sleep(field.seconds(3, 10))
        delays = field.delays()
        field.settle()
        yield Measure(f"latency-{count}-p50", delays["p50"], delays)
        yield Measure(f"latency-{count}-p99", delays["p99"], delays)


# Connections


def connect(field: Field) -> Iterator[Measure]:
    """As many as the server takes, 50 at a time, by people who are signed in."""
    field.begin()
    cpu = field.server.cpu()
    answer = field.subscribe(1_000, ["bench:connect"], at_once=25)
    details = summary(answer["samples"], 1e6) | {"cpu_ms_each": field.server.cpu() - cpu}
    yield Measure("connect", 1_000 / answer["seconds"], details)


def memory(field: Field) -> Iterator[Measure]:
    """Resident memory that idle, subscribed, signed-in connections add.

    None is closed in between: what a process gives back it keeps for the next, which then would seem to need less."""
    field.begin()
    # What the server needs once, it has then.
    field.subscribe(100, ["bench:memory"])
    time.sleep(2)
    before, there = field.server.memory(), 0
    for count in (1_000, 5_000, 10_000) if field.full else (1_000,):
        field.subscribe(count - there, ["bench:memory"])
        there = count
        time.sleep(3)
        yield Measure("memory", (field.server.memory() - before) / count / 1024, at=count)
    field.check(Counter())


def storm(field: Field) -> Iterator[Measure]:
    """5,000 clients come back at once, each 100 records behind."""
    stream = "bench:storm"
    field.begin()
    field.subscribe(1, [stream])
    field.publishers(1, [stream])
    field.crew.writer.call("flood", window=10)
    while field.crew.writer.call("published")["answered"] < 200:
        time.sleep(0.01)
    field.settle()
    head = int(field.crew.writer.call("published")["answered"])
    field.begin()
    cpu, started = field.server.cpu(), time.monotonic()
    field.subscribe(5_000, [stream], at_once=500, since=("", head - 100))
    connected = time.monotonic() - started
    field.check(Counter({stream: 100}))
    took = time.monotonic() - started
    yield Measure("storm", took, {"connected_seconds": connected, "server_cpu": (field.server.cpu() - cpu) / took})


def presence(field: Field) -> Iterator[Measure]:
    """Who is here, in a stream that 5,000 have subscribed to."""
    field.begin()
    field.subscribe(5_000, ["bench:presence"])
    answer = field.http([call(field, "presence", {"channel": "bench:presence"})], 1, 5)
    expect("clients", len(json.loads(answer["body"])["result"]["presence"]), 5_000)
    yield Measure("presence", answer["p50"], percentiles(answer))


# Reading


def history(field: Field) -> Iterator[Measure]:
    """Pages of 100 from the middle of longer and longer streams, and a chart of a thousand points of all that is there."""
    field.begin()
    for size in field.sizes:
        middle = size // 2
        params = {"channel": f"log{size}", "limit": PAGE, "since": {"offset": middle, "epoch": ""}}
        pages = field.http([call(field, "history", params)], 1, field.seconds(1, 2))
        offsets = [record["offset"] for record in json.loads(pages["body"])["result"]["publications"]]
        expect("offsets", offsets, list(range(middle + 1, middle + 1 + PAGE)))
        yield Measure("history", pages["p50"], percentiles(pages), size)
    for size in field.sizes:
        params = {"stream": f"log{size}", "fields": ["value"]}
        series = field.http([call(field, "rpc", {"method": "series", "params": params})], 1, field.seconds(1, 2))
        [values] = json.loads(series["body"])["result"]["data"]["fields"].values()
        expect("records in the points", sum(values["count"]), size)
        yield Measure("series", series["p50"], percentiles(series), size)


def page(field: Field) -> Iterator[Measure]:
    login = field.readers[0]
    cookie = dict(line.split(": ", 1) for line in login.headers.splitlines())["Cookie"]
    field.begin()
    for view in ("feed", "raw"):
        request = ("GET", f"/s/log1000/?view={view}", b"", {"Cookie": cookie})
        field.http([request], 1, 0.5)
        answer = field.http([request], 1, field.seconds(1.5, 3))
        expect("records", answer["body"].count(b' id="o'), PAGE)
        yield Measure(f"page-{view}", answer["p50"], percentiles(answer))


def expect(what: str, found: object, wanted: object) -> None:
    """Raises Wrong when an answer is not what was asked for."""
    if found != wanted:
        raise Wrong(f"{what}: {found} instead of {wanted}")


@dataclass(frozen=True)
class Scenario:
    run: Callable[[Field], Iterator[Measure]]
    title: str
    # Peers can do it too.
    peers: bool = False
    # Too long for the quick benchmark.
    full: bool = False
    # It reads streams of up to a million records.
    long_streams: bool = False


SCENARIOS = {
    "saturated": Scenario(saturated, "saturated durable fan-out", peers=True),
    "trickle": Scenario(trickle, "trickle fan-out", peers=True),
    "publish-one": Scenario(publish_one, "durable publishes, one at a time"),
    "publish-20": Scenario(publish_pipelined, "durable publishes, 20 pipelining"),
    "publish-http": Scenario(publish_http, "publishes by HTTP"),
    "latency": Scenario(latency, "latency at fixed rates"),
    "connect": Scenario(connect, "connect and subscribe"),
    "memory": Scenario(memory, "memory per connection"),
    "storm": Scenario(storm, "resume storm"),
    "history": Scenario(history, "history and charts of long streams", long_streams=True),
    "page": Scenario(page, "page render"),
    "presence": Scenario(presence, "presence of 5,000", full=True),
    "subscribers": Scenario(subscribers, "cost by subscribers", full=True),
    "payloads": Scenario(payloads, "cost by payload", full=True),
    "streams": Scenario(streams, "cost by streams", full=True),
}
