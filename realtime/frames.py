"""WebSocket frames, made here for both servers: RFC 6455, section 5.2."""

import struct

from .outbox import Frame

TEXT = 0x1
BINARY = 0x2
# Bytes of a reason, beside the code, that a close frame has room for.
REASON_BYTES = 123


def frame_head(opcode: int, size: int) -> bytes:
    """The head of a whole message of `size` bytes from the server, which does not mask."""
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size)
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size)
    return struct.pack("!BBQ", 0x80 | opcode, 127, size)


# A message of one piece is mostly a batch on its way to all its subscribers, one after another: its frame is made once.
_last: tuple[bytes, list[bytes]] = (b"", [])


def text_frame(frame: Frame) -> list[bytes]:
    """Head and pieces of a text message, to be written in one go."""
    global _last
    if len(frame) > 1:
        return _joined(frame)
    if frame[0] is not _last[0]:
        _last = frame[0], [frame_head(TEXT, len(frame[0])) + frame[0]]
    return _last[1]


def _joined(frame: Frame) -> list[bytes]:
    pieces = [frame_head(TEXT, sum(map(len, frame)) + len(frame) - 1), frame[0]]
    for piece in frame[1:]:
        pieces += (b"\n", piece)
    return pieces
