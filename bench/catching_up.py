"""Time and bytes to back-fill a day: 17,280 readings that the edge has in its journal.

The edge and the recorder are the real processes, and the recorder is newly added: it knows nothing.
In between is a relay that counts what the edge sends. Against it: the same payloads by plain paho, one
after the other's acknowledgement, to a plain subscriber that puts them into an equal table.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from bench import publisher
from bench.processes import NODES, BenchError, Broker, fetch, mosquitto, python, say
from bench.recording import PATIENCE_S, listener, recorder
from bench.stores import New, PlainRow, plain
from broker.contract import Reading, Stored
from edge.clock import Clock
from edge.journal import Journal
from edge.sensors.base import Measurement, Sample
from tests.databases import Database
from tests.support import Process, eventually, free_port

READINGS, INTERVAL_S = 17_280, 5.0
NODE, SENSOR = NODES[0], "dht22"
DEFAULT, UNBOUND = "default settings", "rate bound lifted"
LIFTED = {"BRISA_BACKFILL_PER_S": "100000"}
TOPIC = f"brisa/{NODE}/{SENSOR}/backfill"


@dataclass
class Day:
    """Of one way to send a day: seconds, one figure a run; and bytes, of the last."""

    seconds: list[float] = field(default_factory=list)
    payload_bytes: int = 0
    tcp_bytes: int = 0
    messages: int = 0


Found = dict[tuple[str, str], Day]  # by database and way
PLAIN = "plain paho, plain insert"


class PastClock(Clock):
    """A reading each 5 s, so that the last one was a moment ago."""

    def __init__(self) -> None:
        self._ahead_s = -READINGS * INTERVAL_S

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self._ahead_s

    def sample(self, number: int) -> Sample:
        self._ahead_s = (number - READINGS) * INTERVAL_S
        moment = datetime.now(UTC) + timedelta(seconds=self._ahead_s)
        value = Measurement(15 + number * 7 % 200 / 10, 30 + number * 3 % 400 / 10)
        return Sample(value, self.monotonic_s(), moment, clock_synchronised=True)


def fill(path: Path) -> None:
    """A journal with a day of readings."""
    clock = PastClock()
    journal = Journal(path, node=NODE, clock=clock, sync_every=10_000)
    journal.open()
    if journal.problem:
        raise BenchError(journal.problem)
    for number in range(1, READINGS + 1):
        journal.append(SENSOR, clock.sample(number), "dht22")
    journal.close()


class Relay:
    """Passes connections on to `target` on the loopback; counts what is sent there."""

    def __init__(self, target: int) -> None:
        self.sent_bytes = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for ends, counts in (((near, far), True), ((far, near), False)):
                    threading.Thread(target=self._pump, args=(*ends, counts), daemon=True).start()

    def _pump(self, near: socket.socket, far: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(262_144):
                if counts:
                    self.sent_bytes += len(data)
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)


class Watch:
    """What a viewer hears of the back-fill, and when."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.began_s = self.ended_s = 0.0
        self.done = threading.Event()

    def heard(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if message.topic == TOPIC:
            self.payloads.append(bytes(message.payload))
            return
        self.began_s = self.began_s or time.perf_counter()  # the recorder's first word
        self.ended_s = time.perf_counter()
        # of a copied journal the day is an earlier stream
        stored = Stored.model_validate_json(message.payload)
        if any(mark.seq >= READINGS for mark in (stored, *stored.earlier)):
            self.done.set()


def measure(databases: dict[str, New], *, repeats: int) -> Found:
    """The default settings once, and in one database: they alone say how long it takes."""
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as name:
        full = Path(name) / "full.db"
        fill(full)
        for kind, new in databases.items():
            first = not found
            ways = (PLAIN, UNBOUND, DEFAULT) if first else (PLAIN, UNBOUND)
            days = {way: found.setdefault((kind, way), Day()) for way in ways}
            for run in range(repeats):
                with mosquitto() as broker:
                    with new() as database:
                        payloads = _edge(broker, database, full, LIFTED, days[UNBOUND])
                    with new() as database:
                        _plain(broker, database, payloads, days[PLAIN])
                if first and run == 0:
                    with mosquitto() as broker, new() as database:
                        _edge(broker, database, full, {}, days[DEFAULT])
                told = ", ".join(f"{way} {day.seconds[-1]:.2f}" for way, day in days.items())
                say(f"run {run + 1}/{repeats}: a day into {kind}, seconds: {told}")
    return found


def live_bytes() -> int:
    """What the same readings would take over TCP as live messages."""
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as name:
        fill(Path(name) / "full.db")
        journal = Journal(Path(name) / "full.db", node=NODE, clock=Clock())
        journal.open()
        stream = journal.streams(SENSOR)[0].stream
        rows = journal.after(stream, 0, READINGS)
        journal.close()
    topic = f"brisa/{NODE}/{SENSOR}/reading"
    head = b"....." + topic.encode()  # a length, the message's number, no properties
    payloads = (Reading(stream=stream, **dict(row)).to_json() for row in rows)
    return sum(len(publisher.packet(0x33, head + one)) for one in payloads)


@contextlib.contextmanager
def edge(
    broker: Broker, journal: Path, env: dict[str, str], port: int = 0
) -> Iterator[tuple[Process, int]]:
    """The edge as shipped, with a copy of a journal and a sensor that says little; and its port."""
    health = free_port()
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as name:
        copy = Path(name) / "journal.db"
        shutil.copyfile(journal, copy)
        settings = {
            **broker.env(NODE),
            "BRISA_BROKER_URL": f"mqtt://{NODE}@127.0.0.1:{port or broker.port}",
            "BRISA_NODE": NODE,
            "BRISA_DRIVER": "simulated",
            "BRISA_SENSOR": SENSOR,
            "BRISA_MODEL": "dht22",
            "BRISA_INTERVAL_S": "3600",
            "BRISA_JOURNAL": str(copy),
            "BRISA_HEALTH_HOST": "127.0.0.1",
            "BRISA_HEALTH_PORT": str(health),
        }
        with python("-m", "edge", env={**settings, **env}) as process:
            eventually("the edge is ready", lambda: fetch(health, "/readyz"))
            yield process, health


def _edge(
    broker: Broker, database: Database, full: Path, env: dict[str, str], day: Day
) -> list[bytes]:
    """Returns the payloads."""
    watch = Watch()
    with contextlib.closing(Relay(broker.port)) as relay, contextlib.ExitStack() as running:
        running.enter_context(edge(broker, full, env, relay.port))
        running.enter_context(listener(broker, watch.heard, TOPIC, f"brisa/{NODE}/+/stored"))
        before = relay.sent_bytes
        running.enter_context(recorder(broker, database))
        if not watch.done.wait(PATIENCE_S):
            raise BenchError(f"a day was not there after {PATIENCE_S:g} s")
        sent_bytes = relay.sent_bytes - before
    _note(day, watch.ended_s - watch.began_s, watch.payloads, sent_bytes)
    counts = database.query("SELECT count(*) FROM reading GROUP BY stream_id")
    stored = max(count for (count,) in counts)
    if stored != READINGS:
        raise BenchError(f"{stored} rows are stored, of {READINGS}")
    return watch.payloads


def _plain(broker: Broker, database: Database, payloads: list[bytes], day: Day) -> None:
    stored, done = 0, threading.Event()

    def heard(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        nonlocal stored
        rows = [plain_row(1, one) for one in json.loads(message.payload)["readings"]]
        insert(rows)
        stored += len(rows)
        if stored >= READINGS:
            done.set()

    uuid = json.loads(payloads[0])["stream"]
    with (
        contextlib.closing(Relay(broker.port)) as relay,
        plain(database, [(NODE, SENSOR, uuid)]) as insert,
        listener(broker, heard, TOPIC, qos=1),
    ):
        client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(NODE, broker.password(NODE))
        client.connect("127.0.0.1", relay.port)
        client.loop_start()
        before, began_s = relay.sent_bytes, time.perf_counter()
        for payload in payloads:
            client.publish(TOPIC, payload, qos=1).wait_for_publish(PATIENCE_S)
        if not done.wait(PATIENCE_S):
            raise BenchError(f"{stored} plain rows are stored, of {READINGS}")
        _note(day, time.perf_counter() - began_s, payloads, relay.sent_bytes - before)
        client.disconnect()
        client.loop_stop()


def plain_row(stream_id: int, one: dict[str, Any]) -> PlainRow:
    ms = round(datetime.fromisoformat(one["measured_at"]).timestamp() * 1000)
    values = (one["clock_synchronised"], one["temperature_c"], one["humidity_pct"], one["source"])
    return (stream_id, one["seq"], ms, *values)


def _note(day: Day, seconds: float, payloads: list[bytes], sent_bytes: int) -> None:
    day.seconds.append(seconds)
    day.payload_bytes = sum(map(len, payloads))
    day.messages = len(payloads)
    day.tcp_bytes = sent_bytes
