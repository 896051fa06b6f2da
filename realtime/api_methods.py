"""The methods of `/api/<method>`. Each takes the engine, who calls, and its request; `access.RIGHTS` has what is needed for it."""

import fnmatch
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec
from django.db.models import Count
from django.utils import timezone

from . import access, audit, operations, protocol, rpc_registry
from .access import Identity
from .api_requests import (
    BroadcastRequest,
    BroadcastResult,
    ChannelInfo,
    ChannelRequest,
    ChannelsRequest,
    ChannelsResult,
    DisconnectRequest,
    Error,
    HistoryRequest,
    InfoRequest,
    InfoResult,
    Node,
    Nothing,
    Publishing,
    PublishRequest,
    PublishResult,
    RefreshRequest,
    Response,
    RpcRequest,
    RpcResult,
    SubscribeRequest,
    UnsubscribeRequest,
)
from .audit import Actor
from .conf import option
from .engine import Engine
from .errors import BadRequest, LimitExceeded, NotAvailable, WirelogError
from .history import history as read_history
from .items import Item, labels_of, payload_of
from .journal import Outcome
from .models import Presence, ServerProcess, Stream
from .presence import fresh
from .presence import presence_stats as stats_of
from .protocol import HistoryResult, PresenceResult, PresenceStatsResult
from .retention import remove_history

# Names in one answer.
MAX_LISTED = 10_000
NOTHING = Nothing()


# publish, broadcast


def _item(identity: Identity, request: PublishRequest) -> Item:
    """The record that `request` asks to append. Raises WirelogError."""
    return Item(request.channel, **_fields(identity, request))


def _fields(identity: Identity, request: Publishing) -> dict[str, Any]:
    """Of an Item, all but the stream."""
    if request.skip_history:
        raise NotAvailable("skip_history: a durable stream keeps every record, publish to an ephemeral stream instead")
    if request.version or request.version_epoch:
        raise NotAvailable("version: records are numbered by their stream, use expect_offset instead")
    return _payload(request) | labels_of(request) | {"identity": identity, "publisher": identity.principal}


def _payload(request: Publishing) -> dict[str, Any]:
    if not request.b64data:
        return {"data": payload_of(request)}
    if request.data:
        raise BadRequest("b64data", "and data are both there: give one of them")
    return {"data": "", "blob": request.b64data, "content_type": request.content_type}


def position(outcome: Outcome) -> PublishResult:
    """Raises the error that the outcome may be."""
    if isinstance(outcome, WirelogError):
        raise outcome
    return PublishResult(outcome.offset, outcome.epoch) if outcome.offset else PublishResult()


async def publish(engine: Engine, identity: Identity, request: PublishRequest) -> PublishResult:
    item = _item(identity, request)
    engine.rates.publish(identity)
    return position(await engine.journal.append(item))


async def broadcast(engine: Engine, identity: Identity, request: BroadcastRequest) -> BroadcastResult:
    fields = _fields(identity, request)
    engine.rates.publish(identity, len(request.channels))
    outcomes = await engine.journal.append_all(Item(channel, **fields) for channel in request.channels)
    return BroadcastResult([_response(outcome) for outcome in outcomes])


def _response(outcome: Outcome) -> Response:
    try:
        return Response(result=position(outcome))
    except WirelogError as error:
        return Response(error=Error(error.code, str(error)))


# presence, history


async def presence(engine: Engine, identity: Identity, request: ChannelRequest) -> PresenceResult:
    return PresenceResult(await engine.presence.seen_by(identity, request.channel))


async def presence_stats(engine: Engine, identity: Identity, request: ChannelRequest) -> PresenceStatsResult:
    return stats_of(await engine.presence.seen_by(identity, request.channel))


async def history(engine: Engine, identity: Identity, request: HistoryRequest) -> HistoryResult:
    since = protocol.Position(request.since.offset, request.since.epoch) if request.since is not None else None
    asked = protocol.HistoryRequest(request.channel, request.limit, since, request.reverse)
    return await engine.reads.run(read_history, identity, asked)


async def history_remove(engine: Engine, identity: Identity, request: ChannelRequest) -> Nothing:
    stream = await engine.reads.run(access.manageable, identity, request.channel)
    # Before the deed, which is many transactions.
    noted = partial(audit.note, Actor(identity.principal, identity.address), "stream.history_remove", stream.name, upto=stream.head)
    await engine.journal.run(noted)
    await remove_history(engine.journal, stream)
    return NOTHING


# channels, info


async def channels(engine: Engine, identity: Identity, request: ChannelsRequest) -> ChannelsResult:
    here = {feed.stream_id: feed.subscribers for feed in engine.hub.feeds.values()}
    return await engine.reads.run(_channels, identity, request.pattern, here, engine.presence.process_id)


def _channels(identity: Identity, pattern: str, here: Mapping[int, int], process_id: uuid.UUID) -> ChannelsResult:
    """The streams that `identity` may know of, with their subscribers: in this process `here`, in others those who are present."""
    matches = re.compile(fnmatch.translate(pattern or "*")).match
    known = Stream.objects.filter(access.listed_for(identity)).values_list("pk", "name")
    listed = {pk: name for pk, name in known if matches(name)}
    if len(listed) > MAX_LISTED:
        raise LimitExceeded("streams in one answer: ask for fewer by a pattern", MAX_LISTED)
    elsewhere = Presence.objects.filter(connection__process__in=ServerProcess.objects.filter(fresh()).exclude(pk=process_id))
    counts = dict(elsewhere.values_list("stream").annotate(Count("pk")))
    return ChannelsResult({name: ChannelInfo(here.get(pk, 0) + counts.get(pk, 0)) for pk, name in listed.items()})


async def info(engine: Engine, identity: Identity, request: InfoRequest) -> InfoResult:
    nodes = await engine.reads.run(_nodes)
    process_id = str(engine.presence.process_id)
    return InfoResult([_this(engine, node) if node.uid == process_id else node for node in nodes])


def _nodes() -> list[Node]:
    """Every process that serves, by what it has written of itself."""
    counts = {
        "clients": Count("connections", distinct=True),
        "users": Count("connections__principal", distinct=True),
        "streams": Count("connections__present__stream", distinct=True),
        "present": Count("connections__present", distinct=True),
    }
    rows = ServerProcess.objects.filter(fresh()).annotate(**counts).order_by("started")
    return [_node(row) for row in rows]


def _node(row: Any) -> Node:
    uptime = int((timezone.now() - row.started).total_seconds())
    return Node(str(row.pk), f"{row.host}_{row.pid}", option("VERSION"), row.clients, row.users, row.streams, row.present, uptime)


def _this(engine: Engine, node: Node) -> Node:
    """This process knows itself better than its rows, which are written behind."""
    feeds = engine.hub.feeds.values()
    return msgspec.structs.replace(
        node,
        num_clients=len(engine.sessions),
        num_channels=sum(not feed.empty for feed in feeds),
        num_subs=sum(feed.subscribers for feed in feeds),
    )


# disconnect, unsubscribe: every process hears of it


async def disconnect(engine: Engine, identity: Identity, request: DisconnectRequest) -> Nothing:
    subject: dict[str, Any] = {"client": request.client, "session": request.session, "whitelist": request.whitelist}
    subject |= {"code": request.disconnect.code, "reason": request.disconnect.reason}
    await engine.journal.run(partial(operations.disconnect, Actor(identity.principal, identity.address), request.user, **subject))
    return NOTHING


async def unsubscribe(engine: Engine, identity: Identity, request: UnsubscribeRequest) -> Nothing:
    stream = await engine.reads.run(access.manageable, identity, request.channel)
    subject = {"client": request.client, "session": request.session}
    await engine.journal.run(partial(operations.unsubscribe, Actor(identity.principal, identity.address), stream, request.user, **subject))
    return NOTHING


# rpc


async def call(engine: Engine, identity: Identity, request: RpcRequest) -> RpcResult:
    return RpcResult(msgspec.Raw(await rpc_registry.call(engine, identity, request.method, request.params)))


# What is not available


async def subscribe(engine: Engine, identity: Identity, request: SubscribeRequest) -> Any:
    raise NotAvailable("subscribe: a client subscribes by itself, to what it may read")


async def refresh(engine: Engine, identity: Identity, request: RefreshRequest) -> Any:
    raise NotAvailable("refresh: a connection lasts as long as its session or its key")


# The table


class Method(NamedTuple):
    summary: str
    request: type[msgspec.Struct]
    result: type[msgspec.Struct]
    run: Callable[[Engine, Identity, Any], Awaitable[msgspec.Struct]]
    # A request that shows what it is for.
    example: dict[str, Any]


COMMANDS: Mapping[str, Method] = {
    "publish": Method(
        "Append one record to a stream. The answer comes after it is on disk.",
        PublishRequest,
        PublishResult,
        publish,
        {"channel": "lobby", "data": {"text": "hello"}},
    ),
    "broadcast": Method(
        "Append the same payload to several streams. One that fails does not keep the others from it.",
        BroadcastRequest,
        BroadcastResult,
        broadcast,
        {"channels": ["lobby", "news"], "data": {"text": "hello"}},
    ),
    "history": Method(
        "One page of a stream's records, and the position of its end.",
        HistoryRequest,
        HistoryResult,
        history,
        {"channel": "lobby", "limit": 10, "reverse": True},
    ),
    "history_remove": Method(
        "Remove the records that a stream has now. Offsets and epoch go on.",
        ChannelRequest,
        Nothing,
        history_remove,
        {"channel": "lobby"},
    ),
    "presence": Method("Who is subscribed to a stream.", ChannelRequest, PresenceResult, presence, {"channel": "lobby"}),
    "presence_stats": Method(
        "How many are subscribed to a stream.", ChannelRequest, PresenceStatsResult, presence_stats, {"channel": "lobby"}
    ),
    "channels": Method(
        "The streams that the key may read or manage, with the number of subscribers.",
        ChannelsRequest,
        ChannelsResult,
        channels,
        {"pattern": "lobby*"},
    ),
    "info": Method("The server processes, and how much they have to do.", InfoRequest, InfoResult, info, {}),
    "disconnect": Method(
        "Close the connections of somebody, in every process.",
        DisconnectRequest,
        Nothing,
        disconnect,
        {"user": "1", "disconnect": {"code": 4501, "reason": "signed out"}},
    ),
    "unsubscribe": Method(
        "End the subscriptions of somebody to a stream, in every process.",
        UnsubscribeRequest,
        Nothing,
        unsubscribe,
        {"user": "1", "channel": "lobby"},
    ),
    "rpc": Method(
        "Call a method of rpc, as the key.",
        RpcRequest,
        RpcResult,
        call,
        {"method": "streams", "params": {}},
    ),
    "subscribe": Method(
        "Not available: it answers error 108.",
        SubscribeRequest,
        Nothing,
        subscribe,
        {"user": "1", "channel": "lobby"},
    ),
    "refresh": Method("Not available: it answers error 108.", RefreshRequest, Nothing, refresh, {"user": "1"}),
}
