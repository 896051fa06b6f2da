"""The benchmark measures what it says: its framing, its arithmetic, and above all its eye for what was lost or came twice."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.check import Each, Follower, Log, total
from bench.crew import Crew
from bench.dialects import NUMBER, OFFSET
from bench.field import Field, Measure, Wrong
from bench.plot import ceiling, chart, short
from bench.report import OURS_NAMES, ROWS, Results, machine, markdown, write
from bench.scenarios import fan_out
from bench.servers import OURS, SERVE, Server, make_template
from bench.stats import Schedule, percentile, shares, summary
from bench.wire import CLOSE, PING, TEXT, Frames, client_frame, measure

# Framing


def server_frame(payload: bytes, opcode: int = TEXT, final: bool = True) -> bytes:
    """As a server sends it: not masked."""
    masked = client_frame(payload, opcode)
    start = measure(bytes([masked[0], masked[1] & 0x7F]) + masked[2:], 0)[0]
    return bytes([masked[0] if final else opcode, masked[1] & 0x7F]) + masked[2:start] + payload


def cut(data: bytes, size: int) -> list[tuple[int, bytes]]:
    """The messages in `data` when it comes in pieces of `size`."""
    messages: list[tuple[int, bytes]] = []
    frames = Frames(lambda opcode, payload: messages.append((opcode, bytes(payload))))
    for at in range(0, len(data), size):
        frames.feed(memoryview(data)[at : at + size])
    return messages


@pytest.mark.parametrize("size", [1, 2, 3, 7, 130, 70_000, 1_000_000])
def test_messages_of_every_length_come_out_whole_however_they_are_cut(size: int) -> None:
    sent = [(TEXT, b"a" * length) for length in (0, 1, 125, 126, 127, 65_535, 65_536)] + [(PING, b"x"), (CLOSE, b"\x03\xe8")]
    assert cut(b"".join(server_frame(payload, opcode) for opcode, payload in sent), size) == sent


def test_a_message_in_several_frames_is_one_and_a_ping_may_stand_between() -> None:
    data = server_frame(b"one ", final=False) + server_frame(b"!", PING) + server_frame(b"two", 0)
    assert cut(data, 4) == [(PING, b"!"), (TEXT, b"one two")]


# Percentiles and schedules


@pytest.mark.parametrize("part, expected", [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_percentile_is_a_real_sample(part: float, expected: int) -> None:
    assert percentile(range(1, 101), part) == expected


def test_a_summary_is_in_the_unit_asked_for() -> None:
    assert summary([3_000_000, 1_000_000, 2_000_000], 1e6) == {"p50": 2.0, "p99": 3.0, "max": 3.0}
    assert summary([]) == {}


def test_a_stall_does_not_stretch_the_schedule() -> None:
    """Ten a second, and the sender comes back after a second: what was due meanwhile is late by as much, not forgiven."""
    schedule = Schedule(10, start=0)
    assert schedule.due(0) == [0]
    late = schedule.due(1_000_000_000)
    assert late == [step * 100_000_000 for step in range(1, 11)]
    assert summary([1_000_000_000 - due for due in late], 1e6) == {"p50": 400.0, "p99": 900.0, "max": 900.0}
    assert schedule.wait(1_000_000_000) == pytest.approx(0.1)


def test_nothing_is_left_over_when_shared_out() -> None:
    assert shares(7, 3) == [3, 2, 2]


# What was received


def lines(*offsets: int) -> bytes:
    return b"\n".join(b'{"push":{"pub":{"data":1,"offset":%d}}}' % offset for offset in offsets)


def received(*parts: bytes, before: bytes = b"") -> dict[str, int]:
    """What is said of a subscriber that gets `parts`, after another one of the same stream has got `before`."""
    log = Log(OFFSET)
    if before:
        Follower(log).take(before, 0)
    follower = Follower(log)
    for part in parts:
        follower.take(part, 0)
    return total([follower])


@pytest.mark.parametrize("before", [b"", lines(1, 2, 3, 4, 5, 6), lines(1, 2, 3), lines(1)])
def test_records_in_order_are_counted_wherever_frames_end(before: bytes) -> None:
    assert received(lines(1, 2), lines(3), lines(4, 5, 6), before=before) == {"received": 6, "missing": 0, "repeated": 0, "differs": 0}


@pytest.mark.parametrize("before", [b"", lines(1, 2, 3, 4, 5, 6), lines(1, 2)])
@pytest.mark.parametrize(
    "parts, missing, repeated",
    [
        ([lines(1, 2), lines(4, 5, 6)], 1, 0),
        ([lines(1, 2, 3), lines(3, 4)], 0, 1),
        ([lines(1, 2, 2, 3)], 0, 1),
        ([lines(1, 3, 2, 4)], 1, 1),
    ],
    ids=["gap", "duplicate", "duplicate within a frame", "out of order"],
)
def test_a_gap_and_a_duplicate_are_found(before: bytes, parts: list[bytes], missing: int, repeated: int) -> None:
    counted = received(*parts, before=before)
    assert (counted["missing"], counted["repeated"]) == (missing, repeated)


@pytest.mark.parametrize("part", [lines(1), lines(1, 2)], ids=["known", "known and new"])
def test_another_payload_under_the_same_offset_is_no_match(part: bytes) -> None:
    log = Log(OFFSET)
    Follower(log).take(lines(1), 0)
    follower = Follower(log)
    follower.take(part.replace(b'"data":1', b'"data":2', 1), 0)
    assert follower.differs


def test_a_record_that_is_cut_off_is_no_match() -> None:
    log = Log(OFFSET)
    Follower(log).take(lines(1), 0)
    follower = Follower(log)
    follower.take(lines(1)[:-2], 0)
    assert follower.differs


def test_what_each_publisher_sent_is_counted_by_publisher() -> None:
    reader = Each(NUMBER)
    for publisher, number in ((1, 1), (2, 1), (1, 2), (2, 3), (1, 2)):
        reader.take(b'{"message": {"p": %d, "n": %d}}' % (publisher, number), 0)
    assert total([reader]) == {"received": 5, "missing": 1, "repeated": 1, "differs": 0}


def test_a_delivery_is_timed_from_when_the_record_was_due() -> None:
    log = Log(OFFSET, timed=True)
    first, second = Follower(log), Follower(log)
    record = b'{"data":{"t":1000},"offset":1}'
    first.take(record, 1_500)
    second.take(record, 1_900)
    assert (list(first.samples), list(second.samples)) == ([500], [900])


# The report


def filled(value: float) -> Results:
    results = Results(full=False, machine=machine())
    for name in (*OURS_NAMES, "channels-uvicorn"):
        for row in ROWS:
            results.add(name, Measure(row.name, value, at=row.at))
    return results


def test_a_report_says_which_targets_are_met(tmp_path: Path) -> None:
    results = filled(700.0)
    write(results, tmp_path)
    text = (tmp_path / "report.md").read_text()
    [one_at_a_time] = [line for line in text.splitlines() if line.startswith("| Durable publishes, one at a time")]
    assert one_at_a_time.endswith("| ≥ 600 | yes / yes |")
    [saturated] = [line for line in text.splitlines() if line.startswith("| saturated, by Channels")]
    assert saturated.endswith("| 1 × | ≥ 500 × | **no** |")
    assert (tmp_path / "history.svg").read_text().startswith("<svg")
    assert json.loads((tmp_path / "results.json").read_text())["machine"]["cores"]


@pytest.mark.parametrize("values, judged", [([1, 3, 3], "1 | "), ([1, 4, 3], "0.75 | "), ([4, 1, 4], "0.25 | "), ([4, 4], "")])
def test_a_curve_is_judged_at_its_worst_place_once_it_is_complete(tmp_path: Path, values: list[float], judged: str) -> None:
    results = Results(full=True, machine=machine())
    for place, value in zip((10, 100, 5_000), values, strict=False):
        results.add("uvicorn", Measure("streams", value, at=place))
    write(results, tmp_path)
    lines = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("| Deliveries per CPU second, 10 to")]
    assert [judged in line for line in lines] == [True] * bool(judged)


def test_a_picture_of_a_run_before_goes(tmp_path: Path) -> None:
    write(filled(1.0), tmp_path)
    assert (tmp_path / "memory.svg").exists()
    write(Results(full=False, machine=machine()), tmp_path)
    assert not list(tmp_path.glob("*.svg"))


def test_a_report_tells_what_could_not_be_measured() -> None:
    results = filled(1.0)
    results.failures.append("Rust is left out: cargo is not installed.")
    assert "- Rust is left out: cargo is not installed." in markdown(results, [])


@pytest.mark.parametrize("value, expected", [(1, 1), (1.2, 2), (3, 5), (7_000, 10_000)])
def test_an_axis_ends_at_a_plain_number(value: float, expected: float) -> None:
    assert ceiling(value) == pytest.approx(expected)


def test_a_chart_shows_every_line_by_name() -> None:
    picture = chart("Cost & growth", "subscribers", "a second", {"first": [(10, 1.0), (100, 2.0)], "second": [(10, 3.0), (100, 4.0)]})
    assert "Cost &amp; growth" in picture
    assert picture.count("<circle") == 4
    assert short(1_500_000) == "1.5M"


# A real server


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew() as crew:
        yield crew


@pytest.fixture(scope="module")
def broken(crew: Crew, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """Before a server that keeps its promises in all streams but those of tests/broken.py."""
    folder = tmp_path_factory.mktemp("bench")
    template = make_template(folder / "template", [10])
    kind = replace(OURS[0], command=(sys.executable, "-m", "tests.broken", *SERVE, "uvicorn"))
    with Server(kind, template.copy(folder / "data")) as server:
        yield Field(crew, server, template)


def received_by(crew: Crew) -> int:
    return sum(received for received, _ in crew.each("received"))


def test_a_scenario_runs_against_a_real_server(broken: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broken, "seconds", lambda quick, full: 0.3)
    fan_out(broken, "saturated", 5)
    assert received_by(broken.crew) == 5 * broken.crew.writer.call("published_to")["bench:saturated-5-100"] > 0


@pytest.mark.parametrize(
    "fault, seconds, found",
    [
        ("lost", 0.5, "[123] subscribers have not as many"),
        ("doubled", 60, "1 repeated"),
        ("changed", 60, "[1-9] got other bytes"),
        ("stored", 60, "2 stored twice"),
    ],
)
def test_one_broken_promise_is_found(broken: Field, fault: str, seconds: float, found: str) -> None:
    stream = f"bench:{fault}"
    broken.begin()
    broken.subscribe(3, [stream])
    broken.publishers(2, [stream])
    broken.crew.writer.call("flood", window=10)
    with pytest.raises(Wrong, match=found):
        broken.settle(seconds)


def test_each_stream_of_many_has_its_reader_and_its_share(broken: Field) -> None:
    names = [f"bench:many-{index}" for index in range(40)]
    broken.begin()
    broken.subscribe(40, names)
    broken.publishers(20, names)
    broken.crew.writer.call("flood", window=2)
    broken.settle()
    published = broken.crew.writer.call("published_to")
    assert published.keys() == set(names)
    assert received_by(broken.crew) == published.total()
