"""The least that could stand in for gateway/stream.py: `python -m bench.bare_app`.

The same feed and board, and the same server; one loop that writes the same bytes to every socket,
one after the other. Nobody is refused, told from others, or left out when slow: all wait for that
one. Listens as the gateway does, at BRISA_HOST and BRISA_PORT.
"""

from __future__ import annotations

import asyncio
import os

import uvicorn

from broker.contract import Topics
from broker.session import Session, Subscription, unique_client_id
from broker.settings import load
from gateway.asgi import Receive, Scope, Send
from gateway.board import Board
from gateway.connection import room_for
from gateway.feed import Feed
from gateway.rejections import Rejections
from gateway.settings import GatewaySettings
from gateway.stream import SHORTEST_PAUSE_S


class Bare:
    """The ASGI application; `run` is its loop."""

    def __init__(self, board: Board, feed: Feed) -> None:
        self._board = board
        self._feed = feed
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._viewers: set[Send] = set()

    def notify(self) -> None:
        self._loop.call_soon_threadsafe(self._changed.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/readyz":
            status = 503 if self._feed.problems() else 200
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(_event(b"state", self._board.full().body))
        self._viewers.add(send)
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._viewers.discard(send)

    async def run(self) -> None:
        seen = self._board.version
        while True:
            await self._changed.wait()
            self._changed.clear()
            if news := self._board.delta(seen):
                seen, event = news.version, _event(b"change", news.body)
                for send in list(self._viewers):
                    await send(event)
            await asyncio.sleep(SHORTEST_PAUSE_S)


def _event(name: bytes, body: bytes) -> dict[str, object]:
    data = b"event: %s\ndata: %s\n\n" % (name, body)
    return {"type": "http.response.body", "body": data, "more_body": True}


async def serve(settings: GatewaySettings) -> None:
    topics, rejections = Topics(settings.root), Rejections()
    board = Board(rejections)
    feed = Feed(board, topics, rejections)
    bare = Bare(board, feed)
    feed.on_change = bare.notify
    session = Session(
        settings,
        client_id=unique_client_id("bare"),
        protocol=4,
        subscriptions=[Subscription(topics.all)],
        on_message=feed.on_message,
        on_up=feed.on_up,
        on_down=feed.on_down,
        restful=True,
    )
    feed.watch(session)
    session.start()
    feed.start()
    config = uvicorn.Config(
        bare,
        host=settings.host,
        port=settings.port,
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    loop = asyncio.get_running_loop().create_task(bare.run())
    try:
        await uvicorn.Server(config).serve()
    finally:
        loop.cancel()
        session.stop(timeout_s=1.0)
        feed.stop()


def main() -> None:
    settings = load(GatewaySettings, os.environ)
    room_for(settings.max_viewers)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
