"""The peer of gateway/stream.py: Flask's generator under gunicorn's gthread, a thread a viewer.

Feed and board are the gateway's own; only the way to the viewers differs. Threads sleep in one
condition and are woken together by a change: `gunicorn -k gthread 'bench.gthread_app:create()'`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

from flask import Flask, Response

from broker.contract import Topics
from broker.session import Session, Subscription, unique_client_id
from broker.settings import load
from gateway.board import Board
from gateway.feed import Feed
from gateway.rejections import Rejections
from gateway.settings import GatewaySettings

HEARTBEAT_S = 15.0


def create() -> Flask:
    """The application of one worker, with its feed running."""
    settings = load(GatewaySettings, os.environ)
    topics, rejections = Topics(settings.root), Rejections()
    board = Board(rejections)
    feed = Feed(board, topics, rejections)
    changed = threading.Condition()

    def tell() -> None:
        with changed:
            changed.notify_all()

    feed.on_change = tell
    session = Session(
        settings,
        client_id=unique_client_id("gthread"),
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
    app = Flask(__name__)

    def events() -> Iterator[bytes]:
        snapshot, kind = board.full(), b"state"
        while True:
            yield b"event: %s\ndata: %s\n\n" % (kind, snapshot.body)
            seen = snapshot.version
            while board.version == seen:
                with changed:
                    woken = board.version > seen or changed.wait(HEARTBEAT_S)
                if not woken:
                    yield b"event: heartbeat\ndata: {}\n\n"
            delta = board.delta(seen)
            snapshot, kind = (delta, b"change") if delta else (board.full(), b"state")

    @app.get("/api/v1/stream")
    def stream() -> Response:
        return Response(events(), mimetype="text/event-stream")

    @app.get("/readyz")
    def readyz() -> Response:
        problems = feed.problems()
        return Response("\n".join(problems) or "ok", 503 if problems else 200)

    return app
