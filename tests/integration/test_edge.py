"""`python -m edge` as a process, on each broker: what a subscriber sees of it."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.contract import MODELS, Kind, NodeState, NodeStatus, Topics, parse_payload
from broker.session import Message, Session, Subscription, unique_client_id
from tests.support import (
    PATIENCE_S,
    Process,
    RunningBroker,
    eventually,
    free_port,
    python,
)


class Subscriber:
    """A viewer that checks everything it hears against the contract."""

    def __init__(self, broker: RunningBroker) -> None:
        self.heard: queue.Queue[tuple[str, bool, dict[str, Any]]] = queue.Queue()
        self.session = Session(
            broker.settings("viewer"),
            client_id=unique_client_id("test"),
            protocol=4,
            subscriptions=[Subscription("brisa/#")],
            on_message=self._take,
        )
        self.session.start()
        assert self.session.wait_until_up(PATIENCE_S)

    def _take(self, message: Message) -> None:
        parse_payload(MODELS[Topics().parse(message.topic).kind], message.payload)
        self.heard.put((message.topic, message.retain, json.loads(message.payload)))

    def next(self, topic: str, **fields: object) -> dict[str, Any]:
        """The next message on `topic` that has these fields."""
        while True:
            name, _, payload = self.heard.get(timeout=PATIENCE_S)
            if name == topic and fields.items() <= payload.items():
                return payload


@contextmanager
def subscriber(broker: RunningBroker) -> Iterator[Subscriber]:
    viewer = Subscriber(broker)
    try:
        yield viewer
    finally:
        viewer.session.stop()


def start_edge(broker: RunningBroker, **variables: str) -> Process:
    env = {
        "BRISA_NODE": "pi-1",
        "BRISA_SENSORS": "aula=replay;patio=replay,model=dht22",
        "BRISA_INTERVAL_S": "0.1",
        "BRISA_KEEPALIVE_S": "5",
        "BRISA_HEALTH_HOST": "127.0.0.1",
        "BRISA_HEALTH_PORT": str(free_port()),
        **broker.env("pi-1"),
        **{f"BRISA_{name}": value for name, value in variables.items()},
    }
    process = python("-m", "edge", env=env)
    process.url = f"http://127.0.0.1:{env['BRISA_HEALTH_PORT']}"
    return process


def get(edge: Process, path: str) -> tuple[int, str]:
    answer = httpx.get(f"{edge.url}{path}", timeout=PATIENCE_S)
    return answer.status_code, answer.text


def test_readings_health_and_status_are_published_and_retained(any_broker: RunningBroker) -> None:
    with start_edge(any_broker) as edge:
        with subscriber(any_broker) as viewer:
            first = viewer.next("brisa/pi-1/aula/reading")
            following = viewer.next("brisa/pi-1/aula/reading")
            assert following["seq"] == first["seq"] + 1
            assert following["stream"] == first["stream"]
            assert first["source"] == "replay"
            assert viewer.next("brisa/pi-1/patio/reading")["stream"] != first["stream"]
        with subscriber(any_broker) as late:
            retained: dict[str, dict[str, Any]] = {}
            while len(retained) < 5:
                topic, is_retained, payload = late.heard.get(timeout=PATIENCE_S)
                if is_retained:
                    retained[topic] = payload
            assert retained["brisa/pi-1/status"]["state"] == "online"
            assert retained["brisa/pi-1/aula/health"]["driver"] == "replay"
            assert retained["brisa/pi-1/patio/health"]["model"] == "dht22"
            assert retained["brisa/pi-1/aula/reading"]["temperature_c"] > 0
        assert get(edge, "/healthz") == (200, "ok\n")
        assert edge.stop() == 0
        assert "Traceback" not in edge.output


def test_mosquitto_sub_shows_what_the_contract_says(any_broker: RunningBroker) -> None:
    program = shutil.which("mosquitto_sub")
    if program is None:
        pytest.skip("mosquitto_sub is not installed: apt-get install mosquitto-clients")
    words = ("-h", "127.0.0.1", "-p", str(any_broker.port), "-t", "brisa/#", "-v")
    user = ("-u", "viewer", "-P", any_broker.password("viewer"))
    with start_edge(any_broker), Process(program, *words, *user) as shown:
        kinds: set[Kind] = set()
        while len(kinds) < 3:
            topic, _, payload = shown.wait_for("^brisa/").partition(" ")
            kind = Topics().parse(topic).kind
            parse_payload(MODELS[kind], payload.encode())
            kinds.add(kind)
        assert kinds == {Kind.STATUS, Kind.READING, Kind.HEALTH}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_node_is_offline_when_its_edge_ends_in_whatever_way(
    any_broker: RunningBroker, number: int
) -> None:
    with subscriber(any_broker) as viewer, start_edge(any_broker) as edge:
        viewer.next("brisa/pi-1/status", state="online")
        code = edge.stop(number)
        viewer.next("brisa/pi-1/status", state="offline")
        assert code == (-9 if number == signal.SIGKILL else 0)


def test_a_broker_that_lost_its_memory_is_told_everything_again(any_broker: RunningBroker) -> None:
    with start_edge(any_broker) as edge:
        with subscriber(any_broker) as viewer:
            before = viewer.next("brisa/pi-1/aula/reading")
        any_broker.kill()
        for path in (any_broker.state / "data").glob("*"):
            path.unlink()
        edge.wait_for("lost the broker|cannot reach the broker")
        status, text = get(edge, "/readyz")
        assert status == 503
        assert "broker" in text
        assert get(edge, "/healthz")[0] == 200
        seen = get_metric(edge, 'brisa_edge_readings_total{driver="replay",sensor="aula"}')
        eventually(
            "sampling goes on",
            lambda: (
                get_metric(edge, 'brisa_edge_readings_total{driver="replay",sensor="aula"}') > seen
            ),
        )
        any_broker.start()
        with subscriber(any_broker) as viewer:
            viewer.next("brisa/pi-1/status", state="online")
        with subscriber(any_broker) as viewer:
            # the health first: it comes once, readings come again and again
            assert viewer.next("brisa/pi-1/patio/health")["driver"] == "replay"
            after = viewer.next("brisa/pi-1/aula/reading")
            assert after["stream"] == before["stream"]
            assert after["seq"] > before["seq"]
        eventually("ready again", lambda: get(edge, "/readyz")[0] == 200)


def get_metric(edge: Process, name: str) -> float:
    for line in get(edge, "/metrics")[1].splitlines():
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no {name}")


def say(broker: RunningBroker, status: NodeStatus) -> None:
    """Speak as the node, as another process of it would."""
    other = Session(broker.settings("pi-1"), client_id=unique_client_id("other"), protocol=5)
    other.start()
    assert other.wait_until_up(PATIENCE_S)
    other.publish("brisa/pi-1/status", status.to_json(), retain=True)
    assert other.stop()


def test_an_old_will_that_comes_late_is_put_right(any_broker: RunningBroker) -> None:
    """A rolling update, or a power cut: the predecessor's `offline` arrives after our `online`."""
    with subscriber(any_broker) as viewer, start_edge(any_broker):
        viewer.next("brisa/pi-1/status", state="online")
        say(any_broker, NodeStatus(state=NodeState.OFFLINE, instance="the pod before"))
        viewer.next("brisa/pi-1/status", instance="the pod before")
        viewer.next("brisa/pi-1/status", state="online")


def test_another_edge_with_the_same_node_id_is_named(any_broker: RunningBroker) -> None:
    with subscriber(any_broker) as viewer, start_edge(any_broker) as edge:
        viewer.next("brisa/pi-1/status", state="online")
        say(any_broker, NodeStatus(state=NodeState.ONLINE, instance="twin-of-pi-1"))
        edge.wait_for("another edge .twin-of-pi-1. calls itself node pi-1")
        assert "twin-of-pi-1" in get(edge, "/readyz")[1]


def test_who_knows_a_nodes_status_cannot_throw_it_off(any_broker: RunningBroker) -> None:
    """A broker disconnects whose client id somebody else connects with."""
    with subscriber(any_broker) as viewer, start_edge(any_broker) as edge:
        status = viewer.next("brisa/pi-1/status", state="online")
        stranger = Session(any_broker.settings("viewer"), client_id=status["instance"], protocol=5)
        stranger.start()
        assert stranger.wait_until_up(PATIENCE_S)
        viewer.next("brisa/pi-1/aula/reading")  # what was on its way
        viewer.next("brisa/pi-1/aula/reading")
        assert get_metric(edge, "brisa_edge_connects_total") == 1
        assert stranger.stop()


def test_a_node_with_the_user_of_another_says_that_it_is_refused(mosquitto: RunningBroker) -> None:
    with start_edge(mosquitto, NODE="pi-2") as edge:
        edge.wait_for("refused brisa/pi-2/.*Not authorized|may not subscribe to brisa/pi-2/status")
        assert edge.stop() == 0


def test_a_wrong_password_is_one_clear_line_and_not_a_loop_of_traces(
    any_broker: RunningBroker,
) -> None:
    (any_broker.state / "credentials" / "wrong").write_text("wrong")
    path = str(any_broker.state / "credentials" / "wrong")
    with start_edge(any_broker, BROKER_PASSWORD_FILE=path) as edge:
        edge.wait_for("check BRISA_BROKER_URL and BRISA_BROKER_PASSWORD_FILE")
        assert edge.stop() == 0
        assert "Traceback" not in edge.output


def test_told_to_end_before_it_runs_it_ends_in_order() -> None:
    settings = {"BRISA_DRIVER": "simulated", "BRISA_HEALTH_PORT": "0"}
    with python("-v", "-m", "edge", env=settings) as edge:
        edge.wait_for("^import 'edge.commands'")  # and much more is to be imported
        assert edge.stop() == 0


def test_a_wrong_setting_ends_with_one_line_and_code_2() -> None:
    with python("-m", "edge", env={"BRISA_INTERVAL_S": "soon", "BRISA_NODE": "pi-1"}) as edge:
        assert edge.wait() == 2
        assert edge.lines == ["edge: BRISA_INTERVAL_S=soon: allowed are more than 0, up to 3600"]


def test_a_taken_health_port_is_named(any_broker: RunningBroker) -> None:
    with start_edge(any_broker, HEALTH_PORT=str(any_broker.port)) as edge:
        assert edge.wait() == 1
        assert edge.lines == [
            f"edge: BRISA_HEALTH_PORT: 127.0.0.1:{any_broker.port} (0: none): Address already in use"
        ]


def test_a_sensor_without_its_hardware_is_broken_and_says_what_to_do(
    any_broker: RunningBroker, tmp_path: Any
) -> None:
    variables = {"SENSORS": "dht11=iio", "INTERVAL_S": "5", "SYSFS_ROOT": str(tmp_path)}
    with subscriber(any_broker) as viewer, start_edge(any_broker, **variables) as edge:
        health = viewer.next("brisa/pi-1/dht11/health", state="broken")
        assert "dtoverlay=dht11,gpiopin=3" in health["reason"]
        status, text = get(edge, "/readyz")
        assert status == 503
        assert "dtoverlay" in text
        assert get(edge, "/healthz")[0] == 200
        assert get(edge, "/nothing")[0] == 404


# What runs the edge, and prints at its end which modules were loaded; a stand-in has no spec.
WITH_MODULES = """
import atexit, runpy, sys
loaded = lambda: (name for name, module in sys.modules.items() if getattr(module, "__spec__", None))
atexit.register(lambda: print("loaded:", *loaded()))
sys.argv[1:] = []
runpy.run_module("edge", run_name="__main__", alter_sys=True)
"""
KEPT_OUT = {"_hashlib", "_ssl", "email", "hashlib", "http.client", "http.server", "hmac"}
KEPT_OUT |= {"importlib.metadata", "prometheus_client", "ssl", "tempfile", "urllib.request"}
KEPT_OUT |= {"argparse", "asyncio", "multiprocessing", "unittest"}


def test_what_an_edge_never_needs_stays_out_of_its_memory(mosquitto: RunningBroker) -> None:
    """Also after all was scraped, and after the broker was away; see docs/adr/0013."""
    env = {
        "BRISA_NODE": "pi-1",
        "BRISA_DRIVER": "simulated",
        "BRISA_INTERVAL_S": "0.1",
        "BRISA_RECONNECT_S": "0.5",
        "BRISA_HEALTH_HOST": "127.0.0.1",
        "BRISA_HEALTH_PORT": str(free_port()),
        **mosquitto.env("pi-1"),
    }
    with Process(sys.executable, "-c", WITH_MODULES, env=env) as edge:
        edge.url = f"http://127.0.0.1:{env['BRISA_HEALTH_PORT']}"
        edge.wait_for("connected to the broker")
        mosquitto.kill()
        edge.wait_for("trying again")
        mosquitto.start()
        edge.wait_for("connected to the broker")
        for path in ("/healthz", "/readyz", "/metrics"):
            assert get(edge, path)[0] == 200
        libraries = Path(f"/proc/{edge.popen.pid}/maps").read_text()
        assert edge.stop() == 0
        loaded = set(edge.wait_for("^loaded: ").split())
    assert "paho.mqtt.client" in loaded
    assert loaded & KEPT_OUT == set()
    assert "libcrypto" not in libraries
