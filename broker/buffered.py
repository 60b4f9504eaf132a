"""A socket that reads much at a time, for a client that reads little at a time.

paho asks the system for one byte, one byte and the rest of every packet: three calls a message.
Behind a buffer of 64 KiB a flood costs one call for hundreds of messages. It is put in place by
paho's public `tls_set_context`: to paho, this is a TLS context whose sockets know, by `pending()`,
what they hold. Over plain TCP it encrypts nothing; over TLS it wraps the real context.
"""

from __future__ import annotations

import socket
import ssl

BUFFER_BYTES = 64 * 1024


class BufferedContext:
    """What paho takes for an ssl.SSLContext; `context` is the real one, or None for plain TCP."""

    check_hostname = True  # the real context does it; there is nothing left for paho to check

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context

    def wrap_socket(
        self, sock: socket.socket, server_hostname: str, do_handshake_on_connect: bool
    ) -> BufferedSocket:
        if self._context is not None:
            sock = self._context.wrap_socket(
                sock,
                server_hostname=server_hostname,
                do_handshake_on_connect=do_handshake_on_connect,
            )
        return BufferedSocket(sock)


class BufferedSocket:
    """A socket with a buffer for what it receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = b""
        self._at = 0
        self.send = sock.send
        self.fileno = sock.fileno
        self.close = sock.close
        self.setblocking = sock.setblocking
        self.settimeout = sock.settimeout

    def do_handshake(self) -> None:
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.do_handshake()

    def pending(self) -> int:
        """Bytes that can be had without waiting; what the TLS layer holds counts."""
        held = len(self._held) - self._at
        if held == 0 and isinstance(self._sock, ssl.SSLSocket):
            return self._sock.pending()
        return held

    def recv(self, size: int) -> bytes:
        """As socket.recv; never waits while the buffer holds anything."""
        at = self._at
        end = at + size
        held = self._held
        if at < len(held):
            self._at = min(len(held), end)
            return held[at:end]
        if size >= BUFFER_BYTES:
            return self._sock.recv(size)
        held = self._sock.recv(BUFFER_BYTES)
        self._held, self._at = held, min(size, len(held))
        return held[:size]
