"""The images for a 32-bit Raspberry Pi OS, built and run on an emulated processor."""

from __future__ import annotations

from tests.containers.conftest import GROUP, Podman
from tests.containers.in_image import WELL, pages_in

pytestmark = [*GROUP]


def test_the_doctor_answers_on_arm_v7(podman: Podman, arm_edge: str) -> None:
    assert podman.inspect(arm_edge, "{{.Architecture}}") == "arm"
    assert podman.once(arm_edge, "--entrypoint=uname", command=["-m"]) == "armv7l"
    done = podman.attempt(
        "podman", "run", "--rm", "--read-only", "--cap-drop=all", "--memory=64m", arm_edge, "doctor"
    )
    assert done.returncode == 1  # no sensor here
    assert "works  driver replay: 24.0 °C, 40.0 % (replay)" in done.stdout
    # compiled for it: libgpiod looks for chips, Adafruit_DHT for the Raspberry Pi's model
    assert "no     driver gpio: no /dev/gpiochip*" in done.stdout
    assert "no     driver adafruit: Adafruit_DHT: Unknown platform" in done.stdout


def test_what_was_compiled_is_for_the_processor(podman: Podman, arm_edge: str) -> None:
    script = (
        "import gpiod._ext, pydantic_core, Adafruit_DHT.Raspberry_Pi_2_Driver as pi; print('ok')"
    )
    assert podman.once(arm_edge, "--entrypoint=python", command=["-c", script]) == "ok"


def test_the_gateway_makes_its_pages_on_arm_v7(podman: Podman, arm_gateway: str) -> None:
    assert podman.inspect(arm_gateway, "{{.Architecture}}") == "arm"
    assert podman.once(arm_gateway, "--entrypoint=uname", command=["-m"]) == "armv7l"
    assert pages_in(podman, arm_gateway, "--memory=128m") == WELL


def test_what_the_gateway_needs_is_for_the_processor(podman: Podman, arm_gateway: str) -> None:
    script = (
        "import pydantic_core, psycopg.pq, sqlalchemy, pymysql; print(psycopg.pq.__impl__, 'ok')"
    )
    assert podman.once(arm_gateway, "--entrypoint=python", command=["-c", script]) == "python ok"
