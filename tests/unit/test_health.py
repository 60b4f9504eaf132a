"""The edge's /healthz, /readyz and /metrics: what each of them is told."""

from __future__ import annotations

import functools
import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from broker.contract import NodeState, NodeStatus, SensorState
from broker.probes import HealthServer, _Server
from broker.worker import Worker
from edge.health import Health
from edge.sampler import STALLED_S
from edge.sensors.base import Cause
from tests.support import PATIENCE_S, eventually
from tests.unit.metrics import metric_value
from tests.unit.test_publisher import Edge


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """Connected, and in its first read."""
    edge = Edge(tmp_path / "journal.db")
    edge.publisher.backfiller.start()
    edge.session.comes_up()
    edge.publisher._worker.start()
    edge.sampler.start()
    assert edge.sensor.asked.wait(PATIENCE_S)
    yield edge
    edge.sampler.stop(PATIENCE_S)
    edge.publisher.backfiller.stop()
    edge.publisher._worker.stop(PATIENCE_S)
    edge.journal.close()


def health_of(edge: Edge) -> Health:
    return Health([edge.sampler], edge.publisher, edge.journal, edge.clock)


def test_all_well(edge: Edge) -> None:
    assert health_of(edge).alive() == health_of(edge).ready() == []


def test_a_sampler_that_is_stuck_is_not_alive(edge: Edge) -> None:
    edge.clock.pass_(STALLED_S + 3 * edge.sampler.interval_s)
    assert health_of(edge).alive() == []
    edge.clock.pass_(1)
    assert health_of(edge).alive() == ["the thread sampler-s has made no progress for 76 s"]
    assert health_of(edge).ready() == health_of(edge).alive()


def test_a_sampler_that_has_ended_is_not_alive(edge: Edge) -> None:
    edge.sampler.stop(PATIENCE_S)
    assert health_of(edge).alive() == ["the thread sampler-s is dead"]


def test_while_it_ends_nobody_starts_it_again(edge: Edge) -> None:
    """A liveness probe that failed then would cut short what it still hands over."""
    edge.publisher.ending = True
    edge.sampler.stop(PATIENCE_S)
    assert health_of(edge).alive() == []
    assert health_of(edge).ready() == ["it is ending"]


def test_a_network_thread_that_has_ended_is_not_alive(edge: Edge) -> None:
    edge.session.network_thread_alive = False
    assert health_of(edge).alive() == ["the network thread is dead"]


@pytest.mark.parametrize("last_error", ["refused", ""])
def test_without_the_broker_it_is_alive_and_not_ready(edge: Edge, last_error: str) -> None:
    edge.session.connected, edge.session.last_error = False, last_error
    assert health_of(edge).alive() == []
    assert health_of(edge).ready() == [last_error or "not connected to the broker"]


def test_with_a_broken_sensor_it_is_alive_and_not_ready(edge: Edge) -> None:
    edge.sampler.state, edge.sampler.reason = SensorState.BROKEN, "no wire"
    assert health_of(edge).alive() == []
    assert health_of(edge).ready() == ["sensor s is broken: no wire"]


def test_with_a_twin_it_is_alive_and_not_ready(edge: Edge) -> None:
    edge.session.hears(NodeStatus(state=NodeState.ONLINE, instance="other"))
    assert health_of(edge).alive() == []
    assert health_of(edge).ready() == ["another edge (other) has this node's id"]


def test_metrics_have_the_counters(edge: Edge) -> None:
    edge.sampler.readings, edge.sampler.attempts = 5, 8
    edge.sampler.discarded.update({Cause.TIMEOUT: 2, Cause.SLIP: 1})
    edge.session.connects_total, edge.session.refused_total = 4, 3
    value = functools.partial(metric_value, list(health_of(edge).collect()), "brisa_edge_")

    assert value("readings_total", sensor="s", driver="blocked") == 5
    assert value("attempts_total", sensor="s") == 8
    assert value("discarded_total", sensor="s", cause="timeout") == 2
    assert value("discarded_total", sensor="s", cause="slip") == 1
    states = [value("sensor_state", sensor="s", state=state) for state in SensorState]
    assert states == [float(state is SensorState.RETRYING) for state in SensorState]
    assert value("published_total") == 2  # status and health
    assert value("connects_total") == 4
    assert value("refused_total") == 3
    assert value("connected") == value("clock_synchronised") == 1


@pytest.mark.parametrize(
    ("fault", "lines"), [(ConnectionResetError(), 0), (BrokenPipeError(), 0), (KeyError("x"), 1)]
)
def test_a_prober_that_hangs_up_is_no_news_and_a_fault_of_ours_is(
    edge: Edge, caplog: pytest.LogCaptureFixture, fault: Exception, lines: int
) -> None:
    class Faulty(Health):
        def ready(self) -> list[str]:
            raise fault

    faulty = Faulty([edge.sampler], edge.publisher, edge.journal, edge.clock)
    server = HealthServer(faulty, "127.0.0.1", 0)
    server.start()
    try:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://127.0.0.1:{server.port}/readyz")
        assert httpx.get(f"http://127.0.0.1:{server.port}/healthz").status_code == 200
    finally:
        server.stop()
    assert len([one for one in caplog.records if one.name == "broker.probes"]) == lines


def test_a_fault_of_ours_between_two_answers_does_not_end_the_server(
    edge: Edge, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [ZeroDivisionError("a bug")]

    def service_actions(_self: object) -> None:
        if faults:
            raise faults.pop()

    monkeypatch.setattr("broker.worker.PAUSE_S", 0.01)
    monkeypatch.setattr(_Server, "service_actions", service_actions)
    server = HealthServer(health_of(edge), "127.0.0.1", 0)
    server.start()
    try:
        eventually("it fails", lambda: "a bug" in caplog.text)
        url = f"http://127.0.0.1:{server.port}/healthz"
        assert httpx.get(url, timeout=PATIENCE_S).status_code == 200
    finally:
        server.stop()


def test_a_server_that_is_stopped_before_it_has_begun_to_serve_ends(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "_run", lambda worker: worker.stopping.wait())
    server = HealthServer(health_of(edge), "127.0.0.1", 0)
    server.start()
    stop = threading.Thread(target=server.stop, daemon=True)
    stop.start()
    stop.join(PATIENCE_S)
    assert not stop.is_alive()


@pytest.fixture
def server(edge: Edge) -> Iterator[HealthServer]:
    server = HealthServer(health_of(edge), "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("path", ["/healthz", "/readyz?verbose", "/metrics", "/nowhere"])
def test_head_answers_as_get_without_a_body(server: HealthServer, path: str) -> None:
    get = httpx.get(f"http://127.0.0.1:{server.port}{path}")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as asking:
        asking.sendall(f"HEAD {path} HTTP/1.1\r\nHost: brisa\r\n\r\n".encode())
        answer = asking.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b""
    assert int(head.split()[1]) == get.status_code
    assert f"Content-Length: {len(get.content)}".encode() in head.split(b"\r\n")
    assert f"Content-Type: {get.headers['Content-Type']}".encode() in head.split(b"\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
        (b"GET /healthz HTTP/1.0\n\n", 200),
        (b"GET /healthz\r\n\r\n", 400),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET /".ljust(8192, b"a"), 400),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100, 400),
    ],
    ids=["method", "HTTP/1.0", "HTTP/0.9", "TLS", "long line", "many lines"],
)
def test_a_request_is_answered_by_what_it_is(
    server: HealthServer, request_: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as asking:
        asking.sendall(request_)
        assert asking.recv(12) == b"HTTP/1.1 %d" % status


def test_a_client_may_keep_its_connection_object(server: HealthServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    for _ in range(3):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
    connection.close()
