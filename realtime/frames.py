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


def text_frame(frame: Frame) -> list[bytes]:
    """Head and pieces of a text message, to be written in one go."""
    pieces = [frame_head(TEXT, sum(map(len, frame)) + len(frame) - 1), frame[0]]
    for piece in frame[1:]:
        pieces += (b"\n", piece)
    return pieces
