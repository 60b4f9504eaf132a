"""What a reading costs those who take it in, and whether the gateway keeps up with a flood."""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.processes import (
    SENSORS,
    BenchError,
    Broker,
    cpu_s,
    environment,
    fetch,
    gateway,
    open_page,
    python,
    say,
    settled_cpu_s,
)
from tests.support import Process, eventually, free_port

RATE = 20_000
FLOOD_RATE = 50_000
GIVE_UP_S = 5.0
EXPORTER = "bench-mqtt-exporter"


class Subject(NamedTuple):
    """A subscriber under test. `received`: how many messages it says that it got, if it does."""

    pid: int
    received: Callable[[], int | None]


class Sent(NamedTuple):
    """What the publisher did; `ended_s` by the monotonic clock."""

    readings: int
    rate: float
    ended_s: float


@dataclass
class Cost:
    """Of one contender: microseconds a reading, one figure a run, and what did not reach it."""

    us: list[float] = field(default_factory=list)
    broker_us: list[float] = field(default_factory=list)
    missing: int = 0
    dropped: int = 0

    @property
    def median_us(self) -> float:
        return statistics.median(self.us)


def publish(broker: Broker, *, rate: float, rounds: int, first_seq: int) -> Sent:
    arguments = [str(broker.port), str(broker.state / "credentials"), "--rate", str(rate)]
    arguments += ["--rounds", str(rounds), "--first-seq", str(first_seq)]
    with python("-m", "bench.publisher", *arguments) as process:
        if process.wait():
            raise BenchError(f"the publisher failed: {process.lines[-1:]}")
        told = json.loads(process.lines[-1])
    return Sent(told["sent"], told["rate"], told["ended_s"])


# ---- the contenders


@contextlib.contextmanager
def _consumer(broker: Broker, kind: str) -> Iterator[Subject]:
    with python("-m", "bench.consumers", kind, env=broker.env("viewer")) as process:
        process.wait_for("ready")

        def received() -> int:
            process.stop()
            return int(process.lines[-1].split()[-1])

        yield Subject(process.popen.pid, received)


@contextlib.contextmanager
def _mosquitto_sub(broker: Broker) -> Iterator[Subject]:
    command = broker.subscriber("-v", "-q", "0", "-t", "brisa/#")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        time.sleep(0.5)  # it says nothing when it has subscribed
        yield Subject(process.pid, lambda: None)
        process.kill()


@contextlib.contextmanager
def _exporter(broker: Broker) -> Iterator[Subject]:
    port = free_port()
    env = {
        "PYTHONDONTWRITEBYTECODE": "",
        "MQTT_ADDRESS": "127.0.0.1",
        "MQTT_PORT": str(broker.port),
        "MQTT_USERNAME": "viewer",
        "MQTT_PASSWORD": broker.password("viewer"),
        "MQTT_TOPIC": "brisa/#",
        "PROMETHEUS_ADDRESS": "127.0.0.1",
        "PROMETHEUS_PORT": str(port),
    }

    def received() -> int:
        text = fetch(port, "/metrics").decode()
        # that it really takes in the values, and does not only count
        if len(re.findall(r"^mqtt_temperature_c\{", text, re.MULTILINE)) != SENSORS:
            raise BenchError("mqtt-exporter does not show every sensor")
        return int(
            sum(map(float, re.findall(r"^mqtt_message_total\{.*\} (\S+)$", text, re.MULTILINE)))
        )

    program = environment(EXPORTER, "mqtt-exporter") / "mqtt-exporter"
    with Process(str(program), env=env) as process:
        process.wait_for("subscribing")
        eventually("mqtt-exporter answers", lambda: fetch(port, "/metrics"))
        time.sleep(0.3)
        yield Subject(process.popen.pid, received)


@contextlib.contextmanager
def _gateway(broker: Broker) -> Iterator[Subject]:
    with gateway(broker) as (process, _port):
        yield Subject(process.popen.pid, lambda: None)


@contextlib.contextmanager
def _gateway_seen(broker: Broker) -> Iterator[Subject]:
    with gateway(broker) as (process, port), open_page(port):
        yield Subject(process.popen.pid, lambda: None)


CONTENDERS: dict[str, Callable[[Broker], contextlib.AbstractContextManager[Subject]]] = {
    "empty paho callback": lambda broker: _consumer(broker, "empty"),
    "paho, pydantic in the callback": lambda broker: _consumer(broker, "parsing"),
    "mosquitto_sub -v": _mosquitto_sub,
    "mqtt-exporter 1.12.1": _exporter,
    "our session, empty callback": lambda broker: _consumer(broker, "session"),
    "gateway": _gateway,
    "gateway, one page open": _gateway_seen,
}


# ---- the measurements


def costs(broker: Broker, *, repeats: int, seconds: float) -> dict[str, Cost]:
    """Every contender `repeats` times, in turn, each time as a new process."""
    found = {name: Cost() for name in CONTENDERS}
    rounds = max(1, round(seconds * RATE / SENSORS))
    dropped = broker.dropped()
    for run in range(repeats):
        for name, start in CONTENDERS.items():
            cost = found[name]
            with start(broker) as subject:
                # the first reading of every sensor makes its place, and is not measured
                publish(broker, rate=RATE, rounds=1, first_seq=1)
                before_s = settled_cpu_s(subject.pid)
                broker_s = cpu_s(broker.process.popen.pid)
                sent = publish(broker, rate=RATE, rounds=rounds, first_seq=2)
                used_s = settled_cpu_s(subject.pid) - before_s
                broker_s = cpu_s(broker.process.popen.pid) - broker_s
                cost.us.append(used_s / sent.readings * 1e6)
                cost.broker_us.append(broker_s / sent.readings * 1e6)
                total = broker.dropped()
                cost.dropped, dropped = cost.dropped + total - dropped, total
                received = subject.received()
                if received is not None:
                    cost.missing += sent.readings + SENSORS - received
            say(f"run {run + 1}/{repeats}: {name}: {cost.us[-1]:.1f} µs at {sent.rate:,.0f}/s")
    return found


class Flood(NamedTuple):
    """How the gateway came through: `behind` sensors did not show their last reading."""

    sent: int
    rate: float
    dropped: int
    behind: int
    caught_up_s: float
    cpu_share: float


def flood(broker: Broker, *, seconds: float) -> Flood:
    """At FLOOD_RATE: is every sensor's last reading shown, and how long after it was sent?"""
    rounds = round(seconds * FLOOD_RATE / SENSORS)
    dropped = broker.dropped()
    with gateway(broker) as (process, port), open_page(port):
        publish(broker, rate=RATE, rounds=1, first_seq=1)
        before_s = settled_cpu_s(process.popen.pid)
        sent = publish(broker, rate=FLOOD_RATE, rounds=rounds, first_seq=2)
        used_s = cpu_s(process.popen.pid) - before_s
        behind, caught_up_s = SENSORS, 0.0
        while behind and caught_up_s < GIVE_UP_S:
            behind = _behind(port, last=rounds + 1)
            caught_up_s = time.monotonic() - sent.ended_s
    dropped = broker.dropped() - dropped
    share = used_s / (sent.readings / sent.rate)
    say(f"{sent.readings:,} at {sent.rate:,.0f}/s: {dropped} dropped, {behind} sensors behind")
    return Flood(sent.readings, sent.rate, dropped, behind, caught_up_s, share)


def _behind(port: int, last: int) -> int:
    """How many sensors do not show reading number `last`."""
    sensors = json.loads(fetch(port, "/api/v1/sensors"))["sensors"]
    return SENSORS - len([sensor for sensor in sensors if sensor["seq"] == last])
