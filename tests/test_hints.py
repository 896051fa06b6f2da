import asyncio
import logging
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from redis.exceptions import RedisError

from realtime import hints
from realtime.hints import Event, Hint, Run, Sender
from realtime.protocol import Publication

from .waiting import eventually


class Layer:
    """Takes broadcasts, refuses them, or hangs."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.error: Exception | None = None
        # Cleared: a send waits.
        self.open = asyncio.Event()
        self.open.set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        assert (group, message["type"]) == ("wirelog", "wirelog.hint")
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.taken.append(message["blob"])


@pytest.fixture
async def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    found = Layer()
    monkeypatch.setattr(hints, "get_channel_layer", lambda: found)
    return found


@pytest.fixture
async def sender(layer: Layer) -> Any:
    found = Sender()
    task = asyncio.create_task(found.run())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run_of(*sizes: int) -> Run:
    records = [Publication(number, f'"{"x" * size}"', 5) for number, size in enumerate(sizes, 1)]
    return Run(1, "epoch", 1, len(sizes), records)


async def test_a_project_that_names_no_layer_has_one_in_memory_whose_members_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_layers, "backends", {})
    found = hints.layer()
    assert isinstance(found, InMemoryChannelLayer)
    assert min(found.expiry, found.group_expiry) > 365 * 24 * 60 * 60
    assert hints.layer() is found


def test_the_layer_of_the_project_goes_before_one_in_memory(layer: Layer) -> None:
    assert hints.layer() is layer


def test_a_hint_comes_out_as_it_went_in() -> None:
    record = Publication(7, '{"a": 1.10}', 5, "3", "client", "key", True, '{"a":"ż"}')
    hint = Hint([Run(1, "epoch", 7, 7, [record])], [Event(2, "join", "{}")])
    assert hints.decode(hints.encode(hint)) == hint


def test_a_large_body_and_what_follows_it_is_left_to_the_database() -> None:
    (run,) = hints.decode(hints.encode(Hint([run_of(10, hints.MAX_BODY, 10)]))).runs
    assert [record.offset for record in run.records] == [1]
    assert (run.first, run.head) == (1, 3)


def test_a_body_of_just_the_limit_travels() -> None:
    (run,) = hints.decode(hints.encode(Hint([run_of(hints.MAX_BODY - 2)]))).runs
    assert len(run.records) == 1


async def test_hints_are_sent_in_order(sender: Sender, layer: Layer) -> None:
    blobs = [bytes([number]) for number in range(50)]
    for blob in blobs:
        sender.announce(blob)
    await eventually(lambda: layer.taken == blobs)


async def test_while_the_layer_hangs_only_the_newest_are_kept(sender: Sender, layer: Layer) -> None:
    layer.open.clear()
    sender.announce(b"first")
    # The first is on its way, and hangs.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(150):
        sender.announce(b"%d" % number)
    layer.open.set()
    await eventually(lambda: layer.taken and layer.taken[-1] == b"149")
    assert layer.taken == [b"first", *(b"%d" % number for number in range(50, 150))]


async def test_a_layer_that_hangs_is_given_up_and_the_next_hint_tried(
    sender: Sender, layer: Layer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hints, "SEND_SECONDS", 0.01)
    layer.open.clear()
    sender.announce(b"lost")
    await eventually(lambda: "takes no broadcasts" in caplog.text)
    layer.open.set()
    sender.announce(b"next")
    await eventually(lambda: layer.taken == [b"next"])


async def test_an_outage_is_said_once_and_the_next_one_again(sender: Sender, layer: Layer, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        layer.error = OSError("gone")
        for _ in range(3):
            sender.announce(b"lost")
        await eventually(lambda: not sender._waiting)
        layer.error = None
        layer.taken.clear()
        sender.announce(b"back")
        await eventually(lambda: layer.taken == [b"back"])
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert ["OSError('gone')" in record.getMessage() for record in warnings] == [True, True]


async def test_who_comes_and_goes_while_a_hint_is_under_way_is_told_in_one(sender: Sender, layer: Layer) -> None:
    layer.open.clear()
    sender.announce(b"held")
    await eventually(lambda: not sender._waiting)
    events = [Event(1, kind, f'{{"n":{number}}}') for number, kind in enumerate(("join", "leave", "join"))]
    for event in events:
        sender.tell(event)
    layer.open.set()
    await eventually(lambda: len(layer.taken) == 2)
    assert hints.decode(layer.taken[1]).events == events


def test_a_process_that_serves_nothing_tells_nobody_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "get_channel_layer", lambda: pytest.fail("asked for a layer"))
    hints.send_now(Hint([run_of(1)]))


async def test_with_redis_it_tells_the_servers_at_once(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    layer = Layer()
    monkeypatch.setattr(hints, "get_channel_layer", lambda: layer)
    settings.WIRELOG = {**settings.WIRELOG, "REDIS_URL": "redis://example"}
    await asyncio.to_thread(hints.send_now, Hint([run_of(1)]))
    await asyncio.to_thread(hints.send_now, Hint())
    assert [hints.decode(blob).runs for blob in layer.taken] == [[run_of(1)]]


async def test_when_redis_is_away_the_records_are_stored_all_the_same(
    monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    layer = Layer()
    layer.error = RedisError("gone")
    monkeypatch.setattr(hints, "get_channel_layer", lambda: layer)
    settings.WIRELOG = {**settings.WIRELOG, "REDIS_URL": "redis://example"}
    await asyncio.to_thread(hints.send_now, Hint([run_of(1)]))
    assert "The broadcast was lost, the records are stored" in caplog.text


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.usefixtures("layer")
async def test_it_ends_when_it_is_cancelled_wherever_that_meets_it(steps: int) -> None:
    sender = Sender()
    task = asyncio.create_task(sender.run())
    await asyncio.sleep(0)
    sender.announce(b"hint")
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled()
