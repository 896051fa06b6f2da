"""How fast one may go: token buckets of principals and of connections. Pure: time is passed in, or read from a clock that is."""

from collections.abc import Callable
from ipaddress import ip_network

from . import protocol
from .access import Identity
from .conf import option, rate
from .errors import TOO_MANY_ERRORS, TOO_MANY_REQUESTS, BadRequest, Close, Disconnect, TooManyRequests, WirelogError
from .protocol import Request

# A key may save up for so long: a device that was away hands in what it kept.
KEY_BURST_SECONDS = 5
# Fewer buckets than this are never looked through for idle ones.
FEW_BUCKETS = 1_024
# In which a client must have heeded that it was refused.
HEED_SECONDS = 10


class Bucket:
    """Holds at most `burst` tokens, and gains `rate` of them a second; with a rate of 0 it never runs out."""

    __slots__ = ("at", "burst", "rate", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = float(burst)
        self.at = now

    def take(self, now: float, count: int = 1) -> float:
        """Take `count` tokens and return 0, or take none and return the seconds until they can be had.

        Of a full bucket more than a burst may be taken, and is owed: a large batch passes whole, at the same rate in the long run.
        """
        if not self.rate:
            return 0.0
        self._fill(now)
        missing = min(count, self.burst) - self.tokens
        if missing > 0:
            return missing / self.rate
        self.tokens -= count
        return 0.0

    def wait(self, now: float) -> float:
        """The seconds until one token can be had."""
        self._fill(now)
        return max(0.0, 1 - self.tokens) / self.rate if self.rate else 0.0

    def full(self, now: float) -> bool:
        self._fill(now)
        return self.tokens >= self.burst

    def _fill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now


def host_of(address: str | None) -> str:
    """Who is counted by an address: one host has a whole network of IPv6."""
    if address is None or ":" not in address:
        return address or ""
    return str(ip_network((address, 64), strict=False))


class Rates:
    """How fast each principal publishes, by all its connections to this process and by HTTP. Used on the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._apply = bool(option("RATE_LIMITS"))
        self._rate = rate("PUBLISHES_PER_SECOND")
        self._burst = rate("PUBLISH_BURST")
        self._buckets: dict[str, Bucket] = {}
        self._sweep_at = FEW_BUCKETS

    def publish(self, identity: Identity, count: int = 1, address: str | None = None) -> None:
        """Count `count` publishes of `identity`; those of anonymous people by their `address`. Raises TooManyRequests."""
        by_key = identity.scopes is not None
        most = identity.publish_rate if by_key else self._rate
        if not self._apply or not most:
            return
        burst = most * KEY_BURST_SECONDS if by_key else self._burst
        name = identity.principal or f"from {host_of(address)}"
        bucket = self._buckets.get(name) or self._open(name, Bucket(most, burst, self.clock()))
        # Every time: an operator may have given the key another rate.
        bucket.rate, bucket.burst = most, burst
        if wait := bucket.take(self.clock(), count):
            raise TooManyRequests(f"{identity.label} may publish {most} records a second", wait)

    def _open(self, name: str, bucket: Bucket) -> Bucket:
        if len(self._buckets) >= self._sweep_at:
            self._sweep(self.clock())
        self._buckets[name] = bucket
        return bucket

    def _sweep(self, now: float) -> None:
        """Forget who has been idle long enough to be as good as new."""
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if not bucket.full(now)}
        self._sweep_at = max(FEW_BUCKETS, 2 * len(self._buckets))


class Conduct:
    """How one connection behaves: what it may send in a second, and what follows when it goes on regardless."""

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
