"""What clients are told: every sentence, and the policy that the range of each code stands for."""

import inspect

import pytest

from realtime import errors, protocol
from realtime.errors import (
    AlreadySubscribed,
    BadRequest,
    Close,
    Conflict,
    Disconnect,
    InternalError,
    LimitExceeded,
    NotAvailable,
    NotPermitted,
    PayloadTooLarge,
    StorageFull,
    StreamArchived,
    TooManyRequests,
    Unauthorized,
    UnknownMethod,
    UnknownStream,
    Unrecoverable,
    Unsubscribe,
    WirelogError,
)

SENTENCES = [
    (InternalError(), 100, 500, "internal server error: the outcome is unknown, retry with the same idempotency key"),
    (Unauthorized("send an API key"), 101, 401, "unauthorized: send an API key"),
    (UnknownStream("a"), 102, 404, "unknown stream 'a': it does not exist, or you may not read it"),
    (NotPermitted("publish to", "a"), 103, 403, "permission denied: you may not publish to 'a'"),
    (UnknownMethod("fly"), 104, 404, "unknown method 'fly'"),
    (AlreadySubscribed("a"), 105, 400, "already subscribed to 'a' on this connection"),
    (LimitExceeded("streams per connection", 128), 106, 429, "limit exceeded: at most 128 streams per connection"),
    (BadRequest("data", "is missing"), 107, 400, "bad request: data is missing"),
    (NotAvailable("presence is off in 'a'"), 108, 400, "not available: presence is off in 'a'"),
    (TooManyRequests("the journal is full", 1), 111, 429, "too many requests: the journal is full, try again in 1 s"),
    (Unrecoverable("a"), 112, 409, "unrecoverable position in 'a': read it again from the start"),
    (Conflict("a", 3, 5), 113, 409, "conflict: the head of 'a' is 5, not 3"),
    (PayloadTooLarge("a", 20, 10), 413, 413, "payload too large: 20 bytes, 'a' takes at most 10"),
    (StreamArchived("a"), 423, 423, "stream 'a' is archived: it can be read, not written"),
    (StorageFull(), 507, 507, "storage full: nothing was stored, free disk space on the server and try again"),
]
CLOSES = {name: value for name, value in vars(errors).items() if isinstance(value, Close)}
UNSUBSCRIBES = {name: value for name, value in vars(errors).items() if isinstance(value, Unsubscribe)}


@pytest.mark.parametrize("error, code, http_status, sentence", SENTENCES, ids=lambda value: type(value).__name__)
def test_every_error_has_its_code_and_says_what_happened(error: WirelogError, code: int, http_status: int, sentence: str) -> None:
    assert (error.code, error.http_status, str(error)) == (code, http_status, sentence)


def test_the_table_above_leaves_no_error_out() -> None:
    assert {type(error) for error, *_ in SENTENCES} == set(WirelogError.__subclasses__())


def test_every_error_tells_the_documentation_what_it_means() -> None:
    assert [error.code for error, *_ in SENTENCES if not inspect.cleandoc(type(error).__doc__ or "").endswith(".")] == []


def test_only_what_may_work_next_time_is_temporary() -> None:
    assert [error.code for error, *_ in SENTENCES if error.temporary] == [100, 111]


def test_the_tree_in_the_docstring_names_every_error_and_its_code() -> None:
    tree = inspect.getdoc(errors) or ""
    for error, code, *_ in SENTENCES:
        (line,) = [line for line in tree.splitlines() if f"─ {type(error).__name__} " in line]
        assert f" {code}" in line
        assert error.temporary == ("temporary" in line)


def test_codes_are_of_the_ranges_that_clients_understand() -> None:
    # 0-99 are errors of the client itself, 400-1999 are of the application.
    assert all(100 <= error.code <= 113 or 400 <= error.code < 2_000 for error, *_ in SENTENCES)


@pytest.mark.parametrize(
    "name, returns",
    [
        ("SHUTDOWN", True),
        ("SERVER_ERROR", True),
        ("SLOW", True),
        ("NO_PONG", True),
        ("TOO_MANY_REQUESTS", True),
        ("INVALID_TOKEN", False),
        ("BAD_REQUEST", False),
        ("STALE", False),
        ("FORCED", False),
        ("CONNECTION_LIMIT", False),
        ("FOREIGN_ORIGIN", False),
        ("NOT_AVAILABLE", False),
        ("TOO_MANY_ERRORS", False),
        ("SIGNED_OUT", False),
    ],
)
def test_the_range_of_a_close_code_says_whether_the_client_comes_back(name: str, returns: bool) -> None:
    code = CLOSES[name].code
    assert (3_000 <= code < 3_500 or 4_000 <= code < 4_500) == returns
    assert returns or 3_500 <= code < 4_000 or 4_500 <= code < 5_000


@pytest.mark.parametrize(
    "name, again", [("UNSUBSCRIBED", False), ("ACCESS_REVOKED", False), ("STREAM_REMOVED", False), ("INSUFFICIENT_STATE", True)]
)
def test_the_range_of_an_unsubscribe_code_says_whether_the_client_subscribes_again(name: str, again: bool) -> None:
    assert (2_500 <= UNSUBSCRIBES[name].code < 3_000) == again


def test_reasons_are_words_that_fit_a_close_frame_and_no_code_is_used_twice() -> None:
    everything: list[Close | Unsubscribe] = [*CLOSES.values(), *UNSUBSCRIBES.values()]
    assert len({one.code for one in everything}) == len(everything)
    for one in everything:
        # centrifuge-js takes a reason that is JSON apart.
        assert one.reason.replace(" ", "").isalpha()
        assert len(one.reason.encode()) <= 123


def test_a_disconnect_carries_its_close() -> None:
    disconnect = Disconnect(errors.STALE)
    assert (disconnect.close, str(disconnect)) == (errors.STALE, "3502 stale")


def test_an_error_reply_tells_a_temporary_error_from_one_for_good() -> None:
    assert protocol.error_reply(7, TooManyRequests("x", 1)).endswith(',"temporary":true}}')
    assert '"temporary"' not in protocol.error_reply(7, BadRequest("data", "is missing"))
