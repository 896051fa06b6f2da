"""Whatever comes in is understood or refused by an error of ours; whatever goes out is one line of JSON, and is read back as it was."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from realtime import api, hints, protocol, stream_write, times
from realtime.access import ANONYMOUS
from realtime.errors import BAD_REQUEST, SHOWN, BadRequest, Disconnect, UnknownStream, Unsubscribe
from realtime.hints import Event, Hint, Run
from realtime.items import Item
from realtime.outbox import Batch, Limits, Outbox
from realtime.protocol import Command, Publication, PublishRequest, RpcRequest
from realtime.rpc_methods import LatestParams, MarkReadParams, NamesParams, PublishParams, SeriesParams
from realtime.stream_api import ROUTES
from realtime.stream_request import MAX_PARAMETERS, parse_query

from .frames import messages, taken
from .generated import TEXTS, bodies, fitting, spoiled, written

# Strings that mean something to a decoder.
WORDS = ("lobby", "room:1", "#1", "", "a/b", "k" * 300, "publish", "true", "7", "-1", "2026-01-01T00:00:00Z", "a=%FF", "a=1, b=2")
PARAMS = (PublishParams, LatestParams, SeriesParams, MarkReadParams, NamesParams)
# What UTF-8 can hold: that is what a decoder lets in.
TEXT = st.text(max_size=20)


# In


def attempt(reading: Callable[..., Any], *args: Any) -> Any:
    """What it returns, or the error of ours that it raises. Any other is a failure."""
    try:
        return reading(*args)
    except (BadRequest, Disconnect) as error:
        return error


COMMANDS = written(fitting(Command, WORDS))
FRAMES = st.lists(COMMANDS, min_size=1, max_size=4).map(b"\n".join)


def commands_of(frame: str | bytes) -> list[str]:
    """The methods of a frame, with everything decoded that a session would decode."""
    found = []
    for command in protocol.decode(frame):
        if (asked := command.request()) is not None:
            method, request = asked
            found.append(method)
            decode_insides(request)
    return found


def decode_insides(request: Any) -> None:
    if isinstance(request, RpcRequest):
        for params in PARAMS:
            assert_read(attempt(protocol.decode_params, request.data, params), params)
    elif isinstance(request, PublishRequest):
        assert_read(attempt(protocol.payload, request.data), str)


def assert_read(found: Any, as_type: Any) -> None:
    """Or refused, with the name of the field; the answer does not grow with what was wrong."""
    assert isinstance(found, as_type) or (found.field and len(str(found)) < 4 * SHOWN)


@settings(max_examples=600)
@given(FRAMES | spoiled(FRAMES) | bodies(Command, WORDS) | st.lists(TEXTS, max_size=3).map(b"\n".join))
def test_a_frame_is_commands_or_a_bad_request(frame: bytes) -> None:
    for sent in (frame, frame.decode("utf-8", "replace"), frame.decode("latin-1"), frame.decode("utf-8", "surrogateescape")):
        found = attempt(commands_of, sent)
        assert found.close == BAD_REQUEST if isinstance(found, Disconnect) else set(found) <= {*protocol.METHODS}


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(1, protocol.MAX_ID), TEXT, st.booleans(), st.integers(0, 2**63 - 1)), min_size=1, max_size=5))
def test_what_a_client_means_is_what_is_understood(meant: list[tuple[int, str, bool, int]]) -> None:
    commands = [
        {"id": number, "subscribe": {"channel": channel, "recover": recover, "offset": offset}}
        for number, channel, recover, offset in meant
    ]
    found = [(command.id, command.request()) for command in protocol.decode("\n".join(map(json.dumps, commands)))]
    understood = [(number, request[1]) for number, request in found if request is not None]
    assert [(number, one.channel, one.recover, one.offset) for number, one in understood] == meant  # type: ignore[union-attr]


@pytest.mark.parametrize("params", PARAMS)
def test_parameters_of_rpc_fit_or_their_field_is_named(params: type[msgspec.Struct]) -> None:
    @settings(max_examples=100)
    @given(bodies(params, WORDS))
    def decode(raw: bytes) -> None:
        assert_read(attempt(protocol.decode_params, msgspec.Raw(raw), params), params)

    decode()


@pytest.mark.parametrize("method", api.METHODS)
def test_the_body_of_a_method_fits_or_its_field_is_named(method: str) -> None:
    request = api.METHODS[method].request

    @settings(max_examples=100)
    @given(bodies(request, WORDS))
    def decode(body: bytes) -> None:
        assert_read(attempt(api.decode, body, request), request)

    decode()


@pytest.mark.parametrize("query", dict.fromkeys(route.query for route in ROUTES))
def test_a_query_fits_or_its_parameter_is_named(query: type[msgspec.Struct]) -> None:
    names = st.sampled_from([*query.__struct_fields__, "other"]) | TEXT
    pairs = st.lists(st.tuples(names, st.sampled_from(WORDS) | TEXT), max_size=MAX_PARAMETERS + 2)
    texts = pairs.map(lambda found: "&".join(f"{name}={value}" for name, value in found).encode()) | st.binary(max_size=40)

    @settings(max_examples=100)
    @given(texts)
    def parse(text: bytes) -> None:
        assert_read(attempt(parse_query, text, query), query)

    parse()


READERS = [stream_write._flag, stream_write._tags, stream_write._time, stream_write._number]


@settings(max_examples=400)
@given(st.sampled_from(WORDS) | TEXT | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{1,15}([+-][0-9:]{1,9}|Z)?", fullmatch=True))
def test_a_header_is_read_or_named(text: str) -> None:
    for reader in READERS:
        found = attempt(reader, "Header", text)
        assert not isinstance(found, BadRequest) or found.field == "Header"
    time = times.milliseconds(text)
    assert time is None or times.iso(time)


@settings(max_examples=200)
@given(bodies(stream_write.Envelope, WORDS))
def test_a_line_of_a_batch_is_an_item_or_a_bad_request(line: bytes) -> None:
    assert_read(stream_write._item("room", ANONYMOUS, line), Item)


# Out


def kept(raw: bytes) -> str | None:
    found = attempt(protocol.payload, raw)
    return found if isinstance(found, str) else None


PAYLOADS = TEXTS.map(kept).filter(lambda data: data is not None)
OFFSETS = st.integers(0, 2**63 - 1)
RECORDS = st.builds(
    Publication,
    offset=OFFSETS,
    data=PAYLOADS,
    time=OFFSETS,
    publisher=TEXT,
    client=TEXT,
    key=TEXT,
    removed=st.booleans(),
    tags=st.dictionaries(TEXT, TEXT, max_size=3).map(lambda tags: json.dumps(tags, ensure_ascii=False) if tags else ""),
    device_time=st.none() | OFFSETS,
)


def read_line(line: str) -> Any:
    """What a client makes of it. One that splits at every line separator of Unicode must not be led astray, either."""
    assert "\n" not in line
    assert "\r" not in line
    assert msgspec.json.decode(line.encode()) is not None
    return json.loads(line)


@settings(max_examples=300)
@given(TEXT, RECORDS)
def test_a_push_is_one_line_that_says_what_the_record_says(channel: str, record: Publication) -> None:
    push = read_line(protocol.publication_push(protocol.quote(channel), record))["push"]
    assert push["channel"] == channel
    said = push["pub"]
    assert said["data"] == json.loads(record.data)
    info = said.get("info", {"user": "", "client": record.client})
    assert (info["user"], info["client"]) == (record.publisher, record.client)
    assert said.get("tags", {}) == (json.loads(record.tags) if record.tags else {})
    rest = asdict(record)
    for field, default in (("offset", 0), ("time", None), ("key", ""), ("removed", False), ("device_time", None)):
        assert said.get(field, default) == rest[field]
    assert protocol.redacted_offset(record.tags) >= 0


@settings(max_examples=200)
@given(st.integers(1, protocol.MAX_ID), TEXT, st.integers(2000, 2999))
def test_an_answer_is_one_line(number: int, text: str, code: int) -> None:
    for error in (BadRequest(text, text), UnknownStream(text)):
        reply = read_line(protocol.error_reply(number, error))
        assert (reply["id"], reply["error"]["code"], reply["error"]["message"]) == (number, error.code, str(error))
    ended = read_line(protocol.unsubscribe_push(protocol.quote(text), Unsubscribe(code, text)))["push"]
    assert ended == {"channel": text, "unsubscribe": {"code": code, "reason": text}}
    info = protocol.ClientInfo(text, text)
    results: list[protocol.Result] = [
        protocol.ConnectResult(text, text, 25, True),
        protocol.PresenceResult({text: info}),
        protocol.HistoryResult([msgspec.Raw(b"1")], text, 3),
        protocol.SubscribeResult(True, True, text, number),
        protocol.RpcResult(msgspec.Raw(protocol.quote(text).encode())),
    ]
    for result in results:
        assert read_line(protocol.reply(number, "m", result)) == {"id": number, "m": json.loads(msgspec.json.encode(result))}


# Between processes


@settings(max_examples=150)
@given(
    st.lists(st.builds(Run, st.integers(1, 9), TEXT, OFFSETS, OFFSETS, st.lists(RECORDS, max_size=3)), max_size=3),
    st.lists(st.builds(Event, st.integers(1, 9), st.sampled_from(["join", "leave", "pub"]), TEXT), max_size=3),
)
def test_a_hint_comes_out_as_it_went_in(runs: list[Run], events: list[Event]) -> None:
    assert hints.decode(hints.encode(Hint(runs, events))) == Hint(runs, events)


@settings(max_examples=150)
@given(st.lists(st.integers(0, 2 * hints.MAX_BODY), max_size=6))
def test_a_hint_carries_what_stands_before_the_first_large_body(sizes: list[int]) -> None:
    records = [Publication(number, "x" * size, 5) for number, size in enumerate(sizes, 1)]
    (found,) = hints.decode(hints.encode(Hint([Run(1, "e", 1, len(sizes), records)]))).runs
    large = next((index for index, size in enumerate(sizes) if size > hints.MAX_BODY), len(sizes))
    assert found.records == records[:large]
    assert (found.first, found.head) == (1, len(sizes))


# Batches and frames

LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30), min_size=1, max_size=30)


@settings(max_examples=200)
@given(LINES, st.integers(1, 200))
def test_a_batch_is_split_into_parts_that_hold_all_of_it(lines: list[str], size: int) -> None:
    batch = Batch(lines)
    parts = list(batch.split(size))
    assert [line for part in parts for line in messages(part)] == lines
    assert sum(part.size for part in parts) == batch.size == sum(len(line.encode()) + 1 for line in lines)
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        assert part.size <= size or part.count == 1
        # No part could have taken the next message as well.
        assert following is None or part.size + following.ends[0] > size


@settings(max_examples=200)
@given(LINES, st.data())
def test_the_longest_run_that_fits_is_found(lines: list[str], data: st.DataObject) -> None:
    batch = Batch(lines)
    start = data.draw(st.integers(0, batch.count))
    room = data.draw(st.integers(0, batch.size + 10))
    sizes = [len(line.encode()) + 1 for line in lines]
    fits = [end for end in range(start, batch.count + 1) if sum(sizes[start:end]) <= room]
    assert batch.fitting(start, room) == fits[-1]
    if fits[-1] > start:
        assert messages(batch.part(start, fits[-1])) == lines[start : fits[-1]]


STEPS = st.lists(
    st.tuples(st.sampled_from(["offer", "control", "take", "pong"]), st.lists(st.integers(1, 400), min_size=1, max_size=5)), max_size=60
)


@settings(max_examples=300)
@given(STEPS, st.integers(1, 600), st.integers(1, 3_000))
def test_an_outbox_sends_what_it_took_once_and_in_order(steps: list[tuple[str, list[int]]], frame: int, most: int) -> None:
    outbox = Outbox(Limits(outbox_bytes=most, frame_bytes=frame), lambda: None)
    outbox.start_pings(1e9)
    took: list[str] = []
    sent: list[str] = []
    for number, (step, sizes) in enumerate(steps):
        lines = [f"{number}.{index}".ljust(size, "x") for index, size in enumerate(sizes)]
        if step == "offer":
            before, batch = outbox.waiting, Batch(lines)
            if outbox.offer(batch):
                took += lines
            else:
                assert (outbox.waiting, before + batch.size > most) == (before, True)
        elif step == "control":
            outbox.control(lines[0])
            took.append(lines[0])
        elif step == "pong":
            outbox.pong(number)
        elif (text := taken(outbox, number)) is not None:
            sent += check_frame(text, frame)
        assert outbox.waiting == sum(len(line) + 1 for line in took) - sum(len(line) + 1 for line in sent)
        assert sent == took[: len(sent)]
    while (text := taken(outbox, len(steps))) is not None:
        sent += check_frame(text, frame)
        outbox.pong(len(steps))
    assert (sent, outbox.waiting) == (took, 0)


def check_frame(text: str, most: int) -> list[str]:
    """The messages in it, without the ping."""
    lines = [line for line in text.split("\n") if line != protocol.PING]
    assert len(lines) <= 1 or sum(len(line) + 1 for line in lines) <= most
    return lines
