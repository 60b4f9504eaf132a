"""Many viewers of a stream, and the sensor they watch: `python -m bench.viewers`.

Opens the streams, publishes a reading a second, and notes for each viewer how long after that the
reading was there. All in one process, so there is one clock; it prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from bench.processes import NODES
from bench.publisher import connect, reading

OPEN_PATIENCE_S = 60.0
LAST_PATIENCE_S = 10.0
_REQUEST = b"GET /api/v1/stream HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
_SEQ = b'"seq":'


class Viewer(asyncio.Protocol):
    """One open stream. `arrived`: at what time each reading was first seen."""

    def __init__(self) -> None:
        self.arrived: dict[int, float] = {}
        self.opened = asyncio.Event()
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        data = self._tail + data
        at = data.rfind(_SEQ)
        end = data.find(b",", at)
        if at >= 0 and end >= 0:
            self.arrived.setdefault(int(data[at + len(_SEQ) : end]), now_s)
            self.opened.set()
        self._tail = data[-64:]


async def watch(port: int, mqtt_port: int, password: str, viewers: int, events: int) -> None:
    link = connect(mqtt_port, NODES[0], password)
    link.sendall(reading(NODES[0], 0, 1, datetime.now(UTC)))
    await asyncio.sleep(0.5)
    loop = asyncio.get_running_loop()
    watching = []
    for _ in range(viewers):
        _, viewer = await loop.create_connection(Viewer, "127.0.0.1", port)
        watching.append(viewer)
        await asyncio.sleep(0.002)
    async with asyncio.timeout(OPEN_PATIENCE_S):
        await asyncio.gather(*(viewer.opened.wait() for viewer in watching))
    print("open", flush=True)
    await asyncio.sleep(2)
    sent_at: dict[int, float] = {}
    for seq in range(2, events + 2):
        packet = reading(NODES[0], 0, seq, datetime.now(UTC))
        sent_at[seq] = time.perf_counter()
        link.sendall(packet)
        await asyncio.sleep(1)
    deadline_s = time.perf_counter() + LAST_PATIENCE_S
    while time.perf_counter() < deadline_s and any(events + 1 not in v.arrived for v in watching):
        await asyncio.sleep(0.05)
    late_ms = [
        (viewer.arrived[seq] - at_s) * 1e3
        for seq, at_s in sent_at.items()
        for viewer in watching
        if seq in viewer.arrived
    ]
    cuts = statistics.quantiles(late_ms, n=100)
    told = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(late_ms)}
    told["missing"] = viewers * events - len(late_ms)
    print(json.dumps(told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="of the server")
    parser.add_argument("mqtt_port", type=int)
    parser.add_argument("password", type=Path, help="a file: the first node's password")
    parser.add_argument("--viewers", type=int, default=500)
    parser.add_argument("--events", type=int, default=15)
    options = parser.parse_args()
    password = options.password.read_text().strip()
    asyncio.run(watch(options.port, options.mqtt_port, password, options.viewers, options.events))


if __name__ == "__main__":
    main()
