"""`/api/v1/sensors` with 1,000 sensors, against its bytes as a constant of the same server.

Asked for as browsers and libraries do: with gzip.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.intake import publish
from bench.processes import SENSORS, BenchError, Broker, fetch, gateway, python, say, spread
from bench.table import Row, held
from tests.support import Process, eventually, free_port

PATH = "/api/v1/sensors"
OURS, CONSTANT = "gateway", "constant, same server"
WITHIN = 1.2
GZIP = {"Accept-Encoding": "gzip"}


class Asked(NamedTuple):
    """Milliseconds a request, of one run; `size` of its body."""

    ms: float
    size: int


def measure(broker: Broker, *, runs: int, requests: int) -> dict[str, list[Asked]]:
    """Short runs in turn over kept connections, so that what disturbs disturbs both."""
    found: dict[str, list[Asked]] = {CONSTANT: [], OURS: []}
    with gateway(broker) as (_, port), tempfile.TemporaryDirectory(prefix="brisa-bench-") as folder:
        publish(broker, rate=5000, rounds=1, first_seq=1)
        eventually("all sensors are there", lambda: _sensors(port) == SENSORS)
        body = Path(folder) / "body"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as link:
            body.write_bytes(_answer(link))
        with _constant(broker, body) as constant:
            ports = {CONSTANT: constant, OURS: port}
            for number in range(runs + 1):
                for name, one in ports.items():
                    asked = _ask(one, requests)
                    if number:  # the first warms up
                        found[name].append(asked)
    for name, runs_of in found.items():
        say(f"{name}: {statistics.median(one.ms for one in runs_of):.2f} ms")
    return found


def _sensors(port: int) -> int:
    return len(json.loads(fetch(port, PATH))["sensors"])


@contextlib.contextmanager
def _constant(broker: Broker, body: Path) -> Iterator[int]:
    port = free_port()
    env = {**broker.env("gateway"), "BRISA_HOST": "127.0.0.1", "BRISA_PORT": str(port)}
    with python("-m", "bench.constant_app", str(body), env=env) as process:
        _wait(process, port)
        yield port


def _wait(process: Process, port: int) -> None:
    eventually("the constant is served", lambda: fetch(port, PATH))
    if process.popen.poll() is not None:
        raise BenchError(f"the constant's server failed: {process.lines[-1:]}")


def _answer(link: http.client.HTTPConnection) -> bytes:
    """The compressed bytes."""
    link.request("GET", PATH, headers=GZIP)
    response = link.getresponse()
    if response.headers["Content-Encoding"] != "gzip":
        raise BenchError(f"{PATH} is not compressed")
    return response.read()


def _ask(port: int, requests: int) -> Asked:
    """The median of them: a pause of the machine is nobody's."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    took_s, size = [], 0
    for _ in range(requests):
        began_s = time.perf_counter()
        size = len(_answer(link))
        took_s.append(time.perf_counter() - began_s)
    link.close()
    return Asked(statistics.median(took_s) * 1e3, size)


def rows(found: dict[str, list[Asked]]) -> list[Row]:
    made = [Row(f"{PATH}, {SENSORS:,} sensors, one client", "ms a request", "× constant")]
    # of each pair, since it is the machine that differs from run to run
    ratios = [
        ours.ms / constant.ms for ours, constant in zip(found[OURS], found[CONSTANT], strict=True)
    ]
    for name, runs in found.items():
        figure = spread([run.ms for run in runs], lambda ms: f"{ms:.2f}")
        size = f"{runs[0].size / 1e3:.0f} kB"
        if name == OURS:
            ratio = statistics.median(ratios)
            aim = held({f"≤ {WITHIN} ×": ratio <= WITHIN})
            made.append(Row(name, figure, spread(ratios, lambda one: f"{one:.2f}"), aim))
        else:
            made.append(Row(name, figure, "1.00", size))
    return made
