"""A board that is told what an edge would send it; for the gateway's tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask.testing import FlaskClient

from broker.contract import Kind, Topic, Topics
from gateway.app import create_app
from gateway.asgi import ASGI, Message
from gateway.board import Board
from gateway.feed import Feed
from gateway.history.watch import Watch
from gateway.probes import MustRun, Probes
from gateway.rejections import Rejections
from gateway.replicas import ALONE
from gateway.server import loop_routes
from gateway.stream import Stream
from gateway.system_views import ReplicasView
from gateway.views import SensorView

STREAM = UUID("00000000-0000-4000-8000-000000000001")
OUR_CLOCK = "3b1f0c9a5d7e2486"


class Clock:
    """Both of the board's clocks; they only move when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.now = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.now_s

    def utcnow(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now_s += seconds
        self.now += timedelta(seconds=seconds)


class Told:
    """A board, and the messages that an edge would send it."""

    def __init__(self, **bounds: int) -> None:
        self.clock = Clock()
        self.rejections = Rejections(self.clock.monotonic)
        self.board = Board(
            self.rejections,
            monotonic=self.clock.monotonic,
            monotonic_clock=OUR_CLOCK,
            utcnow=self.clock.utcnow,
            **bounds,
        )

    def reading(
        self,
        seq: int = 1,
        *,
        retained: bool = False,
        node: str = "aula",
        sensor: str = "dht11",
        measured_at: datetime | None = None,
        **fields: object,
    ) -> None:
        payload = {
            "stream": str(STREAM),
            "seq": seq,
            "measured_at": (measured_at or self.clock.now).isoformat(),
            "clock_synchronised": True,
            "temperature_c": 24.0,
            "humidity_pct": 41.0,
            "source": "dht11",
        } | fields
        self.raw(Topic(Kind.READING, node, sensor), json.dumps(payload).encode(), retained=retained)

    def health(
        self, state: str = "ok", *, node: str = "aula", sensor: str = "dht11", **fields: object
    ) -> None:
        payload = {
            "state": state,
            "since": self.clock.now.isoformat(),
            "driver": "iio",
            "model": "dht11",
            "interval_s": 5.0,
        } | fields
        self.raw(Topic(Kind.HEALTH, node, sensor), json.dumps(payload).encode(), retained=True)

    def status(
        self, state: str, *, retained: bool = False, node: str = "aula", **fields: str
    ) -> None:
        payload = json.dumps({"state": state} | fields).encode()
        self.raw(Topic(Kind.STATUS, node), payload, retained=retained)

    def raw(self, topic: Topic, payload: bytes, *, retained: bool = False) -> None:
        self.board.take(topic, payload, retained=retained)

    def after(self, seconds: float) -> SensorView:
        self.clock.pass_(seconds)
        return self.view()

    def view(self, sensor: str = "dht11") -> SensorView:
        snapshot = self.board.sensor("aula", sensor)
        assert snapshot is not None
        return SensorView.model_validate_json(snapshot.body)


@dataclass
class InMemorySession:
    """Stands in for broker.session.Session where only its health is asked for."""

    connected: bool = True
    subscribed: bool = True
    synchronised: bool = True
    network_thread_alive: bool = True
    last_error: str = ""


def make_feed(told: Told, max_sensors: int = 2000) -> Feed:
    return Feed(
        told.board,
        Topics(),
        told.rejections,
        max_sensors=max_sensors,
        monotonic=told.clock.monotonic,
    )


def make_client(
    told: Told,
    feed: Feed | None = None,
    viewers: int = 0,
    watch: Watch | None = None,
    replicas: ReplicasView = ALONE,
    must_run: Sequence[MustRun] = (),
) -> FlaskClient:
    """A client of all but the stream, with the board's own clock."""
    feed = feed or make_feed(told)
    probes = Probes(feed, *must_run)
    app = create_app(
        told.board,
        feed,
        told.rejections,
        viewers=lambda: viewers,
        utcnow=told.clock.utcnow,
        watch=watch,
        replicas=lambda: replicas,
        readiness_errors=probes.readiness_errors,
        monotonic=told.clock.monotonic,
    )
    routes = loop_routes(told.board, Stream(told.board), probes)
    app.wsgi_app = OnLoop(routes, app.wsgi_app)  # type: ignore[method-assign,assignment]
    return app.test_client()


class OnLoop:
    """WSGI that answers as the gateway does what it answers on its event loop."""

    def __init__(self, routes: Mapping[str, ASGI], pages: Any) -> None:
        self._routes = routes
        self._pages = pages

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        app = self._routes.get(environ["PATH_INFO"])
        if app is None:
            answer: Iterable[bytes] = self._pages(environ, start)
            return answer
        names = {name[5:]: name for name in environ if name.startswith("HTTP_")}
        scope = {
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "query_string": environ["QUERY_STRING"].encode("latin-1"),
            "headers": [
                (short.replace("_", "-").lower().encode(), environ[name].encode("latin-1"))
                for short, name in names.items()
            ],
        }
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("what is answered at once needs to know no more")

        asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
        head, *rest = sent
        headers = [(name.decode().title(), value.decode()) for name, value in head["headers"]]
        start(f"{head['status']} {HTTPStatus(head['status']).phrase}", headers)
        return [] if scope["method"] == "HEAD" else [one["body"] for one in rest]
