"""The wire: bytes to commands, results to text. Pure: no Django, no asyncio.

The Centrifuge client protocol, JSON format: one frame holds one or more messages joined by newlines. Payloads stay the bytes that the
sender wrote; they are checked once, by `payload`, and never encoded again, so `1.10` stays `1.10`.
"""

import re
from typing import Annotated, Any, TypeVar

import msgspec

from .errors import BAD_REQUEST, SHOWN, BadRequest, Disconnect, LimitExceeded, Unsubscribe, WirelogError

T = TypeVar("T")

NOTHING = msgspec.Raw(b"")
PING = "{}"
PONGS = frozenset({"{}", b"{}", "{}\n", b"{}\n"})
MAX_DEPTH = 64
# In one frame. A million bytes hold 300,000 of the shortest: decoding those alone would take a quarter of a second.
MAX_COMMANDS = 10_000
MAX_ID = 2**32 - 1
# What a database column holds; a larger number makes no sense anywhere.
Offset = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
# Of one reply. Older Python clients come back for ever after a message of more than 1,048,576 bytes, all that an outbox takes.
MAX_REPLY = 1_000_000
# The tag of a record that takes the payload of another one away.
REDACTS = "redacts"
# Subscribe flag: answer error 112 instead of `recovered: false`.
REJECT_UNRECOVERED = 2


# Requests


class ConnectRequest(msgspec.Struct):
    token: str = ""
    data: msgspec.Raw = NOTHING
    name: str = ""
    version: str = ""


class SubscribeRequest(msgspec.Struct):
    channel: str = ""
    recover: bool = False
    epoch: str = ""
    offset: Offset = 0
    join_leave: bool = False
    flag: int = 0
    delta: str = ""
    type: int = 0


class ChannelRequest(msgspec.Struct):
    """unsubscribe, presence and presence_stats."""

    channel: str = ""


class PublishRequest(msgspec.Struct):
    channel: str = ""
    data: msgspec.Raw = NOTHING
    type: int = 0


class Position(msgspec.Struct):
    offset: Offset = 0
    epoch: str = ""


class HistoryRequest(msgspec.Struct):
    channel: str = ""
    limit: int = 0
    since: Position | None = None
    reverse: bool = False


class RpcRequest(msgspec.Struct):
    method: str = ""
    data: msgspec.Raw = NOTHING


Request = ConnectRequest | SubscribeRequest | ChannelRequest | PublishRequest | HistoryRequest | RpcRequest | msgspec.Raw

# In the order in which the first field present decides.
METHODS = (
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "rpc",
    "send",
    "refresh",
    "sub_refresh",
)


def is_publish(method: str, request: Request) -> bool:
    return method == "publish" or (isinstance(request, RpcRequest) and request.method == "publish")


class Command(msgspec.Struct):
    id: int = 0
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: ChannelRequest | None = None
    publish: PublishRequest | None = None
    presence: ChannelRequest | None = None
    presence_stats: ChannelRequest | None = None
    history: HistoryRequest | None = None
    rpc: RpcRequest | None = None
    send: msgspec.Raw = NOTHING
    refresh: msgspec.Raw = NOTHING
    sub_refresh: msgspec.Raw = NOTHING

    def request(self) -> tuple[str, Request] | None:
        """The method and its request; None for a pong. Disconnects (3501) on an id or method that makes no sense."""
        for method in METHODS:
            request = getattr(self, method)
            if request is not None and request is not NOTHING:
                break
        else:
            if self.id == 0:
                return None
            raise Disconnect(BAD_REQUEST)
        if not 0 <= self.id <= MAX_ID or (self.id == 0 and method != "send"):
            raise Disconnect(BAD_REQUEST)
        return method, request


_commands = msgspec.json.Decoder(Command)


def decode(frame: str | bytes) -> list[Command]:
    """The commands of one frame, in order.

    Raises Disconnect (3501) for an empty frame, for anything that is not newline-joined JSON commands, and for too many of them.
    """
    if (frame.count("\n") if isinstance(frame, str) else frame.count(b"\n")) > MAX_COMMANDS:
        raise Disconnect(BAD_REQUEST)
    try:
        commands = _commands.decode_lines(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Disconnect(BAD_REQUEST) from None
    if not commands:
        raise Disconnect(BAD_REQUEST)
    return commands


def decode_params(raw: msgspec.Raw, params: type[T]) -> T:
    """The parameters of an rpc as the struct `params`. Raises BadRequest, naming the field."""
    try:
        return msgspec.json.decode(bytes(raw) or b"{}", type=params)
    except msgspec.ValidationError as error:
        raise misfit(error, "params") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRequest("params", f"is not JSON: {error}") from None


def misfit(error: msgspec.ValidationError, whole: str) -> BadRequest:
    """What does not fit a struct, in our words: the field, and what it must be. `whole` names what has no field of its own."""
    problem, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").removeprefix(".")
    if unknown := _unknown.search(problem):
        name = unknown[1][:SHOWN] or "a name of no characters"
        return BadRequest(f"{field}.{name}" if field else name, "is not known here")
    if missing := _missing.search(problem):
        return BadRequest(f"{field}.{missing[1]}" if field else missing[1], "is missing")
    says = problem.replace("Expected ", "must be ", 1) if problem.startswith("Expected ") else f"is not right: {problem[:SHOWN]}"
    return BadRequest(field or whole, says)


_missing = re.compile(r"missing required field `(\w+)`")
_unknown = re.compile(r"unknown field `(.*)`", re.DOTALL)


# Payloads

# What costs a walk through the decoded value: an escaped NUL, and a number so long that it may exceed a double.
_suspicious = re.compile(rb"\\u0000|[0-9]{309}")


def payload(raw: bytes | msgspec.Raw, field: str = "data") -> str:
    """One JSON value as the text to store: as sent, without raw newlines.

    Raises BadRequest for what a browser's JSON.parse or PostgreSQL would refuse, or turn into something else: bad UTF-8, NaN, lone
    surrogates, NUL, numbers beyond a double, nesting deeper than 64.
    """
    text = bytes(raw)
    if not text:
        raise BadRequest(field, "is missing")
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise BadRequest(field, f"is nested deeper than {MAX_DEPTH}") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(field, f"is not valid JSON: {error}") from None
    # More brackets than levels allowed is the cheap sign of a deep value: only then is it walked.
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH or _suspicious.search(text):
        _inspect(value, field, MAX_DEPTH)
    if b"\n" in text or b"\r" in text:
        # In valid JSON raw newlines are only white space; on the wire they end a message.
        text = text.translate(None, b"\r\n")
    return text.decode()


def _inspect(value: Any, field: str, levels: int) -> None:
    if isinstance(value, dict | list) and levels == 0:
        raise BadRequest(field, f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for name, item in value.items():
            _inspect(name, field, levels)
            _inspect(item, field, levels - 1)
    elif isinstance(value, list):
        for item in value:
            _inspect(item, field, levels - 1)
    elif isinstance(value, str) and "\0" in value:
        raise BadRequest(field, "contains a NUL character")
    elif isinstance(value, int) and not _is_double(value):
        raise BadRequest(field, "contains a number beyond the range of a double")


def _is_double(value: int) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


# Publications


class Publication(msgspec.Struct, array_like=True, gc=False):
    """A record as it travels: in hints between processes, from pages of the database, into pushes."""

    offset: int
    # The JSON text of the payload.
    data: str
    # Milliseconds since 1970, when it was received.
    time: int
    # The principal that published, and its connection.
    publisher: str = ""
    client: str = ""
    key: str = ""
    removed: bool = False
    # A JSON object of strings, or empty.
    tags: str = ""
    # Milliseconds since 1970, by the clock of whoever measured it.
    device_time: int | None = None


def redacted_offset(tags: str) -> int:
    """The offset of the record that one with `tags` (JSON, or empty) redacts; 0 for every other record."""
    if REDACTS not in tags:
        return 0
    tag = msgspec.json.decode(tags).get(REDACTS, "")
    return int(tag) if tag.isascii() and tag.isdecimal() else 0


def quote(text: str) -> str:
    """`text` as a JSON string."""
    return msgspec.json.encode(text).decode()


def publication(record: Publication) -> str:
    """The Publication message, as it stands in a push and in a history reply."""
    offset = f',"offset":{record.offset}' if record.offset else ""
    # A redacted record has no payload.
    text = f'{{"data":{record.data or "null"}{offset},"time":{record.time}'
    if record.publisher:
        text += f',"info":{{"user":{quote(record.publisher)},"client":{quote(record.client)}}}'
    if record.tags:
        text += f',"tags":{record.tags}'
    if record.key:
        text += f',"key":{quote(record.key)}'
    if record.removed:
        text += ',"removed":true'
    if record.device_time is not None:
        text += f',"device_time":{record.device_time}'
    return text + "}"


def publication_push(channel: str, record: Publication) -> str:
    """`channel` is already quoted: it is the same for every record of a stream."""
    return push(channel, "pub", publication(record))


def push(channel: str, kind: str, body: str) -> str:
    """`channel` and `body` are JSON already."""
    return f'{push_start(channel)}"{kind}":{body}}}}}'


def push_start(channel: str) -> str:
    """What every push of a stream begins with."""
    return f'{{"push":{{"channel":{channel},'


# Results and pushes. Zero values are omitted, but for the fields without a default.


class ClientInfo(msgspec.Struct, omit_defaults=True):
    user: str
    client: str
    # Not a default of bytes: the documentation tells of this struct, too.
    conn_info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ConnectResult(msgspec.Struct, omit_defaults=True):
    client: str
    version: str
    ping: int
    pong: bool
    data: msgspec.Raw = NOTHING


class SubscribeResult(msgspec.Struct, omit_defaults=True):
    recoverable: bool = False
    positioned: bool = False
    epoch: str = ""
    offset: int = 0
    recovered: bool = False
    was_recovering: bool = False
    data: msgspec.Raw = NOTHING


class HistoryResult(msgspec.Struct):
    publications: list[msgspec.Raw]
    epoch: str
    offset: int


class PresenceResult(msgspec.Struct):
    presence: dict[str, ClientInfo]


class PresenceStatsResult(msgspec.Struct):
    num_clients: int
    num_users: int


class RpcResult(msgspec.Struct, omit_defaults=True):
    data: msgspec.Raw = NOTHING


class Empty(msgspec.Struct):
    """unsubscribe and publish: present, with nothing in it."""


Result = ConnectResult | SubscribeResult | HistoryResult | PresenceResult | PresenceStatsResult | RpcResult | Empty

EMPTY = Empty()


def reply(number: int, method: str, result: Result) -> str:
    """Raises LimitExceeded for a result too large to send, such as the presence of 8,000 connections."""
    body = msgspec.json.encode(result)
    if len(body) > MAX_REPLY:
        raise LimitExceeded("bytes in one reply", MAX_REPLY)
    return f'{{"id":{number},"{method}":{body.decode()}}}'


def error_reply(number: int, error: WirelogError) -> str:
    temporary = ',"temporary":true' if error.temporary else ""
    return f'{{"id":{number},"error":{{"code":{error.code},"message":{quote(str(error))}{temporary}}}}}'


def presence_push(channel: str, kind: str, info: str) -> str:
    """`kind` is join or leave."""
    return push(channel, kind, f'{{"info":{info}}}')


def unsubscribe_push(channel: str, unsubscribe: Unsubscribe) -> str:
    return push(channel, "unsubscribe", f'{{"code":{unsubscribe.code},"reason":{quote(unsubscribe.reason)}}}')
