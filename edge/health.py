"""/healthz, /readyz and /metrics of the edge, on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from broker.contract import SensorState
from edge.clock import Clock
from edge.publisher import Publisher
from edge.sampler import Sampler

# A read may block for 30 s (Adafruit_DHT); a sampler silent for longer than that and three
# intervals has stopped.
STALLED_S = 60.0


class Health(Collector):
    """What the probes and Prometheus are told."""

    def __init__(self, samplers: Sequence[Sampler], publisher: Publisher, clock: Clock) -> None:
        self._samplers = samplers
        self._publisher = publisher
        self._clock = clock

    def alive(self) -> list[str]:
        """What only a restart would mend."""
        problems = []
        now_s = self._clock.monotonic_s()
        for sampler in self._samplers:
            silent_s = now_s - sampler.cycle_ended_s
            if not sampler.alive:
                problems.append(f"the sampler of {sampler.name} has ended")
            elif silent_s > STALLED_S + 3 * sampler.interval_s:
                problems.append(f"the sampler of {sampler.name} is stuck for {silent_s:.0f} s")
        if not self._publisher.session.network_thread_alive:
            problems.append("the network thread has ended")
        return problems

    def ready(self) -> list[str]:
        """What keeps readings from arriving."""
        problems = self.alive()
        session = self._publisher.session
        if not session.connected:
            problems.append(session.last_error or "not connected to the broker")
        problems += [
            f"sensor {sampler.name} is {sampler.state}: {sampler.reason}"
            for sampler in self._samplers
            if sampler.state is SensorState.BROKEN
        ]
        if self._publisher.twin:
            problems.append(f"another edge ({self._publisher.twin}) has this node's id")
        return problems

    def collect(self) -> Iterable[Metric]:
        readings = CounterMetricFamily(
            "brisa_edge_readings", "Readings accepted", labels=["sensor", "driver"]
        )
        attempts = CounterMetricFamily(
            "brisa_edge_attempts", "Times the sensor was asked", labels=["sensor"]
        )
        discarded = CounterMetricFamily(
            "brisa_edge_discarded", "Readings not accepted", labels=["sensor", "cause"]
        )
        state = GaugeMetricFamily(
            "brisa_edge_sensor_state", "1 for the state it is in", labels=["sensor", "state"]
        )
        for sampler in self._samplers:
            readings.add_metric([sampler.name, sampler.sensor.driver], sampler.readings)
            attempts.add_metric([sampler.name], sampler.attempts)
            for cause, count in sorted(sampler.discarded.items()):
                discarded.add_metric([sampler.name, cause.value], count)
            for one in SensorState:
                state.add_metric([sampler.name, one.value], float(sampler.state is one))
        session = self._publisher.session
        yield from (readings, attempts, discarded, state)
        yield CounterMetricFamily(
            "brisa_edge_published", "Messages given to MQTT", value=self._publisher.published_total
        )
        yield CounterMetricFamily(
            "brisa_edge_refused", "Messages the broker refused", value=session.refused_total
        )
        yield CounterMetricFamily(
            "brisa_edge_connects", "Connections to the broker", value=session.connects_total
        )
        yield GaugeMetricFamily(
            "brisa_edge_connected", "1 while connected to the broker", value=session.connected
        )
        yield GaugeMetricFamily(
            "brisa_edge_clock_synchronised",
            "1 while the kernel counts its clock as right",
            value=self._clock.synchronised(),
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # of the 5 that is the default, a probe may find none free


class HealthServer:
    """Answers in a thread of its own. `start` raises OSError where the port is taken."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        registry = CollectorRegistry()
        registry.register(self._health)
        handler = _handler(self._health, lambda: generate_latest(registry))
        self._server = _Server((self._host, self._port), handler)
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port if self._server is not None else self._port

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _handler(health: Health, metrics: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 3  # a client that sends nothing does not keep a thread for long

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_PLAIN_0_0_4, metrics())
            elif path in {"/healthz", "/readyz"}:
                problems = health.alive() if path == "/healthz" else health.ready()
                text = "\n".join(problems or ["ok"]) + "\n"
                self._answer(503 if problems else 200, "text/plain; charset=utf-8", text.encode())
            else:
                self._answer(404, "text/plain", b"try /healthz, /readyz or /metrics\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes ask every few seconds: no line for them."""

    return Handler
