"""Broker, edge, recorder and gateway in one network, each as strict as its pod."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.containers.conftest import GROUP, Podman
from tests.containers.together import Together, memory, running
from tests.support import eventually

pytestmark = [*GROUP]

SENSORS = "aula=replay;patio=replay,model=dht22"


@pytest.fixture(scope="module")
def together(
    podman: Podman, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Together]:
    state = tmp_path_factory.mktemp("together")
    with running(podman, images, state, BRISA_SENSORS=SENSORS, BRISA_INTERVAL_S="1") as four:
        yield four


def live(together: Together) -> bool:
    shown = together.sensors()
    return all(name in shown and shown[name]["state"] == "live" for name in ("aula", "patio"))


def test_the_page_shows_the_values_and_the_history(together: Together) -> None:
    eventually("both sensors are live", lambda: live(together))

    def shown() -> bool:
        views, page = together.sensors(), together.get("/").text
        return all(
            name in page and f"{view['temperature_c']:.1f}" in page for name, view in views.items()
        )

    eventually("the page shows their values", shown)

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
        record_property("note", f"{name}: {memory(podman, container)}")
        assert podman.inspect(container, "{{.State.OOMKilled}} {{.RestartCount}}") == "false 0"


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
