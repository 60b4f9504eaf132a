"""The embedded broker's front goes on whatever one connection meets."""

from __future__ import annotations

import asyncio
from collections import UserDict

from broker.front import NOT_AUTHORIZED, V3, Front

# as `x` with the password `y`
CONNECT = b"\x10\x12\x00\x04MQTT\x04\xc2\x00\x1e\x00\x00\x00\x01x\x00\x01y"


class FailsOnce(UserDict[str, str]):
    """Passwords that cannot be read the first time."""

    failed = False

    def __getitem__(self, user: str) -> str:
        if not self.failed:
            self.failed = True
            raise RuntimeError("of the passwords")
        return super().__getitem__(user)


async def connect(port: int) -> bytes:
    """Returns all that is answered until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CONNECT)
    try:
        return await reader.read()
    finally:
        writer.close()


def test_an_exception_ends_one_connection_alone() -> None:
    async def scenario() -> list[bytes]:
        front = Front(FailsOnce({"x": "another"}), {V3: 1}, "127.0.0.1")
        server = await asyncio.start_server(front.accept, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return [await connect(port) for _ in range(2)]

    assert asyncio.run(scenario()) == [b"", NOT_AUTHORIZED[V3]]
