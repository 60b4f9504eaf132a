"""How many viewers one gateway holds, and how late they are, against a bare loop in its place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.processes import (
    NODES,
    SENSORS_PER_NODE,
    BenchError,
    Broker,
    cpu_s,
    fetch,
    gateway,
    memory_mb,
    python,
    say,
    spread,
)
from bench.table import Row, held
from tests.support import Process, eventually, free_port

PATIENCE_S = 300.0
OURS, BARE = "gateway", "bare loop"


class Load(NamedTuple):
    """So many viewers, and readings a second of all sensors."""

    viewers: int
    rate: int
    readings: int

    @property
    def name(self) -> str:
        return f"{self.viewers:,} viewers, {SENSORS_PER_NODE} sensors, {self.rate}/s of all"


class Seen(NamedTuple):
    """Milliseconds from publishing to a viewer; cpu, crowd_cpu: of one core, in the mean."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    missing: int
    lost: int
    events_per_s: float
    mb_per_s: float
    crowd_cpu: float
    cpu: float
    rss_mb: float
    peak_mb: float


Found = dict[Load, dict[str, list[Seen]]]


def loads(*, quick: bool) -> list[Load]:
    seconds = 8 if quick else 20
    return [
        Load(viewers, rate, rate * seconds)
        for viewers in (1000, 5000)
        for rate in (1, SENSORS_PER_NODE)
    ]


def measure(broker: Broker, loads: list[Load], *, repeats: int) -> Found:
    """In turn, a new process each time."""
    found: Found = {load: {OURS: [], BARE: []} for load in loads}
    for load in loads:
        env = {"BRISA_MAX_VIEWERS": str(load.viewers)}
        for _ in range(repeats):
            for name, server in ((OURS, gateway(broker, env)), (BARE, _bare(broker, env))):
                with server as (process, port):
                    seen = _watch(broker, process, port, load)
                found[load][name].append(seen)
                say(
                    f"{load.name}: {name}: p50 {seen.p50_ms:.0f} ms, p99 {seen.p99_ms:.0f} ms,"
                    f" {seen.events_per_s:.1f} events/s, {seen.mb_per_s:.0f} MB/s,"
                    f" {seen.cpu:.2f} of a core, {seen.rss_mb:.0f} (at most {seen.peak_mb:.0f}) MB;"
                    f" {seen.missing} missing, {seen.lost} lost;"
                    f" the crowd: {seen.crowd_cpu:.2f} of a core"
                )
    return found


@contextlib.contextmanager
def _bare(broker: Broker, env: dict[str, str]) -> Iterator[tuple[Process, int]]:
    port = free_port()
    env = {"BRISA_HOST": "127.0.0.1", "BRISA_PORT": str(port), **env}
    with python("-m", "bench.bare_app", env={**broker.env("gateway"), **env}) as process:
        eventually("the bare loop is ready", lambda: fetch(port, "/readyz") == b"")
        yield process, port


def _watch(broker: Broker, process: Process, port: int, load: Load) -> Seen:
    password = str(broker.state / "credentials" / NODES[0])
    arguments = [str(port), str(broker.port), password, "--viewers", str(load.viewers)]
    arguments += ["--readings", str(load.readings), "--rate", str(load.rate)]
    pid = process.popen.pid
    with python("-m", "bench.watchers", *arguments) as watching:
        watching.wait_for("open", PATIENCE_S)
        before_s = cpu_s(pid)
        watching.wait_for("sent", PATIENCE_S)
        used_s = cpu_s(pid) - before_s
        memory = memory_mb(pid)["VmRSS"]
        watching.wait_for(r"^\{", PATIENCE_S)
        if watching.wait():
            raise BenchError(f"the viewers failed: {watching.lines[-1:]}")
        told = json.loads(watching.lines[-1])
    cpu = used_s / (load.readings / load.rate)
    return Seen(**told, cpu=cpu, rss_mb=memory, peak_mb=_peak_mb(pid))


def _peak_mb(pid: int) -> float:
    """VmHWM: the most that was ever resident."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024 / 1e6


def rows(found: Found) -> list[Row]:
    made = []
    for load, both in found.items():
        made.append(Row(load.name, "p99 in ms", "× bare"))
        bare_ms = _middle(both[BARE])
        for name in (BARE, OURS):
            runs = both[name]
            ratio = f"{_middle(runs) / bare_ms:.2f}"
            figure = spread([run.p99_ms for run in runs], lambda ms: f"{ms:.0f}")
            aim = _aims(load, runs) + "; " if name == OURS else ""
            made.append(Row(name, figure, ratio, aim + _took(runs)))
    return made


def _middle(runs: list[Seen]) -> float:
    return sorted(run.p99_ms for run in runs)[len(runs) // 2]


def _aims(load: Load, runs: list[Seen]) -> str:
    good = all(run.missing == run.lost == 0 for run in runs)
    if load.viewers > 1000:
        return held({"nobody lost, nothing missing": good})
    limit_ms = 150 if load.rate == 1 else 1500
    aims = {f"p99 < {limit_ms} ms": all(run.p99_ms < limit_ms for run in runs)}
    if load.rate == 1:
        aims["< 120 MB"] = all(run.rss_mb < 120 for run in runs)
    return held(aims | {"nothing missing": good})


def _took(runs: list[Seen]) -> str:
    def told(form: str, *values: float) -> str:
        return spread(values, lambda value: format(value, form))

    parts = [
        f"p50 {told('.0f', *(run.p50_ms for run in runs))}",
        f"{told('.1f', *(run.events_per_s for run in runs))} events/s",
        f"{told('.2f', *(run.cpu for run in runs))} of a core",
        f"{told('.0f', *(run.rss_mb for run in runs))} MB",
        f"crowd {told('.2f', *(run.crowd_cpu for run in runs))} of a core",
    ]
    lost = sum(run.lost for run in runs), sum(run.missing for run in runs)
    return ", ".join(parts) + (f", {lost[0]} lost, {lost[1]} missing" if any(lost) else "")
