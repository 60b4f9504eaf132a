"""What any answer costs here: `python -m bench.constant_app FILE` serves its bytes at every address.

The file is compressed by gzip, and told to be. Under the gateway's own server and settings, from memory, with the headers of the API. Listens at
BRISA_HOST and BRISA_PORT.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import uvicorn

from broker.settings import load
from gateway.asgi import Receive, Scope, Send
from gateway.connection import Connection
from gateway.headers import SECURITY_HEADERS
from gateway.settings import GatewaySettings


class Constant:
    """The ASGI application."""

    def __init__(self, body: bytes) -> None:
        headers = {
            **SECURITY_HEADERS,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Content-Encoding": "gzip",
            "Vary": "Accept-Encoding",
            "Cache-Control": "no-cache",
            "ETag": '"constant"',
        }
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._head = {"type": "http.response.start", "status": 200, "headers": raw}
        self._body = {"type": "http.response.body", "body": body}

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send(self._head)
        await send(self._body)


async def serve(settings: GatewaySettings, body: bytes) -> None:
    class Bounded(Connection):
        pass

    config = uvicorn.Config(
        Constant(body),
        host=settings.host,
        port=settings.port,
        http=Bounded,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    await uvicorn.Server(config).serve()


def main() -> None:
    body = Path(sys.argv[1]).read_bytes()
    asyncio.run(serve(load(GatewaySettings, os.environ), body))


if __name__ == "__main__":
    main()
