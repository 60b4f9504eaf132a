"""/healthz, /readyz and /metrics of a process that serves nothing else, on a port of its own."""

from __future__ import annotations

import logging
import sys
from abc import abstractmethod
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from broker.worker import Worker

log = logging.getLogger(__name__)


class Probed(Collector):
    """What the probes ask, and what Prometheus collects; each fault is one line."""

    @abstractmethod
    def alive(self) -> list[str]:
        """What only a restart would mend."""

    @abstractmethod
    def ready(self) -> list[str]:
        """What keeps it from doing its work."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # of the 5 that is the default, a probe may find none free

    def handle_error(self, request: object, client_address: object) -> None:
        """A prober that hangs up in the middle is no news; a fault of ours is."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            log.error("%s: the answer failed (%r)", client_address, request, exc_info=error)


class HealthServer:
    """Answers in a thread of its own. `start` raises OSError where the port is taken."""

    def __init__(self, health: Probed, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._port = port
        self._server: ThreadingHTTPServer | None = None
        self._worker: Worker | None = None

    def start(self) -> None:
        registry = CollectorRegistry()
        registry.register(self._health)
        handler = _handler(self._health, lambda: generate_latest(registry))
        self._server = _Server((self._host, self._port), handler)
        self._worker = Worker("health", self._server.serve_forever)
        self._worker.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port if self._server is not None else self._port

    def stop(self) -> None:
        if self._server is not None and self._worker is not None:
            self._worker.stopping.set()
            self._server.shutdown()
            self._server.server_close()


def _handler(health: Probed, metrics: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
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
