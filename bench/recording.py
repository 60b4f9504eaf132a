"""How many rows a second the recorder stores, against the same rows put there with no recorder.

The feeder sends ready-made packets, QoS 1, and is never more than a few thousand rows ahead of what
the recorder has said to be `stored`: so nothing is dropped, and the recorder is never idle.
"""

from __future__ import annotations

import contextlib
import re
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from bench import publisher
from bench.loads import BACKFILL, LIVE, Item, Load, made, sensors
from bench.processes import (
    NODES,
    BenchError,
    Broker,
    cpu_s,
    fetch,
    mosquitto,
    python,
    say,
)
from bench.stores import New, opened, plain
from broker.contract import Stored
from gateway.history.settings import utc_now_ms
from gateway.history.writer import Writer
from tests.databases import Database
from tests.support import Process, eventually, free_port

PATIENCE_S = 120.0


@dataclass
class Rates:
    """Rows a second, one figure a run; and the recorder's processor time and commits."""

    rows_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    per_commit: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rows_s)


Found = dict[tuple[str, str], dict[str, Rates]]  # by database and load, then by contender
RECORDER, WRITER, PLAIN = "recorder", "Writer.write alone", "plain"


def measure(databases: dict[str, New], *, rows: int, repeats: int) -> Found:
    """Each in turn, several times over; the plain ones with the recorder's rows a commit."""
    found: Found = {}
    for load in (LIVE, BACKFILL):
        items = made(load, rows)
        first, rest = items[: load.sensors], items[load.sensors :]
        for run in range(repeats):
            for kind, new in databases.items():
                rates = found.setdefault((kind, load.name), {})
                for name in (PLAIN, WRITER, RECORDER):
                    rates.setdefault(name, Rates())
                with new() as database, mosquitto() as broker:
                    _recorder(broker, database, load, first, rest, rates[RECORDER])
                size = max(1, round(rates[RECORDER].per_commit[-1] / load.batch))
                with new() as database:
                    _writer(database, first, rest, size, rates[WRITER])
                with new() as database:
                    _plain(database, load, first, rest, size, rates[PLAIN])
                told = ", ".join(f"{name} {rate.rows_s[-1]:,.0f}" for name, rate in rates.items())
                say(f"run {run + 1}/{repeats}: {kind}, {load.name}, rows/s: {told}")
    return found


# ---- the contenders; of each the first message of every sensor is not measured


@contextlib.contextmanager
def recorder(
    broker: Broker, database: Database, env: Mapping[str, str] | None = None
) -> Iterator[tuple[Process, int]]:
    """The recorder as shipped, ready, and its port."""
    port = free_port()
    listen = {"BRISA_HEALTH_HOST": "127.0.0.1", "BRISA_HEALTH_PORT": str(port)}
    settings = {**broker.env("recorder"), **database.env, **listen, **(env or {})}
    with python("-m", "gateway.history", env=settings) as process:
        eventually("the recorder is ready", lambda: fetch(port, "/readyz"))
        yield process, port


def _recorder(
    broker: Broker,
    database: Database,
    load: Load,
    first: Sequence[Item],
    rest: Sequence[Item],
    rates: Rates,
) -> None:
    marks = Marks()
    with (
        recorder(broker, database) as (process, port),
        listener(broker, marks.heard, "brisa/+/+/stored"),
    ):
        links = {
            node: publisher.connect(broker.port, node, broker.password(node)) for node in NODES
        }
        _send(links, first, load.ahead, marks)
        marks.wait_for(load.sensors * load.batch)
        before = committed(port)
        used_s, began_s = cpu_s(process.popen.pid), time.perf_counter()
        _send(links, rest, load.ahead, marks)
        # the last ones wait for company that does not come: they are not of the rate
        rate = marks.rate(began_s, time.perf_counter())
        marks.wait_for((len(first) + len(rest)) * load.batch)
        used_s = cpu_s(process.popen.pid) - used_s
        after = committed(port)
        for link in links.values():
            link.close()
    rows = len(rest) * load.batch
    stored = database.query("SELECT count(*) FROM reading")[0][0]
    if stored != rows + len(first) * load.batch or after.readings - before.readings != rows:
        raise BenchError(f"{stored} rows are stored, of {rows}")
    rates.rows_s.append(rate)
    rates.cpu_us.append(used_s / rows * 1e6)
    rates.per_commit.append(rows / (after.transactions - before.transactions))


class Marks:
    """The sum of all that the recorder has said to be stored."""

    def __init__(self) -> None:
        self._seqs: dict[str, int] = {}
        self._changed = threading.Condition()
        self._log: list[tuple[float, int]] = []
        self.rows = 0

    def heard(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        seq = Stored.model_validate_json(message.payload).seq
        with self._changed:
            self.rows += seq - self._seqs.get(message.topic, 0)
            self._seqs[message.topic] = seq
            self._log.append((time.perf_counter(), self.rows))
            self._changed.notify_all()

    def rate(self, from_s: float, to_s: float) -> float:
        """Rows a second, from the first word to the last in that time."""
        with self._changed:
            (first_s, first), *_, (last_s, last) = [
                entry for entry in self._log if from_s <= entry[0] <= to_s
            ]
        return (last - first) / (last_s - first_s)

    def wait_for(self, rows: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self.rows >= rows, PATIENCE_S):
                raise BenchError(f"{self.rows} rows are stored, of {rows}, after {PATIENCE_S:g} s")


@contextlib.contextmanager
def listener(
    broker: Broker,
    heard: Callable[[Client, object, MQTTMessage], None],
    *topics: str,
    qos: int = 0,
) -> Iterator[None]:
    """A paho client, subscribed."""
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("viewer", broker.password("viewer"))
    client.on_connect = lambda client, *_: client.subscribe([(topic, qos) for topic in topics])
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = heard
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    ready.wait(PATIENCE_S)
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def _send(links: dict[str, socket.socket], items: Sequence[Item], ahead: int, marks: Marks) -> None:
    """All of it, never more than so many rows ahead of what is stored."""
    sent = marks.rows
    for item in items:
        sent += len(item.rows)
        if sent - ahead > marks.rows:
            marks.wait_for(sent - ahead)
        link = links[item.heard.node]
        link.sendall(item.packet)
        with contextlib.suppress(BlockingIOError):
            link.recv(65536, socket.MSG_DONTWAIT)  # acknowledgements


class Committed(NamedTuple):
    """What the recorder says of itself."""

    readings: int
    transactions: int


def committed(port: int) -> Committed:
    """By its metrics."""
    text = fetch(port, "/metrics").decode()
    names = ("brisa_recorder_readings_total", "brisa_recorder_commit_seconds_count")
    found = [re.search(rf"^{name} (\S+)$", text, re.MULTILINE) for name in names]
    if not all(found):
        raise BenchError("the recorder's metrics lack what it has committed")
    return Committed(*(round(float(match[1])) for match in found if match))


def _writer(
    database: Database, first: Sequence[Item], rest: Sequence[Item], size: int, rates: Rates
) -> None:
    store = opened(database)
    writer = Writer(store, utc_now_ms=utc_now_ms)
    writer.write([item.heard for item in first])
    began_s, used_s = time.perf_counter(), time.process_time()
    for start in range(0, len(rest), size):
        writer.write([item.heard for item in rest[start : start + size]])
    _note(rates, rest, time.perf_counter() - began_s, time.process_time() - used_s)
    store.close()


def _plain(
    database: Database,
    load: Load,
    first: Sequence[Item],
    rest: Sequence[Item],
    size: int,
    rates: Rates,
) -> None:
    with plain(database, sensors(load)) as insert:
        insert([row for item in first for row in item.rows])
        began_s, used_s = time.perf_counter(), time.process_time()
        for start in range(0, len(rest), size):
            insert([row for item in rest[start : start + size] for row in item.rows])
        _note(rates, rest, time.perf_counter() - began_s, time.process_time() - used_s)


def _note(rates: Rates, items: Sequence[Item], took_s: float, used_s: float) -> None:
    rows = sum(len(item.rows) for item in items)
    rates.rows_s.append(rows / took_s)
    rates.cpu_us.append(used_s / rows * 1e6)
