"""`/healthz`, `/readyz` and `/metrics`.

/metrics has a sensor's temperature and humidity only while they may be taken for the present ones:
it is live, or retrying with a value younger than three intervals. Otherwise the series ends, as
Prometheus wants it, and `brisa_sensor_state` says why; no old value goes on as if it were new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from flask import Blueprint, Response

from broker import __version__
from gateway import asgi
from gateway.asgi import ASGI, Answer, Scope
from gateway.board import Board
from gateway.feed import Feed
from gateway.problems import checked_query
from gateway.rejections import Rejections
from gateway.views import ViewState

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

    from gateway.history.watch import Watch


class MustRun(Protocol):
    """A thread or task without which the gateway does not do all of its work."""

    def liveness_errors(self) -> list[str]: ...


class Probes:
    """What is answered at /healthz and /readyz: on the event loop, since all threads may be waiting."""

    def __init__(self, feed: Feed, *must_run: MustRun) -> None:
        self._feed = feed
        self._must_run = must_run

    def routes(self) -> dict[str, ASGI]:
        """Each path with its application."""
        return {
            "/healthz": _probe(self.liveness_errors),
            "/readyz": _probe(self.readiness_errors),
        }

    def liveness_errors(self) -> list[str]:
        """What only a new process can heal, one line each."""
        return [*self._feed.faults(), *self._others()]

    def readiness_errors(self) -> list[str]:
        """Why the page may not be trusted now, one line each."""
        return [*self._feed.problems(), *self._others()]

    def _others(self) -> list[str]:
        return [error for one in self._must_run for error in one.liveness_errors()]


def _probe(errors: Callable[[], list[str]]) -> ASGI:
    async def answer(scope: Scope) -> Answer:
        asgi.query(scope)
        found = errors()
        text = "".join(f"{error}\n" for error in found) or "ok\n"
        headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
        status = HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK
        return Answer(status, headers, text.encode())

    return asgi.endpoint(answer)


def blueprint(
    board: Board,
    feed: Feed,
    rejections: Rejections,
    viewers: Callable[[], int],
    watch: Watch | None,
    readiness_errors: Callable[[], list[str]],
) -> Blueprint:
    metrics_of = Blueprint("metrics", __name__)
    registries: list[CollectorRegistry] = []

    @metrics_of.get("/metrics")
    def metrics() -> Response:
        from prometheus_client import exposition  # noqa: PLC0415 - 1 MB that not everyone scrapes

        checked_query()
        if not registries:
            collector = _Collector(board, feed, rejections, viewers, watch, readiness_errors)
            registries.append(_registry(collector))
        text = exposition.generate_latest(registries[0])
        return Response(text, content_type=exposition.CONTENT_TYPE_PLAIN_0_0_4)

    return metrics_of


def _registry(collector: _Collector) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(collector)
    return registry


class _Collector:
    """Reads the board when Prometheus asks; nothing is counted twice."""

    def __init__(
        self,
        board: Board,
        feed: Feed,
        rejections: Rejections,
        viewers: Callable[[], int],
        watch: Watch | None,
        readiness_errors: Callable[[], list[str]],
    ) -> None:
        self._board = board
        self._feed = feed
        self._rejections = rejections
        self._viewers = viewers
        self._watch = watch
        self._readiness_errors = readiness_errors

    def collect(self) -> Iterator[Metric]:
        yield from self._sensors()
        yield from self._gateway()
        if self._watch is not None:
            yield from self._history(self._watch)

    def _sensors(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        labels = ["node", "sensor"]
        temperature = GaugeMetricFamily(
            "brisa_temperature_celsius", "the present temperature", labels=labels
        )
        humidity = GaugeMetricFamily(
            "brisa_humidity_percent", "the present relative humidity", labels=labels
        )
        newest = GaugeMetricFamily(
            "brisa_last_reading_timestamp_seconds",
            "the moment that the last good reading's age counts from; absent if unknown",
            labels=labels,
        )
        state = GaugeMetricFamily(
            "brisa_sensor_state", "1 for the state that it is in", labels=[*labels, "state"]
        )
        fresh = self._board.fresh()
        for view in self._board.views():
            key = (view.node, view.sensor)
            if key in fresh and view.temperature_c is not None and view.humidity_pct is not None:
                temperature.add_metric(key, view.temperature_c)
                humidity.add_metric(key, view.humidity_pct)
            if view.age_from is not None:
                newest.add_metric(key, view.age_from.timestamp())
            for one in ViewState:
                state.add_metric((*key, one), float(view.state is one))
        yield from (temperature, humidity, newest, state)

    def _history(self, watch: Watch) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        seen = watch.seen()
        up = seen.audit is not None and not seen.problem
        yield GaugeMetricFamily("brisa_history_up", "1 while it can be read", float(up))
        if (disk := seen.disk) is not None:
            for name, text, value in (
                ("used_bytes", "Disk space in use by the history's rows.", disk.used_bytes),
                ("budget_bytes", "Disk space that the history may use.", disk.budget_bytes),
                (
                    "growth_bytes_per_day",
                    "Disk space that a day of the present sensors takes.",
                    disk.growth_bytes_per_day,
                ),
            ):
                yield GaugeMetricFamily(f"brisa_history_disk_{name}", text, value)
            if disk.full_at is not None:
                yield GaugeMetricFamily(
                    "brisa_history_disk_full_timestamp_seconds",
                    "When the budget is used up at this rate; absent if not foreseen.",
                    disk.full_at.timestamp(),
                )
        for name, means in (
            ("stored_readings", "readings ever stored"),
            ("missing_readings", "readings that the node is still to send"),
            ("lost_readings", "readings that will not come any more"),
            ("open_ends", "Journals removed before their last readings were handed over."),
        ):
            family = GaugeMetricFamily(f"brisa_history_{name}", means, labels=["node", "sensor"])
            for one in seen.audit.sensors if seen.audit is not None and up else ():
                family.add_metric((one.node, one.sensor), getattr(one, name.split("_readings")[0]))
            yield family

    def _gateway(self) -> Iterator[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        yield InfoMetricFamily("brisa_gateway", "this gateway", {"version": __version__})
        yield GaugeMetricFamily(
            "brisa_gateway_ready", "1 if /readyz says so", float(not self._readiness_errors())
        )
        yield GaugeMetricFamily(
            "brisa_gateway_broker_connected",
            "1 while connected to the broker",
            float(self._board.feed.connected),
        )
        yield GaugeMetricFamily("brisa_gateway_viewers", "open streams", self._viewers())
        yield CounterMetricFamily(
            "brisa_gateway_messages_parsed",
            "messages taken in; of a flood only the newest of each topic",
            self._feed.parsed_total,
        )
        rejected = CounterMetricFamily(
            "brisa_gateway_rejected", "messages not shown, by cause", labels=["cause"]
        )
        for cause, total in self._rejections.totals().items():
            rejected.add_metric((cause,), total)
        yield rejected
