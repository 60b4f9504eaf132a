"""The board: every sensor's latest state, as bytes ready to send.

Pure: no I/O, no thread of its own, its clocks are passed in. A message costs what its own sensor
costs; the JSON of a sensor is made when someone asks for it, and once for each change. Whether a
sensor is late is decided whenever somebody asks. The board knows a moment before which no sensor
turns late, so that only then all sensors are looked at, at one number of each.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from broker.contract import (
    ContractError,
    Kind,
    NodeStatus,
    Reading,
    SensorHealth,
    Topic,
    parse_payload,
)
from gateway.rejections import Rejections
from gateway.sensor import Key, Node, Sensor
from gateway.views import FeedView, NodeView, SensorView, ViewState, utcnow


class Snapshot(NamedTuple):
    """JSON ready to send, and the version that it shows."""

    version: int
    body: bytes


class Board:
    """Safe to call from any thread.

    max_sensors, max_sensors_per_node: those beyond are counted and not stored, so that nobody who
    may publish can fill the gateway's memory. monotonic_clock: which clock `monotonic` reads, by
    `broker.monotonic`; empty: unknown.
    """

    def __init__(
        self,
        rejections: Rejections,
        *,
        max_sensors: int = 2000,
        max_sensors_per_node: int = 200,
        monotonic: Callable[[], float] = time.monotonic,
        monotonic_clock: str = "",
        utcnow: Callable[[], datetime] = utcnow,
    ) -> None:
        self.epoch = secrets.token_hex(6)
        self.version = 0
        self.feed = FeedView(connected=False, since=utcnow())
        self.feed_version = 0
        self.max_sensors = max_sensors
        self.max_sensors_per_node = max_sensors_per_node
        self._rejections = rejections
        self._monotonic = monotonic
        self._monotonic_clock = monotonic_clock
        self._utcnow = utcnow
        self._lock = threading.Lock()
        self._nodes: dict[str, Node] = {}
        self._sensors: dict[Key, Sensor] = {}
        self._sorted: list[Sensor] | None = []
        self._changed: OrderedDict[Key, None] = OrderedDict()  # the last to change is last
        self._removed: dict[Key, int] = {}  # and at which version
        self._oldest_delta = 0
        self._late_at_s = math.inf  # no sensor turns late before that
        self._full: Snapshot | None = None
        self._deltas: dict[int, Snapshot] = {}

    # ---- what the feed says

    def take(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        """Take in one message. What cannot be shown is counted; nothing is raised."""
        try:
            match topic.kind:
                case Kind.STATUS:
                    status = parse_payload(NodeStatus, payload) if payload else None
                    with self._lock:
                        self._take_status(topic.node, status, retained)
                case Kind.READING | Kind.HEALTH if not payload:
                    with self._lock:
                        self._remove((topic.node, topic.sensor))
                case Kind.READING:
                    reading = parse_payload(Reading, payload)
                    with self._lock:
                        self._take_reading((topic.node, topic.sensor), reading, retained)
                case Kind.HEALTH:
                    health = parse_payload(SensorHealth, payload)
                    with self._lock:
                        self._take_health((topic.node, topic.sensor), health)
                case _:  # backfill and stored are between edge and recorder
                    pass
        except ContractError as error:
            where = "/".join(part for part in topic if part)
            self._rejections.count("bad_payload", f"{where}: {error}")

    def feed_up(self) -> None:
        self._take_feed(connected=True)

    def feed_lost(self) -> None:
        self._take_feed(connected=False)

    def tick(self) -> float:
        """Let time pass. Returns when it should be called next, on the monotonic clock."""
        with self._lock:
            self._let_time_pass()
            return self._late_at_s

    # ---- what viewers ask

    def event_id(self) -> str:
        """Of what is shown now, for the stream to go on from; read it before what is to be shown."""
        return f"{self.epoch}-{self.version}"

    def newest(self, only: Key) -> int:
        """The version of the last change that concerns this sensor, or the feed."""
        with self._lock:
            self._let_time_pass()
            sensor = self._sensors.get(only)
            gone = self._removed.get(only, self._oldest_delta)
            return max(gone if sensor is None else sensor.version, self.feed_version)

    def full(self, only: Key | None = None) -> Snapshot:
        """A `SensorList` as JSON; `only`: of this sensor, if there is one."""
        with self._lock:
            self._let_time_pass()
            if only is not None:
                found = self._sensors.get(only)
                body = b'"sensors":[%s]}' % _joined([] if found is None else [found])
                return Snapshot(self.version, self._head() + body)
            if self._full is None:
                body = self._head() + b'"sensors":[%s]}' % _joined(self._in_order())
                self._full = Snapshot(self.version, body)
            return self._full

    def delta(self, since_version: int, only: Key | None = None) -> Snapshot | None:
        """`Changes` since a version of this epoch as JSON; None: too long ago, send all.

        only: those of this sensor.
        """
        with self._lock:
            self._let_time_pass()
            if not self._oldest_delta <= since_version <= self.version:
                return None
            if only is not None:
                of = [only] if only in self._changed else []
                return Snapshot(self.version, self._make_delta(since_version, of))
            delta = self._deltas.get(since_version)
            if delta is None:
                newest_first = reversed(self._changed)
                delta = Snapshot(self.version, self._make_delta(since_version, newest_first))
                self._deltas[since_version] = delta
            return delta

    def sensor(self, node: str, sensor: str) -> Snapshot | None:
        """A `SensorView` as JSON; None: no such sensor."""
        with self._lock:
            self._let_time_pass()
            found = self._sensors.get((node, sensor))
            return None if found is None else Snapshot(found.version, found.json())

    def view(self, node: str, sensor: str) -> SensorView | None:
        """None: no such sensor."""
        with self._lock:
            self._let_time_pass()
            found = self._sensors.get((node, sensor))
            return None if found is None else found.view()

    def health(self, node: str, sensor: str) -> SensorHealth | None:
        """What its edge said last of the sensor; None: nothing, or no such sensor."""
        with self._lock:
            found = self._sensors.get((node, sensor))
            return None if found is None else found.health

    def nodes(self) -> list[NodeView]:
        """Every node by its name, also one of which only its status is known."""
        with self._lock:
            self._let_time_pass()
            return [self._nodes[name].view(name) for name in sorted(self._nodes)]

    def knows(self, topic: Topic) -> bool:
        """Is the topic's sensor here, or for a status its node?"""
        with self._lock:
            if topic.kind is Kind.STATUS:
                return topic.node in self._nodes
            return (topic.node, topic.sensor) in self._sensors

    def keys(self) -> list[Key]:
        """Of every sensor, by node and name."""
        with self._lock:
            return [sensor.key for sensor in self._in_order()]

    def views(self) -> list[SensorView]:
        """Every sensor, by node and name."""
        with self._lock:
            self._let_time_pass()
            return [sensor.view() for sensor in self._in_order()]

    def fresh(self) -> set[Key]:
        """Those whose value may be taken for the present one: see /metrics."""
        now_s = self._monotonic()
        believed = (ViewState.LIVE, ViewState.RETRYING)
        with self._lock:
            return {
                key
                for key, sensor in self._sensors.items()
                if sensor.state in believed and sensor.is_fresh(now_s)
            }

    def wrong_clocks(self) -> dict[str, list[str]]:
        """Sensors by node, where the newest reading is by a clock that is neither right nor ours.

        A node that goes by our own clock agrees with us in every age, whatever the date.
        """
        wrong: dict[str, list[str]] = {}
        with self._lock:
            for sensor in self._in_order():
                reading = sensor.reading
                right = reading is None or reading.clock_synchronised or sensor.clock_shared
                if not right and sensor.state is not ViewState.OFFLINE:
                    wrong.setdefault(sensor.key[0], []).append(sensor.key[1])
        return wrong

    def clocks_off(self) -> dict[str, float]:
        """By node, how many seconds its clock is behind ours, though it calls it right."""
        with self._lock:
            return {
                sensor.key[0]: off_s
                for sensor in self._in_order()
                if sensor.state is not ViewState.OFFLINE
                and (off_s := sensor.clock_off_s) is not None
            }

    # ---- with the lock held

    def _let_time_pass(self) -> None:
        """Judge again what was live, if any of it may be late by now."""
        if self._monotonic() <= self._late_at_s:
            return
        self._late_at_s = math.inf
        for sensor in self._sensors.values():
            if sensor.state is ViewState.LIVE:
                self._judge(sensor)

    def _take_feed(self, *, connected: bool) -> None:
        with self._lock:
            if self.feed.connected == connected:
                return
            self.feed = FeedView(connected=connected, since=self._utcnow())
            self.feed_version = self._next_version()

    def _take_status(self, name: str, status: NodeStatus | None, retained: bool) -> None:
        node = self._nodes.get(name)
        if node is None:
            if status is None:
                return
            if len(self._nodes) >= self.max_sensors:
                self._rejections.count("too_many_sensors", f"node {name}")
                return
            node = self._nodes[name] = Node()
        state = status.state if status is not None else None
        if state is not node.state:
            node.state = state
            node.since = None if retained else self._utcnow()
            for sensor in node.sensors.values():
                self._judge(sensor)
        node.version = status.version if status is not None else ""
        node.instance = status.instance if status is not None else ""
        if state is None and not node.sensors:
            del self._nodes[name]

    def _take_reading(self, key: Key, reading: Reading, retained: bool) -> None:
        sensor = self._known(key)
        if sensor is None:
            return
        if sensor.is_older(reading, retained=retained):
            self._rejections.count("older", "/".join(key))
            return
        now_s, now = self._monotonic(), self._utcnow()
        changed = sensor.take_reading(
            reading,
            retained=retained,
            now_s=now_s,
            now=now,
            monotonic_clock=self._monotonic_clock,
        )
        self._judge(sensor, changed=changed)

    def _take_health(self, key: Key, health: SensorHealth) -> None:
        sensor = self._known(key)
        if sensor is not None:
            self._judge(sensor, changed=sensor.take_health(health))

    def _known(self, key: Key) -> Sensor | None:
        """The sensor, made if there is room for it."""
        sensor = self._sensors.get(key)
        if sensor is not None:
            return sensor
        node = self._nodes.get(key[0])
        in_node = len(node.sensors) if node is not None else 0
        if len(self._sensors) >= self.max_sensors or in_node >= self.max_sensors_per_node:
            self._rejections.count("too_many_sensors", "/".join(key))
            return None
        if node is None:
            node = self._nodes[key[0]] = Node()
        sensor = self._sensors[key] = node.sensors[key[1]] = Sensor(node, key)
        self._removed.pop(key, None)
        self._sorted = None
        return sensor

    def _remove(self, key: Key) -> None:
        sensor = self._sensors.pop(key, None)
        if sensor is None:
            return
        del sensor.node.sensors[key[1]]
        if sensor.node.state is None and not sensor.node.sensors:
            del self._nodes[key[0]]
        self._sorted = None
        if len(self._removed) >= self.max_sensors:
            for forgotten in self._removed:
                del self._changed[forgotten]
            self._removed.clear()
            self._oldest_delta = self.version
        self._removed[key] = self._next_version()
        self._changed[key] = None
        self._changed.move_to_end(key)

    def _judge(self, sensor: Sensor, *, changed: bool = False) -> None:
        """A new version of the sensor if its state, or anything else, changed."""
        if sensor.judge(self._monotonic()) or changed:
            sensor.version = self._next_version()
            sensor.fragment = None
            self._changed[sensor.key] = None
            self._changed.move_to_end(sensor.key)
        if sensor.state is ViewState.LIVE:
            self._late_at_s = min(self._late_at_s, sensor.late_at_s)

    def _next_version(self) -> int:
        self.version += 1
        self._full = None
        self._deltas.clear()
        return self.version

    def _in_order(self) -> list[Sensor]:
        if self._sorted is None:
            self._sorted = sorted(self._sensors.values(), key=lambda sensor: sensor.key)
        return self._sorted

    def _make_delta(self, since_version: int, newest_first: Iterable[Key]) -> bytes:
        sensors: list[Sensor] = []
        removed: list[str] = []
        for key in newest_first:
            sensor = self._sensors.get(key)
            if (sensor.version if sensor else self._removed[key]) <= since_version:
                break
            if sensor:
                sensors.append(sensor)
            else:
                removed.append(f'"{key[0]}/{key[1]}"')  # ids need no escapes
        tail = b'"sensors":[%s],"removed":[%s]}'
        return self._head() + tail % (_joined(sensors), ",".join(removed).encode())

    def _head(self) -> bytes:
        head = b'{"epoch":"%s","version":%d,"feed":%s,'
        return head % (self.epoch.encode(), self.version, self.feed.to_json())


def _joined(sensors: Iterable[Sensor]) -> bytes:
    return b",".join([sensor.json() for sensor in sensors])
