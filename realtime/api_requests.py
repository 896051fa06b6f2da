"""What `/api/<method>` takes and gives. A limit stands here once: decoding checks it, OpenAPI and the documentation page tell it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

from .errors import BadRequest
from .frames import REASON_BYTES
from .items import MAX_CONTENT_TYPE, MAX_KEY, MAX_TAGS
from .protocol import Offset

# Each bounds what one request may cost; more of them go into several requests.
MAX_CHANNELS = 1_000
MAX_COMMANDS = 1_000
MAX_CLIENTS = 1_000
MAX_PRINCIPAL = 200

# The end is spelled so that a newline after it does not pass in Python either.
STREAM_NAME = r"^(#[1-9][0-9]{0,17}|[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127})$(?!\n)"
MEDIA_TYPE = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *; *[A-Za-z0-9_.-]+=[A-Za-z0-9_.+-]+)*$(?!\n)"
ASCII = r"^[ -~]+$(?!\n)"
# What an error says in place of an expression.
WORDS = {
    STREAM_NAME: "must be a stream name: 1 to 128 of A-Z a-z 0-9 _ . : -, of which . : - cannot be first; or # and the id of a user",
    MEDIA_TYPE: "must be a media type, such as image/png",
    ASCII: "must be printable ASCII",
}

Channel = Annotated[str, Meta(pattern=STREAM_NAME, description="Name of a stream.")]
Client = Annotated[str, Meta(max_length=36, description="Only this connection, by its client id.")]
Connection = Annotated[str, Meta(max_length=36, description="Only this connection, by its session id.")]
Principal = Annotated[
    str, Meta(min_length=1, max_length=MAX_PRINCIPAL, description="Whose: the id of a user, or `key:<prefix>` for an API key.")
]
Tag = Annotated[str, Meta(max_length=MAX_KEY)]


def in_words(error: BadRequest) -> BadRequest:
    for expression, words in WORDS.items():
        if repr(expression) in error.problem:
            return BadRequest(error.field, words)
    return error


class Publishing(Struct, kw_only=True):
    """What publish and broadcast have in common."""

    data: Annotated[Raw, Meta(description="The payload: any JSON value, kept as it is written. Either this or `b64data`.")] = field(
        default_factory=Raw
    )
    b64data: Annotated[bytes, Meta(description="Bytes, in base64. JSON clients get a reference to them.")] = b""
    content_type: Annotated[str, Meta(pattern=MEDIA_TYPE, max_length=MAX_CONTENT_TYPE, description="What the bytes are.")] = (
        "application/octet-stream"
    )
    tags: Annotated[dict[Tag, Tag], Meta(max_length=MAX_TAGS, description="Strings that go with the record.")] = field(default_factory=dict)
    idempotency_key: Annotated[
        str, Meta(max_length=MAX_KEY, description="A repeat with the same key stores nothing and gets the position of the first record.")
    ] = ""
    key: Annotated[str, Meta(max_length=MAX_KEY, description="What the record is about, for the latest per key.")] = ""
    removed: Annotated[bool, Meta(description="Ends the key: it is gone from the latest, its history stays.")] = False
    device_time: Annotated[Offset, Meta(description="When it was measured, in milliseconds since 1970.")] | None = None
    expect_offset: Annotated[Offset, Meta(description="Refused (113) unless this is the offset of the newest record.")] | None = None
    skip_history: Annotated[bool, Meta(description="Not available: whether records are kept is up to the stream.")] = False
    delta: Annotated[bool, Meta(description="Accepted, and without effect.")] = False
    version: Annotated[Offset, Meta(description="Not available: use `expect_offset`.")] = 0
    version_epoch: Annotated[str, Meta(max_length=MAX_KEY, description="Not available, like `version`.")] = ""


class PublishRequest(Publishing, kw_only=True):
    channel: Channel


class BroadcastRequest(Publishing, kw_only=True):
    # Plain strings: a wrong name fails alone, and the others are stored.
    channels: Annotated[list[str], Meta(min_length=1, max_length=MAX_CHANNELS, description="Names of streams; each gets the record.")]


class ChannelRequest(Struct):
    channel: Channel


class Since(Struct):
    """A position: the records after it are meant, or in reverse those before it."""

    offset: Offset = 0
    epoch: Annotated[str, Meta(max_length=MAX_KEY)] = ""


class HistoryRequest(Struct):
    channel: Channel
    limit: Annotated[int, Meta(description="Records at most; 0 asks for the position only, a negative number for a whole page.")] = 0
    since: Since | None = None
    reverse: Annotated[bool, Meta(description="Newest first.")] = False


class SubscribeRequest(Struct):
    user: Principal
    channel: Channel


class UnsubscribeRequest(Struct):
    user: Principal
    channel: Channel
    client: Client = ""
    session: Connection = ""


class DisconnectReason(Struct):
    """A close code of an application, and its reason."""

    code: Annotated[int, Meta(ge=3000, le=4999, description="From 3500 and from 4500 on the client does not come back.")] = 3503
    reason: Annotated[str, Meta(pattern=ASCII, max_length=REASON_BYTES)] = "force disconnect"


class DisconnectRequest(Struct):
    user: Principal
    client: Client = ""
    session: Connection = ""
    whitelist: Annotated[list[Client], Meta(max_length=MAX_CLIENTS, description="Connections that stay, by client id.")] = field(
        default_factory=list
    )
    disconnect: DisconnectReason = field(default_factory=DisconnectReason)


class RefreshRequest(Struct):
    user: Principal


class ChannelsRequest(Struct):
    pattern: Annotated[str, Meta(max_length=MAX_KEY, description="A glob: `*`, `?` and `[abc]`. Empty for every stream.")] = ""


class InfoRequest(Struct):
    """Nothing."""


class RpcRequest(Struct):
    method: Annotated[str, Meta(min_length=1, max_length=MAX_KEY, description="Name of a method of rpc.")]
    params: Annotated[Raw, Meta(description="Its parameters, as a JSON object.")] = field(default_factory=Raw)


class BatchRequest(Struct):
    # Raw, so that a command of the wrong shape fails alone.
    commands: Annotated[
        list[Raw], Meta(min_length=1, max_length=MAX_COMMANDS, description='Each `{"<method>": {…}}`; they run in this order.')
    ]
    parallel: Annotated[bool, Meta(description="Accepted, and without effect: publishes share a transaction anyway.")] = False


# Results


class Nothing(Struct):
    """Done; there is nothing to tell."""


class PublishResult(Struct, omit_defaults=True):
    """Where the record is. Nothing for an ephemeral stream, which has no offsets."""

    offset: Annotated[int, Meta(description="Its place in the stream.")] = 0
    epoch: Annotated[str, Meta(description="Within which the offset holds.")] = ""


class Error(Struct):
    code: int
    message: str


class ErrorAnswer(Struct):
    error: Error


class Response(Struct, omit_defaults=True):
    """One of the two."""

    result: PublishResult | None = None
    error: Error | None = None


class BroadcastResult(Struct):
    """One response for each channel, in order."""

    responses: list[Response]


class ChannelInfo(Struct):
    num_clients: int


class ChannelsResult(Struct):
    channels: dict[str, ChannelInfo]


class Node(Struct):
    """A server process."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_channels: int
    num_subs: int
    uptime: Annotated[int, Meta(description="Seconds.")]


class InfoResult(Struct):
    nodes: list[Node]


class RpcResult(Struct):
    data: Raw


class BatchResult(Struct):
    """One reply for each command, in order: `{"<method>": {…}}` or `{"error": {…}}`."""

    replies: list[Any]


class Publication(Struct, kw_only=True):
    """A record, as history tells it. Only the documentation makes one of these: what is sent is `protocol.publication`."""

    data: Annotated[Raw, Meta(description="The payload, as it was published.")]
    offset: int
    time: Annotated[int, Meta(description="When it was received, in milliseconds since 1970.")]
    info: dict[str, Any] = msgspec.field(default_factory=dict)
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    key: str = ""
    removed: bool = False
