"""How one connection behaves: what it may send in a second, and what follows when it goes on regardless. Pure: time is passed in."""

from . import protocol
from .access import Identity
from .conf import rate
from .errors import TOO_MANY_ERRORS, TOO_MANY_REQUESTS, BadRequest, Close, Disconnect, TooManyRequests, WirelogError
from .protocol import Request
from .rates import Bucket, Rates

# In which a client must have heeded that it was refused.
HEED_SECONDS = 10


class Conduct:
    __slots__ = ("_address", "_bad_messages", "_commands", "_most", "_rates", "_refusals")

    def __init__(self, rates: Rates, address: str | None) -> None:
        now = rates.clock()
        self._rates = rates
        self._address = address
        self._most = rate("COMMANDS_PER_SECOND")
        burst = rate("COMMAND_BURST")
        self._commands = Bucket(self._most, burst, now)
        self._refusals = Bucket(burst / HEED_SECONDS, burst, now)
        bad = rate("BAD_MESSAGES_PER_MINUTE")
        self._bad_messages = Bucket(bad / 60, bad, now)

    def admit(self, identity: Identity, method: str, body: Request) -> None:
        """Count one command. Raises TooManyRequests, and Disconnect (3013) for a client that takes no notice of that."""
        try:
            if protocol.is_publish(method, body):
                self._rates.publish(identity, 1, self._address)
            # A client answers an error to `unsubscribe` by connecting anew, which costs more.
            elif method != "unsubscribe":
                self._command()
        except TooManyRequests:
            if self._refusals.take(self._rates.clock()):
                raise Disconnect(TOO_MANY_REQUESTS) from None
            raise

    def _command(self) -> None:
        if wait := self._commands.take(self._rates.clock()):
            raise TooManyRequests(f"a connection may send {self._most} commands a second", wait)

    def after(self, error: WirelogError) -> Close | None:
        """Why the connection must end after the answer `error`, if it must."""
        if isinstance(error, BadRequest) and self._bad_messages.take(self._rates.clock()):
            return TOO_MANY_ERRORS
        return None
