"""The iio driver against a sysfs folder, with a kernel that answers and fails as told."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.frame import Model
from edge.sensors.base import Cause, Measurement, NoReading, SensorBroken
from edge.sensors.iio import UNDECODABLE_LIMIT, IioSensor, from_twos_complement

Answer = tuple[int, int] | int  # thousandths of °C and of %, or the errno


class Kernel:
    """Answers reads of a dht11 device's files as drivers/iio/humidity/dht11.c does, and its clock.

    It keeps what it decoded for two seconds, and what it kept before for as long after an EIO.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_s = 100.0
        self.answers: list[Answer] = []
        self.asked = 0
        self.touched = 0
        self.kept_takes_s = 0.0001
        self._kept_at_s = -100.0
        self._values = (0, 0)

    def clock(self) -> float:
        return self.now_s

    def read_text(self, file: Path) -> str:
        if file.name == "name":
            return file.read_text()
        self.touched += 1
        if self._kept_at_s + 2 < self.now_s:
            self.asked += 1
            self.now_s += 0.024
            answer = self.answers.pop(0)
            if isinstance(answer, int):
                if answer == errno.EIO:
                    self._kept_at_s = self.now_s
                raise OSError(answer, os.strerror(answer), str(file))
            self._kept_at_s = self.now_s
            self._values = answer
        self.now_s += self.kept_takes_s
        return f"{self._values[file.name == 'in_humidityrelative_input']}\n"


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    kernel = Kernel(tmp_path / "bus/iio/devices")
    add_device(kernel.folder, 0, "dht11@3")
    return kernel


def add_device(folder: Path, number: int, name: str) -> None:
    device = folder / f"iio:device{number}"
    device.mkdir(parents=True)
    (device / "name").write_text(f"{name}\n")


def sensor_of(kernel: Kernel, model: Model = Model.DHT22, device: str | None = None) -> IioSensor:
    return IioSensor(
        model=model,
        device=device,
        sysfs_root=kernel.folder.parents[2],
        clock=kernel.clock,
        read_text=kernel.read_text,
    )


def cause_of(read: Callable[[], Measurement]) -> Cause:
    with pytest.raises(NoReading) as caught:
        read()
    return caught.value.cause


def test_thousandths_become_degrees_and_percent(kernel: Kernel) -> None:
    kernel.answers = [(-4500, 51300)]
    sensor = sensor_of(kernel)
    sensor.open()
    assert sensor.read() == Measurement(-4.5, 51.3)


def test_temperature_and_humidity_come_from_one_frame(kernel: Kernel) -> None:
    kernel.answers = [(20000, 40000), (30000, 80000)]
    assert sensor_of(kernel).read() == Measurement(20.0, 40.0)
    assert kernel.asked == 1


def test_no_humidity_is_read_where_the_temperature_failed(kernel: Kernel) -> None:
    kernel.answers = [errno.ETIMEDOUT, (20000, 40000)]
    assert cause_of(sensor_of(kernel).read) is Cause.TIMEOUT
    assert kernel.asked == 1


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EIO, Cause.UNDECODABLE),
        (errno.ETIMEDOUT, Cause.TIMEOUT),
        (errno.EAGAIN, Cause.IO),
        (errno.EBUSY, Cause.IO),
    ],
)
def test_an_error_of_the_kernel_has_its_cause(kernel: Kernel, number: int, cause: Cause) -> None:
    kernel.answers = [number]
    assert cause_of(sensor_of(kernel).read) is cause


@pytest.mark.parametrize("kept_takes_s", [0.0001, 0.05])  # on a busy node it is not told by haste
def test_after_an_eio_nothing_is_asked_until_the_kernel_has_forgotten(
    kernel: Kernel, kept_takes_s: float
) -> None:
    kernel.kept_takes_s = kept_takes_s
    kernel.answers = [(10000, 60000), errno.EIO, (20000, 50000)]
    sensor = sensor_of(kernel)
    assert sensor.read() == Measurement(10.0, 60.0)
    kernel.now_s += sensor.min_interval_s
    assert cause_of(sensor.read) is Cause.UNDECODABLE
    failed_s, touched = kernel.now_s, kernel.touched
    while kernel.now_s < failed_s + 2.0:
        assert cause_of(sensor.read) is Cause.STALE
        kernel.now_s += 0.25
    assert kernel.touched == touched
    kernel.now_s = failed_s + sensor.min_interval_s
    assert sensor.read() == Measurement(20.0, 50.0)


@pytest.mark.parametrize("kept_takes_s", [0.0001, 0.05])
def test_after_a_reading_nothing_is_asked_until_the_kernel_has_forgotten(
    kernel: Kernel, kept_takes_s: float
) -> None:
    kernel.kept_takes_s = kept_takes_s
    kernel.answers = [(10000, 60000), (20000, 50000)]
    sensor = sensor_of(kernel)
    assert sensor.read() == Measurement(10.0, 60.0)
    read_s, touched = kernel.now_s, kernel.touched
    while kernel.now_s < read_s + 2.0:
        assert cause_of(sensor.read) is Cause.STALE
        kernel.now_s += 0.25
    assert kernel.touched == touched
    kernel.now_s = read_s + sensor.min_interval_s
    assert sensor.read() == Measurement(20.0, 50.0)


def test_a_value_kept_from_another_program_s_read_is_stale(kernel: Kernel) -> None:
    kernel.answers = [errno.EIO, (20000, 50000)]
    sensor = sensor_of(kernel)
    with pytest.raises(OSError, match="Input/output error"):
        kernel.read_text(kernel.folder / "iio:device0/in_temp_input")
    kernel.now_s += 0.5
    # The kernel would answer 0 °C at once and without an error.
    assert cause_of(sensor.read) is Cause.STALE
    kernel.now_s += sensor.min_interval_s
    assert sensor.read() == Measurement(20.0, 50.0)


def test_values_that_may_be_of_two_frames_are_stale(kernel: Kernel) -> None:
    kernel.answers = [(20000, 40000), (30000, 80000)]

    def interrupted(file: Path) -> str:
        if file.name == "in_humidityrelative_input":
            kernel.now_s += 3.0
        return kernel.read_text(file)

    sensor = IioSensor(
        model=Model.DHT22,
        sysfs_root=kernel.folder.parents[2],
        clock=kernel.clock,
        read_text=interrupted,
    )
    assert cause_of(sensor.read) is Cause.STALE


def test_a_row_of_eios_is_named_and_ends_with_a_reading(kernel: Kernel) -> None:
    kernel.answers = [*[errno.EIO] * (UNDECODABLE_LIMIT + 1), (20000, 50000), errno.EIO]
    sensor = sensor_of(kernel, Model.DHT11)
    for _ in range(UNDECODABLE_LIMIT - 1):
        assert cause_of(sensor.read) is Cause.UNDECODABLE
        kernel.now_s += sensor.min_interval_s
    said = set()
    for _ in range(2):
        with pytest.raises(
            SensorBroken, match=r"a DHT11 that sends tenths.* driver gpio"
        ) as broken:
            sensor.read()
        said.add(str(broken.value))
        kernel.now_s += sensor.min_interval_s
    assert len(said) == 1  # what is said in health is no news while it goes on
    assert sensor.read() == Measurement(20.0, 50.0)
    kernel.now_s += sensor.min_interval_s
    assert cause_of(sensor.read) is Cause.UNDECODABLE


@pytest.mark.parametrize("tenths", [-1, -45, -400])
def test_a_clone_s_twos_complement_is_put_right(kernel: Kernel, tenths: int) -> None:
    sent = (tenths & 0xFFFF).to_bytes(2, "big")
    magnitude = (sent[0] & 0x7F) << 8 | sent[1]
    by_the_kernel = magnitude * (-100 if sent[0] & 0x80 else 100)
    assert by_the_kernel < -3_200_000
    assert from_twos_complement(by_the_kernel / 1000) == tenths / 10
    kernel.answers = [(by_the_kernel, 51300)]
    assert sensor_of(kernel).read() == Measurement(tenths / 10, 51.3)


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (Model.DHT11, (0, 0)),
        (Model.DHT22, (0, 0)),
        (Model.DHT11, (61000, 40000)),
        (Model.DHT22, (81000, 40000)),
        (Model.DHT22, (-41000, 40000)),
        (Model.DHT22, (20000, 102300)),
    ],
)
def test_what_the_model_cannot_measure_is_no_reading(
    kernel: Kernel, model: Model, answer: tuple[int, int]
) -> None:
    kernel.answers = [answer]
    assert cause_of(sensor_of(kernel, model).read) is Cause.RANGE


def test_without_a_device_the_text_gives_the_dtoverlay_line(tmp_path: Path) -> None:
    with pytest.raises(SensorBroken, match=r"dtoverlay=dht11,gpiopin=3 to /boot/firmware/config"):
        IioSensor(model=Model.DHT11, sysfs_root=tmp_path).open()


def test_other_iio_devices_are_left_alone(kernel: Kernel) -> None:
    add_device(kernel.folder, 1, "bme280")
    add_device(kernel.folder, 2, "dht12")
    kernel.answers = [(20000, 50000)]
    assert sensor_of(kernel).read() == Measurement(20.0, 50.0)


@pytest.mark.parametrize("device", ["dht11@17", "iio:device10", "10"])
def test_of_several_devices_the_option_picks_one(kernel: Kernel, device: str) -> None:
    add_device(kernel.folder, 10, "dht11@17")
    asked = []

    def read_text(file: Path) -> str:
        asked.append(file.parent.name)
        return kernel.read_text(file)

    kernel.answers = [(20000, 50000)]
    sensor = IioSensor(
        model=Model.DHT11,
        device=device,
        sysfs_root=kernel.folder.parents[2],
        clock=kernel.clock,
        read_text=read_text,
    )
    sensor.open()
    asked.clear()
    sensor.read()
    assert set(asked) == {"iio:device10"}


@pytest.mark.parametrize(
    ("device", "says"), [(None, "several dht11 devices"), ("dht11@9", "no dht11 device 'dht11@9'")]
)
def test_no_choice_or_a_wrong_one_names_the_devices(
    kernel: Kernel, device: str | None, says: str
) -> None:
    add_device(kernel.folder, 10, "dht11@17")
    with pytest.raises(SensorBroken) as caught:
        sensor_of(kernel, device=device).open()
    assert says in str(caught.value)
    assert "dht11@3 (iio:device0), dht11@17 (iio:device10)" in str(caught.value)


def test_a_device_that_vanished_is_found_again_under_another_number(kernel: Kernel) -> None:
    kernel.answers = [errno.ENODEV, (20000, 50000)]
    sensor = sensor_of(kernel)
    sensor.open()
    with pytest.raises(SensorBroken, match="has vanished"):
        sensor.read()
    (kernel.folder / "iio:device0").rename(kernel.folder / "iio:device1")
    assert sensor.read() == Measurement(20.0, 50.0)
