"""The embedded broker's front: one port for MQTT 3.1.1 and 5, and an answer to those it refuses.

rumqttd listens on a port for each version, and hangs up without a CONNACK on a wrong password or
another version, so that clients try again for ever and cannot say why. The front reads each
CONNECT, refuses it by the standard's codes (MQTT 3.1.1, 3.2.2.3; MQTT 5.0, 3.2.2.2), or passes all
that follows on unread.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import NamedTuple, Self

CONNECT = 0x10
CONNECT_WITHIN_S = 10.0
# A will is the longest part of ours, with a payload of at most 16 KiB.
MAX_CONNECT_BYTES = 65_536
V3, V5 = 4, 5  # the protocol levels of MQTT 3.1.1 and 5
UNACCEPTABLE_VERSION = b"\x20\x02\x00\x01"
NOT_AUTHORIZED = {V3: b"\x20\x02\x00\x05", V5: b"\x20\x03\x00\x87\x00"}


class Connect(NamedTuple):
    """A CONNECT packet as it came, and what of it decides. No user or password: empty."""

    packet: bytes
    level: int
    user: str
    password: bytes

    @classmethod
    def parse(cls, packet: bytes, body: bytes) -> Self:
        """`body`: the packet without its fixed header. Raises ValueError."""
        fields = _Fields(body)
        fields.string()  # the protocol's name
        level, flags = fields.take(2)
        user = password = b""
        if level in {V3, V5}:
            fields.take(2)  # keep-alive
            fields.properties(level)
            fields.string()  # the client id
            if flags & 0x04:  # a will
                fields.properties(level)
                fields.string()
                fields.string()
            user = fields.string() if flags & 0x80 else b""
            password = fields.string() if flags & 0x40 else b""
        return cls(packet, level, user.decode(), password)


class Front:
    """Checks users' passwords, and passes connections on to rumqttd's port for their version."""

    def __init__(self, passwords: Mapping[str, str], ports: Mapping[int, int], host: str) -> None:
        self._passwords = passwords
        self._ports = ports
        self._host = host

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, until either side ends it."""
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                connect = await _read_connect(reader)
            if refusal := self._refusal(connect):
                writer.write(refusal)
                return
            inner_reader, inner = await asyncio.open_connection(
                self._host, self._ports[connect.level]
            )
            inner.write(connect.packet)
            ways = {
                asyncio.create_task(_copy(reader, inner)),
                asyncio.create_task(_copy(inner_reader, writer)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                inner.close()
        except (OSError, EOFError, ValueError):
            pass  # who is no MQTT client, or hangs up, gets no answer
        finally:
            writer.close()

    def _refusal(self, connect: Connect) -> bytes:
        """The CONNACK that refuses it; empty for one that is welcome."""
        if connect.level not in self._ports:
            return UNACCEPTABLE_VERSION
        expected = self._passwords.get(connect.user, "").encode()
        if not expected or not hmac.compare_digest(expected, connect.password):
            return NOT_AUTHORIZED[connect.level]
        return b""


class _Fields:
    """Reads a packet's fields one after the other. All raise ValueError where it is too short."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        self._at += size
        if self._at > len(self._body):
            raise ValueError("a packet that is too short")
        return self._body[self._at - size : self._at]

    def string(self) -> bytes:
        return self.take(int.from_bytes(self.take(2)))

    def properties(self, level: int) -> None:
        """Pass over them; before MQTT 5 there are none."""
        if level == V5:
            length, digit = 0, 0x80
            for shift in range(0, 28, 7):
                digit = self.take(1)[0]
                length |= (digit & 0x7F) << shift
                if digit < 0x80:
                    break
            self.take(length)


async def _read_connect(reader: asyncio.StreamReader) -> Connect:
    """Raises ValueError for anything else, EOFError for less."""
    header = bytearray(await reader.readexactly(1))
    if header[0] != CONNECT:
        raise ValueError("not a CONNECT")
    length = 0
    for shift in range(0, 28, 7):
        header += await reader.readexactly(1)
        length |= (header[-1] & 0x7F) << shift
        if header[-1] < 0x80:
            break
    if length > MAX_CONNECT_BYTES:
        raise ValueError("a CONNECT that is too long")
    body = await reader.readexactly(length)
    return Connect.parse(bytes(header) + body, body)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
