"""Every error and every code that a client can meet, in one place.

Three families, each with the policy of its range (protocol: error codes, disconnect codes, unsubscribe codes):

- `WirelogError`: the answer to one command or one item of a batch. The connection goes on.
- `Close`: ends a connection. 3000-3499 and 4000-4499: the client comes back; 3500-3999 and 4500-4999: it does not.
- `Unsubscribe`: ends one subscription. Below 2500 for good; from 2500 on the client subscribes again at once.

    WirelogError
    ├── InternalError       100  temporary: the outcome is unknown, retry with the same key
    ├── Unauthorized        101
    ├── UnknownStream       102  missing, or not readable: the two look the same
    ├── NotPermitted        103  readable, but not for this
    ├── UnknownMethod       104
    ├── AlreadySubscribed   105
    ├── LimitExceeded       106
    ├── BadRequest          107  names the field
    ├── NotAvailable        108
    ├── TooManyRequests     111  temporary
    ├── Unrecoverable       112
    ├── Conflict            113
    ├── PayloadTooLarge     413
    ├── StreamArchived      423
    └── StorageFull         507
    Disconnect              carries a Close
"""

from typing import ClassVar, NamedTuple


class Close(NamedTuple):
    code: int
    reason: str


class Unsubscribe(NamedTuple):
    code: int
    reason: str


SHUTDOWN = Close(3001, "shutdown")
SERVER_ERROR = Close(3004, "internal server error")
SLOW = Close(3008, "slow")
NO_PONG = Close(3012, "no pong")
TOO_MANY_REQUESTS = Close(3013, "too many requests")
INVALID_TOKEN = Close(3500, "invalid token")
BAD_REQUEST = Close(3501, "bad request")
STALE = Close(3502, "stale")
FORCED = Close(3503, "force disconnect")
CONNECTION_LIMIT = Close(3504, "connection limit")
FOREIGN_ORIGIN = Close(3507, "permission denied")
NOT_AVAILABLE = Close(3508, "not available")
TOO_MANY_ERRORS = Close(3509, "too many errors")
SIGNED_OUT = Close(4501, "signed out")

UNSUBSCRIBED = Unsubscribe(2000, "server unsubscribe")
ACCESS_REVOKED = Unsubscribe(2403, "access revoked")
STREAM_REMOVED = Unsubscribe(2404, "stream removed or archived")
INSUFFICIENT_STATE = Unsubscribe(2500, "insufficient state")


# Characters of a name that somebody made up: an answer must not grow with the question.
SHOWN = 128


class Disconnect(Exception):
    """Ends the connection with `close`; raised where a frame or command leaves no other answer."""

    def __init__(self, close: Close) -> None:
        self.close = close
        super().__init__(f"{close.code} {close.reason}")


class WirelogError(Exception):
    """One refused command. `str()` is the sentence that the client gets."""

    code: ClassVar[int]
    http_status: ClassVar[int] = 400
    # A temporary error invites the client to try the same thing again.
    temporary: ClassVar[bool] = False
    # Seconds until the same thing may go better; 0 where nobody can tell.
    retry_after: float = 0


class InternalError(WirelogError):
    """The outcome is unknown: retry with the same idempotency key."""

    code = 100
    http_status = 500
    temporary = True

    def __str__(self) -> str:
        return "internal server error: the outcome is unknown, retry with the same idempotency key"


class Unauthorized(WirelogError):
    """No credential, or one that is wrong, expired or revoked."""

    code = 101
    http_status = 401

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"unauthorized: {self.reason}"


class UnknownStream(WirelogError):
    """The stream is missing, or may not be read: the two look the same."""

    code = 102
    http_status = 404

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(stream)

    def __str__(self) -> str:
        return f"unknown stream {self.stream[:SHOWN]!r}: it does not exist, or you may not read it"


class UnknownRecord(UnknownStream):
    """In a stream that may be read."""

    def __init__(self, stream: str, record: str) -> None:
        self.record = record
        super().__init__(stream)

    def __str__(self) -> str:
        return f"unknown record {self.record[:SHOWN]!r} of {self.stream!r}: it does not exist, or holds no bytes"


class NotPermitted(WirelogError):
    """It may be read, but not for this."""

    code = 103
    http_status = 403

    def __init__(self, action: str, stream: str) -> None:
        self.action = action
        self.stream = stream
        super().__init__(action, stream)

    def __str__(self) -> str:
        return f"permission denied: you may not {self.action} {self.stream[:SHOWN]!r}"


class UnknownMethod(WirelogError):
    """There is no such method."""

    code = 104
    http_status = 404

    def __init__(self, method: str) -> None:
        self.method = method
        super().__init__(method)

    def __str__(self) -> str:
        return f"unknown method {self.method[:SHOWN]!r}"


class AlreadySubscribed(WirelogError):
    """The connection is subscribed to this stream."""

    code = 105

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(stream)

    def __str__(self) -> str:
        return f"already subscribed to {self.stream!r} on this connection"


class LimitExceeded(WirelogError):
    """More than the server keeps or does at once."""

    code = 106
    http_status = 429
    retry_after = 60

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(what, limit)

    def __str__(self) -> str:
        return f"limit exceeded: at most {self.limit} {self.what}"


class BadRequest(WirelogError):
    """A field makes no sense; the message names it."""

    code = 107

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(field, problem)

    def __str__(self) -> str:
        return f"bad request: {self.field} {self.problem}"


class NotAvailable(WirelogError):
    """A feature that is off, or that Wirelog does not have."""

    code = 108

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)

    def __str__(self) -> str:
        return f"not available: {self.what}"


class TooManyRequests(WirelogError):
    """Too fast: try again in a moment."""

    code = 111
    http_status = 429
    temporary = True

    def __init__(self, what: str, retry_after: float) -> None:
        self.what = what
        # Seconds.
        self.retry_after = retry_after
        super().__init__(what, retry_after)

    def __str__(self) -> str:
        return f"too many requests: {self.what}, try again in {max(round(self.retry_after, 1), 0.1):g} s"


class Unrecoverable(WirelogError):
    """The position is of another epoch: read from the start."""

    code = 112
    http_status = 409

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(stream)

    def __str__(self) -> str:
        return f"unrecoverable position in {self.stream!r}: read it again from the start"


class Conflict(WirelogError):
    """The head of the stream is not the expected one."""

    code = 113
    http_status = 409

    def __init__(self, stream: str, expected: int, head: int) -> None:
        self.stream = stream
        self.expected = expected
        self.head = head
        super().__init__(stream, expected, head)

    def __str__(self) -> str:
        return f"conflict: the head of {self.stream!r} is {self.head}, not {self.expected}"


class PayloadTooLarge(WirelogError):
    """The payload, or the whole body, is larger than what is taken."""

    code = 413
    http_status = 413

    def __init__(self, stream: str, size: int, limit: int) -> None:
        self.stream = stream
        self.size = size
        self.limit = limit
        super().__init__(stream, size, limit)

    def __str__(self) -> str:
        return f"payload too large: {self.size} bytes, {self.stream!r} takes at most {self.limit}"


class StreamArchived(WirelogError):
    """The stream can be read, not written."""

    code = 423
    http_status = 423

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(stream)

    def __str__(self) -> str:
        return f"stream {self.stream!r} is archived: it can be read, not written"


class StorageFull(WirelogError):
    """The disk of the server is full: nothing was stored."""

    code = 507
    http_status = 507
    retry_after = 30

    def __str__(self) -> str:
        return "storage full: nothing was stored, free disk space on the server and try again"
