import json
from typing import Annotated

import msgspec
import pytest

from realtime import protocol
from realtime.errors import ACCESS_REVOKED, BAD_REQUEST, BadRequest, Disconnect, InternalError, UnknownStream
from realtime.protocol import Publication

# Decoding


@pytest.mark.parametrize(
    ("frame", "methods"),
    [
        ('{"id":1,"connect":{}}', ["connect"]),
        ('{"id":1,"connect":{}}\n', ["connect"]),
        ('{"id":1,"connect":{"token":"t"}}\n{"id":2,"subscribe":{"channel":"a"}}', ["connect", "subscribe"]),
        (b'{"id":1,"unsubscribe":{"channel":"a"}}', ["unsubscribe"]),
        ('{"id":1,"publish":{"channel":"a","data":null}}', ["publish"]),
        ('{"id":1,"presence":{"channel":"a"}}', ["presence"]),
        ('{"id":1,"presence_stats":{"channel":"a"}}', ["presence_stats"]),
        ('{"id":1,"history":{"channel":"a","since":{"offset":3,"epoch":"x"},"reverse":true}}', ["history"]),
        ('{"id":1,"rpc":{"method":"m"}}', ["rpc"]),
        ('{"send":{"data":1}}', ["send"]),
        ('{"id":1,"refresh":{"token":"t"}}', ["refresh"]),
        ('{"id":1,"sub_refresh":{"channel":"a","token":"t"}}', ["sub_refresh"]),
        # Unknown fields are those of newer clients.
        ('{"id":1,"subscribe":{"channel":"a","flag":1,"new":[1]},"newer":1}', ["subscribe"]),
        # The first known field decides.
        ('{"id":1,"publish":{"channel":"a","data":1},"connect":{}}', ["connect"]),
        ('{"id":4294967295,"rpc":{"method":"m"}}', ["rpc"]),
    ],
)
def test_it_decodes_commands_in_order(frame: str | bytes, methods: list[str]) -> None:
    requests = [command.request() for command in protocol.decode(frame)]
    assert [request[0] for request in requests if request is not None] == methods


@pytest.mark.parametrize("frame", ["{}", "{}\n{}", '{"id":0}', '{"newer":1}'])
def test_a_command_without_an_id_or_a_method_is_a_pong(frame: str) -> None:
    assert {command.request() for command in protocol.decode(frame)} == {None}


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "\n",
        b"",
        "[]",
        "null",
        "1",
        '"x"',
        "{",
        '{"id":1,"connect":{}}}',
        '{"id":"1","connect":{}}',
        '{"id":null,"connect":{}}',
        '{"id":1.5,"connect":{}}',
        '{"id":1,"connect":[]}',
        '{"id":1,"connect":{"token":1}}',
        '{"id":1,"subscribe":{"channel":1}}',
        '{"id":1,"subscribe":{"channel":"a","offset":"1"}}',
        '{"id":1,"subscribe":{"channel":"a","recover":1}}',
        '{"id":1,"history":{"channel":"a","since":3}}',
        '{"id":1,"history":{"channel":"a","since":{"offset":-1}}}',
        '{"id":1,"history":{"channel":"a","since":{"offset":9223372036854775808}}}',
        '{"id":1,"subscribe":{"channel":"a","offset":-1}}',
        '{"id":1,"publish":{"channel":"a","data":NaN}}',
        '{"id":1,"publish":{"channel":"a","data":01}}',
        '{"id":1,"publish":{"channel":"a","data":' + "[" * 100_000,
        '{"id":1,"connect":{}}\nnot json',
        "\ud800",
        b"\xff\xfe",
        b"\x00",
        "{}\n" * 10_001,
        b"{}\n" * 10_001,
    ],
)
def test_it_disconnects_what_is_not_a_frame_of_commands(frame: str | bytes) -> None:
    with pytest.raises(Disconnect) as refused:
        protocol.decode(frame)
    assert refused.value.close == BAD_REQUEST


@pytest.mark.parametrize(
    "frame",
    [
        '{"connect":{}}',
        '{"id":0,"publish":{"channel":"a","data":1}}',
        '{"id":1}',
        '{"id":1,"ping":{}}',
        '{"id":1,"nonsense":{}}',
        '{"id":-1,"connect":{}}',
        '{"id":4294967296,"connect":{}}',
    ],
)
def test_it_disconnects_a_command_whose_id_or_method_makes_no_sense(frame: str) -> None:
    (command,) = protocol.decode(frame)
    with pytest.raises(Disconnect):
        command.request()


# Payloads


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"1.10", "1.10"),
        (b"null", "null"),
        (b'""', '""'),
        (b'{"a" : 1}', '{"a" : 1}'),
        (b'{"a":\r\n 1}\n', '{"a": 1}'),
        (b'"a\\nb"', '"a\\nb"'),
        ('"żółć 🎈"'.encode(), '"żółć 🎈"'),
        (b'"\\ud83c\\udf88"', '"\\ud83c\\udf88"'),
        # Not an escape of NUL, but of a backslash.
        (b'"\\\\u0000"', '"\\\\u0000"'),
        (b"[" * 64 + b"]" * 64, "[" * 64 + "]" * 64),
        (b'"' + b"[" * 100 + b'"', '"' + "[" * 100 + '"'),
        (b"9" * 300, "9" * 300),
        (b"1e308", "1e308"),
        (b'{"a":1,"a":2}', '{"a":1,"a":2}'),
    ],
)
def test_a_payload_is_kept_as_it_was_sent_but_for_raw_newlines(sent: bytes, kept: str) -> None:
    assert protocol.payload(sent) == kept


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b" ",
        b"{",
        b"1 2",
        b"[1,]",
        b"01",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"9" * 310,
        b"9" * 5_000,
        b'["' + b"9" * 310 + b'",' + b"9" * 310 + b"]",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
        b'{"\\u0000":1}',
        b'"a\nb"',
        b'"\x01"',
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
    ],
)
def test_it_refuses_a_payload_that_a_browser_or_postgresql_would_choke_on(sent: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        protocol.payload(sent, "data")
    assert refused.value.field == "data"


# Encoding


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (protocol.reply(3, "publish", protocol.EMPTY), '{"id":3,"publish":{}}'),
        (
            protocol.reply(1, "connect", protocol.ConnectResult("c1", "1.0", 25, True)),
            '{"id":1,"connect":{"client":"c1","version":"1.0","ping":25,"pong":true}}',
        ),
        (protocol.reply(2, "subscribe", protocol.SubscribeResult()), '{"id":2,"subscribe":{}}'),
        (
            protocol.reply(2, "subscribe", protocol.SubscribeResult(recoverable=True, positioned=True, epoch="aZkQwErt", offset=17)),
            '{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"aZkQwErt","offset":17}}',
        ),
        (
            protocol.reply(2, "history", protocol.HistoryResult([msgspec.Raw(b'{"data":1.10}')], "e", 0)),
            '{"id":2,"history":{"publications":[{"data":1.10}],"epoch":"e","offset":0}}',
        ),
        (
            protocol.reply(2, "presence", protocol.PresenceResult({"c": protocol.ClientInfo("", "c")})),
            '{"id":2,"presence":{"presence":{"c":{"user":"","client":"c"}}}}',
        ),
        (
            protocol.reply(2, "presence_stats", protocol.PresenceStatsResult(0, 0)),
            '{"id":2,"presence_stats":{"num_clients":0,"num_users":0}}',
        ),
        (protocol.reply(2, "rpc", protocol.RpcResult(msgspec.Raw(b"{}"))), '{"id":2,"rpc":{"data":{}}}'),
        (
            protocol.error_reply(5, InternalError()),
            (
                '{"id":5,"error":{"code":100,"message":"internal server error: the outcome is unknown, '
                'retry with the same idempotency key","temporary":true}}'
            ),
        ),
        (
            protocol.error_reply(5, UnknownStream('a"b')),
            '{"id":5,"error":{"code":102,"message":"unknown stream \'a\\"b\': it does not exist, or you may not read it"}}',
        ),
        (
            protocol.unsubscribe_push('"a"', ACCESS_REVOKED),
            '{"push":{"channel":"a","unsubscribe":{"code":2403,"reason":"access revoked"}}}',
        ),
        (
            protocol.presence_push('"a"', "join", '{"user":"1","client":"c"}'),
            '{"push":{"channel":"a","join":{"info":{"user":"1","client":"c"}}}}',
        ),
        (protocol.publication_push('"a"', Publication(3, "1.10", 7)), '{"push":{"channel":"a","pub":{"data":1.10,"offset":3,"time":7}}}'),
        (protocol.publication(Publication(3, "", 7, "1", "c")), '{"data":null,"offset":3,"time":7,"info":{"user":"1","client":"c"}}'),
        (
            protocol.publication(Publication(3, "{}", 7, "1", "c", 'k"', True, '{"t":"1"}')),
            '{"data":{},"offset":3,"time":7,"info":{"user":"1","client":"c"},"tags":{"t":"1"},"key":"k\\"","removed":true}',
        ),
    ],
)
def test_it_encodes_to_the_letter(text: str, expected: str) -> None:
    assert text == expected
    assert "\n" not in text
    json.loads(text)


class Sample(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    since: protocol.Position | None = None
    names: list[str] = []
    blob: bytes = b""


@pytest.mark.parametrize(
    "params, message",
    [
        (b"[]", "params must be `object`, got `array`"),
        (b"{}", "name is missing"),
        (b'{"name":7}', "name must be `str`, got `int`"),
        (b'{"name":"a","count":-1}', "count must be `int` >= 0"),
        (b'{"name":"a","since":{"offset":"1"}}', "since.offset must be `int`, got `str`"),
        (b'{"name":"a","names":["b",1]}', "names[1] must be `str`, got `int`"),
        (b'{"name":"a","blob":"?"}', "blob is not right: Invalid base64 encoded string"),
        (b"{", "params is not JSON: Input data was truncated"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_the_name_of_the_field(params: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        protocol.decode_params(msgspec.Raw(params), Sample)
    assert str(refused.value) == f"bad request: {message}"


def test_fields_that_nobody_knows_are_passed_over() -> None:
    assert protocol.decode_params(msgspec.Raw(b'{"name":"a","new":2}'), Sample).name == "a"


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    known: int = 0


@pytest.mark.parametrize(("name", "shown"), [("", "a name of no characters"), ("n" * 1_000, "n" * 128), ("a\nb", "a\nb")])
def test_an_unknown_field_is_named_in_few_words(name: str, shown: str) -> None:
    with pytest.raises(BadRequest) as refused:
        protocol.decode_params(msgspec.Raw(json.dumps({name: 1}).encode()), Closed)
    assert refused.value.field == shown
