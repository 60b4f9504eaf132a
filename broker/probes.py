"""/healthz, /readyz and /metrics of a process that serves nothing else, on a port of its own.

socketserver and these few lines, since http.server brings http.client and all of email with it, for
three answers without a body to read.
"""

from __future__ import annotations

import logging
import socketserver
import sys
import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import Protocol

from broker.metrics import CONTENT_TYPE, Metric, render_metrics
from broker.worker import Worker

log = logging.getLogger(__name__)

LONGEST_LINE, MOST_LINES = 8192, 100  # of a request
TEXT = "text/plain; charset=utf-8"


class Probed(Protocol):
    """What the probes ask, and what Prometheus collects; each fault is one line."""

    def alive(self) -> list[str]:
        """What only a restart would mend."""

    def ready(self) -> list[str]:
        """What keeps it from doing its work."""

    def collect(self) -> Iterable[Metric]:
        """What `/metrics` shows."""


class HealthServer:
    """Answers in threads of its own. `start` raises OSError where the port is taken."""

    def __init__(self, health: Probed, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._worker: Worker | None = None

    def start(self) -> None:
        self._server = _Server(self._health, self._host, self._port)
        # a loop that ended would make a healthy process be killed for its silence
        self._worker = Worker("health", self._server.serve_forever)
        self._worker.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_address[1] if self._server is not None else self._port

    def stop(self) -> None:
        if self._server is not None and self._worker is not None:
            self._worker.stopping.set()
            # it waits for ever for a thread that has not begun to serve
            threading.Thread(target=self._server.shutdown, daemon=True).start()
            self._worker.stop()
            self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    server_address: tuple[str, int]
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64  # of the 5 that is the default, a probe may find none free

    def __init__(self, health: Probed, host: str, port: int) -> None:
        self.health = health
        super().__init__((host, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A prober that hangs up in the middle is no news; a fault of ours is."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            log.error("%s: the answer failed (%r)", client_address, request, exc_info=error)


class _Handler(socketserver.StreamRequestHandler):
    """One request a connection, as HTTP/1.0 has it; every client of HTTP/1.1 understands that."""

    server: _Server
    timeout = 3  # a client that sends nothing does not keep a thread for long

    def handle(self) -> None:
        lines = []
        while (line := self.rfile.readline(LONGEST_LINE)).strip():
            lines.append(line)
            if not line.endswith(b"\n") or len(lines) > MOST_LINES:
                return self._answer(HTTPStatus.BAD_REQUEST, TEXT, b"too long\n")
        if not lines:
            return None  # a port scan
        method, _, rest = lines[0].decode("latin-1").partition(" ")
        target, _, version = rest.strip().partition(" ")
        if not version.startswith("HTTP/1."):
            return self._answer(HTTPStatus.BAD_REQUEST, TEXT, b"expected HTTP/1.1\n")
        if method not in {"GET", "HEAD"}:
            return self._answer(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD\n")
        return self._answer(*self._resource(target.partition("?")[0]), head=method == "HEAD")

    def _resource(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        health = self.server.health
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE, render_metrics(health.collect())
        if path not in {"/healthz", "/readyz"}:
            return HTTPStatus.NOT_FOUND, TEXT, b"try /healthz, /readyz or /metrics\n"
        faults = health.alive() if path == "/healthz" else health.ready()
        status = HTTPStatus.SERVICE_UNAVAILABLE if faults else HTTPStatus.OK
        return status, TEXT, ("\n".join(faults or ["ok"]) + "\n").encode()

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, *, head: bool = False) -> None:
        lines = [
            f"HTTP/1.1 {status} {status.phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            lines.append("Allow: GET, HEAD")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + (b"" if head else body))
