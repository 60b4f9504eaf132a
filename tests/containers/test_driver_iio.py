"""The edge's container reads the kernel's driver through sysfs, with a root that it cannot write."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.containers.conftest import GROUP, Podman

pytestmark = [*GROUP]

START_PULSE_S = 0.018  # the kernel holds the line low for so long before a sensor can answer


@pytest.fixture
def sysfs(tmp_path: Path) -> Iterator[Path]:
    """A dht11 device that answers as the kernel's does: pipes, behind which somebody takes time."""
    device = tmp_path / "sys/bus/iio/devices/iio:device0"
    device.mkdir(parents=True)
    (device / "name").write_text("dht11@3\n")
    ended = threading.Event()
    kernels = []
    for file, value, takes_s in (
        ("in_temp_input", 23000, 1.5 * START_PULSE_S),
        ("in_humidityrelative_input", 47000, 0.0),  # of the same frame: it is kept
    ):
        os.mkfifo(device / file, 0o644)
        kernels.append(
            threading.Thread(
                target=_answer, args=(device / file, value, takes_s, ended), daemon=True
            )
        )
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for kernel in kernels:
        kernel.start()
    yield tmp_path / "sys"
    ended.set()
    for name in ("in_temp_input", "in_humidityrelative_input"):
        with suppress(OSError):  # wakes it, if it waits for a reader
            os.close(os.open(device / name, os.O_RDONLY | os.O_NONBLOCK))
    for kernel in kernels:
        kernel.join(10)


def _answer(file: Path, value: int, takes_s: float, ended: threading.Event) -> None:
    while not ended.is_set():
        with suppress(BrokenPipeError), file.open("w") as reader:  # waits until it is opened
            ended.wait(takes_s)
            reader.write(f"{value}\n")
        ended.wait(0.005)  # until the reader has seen the end of it


def test_the_iio_driver_reads_a_sysfs_that_was_mounted(
    podman: Podman, images: Mapping[str, str], sysfs: Path
) -> None:
    # /sys/bus is a folder of every kernel's, /sys/bus/iio only of one with such a device
    said = podman.once(
        images["edge"],
        "--memory=64m",
        f"--volume={sysfs / 'bus'}:/sys/bus:ro",
        command=["doctor", "--driver", "iio"],
    )
    assert "works  driver iio: 23.0 °C, 47.0 % (dht11)" in said
