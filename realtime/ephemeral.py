"""Publishing to ephemeral streams, past the journal: a cursor that moves must not wait for somebody else's commit.

Only where the stream has subscribers in this process; any other item takes the way of the durable ones, and the journal passes it on.
"""

from . import access
from .access import Identity
from .engine import Engine
from .models import Stream


class Ephemeral:
    """What one connection may publish without a commit."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # By name, with the turn of access and the look at the connection by which it was judged: a later one judges anew.
        self._judged: dict[str, tuple[object, Stream]] = {}

    async def find(self, identity: Identity, name: str, checked: float) -> Stream | None:
        """The ephemeral stream `name`, where `identity` may write to it; None for the journal to decide. Raises WirelogError."""
        if name not in self._engine.hub.ephemeral:
            return None
        turn = (self._engine.control.turn, checked)
        judged, stream = self._judged.get(name, (None, None))
        if stream is None or judged != turn:
            stream = await self._engine.reads.run(access.writable, identity, name)
            self._judged[name] = (turn, stream)
        return None if stream.durable else stream
