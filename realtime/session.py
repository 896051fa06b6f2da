"""One connection: who speaks, what they may, in what order. It knows no socket: frames come in by `receive`, and go out by its outbox.

Commands run strictly in order, one after another. Publishes are pipelined: they are queued in the journal at once, only their commit is
not awaited, and the reply follows it.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec
from django.db import DatabaseError

from . import namespaces, protocol, rpc_methods, rpc_registry
from .access import Identity
from .attention import Attention
from .callers import Caller
from .conf import limit, option
from .credentials import Credential
from .cursor import Pending, Subscription
from .engine import Engine
from .errors import (
    ACCESS_REVOKED,
    BAD_REQUEST,
    CONNECTION_LIMIT,
    NOT_AVAILABLE,
    SERVER_ERROR,
    SHUTDOWN,
    SIGNED_OUT,
    SLOW,
    STALE,
    STREAM_REMOVED,
    AlreadySubscribed,
    Close,
    Disconnect,
    InternalError,
    LimitExceeded,
    NotAvailable,
    NotPermitted,
    UnknownStream,
    Unsubscribe,
    WirelogError,
)
from .history import history
from .identify import identify
from .in_flight import InFlight
from .items import Item
from .journal import Outcome
from .models import Stream
from .outbox import Outbox
from .presence import Member, presence_stats
from .protocol import EMPTY, ChannelRequest, ConnectRequest, HistoryRequest, PublishRequest, Result, RpcRequest, SubscribeRequest
from .pump import Pump
from .rates import Conduct
from .resume import open_feed, result_of, start_of

# Commands of one frame after which everybody else has a turn.
TURN = 100


class Session:
    def __init__(self, engine: Engine, caller: Caller, wake: Callable[[], None], abort: Callable[[], None]) -> None:
        self.engine = engine
        self.caller = caller
        self.client = str(uuid.uuid4())
        # None before connect.
        self.identity: Identity | None = None
        # What was shown at connect; None for anonymous. And when it was last read, spread so that a crowd is not read at once.
        self.credential: Credential | None = None
        self.checked = engine.loop.time() - random.uniform(0, limit("RECHECK_SECONDS"))
        # As others see it; None before connect.
        self.member: Member | None = None
        self.outbox = Outbox(engine.limits, wake)
        self.pump = Pump(self.outbox, engine.hub.replay.step, engine.hub.end)
        self.in_flight = InFlight(engine, self.client)
        # By stream name. And whether one of them is under way.
        self.subscriptions: dict[str, Subscription | Pending] = {}
        self.subscribing = False
        # What each was when it was subscribed to.
        self._streams: dict[Subscription, Stream] = {}
        # When each stream was last told to start over, by its id: the hub's.
        self.resets: dict[int, float] = {}
        # Why the connection ends, once it does, and when that was decided.
        self.closing: Close | None = None
        self._closed_at = 0.0
        self._opened_at = self.heard = engine.loop.time()
        self.attention = Attention(engine.loop.time)
        # A failed connect leaves the connection unusable.
        self._connect_seen = False
        self._wake = wake
        self._abort = abort
        self._gone = asyncio.Event()
        self._conduct = Conduct(engine.rates, caller.address)
        engine.sessions.add(self)
        if engine.draining:
            self.close(SHUTDOWN)
        elif not engine.seats.room_for(len(engine.sessions)):
            self.close(CONNECTION_LIMIT)

    # In

    async def receive(self, frame: str | bytes) -> None:
        """Run the commands of one frame, in order."""
        self.heard = self.engine.loop.time()
        if frame in protocol.PONGS:
            self.outbox.pong(self.heard)
            return
        with self.attention.turned_away():
            await self._run_all(frame)
        # Replies first: what is replayed could keep them waiting behind slow handlers of the client.
        self.pump.start()

    async def _run_all(self, frame: str | bytes) -> None:
        try:
            for number, command in enumerate(protocol.decode(frame), 1):
                if self.closing is None:
                    await self._run(command)
                if self._connect_seen and self.identity is None:
                    # The connect has failed, on which the rest of its frame counts: the client is to try all of it again.
                    break
                if number % TURN == 0:
                    await asyncio.sleep(0)
        except Disconnect as disconnect:
            self.close(disconnect.close)

    async def _run(self, command: protocol.Command) -> None:
        request = command.request()
        if request is None:
            self.outbox.pong(self.engine.loop.time())
            return
        method, body = request
        if (method == "connect") == self._connect_seen or (method != "connect" and self.identity is None):
            raise Disconnect(BAD_REQUEST)
        try:
            if self.identity is not None:
                self._conduct.admit(self.identity, method, body)
            namespaces.check_name("channel", getattr(body, "channel", ""))
            result = await self._handlers[method](self, command.id, body)
            answer = None if result is None else protocol.reply(command.id, method, result)
        except WirelogError as error:
            self._refuse(command.id, error)
        except DatabaseError:
            self._refuse(command.id, InternalError())
        else:
            if answer is not None and self.closing != SIGNED_OUT:
                self._control(answer)

    # connect

    async def _connect(self, number: int, request: ConnectRequest) -> None:
        self._connect_seen = True
        self.credential, identity = await identify(self.engine, self.caller, request.token)
        interval = self.engine.limits.ping_seconds
        self.engine.seats.take(identity, self.engine.sessions)
        self.identity = identity
        self.member = Member(self.client, identity.principal, identity.label, identity.user_id, self.caller.address, self.caller.agent)
        self.engine.presence.connected(self.member)
        self.engine.presence.key_used(identity.principal)
        # Spread, so that those who came together are not pinged together for ever.
        self.outbox.start_pings(self.engine.loop.time() + random.uniform(interval / 2, interval))
        data = msgspec.json.encode({"user": identity.principal, "name": identity.label})
        result = protocol.ConnectResult(self.client, option("VERSION"), int(interval), True, msgspec.Raw(data))
        self._control(protocol.reply(number, "connect", result))

    @property
    def _who(self) -> Identity:
        assert self.identity is not None
        return self.identity

    # subscribe, unsubscribe

    async def _subscribe(self, number: int, request: SubscribeRequest) -> None:
        name = request.channel
        self._check_subscribe(request)
        # Registered before access is read, so that a revocation in between has something to end.
        self.subscriptions[name] = pending = Pending()
        self.subscribing = True
        try:
            stream, feed = await open_feed(self.engine, self._who, request)
            self._check_still_wanted(name, pending)
            position = start_of(request, stream, feed)
        except BaseException:
            self.subscriptions.pop(name, None)
            raise
        finally:
            self.subscribing = False
        # No await from here to the reply: the feed must not move in between.
        subscription = self.engine.hub.subscribe(feed, self, position, request.join_leave and stream.join_leave)
        self.subscriptions[name] = pending.opened = subscription
        self._streams[subscription] = stream
        self._control(protocol.reply(number, "subscribe", result_of(request, stream, subscription.feed, position)))
        if self.member is not None:
            self.engine.presence.subscribed(self.member, stream)

    def _check_subscribe(self, request: SubscribeRequest) -> None:
        if not request.channel or request.delta not in ("", "fossil"):
            raise Disconnect(BAD_REQUEST)
        if request.type:
            raise NotAvailable(f"subscription type {request.type}")
        if request.channel in self.subscriptions:
            raise AlreadySubscribed(request.channel)
        if len(self.subscriptions) >= limit("STREAMS_PER_CONNECTION"):
            raise LimitExceeded("streams per connection", limit("STREAMS_PER_CONNECTION"))

    def _check_still_wanted(self, name: str, pending: Pending) -> None:
        """After the last await: what has happened to the connection or to its right meanwhile?"""
        if self.closing is not None:
            raise Disconnect(self.closing)
        if pending.ended is not None:
            raise UnknownStream(name) if pending.ended in (ACCESS_REVOKED, STREAM_REMOVED) else NotPermitted("read", name)

    async def _unsubscribe(self, number: int, request: ChannelRequest) -> Result:
        if not request.channel:
            raise Disconnect(BAD_REQUEST)
        subscription = self.subscriptions.pop(request.channel, None)
        if isinstance(subscription, Subscription):
            self.engine.hub.unsubscribe(subscription)
            self._left(subscription)
        return EMPTY

    def end(self, name: str, unsubscribe: Unsubscribe) -> None:
        """End the subscription to the stream `name`, also one that is still under way."""
        subscription = self.subscriptions.get(name)
        if isinstance(subscription, Subscription):
            self.engine.hub.end(subscription, unsubscribe)
        elif subscription is not None:
            subscription.ended = unsubscribe

    def judge(self, name: str, asked: Subscription | Pending, verdict: Stream | Unsubscribe) -> None:
        """What the right to read the stream `name` has become; `asked` is the subscription that it was read for."""
        if isinstance(asked, Pending):
            if verdict == STREAM_REMOVED:
                # It may be about to create the stream, and reads for itself whether there is one.
                return
            # It may have begun meanwhile, by what was read before the change.
            asked = asked.opened or asked
        if self.closing is not None or self.subscriptions.get(name) is not asked:
            return
        if isinstance(verdict, Unsubscribe):
            self.end(name, verdict)
        elif isinstance(asked, Subscription) and verdict.archived is not None and self._streams[asked].archived is None:
            self.end(name, STREAM_REMOVED)

    def ended(self, subscription: Subscription, unsubscribe: Unsubscribe) -> None:
        """The hub has ended `subscription`."""
        stream = self._streams.get(subscription)
        if stream is not None and self.subscriptions.get(stream.name) is subscription:
            del self.subscriptions[stream.name]
            self._left(subscription)
            if unsubscribe == ACCESS_REVOKED:
                self.outbox.forget(protocol.push_start(subscription.feed.channel))
            self._control(protocol.unsubscribe_push(subscription.feed.channel, unsubscribe))

    def _left(self, subscription: Subscription) -> None:
        stream = self._streams.pop(subscription)
        if self.member is not None:
            self.engine.presence.unsubscribed(self.member, stream)

    # publish

    async def _publish(self, number: int, request: PublishRequest) -> None:
        if not request.channel:
            raise Disconnect(BAD_REQUEST)
        if request.type:
            raise NotAvailable(f"publish type {request.type}")
        item = Item(request.channel, protocol.payload(request.data))
        await self.in_flight.publish(item, self._who, self.checked, partial(self._published, number))

    async def _rpc(self, number: int, request: RpcRequest) -> Result | None:
        if request.method != "publish":
            data = await rpc_registry.call(self.engine, self._who, request.method, request.data)
            return protocol.RpcResult(msgspec.Raw(data))
        item = rpc_methods.publish_item(request.data)
        await self.in_flight.publish(item, self._who, self.checked, partial(self._rpc_published, number))
        return None

    def _published(self, number: int, outcome: Outcome) -> None:
        self.in_flight.land()
        if isinstance(outcome, WirelogError):
            self._refuse(number, outcome)
        else:
            self._control(f'{{"id":{number},"publish":{{}}}}')

    def _rpc_published(self, number: int, outcome: Outcome) -> None:
        self.in_flight.land()
        if isinstance(outcome, WirelogError):
            self._refuse(number, outcome)
        else:
            self._control(f'{{"id":{number},"rpc":{{"data":{rpc_methods.published(outcome)}}}}}')

    # presence, history, the rest

    async def _presence(self, number: int, request: ChannelRequest) -> Result:
        return protocol.PresenceResult(await self.engine.presence.seen_by(self._who, request.channel))

    async def _presence_stats(self, number: int, request: ChannelRequest) -> Result:
        return presence_stats(await self.engine.presence.seen_by(self._who, request.channel))

    async def _history(self, number: int, request: HistoryRequest) -> Result:
        return await self.engine.reads.run(history, self._who, request)

    async def _send(self, number: int, request: msgspec.Raw) -> None:
        raise Disconnect(NOT_AVAILABLE)

    async def _refresh(self, number: int, request: msgspec.Raw) -> None:
        # Nothing here expires by a token that the client could renew.
        raise Disconnect(BAD_REQUEST)

    async def _sub_refresh(self, number: int, request: msgspec.Raw) -> None:
        raise NotAvailable("subscriptions do not expire")

    _handlers: dict[str, Callable[[Any, int, Any], Coroutine[Any, Any, Result | None]]] = {
        "connect": _connect,
        "subscribe": _subscribe,
        "unsubscribe": _unsubscribe,
        "publish": _publish,
        "presence": _presence,
        "presence_stats": _presence_stats,
        "history": _history,
        "rpc": _rpc,
        "send": _send,
        "refresh": _refresh,
        "sub_refresh": _sub_refresh,
    }

    # Out

    @property
    def finished(self) -> bool:
        """Whether a closing connection has nothing more to say. What was published with good right is answered first."""
        return self.closing is not None and (self.closing not in (SHUTDOWN, SIGNED_OUT) or self.in_flight.empty)

    def _refuse(self, number: int, error: WirelogError) -> None:
        self._control(protocol.error_reply(number, error))
        if (close := self._conduct.after(error)) is not None:
            self.close(close)

    def _control(self, line: str) -> None:
        if not self.outbox.control(line):
            self.close(SLOW)

    def tick(self, now: float) -> None:
        """Turned by the engine's wheel."""
        if self.closing is not None:
            if now - self._closed_at > limit("ABORT_SECONDS"):
                self._abort()
            return
        close = self.outbox.tick(now)
        if close is not None and self.attention.may_have_missed(now):
            close = None
        if self.identity is None and self.attention.running_since is None and now - self._opened_at > limit("CONNECT_SECONDS"):
            close = STALE
        if self.identity is not None and self.identity.expires is not None and time.time() >= self.identity.expires:
            close = SIGNED_OUT
        if close is not None:
            self.close(close)

    def close(self, close: Close) -> None:
        """End the connection; the first reason counts."""
        if self.closing is None:
            self.closing = close
            self._closed_at = self.engine.loop.time()
            # What is queued still goes; what is not, the client asks for when it is back.
            self.pump.stop()
            self._detach()
            self.in_flight.close()
            self._wake()

    def _detach(self) -> None:
        """Nothing more is delivered."""
        for subscription in list(self._streams):
            self.engine.hub.unsubscribe(subscription)
            self._left(subscription)

    def leave(self) -> None:
        """The connection is gone: forget it everywhere."""
        if self._gone.is_set():
            return
        self._gone.set()
        self.close(SERVER_ERROR)
        self.engine.sessions.discard(self)
        self.subscriptions.clear()
        if self.member is not None and self.identity is not None:
            self.engine.presence.disconnected(self.member)
            self.engine.seats.leave(self.identity)

    async def gone(self) -> None:
        await self._gone.wait()
