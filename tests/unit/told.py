"""A board that is told what an edge would send it; for the gateway's tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask.testing import FlaskClient

from broker.contract import Kind, Topic, Topics
from gateway.app import create_app
from gateway.board import Board
from gateway.feed import Feed
from gateway.history.watch import Watch
from gateway.rejections import Rejections
from gateway.replicas import ALONE
from gateway.system_views import ReplicasView
from gateway.views import SensorView

STREAM = UUID("00000000-0000-4000-8000-000000000001")


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
) -> FlaskClient:
    """A client of the pages, with the board's own clock."""
    app = create_app(
        told.board,
        feed or make_feed(told),
        told.rejections,
        viewers=lambda: viewers,
        utcnow=told.clock.utcnow,
        watch=watch,
        replicas=lambda: replicas,
        monotonic=told.clock.monotonic,
    )
    return app.test_client()
