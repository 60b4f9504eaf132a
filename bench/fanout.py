"""From MQTT to many open streams: the gateway's one loop against a thread a viewer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.processes import (
    NODES,
    PLAIN,
    BenchError,
    Broker,
    cpu_s,
    environment,
    fetch,
    gateway,
    memory_mb,
    python,
    say,
)
from tests.support import Process, eventually, free_port

GUNICORN = "bench-gunicorn"


class Fanout(NamedTuple):
    """Milliseconds from publishing to a viewer; what the server took for it."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    missing: int
    cpu_us: float
    rss_mb: float
    threads: int


def measure(broker: Broker, *, viewers: int, events: int) -> dict[str, Fanout]:
    found = {}
    with gateway(broker) as (process, port):
        found["gateway (uvicorn, one loop)"] = _watch(broker, process, port, viewers, events)
    with _gthread(broker, viewers) as (process, port):
        found["Flask under gunicorn gthread"] = _watch(broker, process, port, viewers, events)
    for name, fanout in found.items():
        say(f"{name}: p50 {fanout.p50_ms:.0f} ms, p99 {fanout.p99_ms:.0f} ms")
    return found


@contextlib.contextmanager
def _gthread(broker: Broker, viewers: int) -> Iterator[tuple[Process, int]]:
    port = free_port()
    program = environment(GUNICORN, "gunicorn") / "gunicorn"
    # a thread for each viewer, and some for others
    options = ["--worker-class", "gthread", "--workers", "1", "--threads", str(viewers + 20)]
    options += ["--worker-connections", str(viewers + 100), "--bind", f"127.0.0.1:{port}"]
    env = {**PLAIN, **broker.env("gateway")}
    with Process(str(program), *options, "bench.gthread_app:create()", env=env) as process:
        eventually("gunicorn is ready", lambda: fetch(port, "/readyz"))
        try:
            yield process, port
        finally:
            process.stop()


def _workers(process: Process) -> list[int]:
    """The process and its children: gunicorn's worker is one."""
    pid = process.popen.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


def _watch(broker: Broker, process: Process, port: int, viewers: int, events: int) -> Fanout:
    password = str(broker.state / "credentials" / NODES[0])
    arguments = [str(port), str(broker.port), password]
    arguments += ["--viewers", str(viewers), "--events", str(events)]
    with python("-m", "bench.viewers", *arguments) as watching:
        watching.wait_for("open")
        pids = _workers(process)
        before_s = sum(map(cpu_s, pids))
        watching.wait_for(r"^\{")
        used_s = sum(map(cpu_s, pids)) - before_s
        if watching.wait():
            raise BenchError(f"the viewers failed: {watching.lines[-1:]}")
        told = json.loads(watching.lines[-1])
    threads = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)
    rss_mb = sum(memory_mb(pid)["VmRSS"] for pid in pids)
    return Fanout(**told, cpu_us=used_s / viewers / events * 1e6, rss_mb=rss_mb, threads=threads)
