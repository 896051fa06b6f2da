"""The listening socket, made here and handed to either server, and the limit of open files."""

import contextlib
import errno
import resource
import socket

# Connections that the kernel completes before they are accepted: after a restart everybody comes at once.
BACKLOG = 2_048
# Unsent bytes up to which the kernel calls a socket writable. Without it a slow reader is given 2.8 MB before anybody notices.
UNSENT_BYTES = 131_072
# Databases, threads, pipes and logs of one process, and a few connections.
LEAST_FILES = 128

SENTENCES = {
    errno.EADDRINUSE: "another program listens on it. Stop that program, or choose another port with --port or PORT",
    errno.EACCES: "ports below 1024 need a privilege. Choose a higher one with --port or PORT",
    errno.EADDRNOTAVAIL: "this machine has no such address. Choose one of its own with --host or HOST, or 0.0.0.0 for all of them",
}


class CannotListen(Exception):
    """The server cannot be reached where it was asked to be. `str()` is the sentence for the operator."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host = host
        self.port = port
        self.reason = reason
        super().__init__(host, port, reason)

    def __str__(self) -> str:
        return f"Cannot listen on {address(self.host, self.port)}: {self.reason}."


class TooFewFiles(Exception):
    """The process may open too few files to hold `connections` (0: as many as there is room for)."""

    def __init__(self, allowed: int, connections: int) -> None:
        self.allowed = allowed
        self.connections = connections
        super().__init__(allowed, connections)

    def __str__(self) -> str:
        if self.connections:
            needs = f"{LEAST_FILES + self.connections} for {self.connections} connections"
            return f"{self._may}, and needs {needs}: raise the limit (ulimit -n), or lower WIRELOG_CONNECTIONS."
        return f"{self._may}, and needs {LEAST_FILES} or more: raise the limit (ulimit -n)."

    @property
    def _may(self) -> str:
        return f"This process may open only {self.allowed} files"


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int) -> socket.socket:
    """A socket on `host` and `port` (0: any free one) that does not listen yet. Raises CannotListen."""
    host = host.strip("[]")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError:
        raise CannotListen(host, port, "no such host is known. Choose another with --host or HOST") from None
    sock = _socket(family)
    try:
        sock.bind(place)
    except OSError as error:
        sock.close()
        raise _refused(host, port, error) from None
    return sock


def listen(sock: socket.socket) -> None:
    """From now on clients can connect. Raises CannotListen: another program may have bound the same port, and was first to listen."""
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        host, port = sock.getsockname()[:2]
        sock.close()
        raise _refused(host, port, error) from None


def _refused(host: str, port: int, error: OSError) -> CannotListen:
    return CannotListen(host, port, SENTENCES.get(error.errno or 0, str(error)))


def _socket(family: int) -> socket.socket:
    # With an explicit protocol asyncio sees that it is TCP; accepted sockets inherit the options.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Not REUSEPORT: with it a second server would bind the same port in silence.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    # Twisted waits for ever on a blocking one.
    sock.setblocking(False)
    return sock


def raise_open_files(connections: int = 0) -> int:
    """Raise the soft limit of open files to the hard one; returns what is allowed now.

    Raises TooFewFiles when that does not do for `connections`: they would be refused by the kernel, without a word.
    """
    needed = LEAST_FILES + connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS calls its hard limit infinite and refuses it: then as many as are needed.
    for wanted in (hard, max(needed, soft)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
            break
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise TooFewFiles(soft, connections)
    return soft
