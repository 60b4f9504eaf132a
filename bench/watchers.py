"""A crowd before the stream, and the sensors it watches: `python -m bench.watchers PORT …`.

One process reads all streams by epoll; another publishes, so that a busy reader makes nothing
late. In a change the newest sensor stands first, and every reading here has a number of its own:
so the first `"seq":` of an event says up to which reading the viewer has all. It is noted once the
event is whole, for only then a page gets it. Prints `open`, and then one line of JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import resource
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from bench.processes import NODES, SENSORS_PER_NODE
from bench.publisher import connect, field, packet, reading

OPEN_PATIENCE_S = 120.0
LAST_PATIENCE_S = 15.0
SETTLE_S = 3.0
CONNECTING_AT_ONCE = 50
_REQUEST = b"GET /api/v1/stream HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
_SEQ = b'"seq":'
_HEALTH = (
    b'{"state":"ok","since":"2026-11-23T12:00:00Z","driver":"simulated","model":"dht22",'
    b'"interval_s":3600}'
)


class Viewer:
    """One open stream. `seen`: up to which reading it had all, and when."""

    __slots__ = ("_newest", "_rest", "link", "seen")

    def __init__(self, port: int) -> None:
        self.link = socket.create_connection(("127.0.0.1", port))
        self.link.sendall(_REQUEST)
        self.link.setblocking(False)
        self.seen: list[tuple[int, float]] = []
        self._newest: int | None = None
        self._rest = b""

    def take(self, data: bytes, now_s: float) -> None:
        """Look for an event's first number, then for its end; there is no line break within."""
        data, at = self._rest + data, 0
        while True:
            if self._newest is None:
                at = found = data.find(_SEQ, at)
                end = data.find(b",", at)
                if found < 0 or end < 0:
                    self._rest = data[found if found >= 0 else -len(_SEQ) :]
                    return
                self._newest, at = int(data[found + len(_SEQ) : end]), end
            # of one character, since that search is fast
            at = data.find(b"\n", at)
            if at < 0 or at + 1 == len(data):
                self._rest = data[at:] if at >= 0 else b""
                return
            at += 1
            if data[at] == ord("\n"):
                self.seen.append((self._newest, now_s))
                self._newest = None


class Crowd:
    """All viewers. `lost`: how many streams ended; `read_bytes`: of all."""

    def __init__(self, port: int, viewers: int) -> None:
        self.lost = self.read_bytes = 0
        self._viewers: dict[int, Viewer] = {}
        self._epoll = select.epoll()
        for number in range(viewers):
            viewer = Viewer(port)
            self._viewers[viewer.link.fileno()] = viewer
            self._epoll.register(viewer.link, select.EPOLLIN)
            if number % CONNECTING_AT_ONCE == 0:
                self.read(0)
        self.all = list(self._viewers.values())

    def read(self, wait_s: float) -> None:
        for number, _ in self._epoll.poll(wait_s, maxevents=256):
            viewer = self._viewers[number]
            try:
                data = viewer.link.recv(1 << 18)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if data:
                self.read_bytes += len(data)
                viewer.take(data, time.perf_counter())
            else:
                self.lost += 1
                self._epoll.unregister(viewer.link)

    def read_until(self, deadline_s: float) -> None:
        while (left_s := deadline_s - time.perf_counter()) > 0:
            self.read(left_s)

    def have(self, number: int) -> bool:
        return all(viewer.seen and viewer.seen[-1][0] >= number for viewer in self.all)


class Delays(NamedTuple):
    """How many arrivals by milliseconds; the longest; how many did not come."""

    by_ms: Counter[int]
    max_ms: float
    missing: int

    def quantile_ms(self, part: float) -> int:
        wanted = part * self.by_ms.total()
        so_far = 0
        for ms in sorted(self.by_ms):
            so_far += self.by_ms[ms]
            if so_far >= wanted:
                return ms
        return 0


def delays(viewers: Sequence[Viewer], sent_s: Sequence[float], first: int) -> Delays:
    """Of each reading to each viewer; `first` is the number of the first."""
    by_ms: Counter[int] = Counter()
    max_s, missing = 0.0, 0
    for viewer in viewers:
        at = 0
        for newest, seen_s in viewer.seen:
            upto = max(at, min(newest - first + 1, len(sent_s)))
            late_s = [seen_s - moment_s for moment_s in sent_s[at:upto]]
            by_ms.update([int(s * 1e3) for s in late_s])
            max_s = max(max_s, *late_s, 0.0)
            at = upto
        missing += len(sent_s) - at
    return Delays(by_ms, max_s * 1e3, missing)


def publish(link: socket.socket, first: int, readings: int, rate: float, told: Connection) -> None:
    """Each when it is due; then say when each was sent."""
    sent_s = []
    began_s = time.perf_counter()
    for number in range(readings):
        time.sleep(max(0.0, began_s + number / rate - time.perf_counter()))
        one = reading(NODES[0], (first + number) % SENSORS_PER_NODE, first + number, _now())
        sent_s.append(time.perf_counter())
        link.sendall(one)
    told.send(sent_s)


def _now() -> datetime:
    return datetime.now(UTC)


def introduce(link: socket.socket) -> None:
    """Every sensor, once; so far apart that none is late before its next."""
    for sensor in range(SENSORS_PER_NODE):
        topic = field(f"brisa/{NODES[0]}/sensor-{sensor}/health".encode())
        link.sendall(packet(0x30, topic + _HEALTH))
        link.sendall(reading(NODES[0], sensor, sensor + 1, _now()))


def watch(options: argparse.Namespace) -> dict[str, float]:
    link = connect(options.mqtt_port, NODES[0], options.password.read_text().strip())
    introduce(link)
    time.sleep(1)
    crowd = Crowd(options.port, options.viewers)
    deadline_s = time.perf_counter() + OPEN_PATIENCE_S
    while not all(viewer.seen for viewer in crowd.all) and time.perf_counter() < deadline_s:
        crowd.read(0.1)
    gc.disable()  # what is noted has no cycles, and is much
    crowd.read_until(time.perf_counter() + SETTLE_S)
    first = SENSORS_PER_NODE + 1
    here, there = multiprocessing.Pipe(duplex=False)
    arguments = (link, first, options.readings, options.rate, there)
    sender = multiprocessing.get_context("fork").Process(target=publish, args=arguments)
    for viewer in crowd.all:
        viewer.seen.clear()
    crowd.read_bytes = 0
    print("open", flush=True)
    before, began_s = time.process_time(), time.perf_counter()
    sender.start()
    while not here.poll():
        crowd.read_until(time.perf_counter() + 0.2)
    sent_s: list[float] = here.recv()
    took_s = time.perf_counter() - began_s
    used_s = time.process_time() - before
    rounds = sum(len(viewer.seen) for viewer in crowd.all) / len(crowd.all)
    print("sent", flush=True)
    deadline_s = time.perf_counter() + LAST_PATIENCE_S
    while not crowd.have(first + len(sent_s) - 1) and time.perf_counter() < deadline_s:
        crowd.read(0.1)
    late = delays(crowd.all, sent_s, first)
    return {
        "p50_ms": late.quantile_ms(0.5),
        "p99_ms": late.quantile_ms(0.99),
        "max_ms": late.max_ms,
        "missing": late.missing,
        "lost": crowd.lost,
        "events_per_s": rounds / took_s,
        "mb_per_s": crowd.read_bytes / took_s / 1e6,
        "crowd_cpu": used_s / took_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="of the server")
    parser.add_argument("mqtt_port", type=int)
    parser.add_argument("password", type=Path, help="a file: the first node's password")
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--readings", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1.0, help="readings a second, of all")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(watch(options)), flush=True)


if __name__ == "__main__":
    main()
