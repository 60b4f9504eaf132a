"""`python -m gateway` as a process, on each broker, fed by a real edge or by hand."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from broker.contract import Measured, NodeState, NodeStatus, Reading, SensorHealth, SensorState
from broker.session import Session, unique_client_id
from tests.chaos.edge_with_clock import CONTROL, set_clock
from tests.support import PATIENCE_S, RunningBroker, eventually, python
from tests.system import System, running_system


@pytest.fixture
def system(any_broker: RunningBroker) -> Iterator[System]:
    with running_system(any_broker) as whole:
        yield whole


def test_from_the_sensor_to_http(system: System) -> None:
    view = system.wait_for_state("pi-1/aula", "live")
    assert view["source"] == "replay"
    assert view["model"] == "dht11"
    eventually("ready", system.ready)
    eventually("the next one", lambda: system.sensors()["pi-1/aula"]["seq"] > view["seq"])
    assert "pi-1/aula: Temperatura=" in system.get("/text").text


def test_a_new_replica_has_the_full_picture_from_what_is_retained(system: System) -> None:
    system.wait_for_state("pi-1/patio", "live")
    assert system.edge is not None
    assert system.edge.stop() == 0
    system.wait_for_state("pi-1/patio", "offline")
    other = System(system.broker)
    try:
        other.start_gateway()
        eventually("ready", other.ready)
        # ready means that the retained state is in: nothing more to wait for
        assert other.sensors()["pi-1/patio"]["state"] == "offline"
        assert other.sensors()["pi-1/patio"]["temperature_c"] is not None
    finally:
        other.close()


def test_on_one_kernel_the_age_is_known_though_its_clock_is_not_synchronised(
    mosquitto: RunningBroker, tmp_path: Path
) -> None:
    control = tmp_path / "clock"
    set_clock(control, offset_s=-1e9, synchronised=False)
    env = {CONTROL: str(control), "BRISA_INTERVAL_S": "60"}
    with running_system(
        mosquitto, edge_module="tests.chaos.edge_with_clock", edge_env=env
    ) as system:
        before = system.wait_for_state("pi-1/aula", "live")
        assert system.gateway is not None
        assert system.gateway.stop() == 0
        system.gateway.close()
        system.start_gateway()
        eventually("ready", system.ready)
        after = system.sensors()["pi-1/aula"]
        assert (after["seq"], after["state"]) == (before["seq"], "live")
        assert (after["received_at"], after["clock_synchronised"]) == (None, False)
        # by the gateway's clock, which the edge's is years behind
        apart = datetime.fromisoformat(before["received_at"]) - datetime.fromisoformat(
            after["age_from"]
        )
        assert abs(apart) < timedelta(seconds=30)
        problems = system.get("/api/v1/system").json()["problems"]
        assert [one for one in problems if one["code"] == "clock_not_synchronised"] == []


def test_a_broker_that_lost_its_memory_heals_without_touching_anything(system: System) -> None:
    system.wait_for_state("pi-1/aula", "live")
    system.broker.kill()
    eventually("not ready", lambda: not system.ready())
    assert "broker" in system.get("/readyz").text
    assert system.get("/healthz").status_code == 200
    assert system.sensors()["pi-1/aula"]["temperature_c"] is not None
    for path in (system.broker.state / "data").glob("*"):
        path.unlink()
    before = system.sensors()["pi-1/aula"]["seq"]
    system.broker.start()
    eventually("ready again", system.ready)
    view = system.wait_for_state("pi-1/aula", "live")
    eventually("a newer one", lambda: system.sensors()["pi-1/aula"]["seq"] > before)
    assert view["source"] == "replay"


def test_an_edge_that_vanishes_is_offline_and_comes_back(system: System) -> None:
    system.wait_for_state("pi-1/aula", "live")
    assert system.edge is not None
    system.edge.stop(signal.SIGKILL)
    last = system.wait_for_state("pi-1/aula", "offline")
    assert last["temperature_c"] is not None
    system.edge.close()
    system.start_edge()
    # online, and live by its last reading, before it has read anew
    eventually("a newer reading", lambda: system.sensors()["pi-1/aula"]["seq"] > last["seq"])
    again = system.wait_for_state("pi-1/aula", "live")
    assert again["stream"] == last["stream"]  # the journal goes on: no number is given twice


def test_sigterm_fails_readiness_ends_streams_with_a_hint_and_exits_cleanly(
    any_broker: RunningBroker,
) -> None:
    with running_system(any_broker, gateway_env={"BRISA_DRAIN_S": "60"}) as system:
        eventually("ready", system.ready)
        assert system.gateway is not None
        with (
            httpx.stream("GET", system.url + "/api/v1/stream", timeout=PATIENCE_S) as answer,
        ):
            lines = answer.iter_lines()
            assert next(line for line in lines if line.startswith("event:")) == "event: state"
            system.gateway.popen.send_signal(signal.SIGTERM)
            eventually("draining", lambda: "draining" in system.get("/readyz").text)
            assert system.get("/").status_code == 200  # still serving while it drains
            system.gateway.popen.send_signal(signal.SIGTERM)  # the second one: at once
            rest = list(lines)
        assert [line for line in rest if line.startswith("retry:")]
        assert system.gateway.wait() == 0
        assert "Traceback" not in system.gateway.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_with_nobody_looking(any_broker: RunningBroker, number: int) -> None:
    with running_system(any_broker) as system:
        assert system.gateway is not None
        assert system.gateway.stop(number) == 0
        assert "Traceback" not in system.gateway.output


def test_a_taken_port_is_one_clear_line(any_broker: RunningBroker) -> None:
    env = {"BRISA_PORT": str(any_broker.port), "BRISA_HOST": "127.0.0.1"}
    with python("-m", "gateway", env={**any_broker.env("gateway"), **env}) as gateway:
        assert gateway.wait() == 1
        assert gateway.lines == [
            f"gateway: cannot listen on 127.0.0.1:{any_broker.port}: Address already in use"
        ]


def hostile(broker: RunningBroker) -> Session:
    """A node that is let in and behaves badly."""
    session = Session(broker.settings("pi-2"), client_id=unique_client_id("hostile"), protocol=5)
    session.start()
    assert session.wait_until_up(PATIENCE_S)
    return session


def metric(system: System, name: str) -> float:
    lines = system.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_rubbish_is_counted_and_bounded_and_good_sensors_go_on(mosquitto: RunningBroker) -> None:
    with running_system(mosquitto, gateway_env={"BRISA_MAX_SENSORS_PER_NODE": "50"}) as system:
        before = system.wait_for_state("pi-1/aula", "live")["seq"]
        node = hostile(mosquitto)
        good = {
            "stream": "0b7de6ce-7d8f-4f6e-9a51-0c3c1b8f8a01",
            "seq": 1,
            "measured_at": "2026-11-23T15:00:00Z",
            "clock_synchronised": True,
            "temperature_c": 24.0,
            "humidity_pct": 41.0,
            "source": "dht11",
        }
        for payload in (
            b"",
            b"{",
            b"\xff\xfe\x00",
            json.dumps({**good, "temperature_c": float("nan")}).encode(),
            json.dumps({**good, "humidity_pct": 140}).encode(),
            b"x" * 49_000,  # about the longest that the broker lets through
            b"[" * 40_000,
        ):
            node.publish("brisa/pi-2/bad/reading", payload)
        for number in range(10_000):
            while node._in_flight and len(node._in_flight) > 500:
                time.sleep(0)  # the queue has a bound: let it drain
            node.publish(f"brisa/pi-2/s{number}/reading", json.dumps(good).encode())
        assert node.stop(PATIENCE_S)
        eventually("counted", lambda: metric(system, "brisa_gateway_rejected_total") > 9_000)
        shown = system.sensors()
        assert sum(key.startswith("pi-2/") for key in shown) == 50
        eventually("the good go on", lambda: system.sensors()["pi-1/aula"]["seq"] > before)
        assert system.ready()
        assert system.gateway is not None
        assert "Traceback" not in system.gateway.output
        assert len(system.gateway.lines) < 20


def test_html_from_a_sensor_shows_as_text(any_broker: RunningBroker) -> None:
    with running_system(any_broker) as system:
        node = hostile(any_broker)
        evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
        health = SensorHealth.model_validate_json(
            json.dumps(
                {
                    "state": SensorState.BROKEN,
                    "since": "2026-11-23T15:00:00Z",
                    "reason": evil,
                    "driver": "iio",
                    "model": "dht11",
                    "interval_s": 5,
                }
            )
        )
        status = NodeStatus(state=NodeState.ONLINE)
        node.publish("brisa/pi-2/status", status.to_json(), retain=True)
        node.publish("brisa/pi-2/dht11/health", health.to_json(), retain=True)
        system.wait_for_state("pi-2/dht11", "broken")
        page = system.get("/").text
        assert "<img src=x" not in page
        assert "&lt;img src=x" in page
        node.stop()


def test_a_hundred_viewers_all_see_what_comes(mosquitto: RunningBroker) -> None:
    with running_system(mosquitto) as system:
        eventually("ready", system.ready)
        newest = system.wait_for_state("pi-1/aula", "live")["seq"]
        done: queue.Queue[bool] = queue.Queue()

        def watch() -> None:
            with httpx.stream("GET", system.url + "/api/v1/stream", timeout=PATIENCE_S) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data:") and any(
                        view["sensor"] == "aula" and (view["seq"] or 0) >= newest + 12
                        for view in json.loads(line[5:]).get("sensors", [])
                    ):
                        done.put(True)
                        return

        for _ in range(100):
            threading.Thread(target=watch, daemon=True).start()
        assert [done.get(timeout=PATIENCE_S) for _ in range(100)] == [True] * 100


def test_readings_are_shown_as_the_contract_says(any_broker: RunningBroker) -> None:
    with running_system(any_broker) as system:
        view = system.wait_for_state("pi-1/patio", "live")
        reading = {name: view[name] for name in {*Measured.model_fields, "stream"}}
        Reading.model_validate_json(json.dumps(reading))
