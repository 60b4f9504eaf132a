"""compose.yaml: brisa on one machine in one command, as podman-compose runs it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.containers.conftest import GROUP, Podman
from tests.support import Process, eventually, free_port

pytestmark = [*GROUP]

SERVICES = ("broker", "recorder", "gateway", "edge")


@dataclass
class Compose:
    """A project of the tests' own."""

    podman: Podman
    project: str
    env: dict[str, str]
    port: int
    mqtt_port: int

    def __call__(self, *words: str) -> str:
        done = self.podman.attempt("podman-compose", "-p", self.project, *words, env=self.env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def password(self, user: str) -> str:
        return self.podman("exec", self.container("edge"), "cat", f"/run/credentials/{user}")

    def get(self, path: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=30).json()

    def subscriber(self, *options: str) -> Process:
        return Process(
            *("mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.mqtt_port)),
            *("-t", "brisa/#", "-v", "-W", "60", *options),
        )


@pytest.fixture(scope="module")
def compose(podman: Podman, images: Mapping[str, str]) -> Iterator[Compose]:
    if shutil.which("podman-compose") is None:
        pytest.skip("podman-compose is not installed: apt-get install podman-compose")
    port, mqtt_port = free_port(), free_port()
    env = {"PORT": str(port), "MQTT_PORT": str(mqtt_port), "NODE": "pi-1"}
    project = Compose(podman, podman.name("compose"), env, port, mqtt_port)
    try:
        project("up", "--detach")
        yield project
    finally:
        podman.attempt("podman-compose", "-p", project.project, "down", "-t", "5", "-v", env=env)
        # the podman-compose of Debian 12 leaves it
        podman.attempt("podman", "network", "rm", f"{project.project}_default")


def live(compose: Compose) -> bool:
    shown = {view["sensor"]: view for view in compose.get("/api/v1/sensors")["sensors"]}
    return all(name in shown and shown[name]["state"] == "live" for name in ("aula", "patio"))


def test_one_command_shows_the_sensors_and_their_history(compose: Compose) -> None:
    eventually("both sensors are live", lambda: live(compose))

    def stored() -> bool:
        account = compose.get("/api/v1/audit")["sensors"]
        return len(account) == 2 and all(one["stored"] > 0 for one in account)

    eventually("the gateway reads what the recorder stored", stored)


@pytest.mark.parametrize("service", SERVICES)
def test_its_health_checks_pass(podman: Podman, compose: Compose, service: str) -> None:
    check = ("podman", "healthcheck", "run", compose.container(service))
    eventually(f"{service} is well", lambda: podman.attempt(*check).returncode == 0)


def test_subscribers_need_the_password_that_was_made(compose: Compose) -> None:
    eventually("both sensors are live", lambda: live(compose))
    with compose.subscriber("-u", "viewer", "-P", compose.password("viewer")) as subscriber:
        subscriber.wait_for("^brisa/pi-1/aula/reading ")
    for refused in ([], ["-u", "viewer", "-P", "viewer"]):
        with compose.subscriber(*refused) as subscriber:
            subscriber.wait_for("not authorised")
            assert subscriber.wait() != 0


def test_a_second_start_keeps_passwords_and_readings(compose: Compose) -> None:
    eventually("both sensors are live", lambda: live(compose))
    users = ("viewer", "gateway", "recorder", "pi-1")
    before = {user: compose.password(user) for user in users}
    assert len(set(before.values())) == len(users)
    (first, _) = compose.get("/api/v1/audit")["sensors"]
    compose("down", "-t", "5")
    compose("up", "--detach")
    eventually("both sensors are live", lambda: live(compose))
    assert {user: compose.password(user) for user in users} == before

    def more() -> bool:
        (again, _) = compose.get("/api/v1/audit")["sensors"]
        assert (again["missing"], again["lost"]) == (0, 0)
        return again["first_at"] == first["first_at"] and bool(again["stored"] > first["stored"])

    eventually("the history goes on", more)
