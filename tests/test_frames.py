"""What a client's own parser makes of the frames."""

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Message

from realtime.frames import BINARY, TEXT, frame_head, text_frame


def read(data: bytes) -> list[str | bytes]:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    whole: list[str | bytes] = []
    for event in client.events():
        assert isinstance(event, Message)
        assert event.frame_finished
        whole.append(event.data if isinstance(event.data, str) else bytes(event.data))
    return whole


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1_048_576])
def test_a_message_of_any_size_is_one_frame(size: int) -> None:
    assert read(frame_head(BINARY, size) + b"x" * size) == [b"x" * size]
    assert read(frame_head(TEXT, size) + b"x" * size) == ["x" * size]


def test_pieces_are_joined_by_newlines() -> None:
    frames = [[b"one"], [b"zwei\ndrei", b"{}"], ["ż🎈".encode(), b"", b"x"]]
    assert read(b"".join(b"".join(text_frame(frame)) for frame in frames)) == ["one", "zwei\ndrei\n{}", "ż🎈\n\nx"]


def test_a_message_that_goes_to_many_is_the_same_frame_for_each() -> None:
    one, other = b"one", b"the other"
    frames = [text_frame([piece]) for piece in (one, one, other, one)]
    assert [read(b"".join(frame)) for frame in frames] == [["one"], ["one"], ["the other"], ["one"]]
    assert frames[0] is frames[1]
