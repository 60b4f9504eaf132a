"""The gateway as a process: the stream and the pages behind one port, from start to orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from a2wsgi import WSGIMiddleware
from flask import Flask

from broker.contract import Topics
from broker.monotonic import monotonic_clock_id
from broker.session import Session, Subscription, unique_client_id
from gateway import api, asgi
from gateway.app import create_app
from gateway.asgi import ASGI, Receive, Scope, Send
from gateway.board import Board
from gateway.bridge import Bridge
from gateway.connection import Connection, room_for
from gateway.feed import Feed
from gateway.history_api import PATHS
from gateway.probes import Probes
from gateway.rejections import Rejections
from gateway.replicas import ALONE, Replicas
from gateway.settings import GatewaySettings
from gateway.stream import PATH, Stream

if TYPE_CHECKING:
    from gateway.history.watch import Watch

log = logging.getLogger(__name__)

# Requests are short, and a slow reader holds no thread: a2wsgi queues what is left to send.
PAGE_THREADS = 4
# The history's requests wait for a database: they have threads of their own to wait in.
HISTORY_THREADS = 4
# From the end of draining to the end of the process, for what is still being sent.
STOP_WITHIN_S = 5
BACKLOG = 128
# asyncio takes as many from that queue before it looks at any of them: OTHER_FILES has room for it.
ACCEPT_AT_ONCE = 16


class PortError(OSError):
    """The address cannot be listened on; the text is one line that names it."""


class HistoryError(Exception):
    """The history's URL is of no use; the text is one line that says why."""


class Gateway:
    """MQTT in, HTTP out. `run` returns after SIGTERM or Ctrl-C."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings

    def run(self) -> None:
        """Raises PortError, HistoryError, and OSError for TLS files that cannot be read."""
        settings = self._settings
        watch = _watch(settings)
        listener = listen(settings.host, settings.port)
        topics = Topics(settings.root)
        rejections = Rejections()
        board = Board(
            rejections,
            max_sensors=settings.max_sensors,
            max_sensors_per_node=settings.max_sensors_per_node,
            monotonic_clock=monotonic_clock_id(),
        )
        feed = Feed(board, topics, rejections, max_sensors=settings.max_sensors)
        connections, viewers = room_for(settings.max_viewers)
        stream = Stream(board, max_viewers=viewers)
        replicas = Replicas(settings.replicas_name) if settings.replicas_name else None
        threads = [thread for thread in (watch, replicas) if thread is not None]
        probes = Probes(feed, stream, *threads)
        pages = create_app(
            board,
            feed,
            rejections,
            viewers=stream.viewers,
            watch=watch,
            replicas=replicas.view if replicas is not None else lambda: ALONE,
            readiness_errors=probes.readiness_errors,
        )
        session = Session(
            settings,
            client_id=unique_client_id("gateway"),
            protocol=4,  # paho takes twice as long over a message of MQTT 5
            subscriptions=[Subscription(topics.all)],
            on_message=feed.on_message,
            on_up=feed.on_up,
            on_down=feed.on_down,
            restful=True,
        )
        feed.on_change = stream.notify
        feed.watch(session)
        with listener:
            session.start()
            feed.start()
            for thread in threads:
                thread.start()
            try:
                app = Dispatcher(loop_routes(board, stream, probes), pages)
                asyncio.run(serve(settings, app, stream, feed, listener, connections))
            finally:
                session.stop(timeout_s=1.0)
                feed.stop()
                for thread in threads:
                    thread.stop()
        log.info("stopped")


def _watch(settings: GatewaySettings) -> Watch | None:
    """Raises HistoryError."""
    if settings.history_url is None:
        return None
    from gateway.history.store import Store, StoreError  # noqa: PLC0415 - not without a history
    from gateway.history.watch import Watch  # noqa: PLC0415

    password = settings.history_password
    secret = None if password is None else password.get_secret_value()
    try:
        return Watch(Store(settings.history_url, secret, read_only=True))
    except StoreError as error:
        raise HistoryError(str(error)) from None


def loop_routes(board: Board, stream: ASGI, probes: Probes) -> Mapping[str, ASGI]:
    """Each path that is answered on the event loop."""
    return {PATH: stream, api.PATH: api.all_sensors(board), **probes.routes()}


class Dispatcher:
    """What has a route on the loop is answered there, the history in its threads, all else by pages."""

    def __init__(self, on_loop: Mapping[str, ASGI], pages: Flask) -> None:
        self._on_loop = on_loop
        # a2wsgi has its own words for ASGI's types, uvicorn others again
        self._pages: ASGI = WSGIMiddleware(pages.wsgi_app, workers=PAGE_THREADS)  # type: ignore[assignment,arg-type]
        self._history = Bridge(pages.wsgi_app, threads=HISTORY_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        app = self._on_loop.get(path)
        if app is None:
            app = self._pages
            if path != "/" and path.endswith("/"):
                app = asgi.redirect_to_no_slash
            elif PATHS.fullmatch(path):
                app = self._history
        await app(scope, receive, send)


async def serve(
    settings: GatewaySettings,
    app: Dispatcher,
    stream: Stream,
    feed: Feed,
    listener: socket.socket,
    connections: int,
) -> None:
    """Serve until a signal; then drain, end the streams, and let what is being sent go out."""

    class Bounded(Connection):
        at_most = connections

    config = uvicorn.Config(
        app,
        http=Bounded,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        backlog=ACCEPT_AT_ONCE,
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )
    # start and end are ours to tell, and what strangers send is not worth a line each
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    # the bridge itself says what it broke off
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    server = Server(config, stream, feed, settings.drain_s)
    stream.start()
    await server.serve(sockets=[listener])
    await server.ended()


def _is_news(record: logging.LogRecord) -> bool:
    return "without completing" not in str(record.msg)  # a message may be any object


class Server(uvicorn.Server):
    """uvicorn, with our own way to stop."""

    def __init__(self, config: uvicorn.Config, stream: Stream, feed: Feed, drain_s: float) -> None:
        super().__init__(config)
        self._stream = stream
        self._feed = feed
        self._drain_s = drain_s
        self._stopping: asyncio.Task[None] | None = None
        self._now = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # asyncio has set it to ACCEPT_AT_ONCE
            host, port = listener.getsockname()[:2]
            # an address to listen on that is none to open
            everywhere = ", on every address of this machine"
            where = ("localhost", everywhere) if host in {"0.0.0.0", "::"} else (host, "")
            log.info("the page is at http://%s:%d/%s", where[0], port, where[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """On SIGTERM and SIGINT; a second one ends the draining."""
        self._feed.draining = True
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._stopping is None:
            log.info("stopping; draining for %g s", self._drain_s)
            # who keeps a connection makes a new one, to somebody who stays; heeded within a second
            self.config.encoded_headers.append((b"connection", b"close"))
            self._stopping = self._loop.create_task(self._drain_and_stop())
        else:
            self._now.set()

    async def _drain_and_stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._now.wait(), self._drain_s)
        try:
            await self._stream.close()
        finally:
            # who does not read is cut off in the end, which uvicorn would tell as an error of ours
            logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
            self.should_exit = True

    async def ended(self) -> None:
        """Wait for what `_stop` began; nothing, if the server ended by itself."""
        if self._stopping is not None:
            await self._stopping


def listen(host: str, port: int) -> socket.socket:
    """Raises PortError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise PortError(f"cannot listen on {host}:{port}: {why}") from None
    # Every connection inherits it. asyncio sets it only on sockets that name their protocol; with
    # Nagle's algorithm a body would wait for the client to acknowledge its head, some 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
