"""Resident memory of the edge and the gateway after 1,000 readings, and of what they are made of."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping

from bench.processes import NODES, PLAIN, Broker, fetch, gateway, memory_mb, say
from tests.support import Process, free_port

READINGS = 1_000
INTERVAL_S = 0.01
SCRAPES = 40  # ten minutes of a Prometheus that comes every 15 s
PATIENCE_S = 120.0
IDLE = "import time; print('ready', flush=True); time.sleep(600)"
PARTS = {
    "bare Python": "",
    "with paho imported": "import paho.mqtt.client",
    "with paho and the contract's models": "import paho.mqtt.client, broker.contract",
}
Memory = dict[str, float]


def measure(broker: Broker) -> dict[str, Memory]:
    """By name: VmRSS, RssAnon, RssFile in MB. Every process finds its compiled files."""
    found: dict[str, Memory] = {}
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as cache:
        env = {"PYTHONPYCACHEPREFIX": cache}
        for name, code in PARTS.items():
            found[name] = [part(code, env) for _ in range(2)][-1]  # the first one compiles
        for name, flags in (("edge", []), ("edge, python -OO", ["-OO"])):
            warm_up = [sys.executable, *flags, "-m", "edge", "--help"]
            subprocess.run(warm_up, check=True, stdout=subprocess.DEVNULL, env={**PLAIN, **env})
            with contextlib.suppress(KeyError):
                edge(broker, flags, env, readings=1)
            found[name], found[f"{name}, scraped"] = edge(broker, flags, env)
        with gateway(broker, env):
            pass
        found["gateway"], found["gateway, page and metrics read"] = _gateway(broker, env)
    for name, memory in found.items():
        say(f"{name}: {memory['VmRSS']:.1f} MB")
    return found


def part(code: str, env: Mapping[str, str]) -> Memory:
    with Process(sys.executable, "-c", f"{code}\n{IDLE}", env={**PLAIN, **env}) as process:
        process.wait_for("ready")
        return memory_mb(process.popen.pid)


def edge(
    broker: Broker,
    flags: list[str],
    env: Mapping[str, str],
    *,
    readings: int = READINGS,
    seen: Callable[[], object] = lambda: None,
) -> tuple[Memory, Memory]:
    """Right after so many readings, and after ten minutes' worth of probes and scrapes."""
    port = free_port()
    settings = {
        **broker.env(NODES[0]),
        "BRISA_NODE": NODES[0],
        "BRISA_DRIVER": "simulated",
        "BRISA_INTERVAL_S": str(INTERVAL_S),
        "BRISA_HEALTH_HOST": "127.0.0.1",
        "BRISA_HEALTH_PORT": str(port),
    }
    topic = f"brisa/{NODES[0]}/+/reading"
    count = broker.subscriber("-t", topic, "-R", "-C", str(readings), "-W", str(int(PATIENCE_S)))
    with (
        subprocess.Popen(count, stdout=subprocess.DEVNULL) as counter,
        Process(sys.executable, *flags, "-m", "edge", env={**PLAIN, **settings, **env}) as process,
    ):
        counter.wait()
        if counter.returncode:
            raise AssertionError(f"the edge did not publish {readings}:\n{process.output}")
        before = memory_mb(process.popen.pid)
        for path in ("/healthz", "/readyz", "/metrics") * SCRAPES:
            fetch(port, path)
        seen()
        after = memory_mb(process.popen.pid)
        process.stop()
    return before, after


def _gateway(broker: Broker, env: Mapping[str, str]) -> tuple[Memory, Memory]:
    """Right after an edge's readings, and after the page, the API and the metrics were read."""
    found: list[Memory] = []
    with gateway(broker, env) as (process, port):

        def seen() -> None:
            found.append(memory_mb(process.popen.pid))
            for path in ("/", "/text", "/api/v1/sensors", "/readyz", "/metrics"):
                fetch(port, path)
            found.append(memory_mb(process.popen.pid))

        edge(broker, [], env, seen=seen)
    return found[0], found[1]
