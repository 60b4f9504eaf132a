"""Broker, edge, recorder and gateway in one network, each as strict as its pod."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.local import write_for_another
from tests.containers.conftest import GROUP, MOSQUITTO, Podman
from tests.support import eventually, free_port

pytestmark = [*GROUP]

USER = "10001:10001"
NODE = "pi-1"
LIMITS = {"broker": "128m", "edge": "64m", "recorder": "128m", "gateway": "128m"}


@dataclass
class Together:
    """The four, by their containers' names, and where the page is."""

    containers: dict[str, str]
    url: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30)

    def sensors(self) -> dict[str, dict[str, Any]]:
        return {view["sensor"]: view for view in self.get("/api/v1/sensors").json()["sensors"]}


@pytest.fixture(scope="module")
def together(
    podman: Podman, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Together]:
    state = tmp_path_factory.mktemp("together")
    folders = {name: state / name for name in ("broker", "passwords", "history")}
    write_for_another(folders["broker"], folders["passwords"], 1883, ["gateway", "recorder", NODE])
    folders["history"].mkdir()
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
                *options(
                    "edge",
                    NODE,
                    BRISA_NODE=NODE,
                    BRISA_SENSORS="aula=replay;patio=replay,model=dht22",
                    BRISA_INTERVAL_S="1",
                ),
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


def live(together: Together) -> bool:
    shown = together.sensors()
    return all(name in shown and shown[name]["state"] == "live" for name in ("aula", "patio"))


def test_the_page_shows_the_values_and_the_history(together: Together) -> None:
    eventually("both sensors are live", lambda: live(together))
    page = together.get("/").text
    for name, view in together.sensors().items():
        assert name in page
        assert f"{view['temperature_c']:.1f}" in together.get("/text").text
    assert "°C" in page

    def stored() -> bool:
        account = together.get("/api/v1/audit").json()["sensors"]
        return {one["sensor"] for one in account if one["stored"] > 0} == {"aula", "patio"}

    eventually("the gateway reads what the recorder stored", stored)


@pytest.mark.parametrize(
    ("name", "port"), [("edge", "9101"), ("recorder", "9102"), ("gateway", "5000")]
)
def test_each_says_by_itself_that_it_is_well(
    podman: Podman, together: Together, name: str, port: str
) -> None:
    eventually("both sensors are live", lambda: live(together))
    check = ["exec", together.containers[name], "python", "-m", "broker.healthcheck"]
    assert podman(*check, port) == "ok"
    assert podman(*check, port, "/readyz") == "ok"
    wrong = podman.attempt("podman", *check, port, "/none")
    assert (wrong.returncode, bool(wrong.stdout)) == (1, True)
    closed = podman.attempt("podman", *check, "9")
    assert (closed.returncode, closed.stdout) == (1, "port 9: [Errno 111] Connection refused\n")


@pytest.mark.parametrize("name", ["broker", "edge", "recorder", "gateway"])
def test_each_runs_without_rights(podman: Podman, together: Together, name: str) -> None:
    process = Path("/proc") / podman.inspect(together.containers[name], "{{.State.Pid}}")
    status = dict(
        line.split(":\t", 1)
        for line in (process / "status").read_text().splitlines()
        if "\t" in line
    )
    assert status["Uid"].split() == ["10001"] * 4
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    root = next(
        line.split()
        for line in (process / "mountinfo").read_text().splitlines()
        if line.split()[4] == "/"
    )
    assert "ro" in root[5].split(",")


def test_each_stays_within_its_memory(
    podman: Podman, together: Together, record_property: Callable[[str, object], None]
) -> None:
    eventually("both sensors are live", lambda: live(together))
    for name, container in together.containers.items():
        usage = memory(podman.inspect(container, "{{.State.Pid}}"))
        record_property("note", f"{name}: {usage}")
        assert podman.inspect(container, "{{.State.OOMKilled}} {{.RestartCount}}") == "false 0"


def memory(pid: str) -> str:
    """Of a container's cgroup: now, less what can be dropped at once; and the most it ever was."""
    cgroups = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    old = [line for line in cgroups if line.split(":")[1] == "memory"]
    if old:
        folder = Path("/sys/fs/cgroup/memory") / old[0].split(":", 2)[2].lstrip("/")
        now, most, cached = (
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "total_inactive_file",
        )
    else:
        folder = Path("/sys/fs/cgroup") / cgroups[0].split(":", 2)[2].lstrip("/")
        now, most, cached = "memory.current", "memory.peak", "inactive_file"
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    kept = int((folder / now).read_text()) - int(stat[cached])
    peak = int((folder / most).read_text()) if (folder / most).exists() else 0
    return f"{kept / 2**20:.1f} MiB, at most {peak / 2**20:.1f}"


# Last of this file: these end what the tests above look at.
@pytest.mark.parametrize("name", ["edge", "gateway", "recorder", "broker"])
def test_each_ends_with_code_0_when_it_is_told_to(
    podman: Podman, together: Together, name: str
) -> None:
    if name == "edge":
        eventually("both sensors are live", lambda: live(together))
    # After 5 s podman would kill it, and the code be 137.
    podman("stop", "--time=5", together.containers[name])
    state = json.loads(podman.inspect(together.containers[name], "{{json .State}}"))
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
