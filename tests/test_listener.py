import resource
import socket
from contextlib import closing

import pytest

from realtime import listener
from realtime.listener import CannotListen, TooFewFiles


def option(sock: socket.socket, level: int, name: int) -> int:
    return sock.getsockopt(level, name)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost"])
def test_it_works(host: str) -> None:
    with listener.bind(host, 0) as sock:
        listener.listen(sock)
        with socket.create_connection(sock.getsockname()[:2]):
            accepted = wait_for_client(sock)
            with accepted:
                # What is set on the listening socket holds for the connections.
                assert option(accepted, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
                assert option(accepted, socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == listener.UNSENT_BYTES


def wait_for_client(sock: socket.socket) -> socket.socket:
    sock.setblocking(True)
    return sock.accept()[0]


def test_the_socket_is_what_both_servers_need() -> None:
    with listener.bind("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP
        assert not sock.getblocking()
        assert option(sock, socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        assert option(sock, socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_nobody_can_connect_before_it_listens() -> None:
    with listener.bind("127.0.0.1", 0) as sock, pytest.raises(ConnectionRefusedError):
        socket.create_connection(sock.getsockname())


@pytest.mark.parametrize(
    "host, port, sentence",
    [
        ("192.0.2.1", 81, "Cannot listen on 192.0.2.1:81: this machine has no such address. "),
        ("2001:db8::1", 81, "Cannot listen on [2001:db8::1]:81: this machine has no such address. "),
        ("no-such-host.invalid", 81, "Cannot listen on no-such-host.invalid:81: no such host is known. "),
    ],
)
def test_a_bad_address_is_one_sentence_with_its_cure(host: str, port: int, sentence: str) -> None:
    with pytest.raises(CannotListen) as caught:
        listener.bind(host, port)
    assert str(caught.value).startswith(sentence)
    assert "--host" in str(caught.value)


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(CannotListen) as caught:
            listener.bind(*other.getsockname())
        assert "another program listens on it" in str(caught.value)


def test_a_port_is_refused_that_another_server_has_bound_and_listens_on_first() -> None:
    with listener.bind("127.0.0.1", 0) as first, closing(listener.bind(*first.getsockname())) as second:
        listener.listen(first)
        with pytest.raises(CannotListen):
            listener.listen(second)


def test_a_privileged_port_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(CannotListen) as caught:
        listener.bind("127.0.0.1", 80)
    assert str(caught.value) == "Cannot listen on 127.0.0.1:80: ports below 1024 need a privilege. Choose a higher one with --port or PORT."


def test_the_limit_of_open_files_is_raised_to_what_the_machine_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: calls.append(limits))
    assert listener.raise_open_files() == 4_096
    assert calls == [(4_096, 4_096)]


class Limit:
    """The limit of open files, of which no more than `most` may be asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int) -> None:
        self.limits = (soft, hard)
        self.most = most
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.limits)
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if limits[0] == resource.RLIM_INFINITY or limits[0] > self.most:
            raise ValueError
        self.limits = limits


def test_where_the_hard_limit_is_refused_as_many_as_are_needed_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Limit(monkeypatch, 256, resource.RLIM_INFINITY, most=10_240)
    assert listener.raise_open_files(10_000) == 10_128
    assert found.limits == (10_128, resource.RLIM_INFINITY)
    # Never fewer than there were.
    assert listener.raise_open_files(10) == 10_128


def test_a_limit_that_the_machine_does_not_let_raise_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    Limit(monkeypatch, 256, resource.RLIM_INFINITY, most=0)
    assert listener.raise_open_files(128) == 256


@pytest.mark.parametrize(
    "allowed, connections, sentence",
    [
        (64, 0, "This process may open only 64 files, and needs 128 or more: raise the limit (ulimit -n)."),
        (
            4_096,
            10_000,
            (
                "This process may open only 4096 files, and needs 10128 for 10000 connections: raise the limit (ulimit -n), "
                "or lower WIRELOG_CONNECTIONS."
            ),
        ),
    ],
)
def test_too_few_files_are_one_sentence(monkeypatch: pytest.MonkeyPatch, allowed: int, connections: int, sentence: str) -> None:
    Limit(monkeypatch, allowed, allowed, allowed)
    with pytest.raises(TooFewFiles) as caught:
        listener.raise_open_files(connections)
    assert str(caught.value) == sentence
