"""Broker, edge, recorder and gateway in one network, each as strict as its pod."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from broker.local import write_for_another
from tests.containers.conftest import MOSQUITTO, Podman
from tests.support import free_port

USER = "10001:10001"
NODE = "pi-1"
LIMITS = {"broker": "128m", "edge": "64m", "recorder": "128m", "gateway": "128m"}


@dataclass
class Together:
    """The four, by their containers' names, and where the page is."""

    containers: dict[str, str]
    url: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers={"Accept-Language": "en"}, timeout=30)

    def sensors(self) -> dict[str, dict[str, Any]]:
        return {view["sensor"]: view for view in self.get("/api/v1/sensors").json()["sensors"]}


@contextlib.contextmanager
def running(
    podman: Podman, images: Mapping[str, str], state: Path, **edge: str
) -> Iterator[Together]:
    """Start them; their files are in `state`. edge: more of the edge's settings."""
    folders = {name: state / name for name in ("broker", "passwords", "history")}
    write_for_another(folders["broker"], folders["passwords"], 1883, ["gateway", "recorder", NODE])
    folders["history"].mkdir()
    # without the line for a Mosquitto that root starts
    (folders["broker"] / "conf.d" / "listener.conf").write_text("listener 1883\n")
    for path in (*folders.values(), *(one for each in folders.values() for one in each.rglob("*"))):
        os.chown(path, 10001, 10001)
    network, port = podman.name("network"), free_port()
    podman("network", "create", network)

    def options(what: str, user: str = "", **settings: str) -> list[str]:
        words = [f"--network={network}", f"--network-alias={what}", f"--memory={LIMITS[what]}"]
        if user:
            words.append(f"--volume={folders['passwords'] / user}:/run/credentials/{user}:ro")
            settings |= {
                "BRISA_BROKER_URL": f"mqtt://{user}@broker",
                "BRISA_BROKER_PASSWORD_FILE": f"/run/credentials/{user}",
                "BRISA_RECONNECT_S": "1",
            }
        return [*words, *(f"--env={name}={value}" for name, value in settings.items())]

    history = f"--volume={folders['history']}:/var/lib/brisa"
    url = {"BRISA_HISTORY_URL": "sqlite:////var/lib/brisa/history.db"}
    try:
        containers = {
            "broker": podman.start(
                "broker",
                MOSQUITTO,
                *options("broker"),
                f"--user={USER}",
                f"--volume={folders['broker']}:/broker",
                "--workdir=/broker",
                command=["mosquitto", "-c", "mosquitto.conf"],
            ),
            "recorder": podman.start(
                "recorder",
                images["gateway"],
                *options("recorder", "recorder", **url),
                history,
                command=["gateway.history"],
            ),
            "edge": podman.start(
                "edge",
                images["edge"],
                *options("edge", NODE, BRISA_NODE=NODE, **edge),
                "--tmpfs=/var/lib/brisa:mode=0777",
            ),
            "gateway": podman.start(
                "gateway",
                images["gateway"],
                *options("gateway", "gateway", **url),
                history,
                f"--publish=127.0.0.1:{port}:5000",
            ),
        }
        yield Together(containers, f"http://127.0.0.1:{port}")
    finally:
        podman.close()
        podman.attempt("podman", "network", "rm", network)


@dataclass(frozen=True)
class Memory:
    """Of a container's cgroup, in bytes. kept: now, less what can be dropped at once."""

    kept: int
    peak: int

    def __str__(self) -> str:
        return f"{self.kept / 2**20:.1f} MiB, at most {self.peak / 2**20:.1f}"


def memory(podman: Podman, container: str) -> Memory:
    pid = podman.inspect(container, "{{.State.Pid}}")
    cgroups = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    old = [line for line in cgroups if line.split(":")[1] == "memory"]
    if old:
        folder = Path("/sys/fs/cgroup/memory") / old[0].split(":", 2)[2].lstrip("/")
        now, most = "memory.usage_in_bytes", "memory.max_usage_in_bytes"
        cached = "total_inactive_file"
    else:
        folder = Path("/sys/fs/cgroup") / cgroups[0].split(":", 2)[2].lstrip("/")
        now, most, cached = "memory.current", "memory.peak", "inactive_file"
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    kept = int((folder / now).read_text()) - int(stat[cached])
    peak = int((folder / most).read_text()) if (folder / most).exists() else 0
    return Memory(kept, peak)
