"""A socket below paho that reads much at a time, and keeps from paho what it would only pass on.

paho asks the system for one byte, one byte and the rest of every packet, and then does some 15 µs
of bookkeeping that a message of QoS 0 has no need of. Here a flood costs one system call for
hundreds of messages; those of QoS 0 in MQTT 3.1.1, of which nothing but topic, payload and the
retain flag is wanted, are cut out and handed over, and paho sees all the rest: answers, pings,
messages of QoS 1. See docs/adr/0004 for why, and `make bench` for what it gains.

It is put in place by paho's public `tls_set_context`: to paho, this is a TLS context. Over plain TCP
it encrypts nothing; over TLS it wraps the real context.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable

BUFFER_BYTES = 64 * 1024
# Eight times what the contract allows: a broker that sends more is not ours, and gets no memory.
LARGEST_PACKET_BYTES = 1024 * 1024
# MQTT 3.1.1, 3.3.1: the first byte of a PUBLISH of QoS 0, but for DUP (8) and RETAIN (1).
PUBLISH_QOS_0, KIND_AND_QOS, RETAIN = 0x30, 0xF6, 0x01


class Publish:
    """A message of QoS 0: as much of paho's MQTTMessage as anybody here asks for."""

    __slots__ = ("_topic", "payload", "retain")

    def __init__(self, topic: bytes, payload: bytes, retain: bool) -> None:
        self._topic = topic
        self.payload = payload
        self.retain = retain

    @property
    def topic(self) -> str:
        """Raises UnicodeDecodeError, as paho's does."""
        return self._topic.decode()


class BufferedContext:
    """What paho takes for an ssl.SSLContext; `context` is the real one, or None for plain TCP.

    on_publish: hears of the messages that are cut out; None: none are (MQTT 5 has more in them).
    """

    check_hostname = True  # the real context does it; there is nothing left for paho to check

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        on_publish: Callable[[Publish], None] | None = None,
    ) -> None:
        self._context = context
        self._on_publish = on_publish

    def wrap_socket(
        self, sock: socket.socket, server_hostname: str, do_handshake_on_connect: bool
    ) -> BufferedSocket:
        # else small packets wait for the ACK of those before (RFC 896), which comes 40 ms late
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            sock = self._context.wrap_socket(
                sock,
                server_hostname=server_hostname,
                do_handshake_on_connect=do_handshake_on_connect,
            )
        return BufferedSocket(sock, self._on_publish)


class BufferedSocket:
    """A socket that is filled by `fill`; `recv` gives what was found, and never waits."""

    def __init__(
        self, sock: socket.socket, on_publish: Callable[[Publish], None] | None = None
    ) -> None:
        self._sock = sock
        # Asking ssl for its class would load it where there is no TLS (docs/adr/0013).
        self._handshake: Callable[[], None] | None = getattr(sock, "do_handshake", None)
        self._on_publish = on_publish
        self.more = False  # did `fill` leave something behind?
        self._part = bytearray()  # the beginning of a packet, to be cut when ...
        self._needed = 0  # ... so many bytes of it are there
        self._held = b""  # for paho
        self._at = 0
        self._end: OSError | None = None
        self._ended = False
        self.send = sock.send
        self.fileno = sock.fileno
        self.close = sock.close
        self.setblocking = sock.setblocking
        self.settimeout = sock.settimeout

    def do_handshake(self) -> None:
        if self._handshake is not None:
            try:
                self._handshake()
            except OSError:
                self.close()  # paho would leave it open
                raise

    def fill(self) -> int:
        """Take in what has come, and hand over its messages. Returns how many these were."""
        data = bytearray()
        try:
            # Over TLS a call gives one record, and of what is decrypted no poll() would tell.
            while len(data) < BUFFER_BYTES:
                piece = self._sock.recv(BUFFER_BYTES)
                self._ended = not piece
                data += piece
                if self._handshake is None or not piece:
                    break
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError as error:  # paho hears of it when it has read what came before
            self._end = error
        self.more = len(data) >= BUFFER_BYTES
        if self._on_publish is None:
            self._keep(bytes(data))
            return 0
        self._part += data
        if len(self._part) < self._needed:
            return 0
        return self._cut(self._on_publish)

    def pending(self) -> bool:
        """Is there something that `recv` would give, be it the end?"""
        return self._at < len(self._held) or self._ended or self._end is not None

    def recv(self, size: int) -> bytes:
        """As a non-blocking socket's. Raises BlockingIOError where nothing was found."""
        at = self._at
        if at < len(self._held):
            self._at = min(len(self._held), at + size)
            return self._held[at : self._at]
        if self._end is not None:
            raise self._end
        if self._ended:
            return b""
        raise BlockingIOError

    def _keep(self, data: bytes) -> None:
        """For paho."""
        if data:
            self._held, self._at = self._held[self._at :] + data, 0

    def _cut(self, on_publish: Callable[[Publish], None]) -> int:
        """Hand over each message of QoS 0, keep the other packets. Returns how many were handed."""
        data, self._part, self._needed = bytes(self._part), bytearray(), 0
        messages, at, end = 0, 0, len(data)
        others = bytearray()
        while at < end:
            body, length, shift = at + 1, 0, 0
            while body < end:  # MQTT 3.1.1, 2.2.3: seven bits a byte, the lowest first, 4 at most
                byte = data[body]
                length |= (byte & 0x7F) << shift
                body, shift = body + 1, shift + 7
                if byte < 0x80 or shift > 21:
                    break
            else:
                break
            after = body + length
            if length > LARGEST_PACKET_BYTES:
                self._end = OSError(errno.EMSGSIZE, f"a packet of {length} bytes came")
                break
            if after > end:
                self._needed = after - at
                break
            first, topic = data[at], body + 2
            if first & KIND_AND_QOS == PUBLISH_QOS_0 and length >= 2:
                payload = min(after, topic + (data[body] << 8 | data[body + 1]))
                on_publish(Publish(data[topic:payload], data[payload:after], first & RETAIN == 1))
                messages += 1
            else:
                others += data[at:after]
            at = after
        self._part = bytearray(data[at:])
        self._keep(bytes(others))
        return messages
