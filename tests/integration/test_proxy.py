"""The proxy that tests cut the network with."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.proxy import Mode, Proxy
from tests.support import PATIENCE_S, eventually


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says again what it hears, until each client ends."""

    def serve(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(1000):
                    client.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(client,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join(PATIENCE_S)
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def client(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def said(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(1000)


def test_it_passes_both_ways_and_counts(echo: int) -> None:
    with Proxy(echo) as proxy:
        with client(proxy) as first, client(proxy) as second:
            assert said(first, b"one") == b"one"
            assert said(second, b"two") == b"two"
            first.shutdown(socket.SHUT_WR)
            assert first.recv(1) == b""
        eventually("both are gone", lambda: proxy.open_now == 0)
        assert proxy.connections == 2


def test_refused_and_dropped_connections(echo: int) -> None:
    with Proxy(echo) as proxy, client(proxy) as first:
        assert said(first, b"one") == b"one"
        proxy.switch(Mode.REFUSE)
        with pytest.raises(ConnectionResetError):
            assert first.recv(1) != b""
        with pytest.raises(ConnectionRefusedError):
            client(proxy)
        proxy.switch(Mode.DROP)
        with pytest.raises(ConnectionResetError), client(proxy) as second:
            assert second.recv(1) != b""
        proxy.switch(Mode.PASS)
        with client(proxy) as third:
            assert said(third, b"three") == b"three"
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                assert third.recv(1) != b""
        with client(proxy) as fourth:
            assert said(fourth, b"four") == b"four"


def test_a_half_open_connection_is_silent_both_ways_and_goes_on(echo: int) -> None:
    with Proxy(echo) as proxy, client(proxy) as first:
        assert said(first, b"one") == b"one"
        proxy.switch(Mode.HOLD)
        first.sendall(b"two")
        eventually("the proxy has it", lambda: proxy.held == 3)
        first.setblocking(False)
        with pytest.raises(BlockingIOError):
            first.recv(1)
        first.settimeout(PATIENCE_S)
        with client(proxy) as second:  # accepted, and no answer
            second.sendall(b"three")
            eventually("it is there", lambda: proxy.connections == 2)
            proxy.switch(Mode.PASS, delay_s=0.05)
            assert first.recv(1000) == b"two"
            assert second.recv(1000) == b"three"
