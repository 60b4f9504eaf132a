"""The iio driver against a sysfs folder, with a kernel that answers and fails as told."""

import errno
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from edge.frame import Model
from edge.sensors.base import Cause, Measurement, NoReading, SensorBroken
from edge.sensors.iio import (
    UNDECODABLE_LIMIT,
    IioSensor,
    from_twos_complement,
    may_be_misread,
)

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
            SensorBroken, match=r"a DHT11 that sends tenths.* any DHT11 below 0 °C.* driver gpio"
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


# A DHT11's frames, and what drivers/iio/humidity/dht11.c makes of them

Bytes = tuple[int, int, int, int]


def by_the_kernel(frame: Bytes, *, tenths: bool) -> Answer:
    """As `dht11_decode` does. tenths: the Raspberry Pi kernel's, since November 2024."""
    humidity, humidity_tenths, temperature, low = frame
    if humidity < 4:
        magnitude = (temperature & 0x7F) << 8 | low
        sign = -100 if temperature & 0x80 else 100
        return magnitude * sign, (humidity << 8 | humidity_tenths) * 100
    if humidity_tenths < (10 if tenths else 1) and low < (10 if tenths else 1):
        return temperature * 1000 + low * 100, humidity * 1000 + humidity_tenths * 100
    return errno.EIO


def frames_of_a_dht11(humidities: range, humidity_tenths: range) -> Iterator[Bytes]:
    """Every frame down to -20 °C and up to 60 °C, the sign in bit 7 of the last byte."""
    warm = ((t, low) for t in range(61) for low in range(10 if t < 60 else 1))
    cold = ((t, 0x80 | low) for t in range(21) for low in range(10 if t < 20 else 1))
    temperatures = [*warm, *cold]
    for humidity, tenth in product(humidities, humidity_tenths):
        for temperature, low in temperatures:
            yield humidity, tenth, temperature, low


class OneAnswer:
    """A kernel that answers each read with the frame that was set, two seconds after the last."""

    def __init__(self, kernel: Kernel, *, tenths: bool) -> None:
        self._kernel = kernel
        self._tenths = tenths
        self.sensor = sensor_of(kernel, Model.DHT11)
        self.sensor.open()

    def read(self, frame: Bytes) -> tuple[float, float] | Cause:
        self._kernel.now_s += 3.0
        self._kernel.answers = [by_the_kernel(frame, tenths=self._tenths)]
        try:
            got = self.sensor.read()
        except NoReading as error:
            return error.cause
        return got.temperature_c, got.humidity_pct


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        ((3, 0, 1, 0), (25600, 76800)),
        ((2, 0, 0, 133), (13300, 51200)),
        ((1, 0, 0, 0), (0, 25600)),
        ((3, 0, 22, 0), (563200, 76800)),
        ((0, 0, 0, 5), (500, 0)),
    ],
)
@pytest.mark.parametrize("tenths", [False, True])
def test_a_dht11_below_4_percent_is_undecodable(
    kernel: Kernel, frame: Bytes, shown: Answer, tenths: bool
) -> None:
    assert by_the_kernel(frame, tenths=tenths) == shown
    assert OneAnswer(kernel, tenths=tenths).read(frame) is Cause.UNDECODABLE


@pytest.mark.parametrize("tenths", [False, True])
def test_of_all_frames_below_4_percent_only_those_that_look_whole_are_values(
    kernel: Kernel, tenths: bool
) -> None:
    """1.4, 2.8 and 3.2 % come out as 26, 52 and 77 %, which true readings are."""
    asked = OneAnswer(kernel, tenths=tenths)
    whole = set()
    for frame in frames_of_a_dht11(range(4), range(10)):
        answer = by_the_kernel(frame, tenths=tenths)
        assert isinstance(answer, tuple)
        assert may_be_misread(answer[0] / 1000, answer[1] / 1000)
        said = asked.read(frame)
        if not any(frame):
            assert said is Cause.RANGE
        elif isinstance(said, tuple):
            whole.add(frame[:2])
        else:
            assert said is Cause.UNDECODABLE
    assert whole == {(1, 4), (2, 8), (3, 2)}


@pytest.mark.parametrize("tenths", [False, True])
def test_every_frame_of_a_dht11_that_the_kernel_reads_is_a_reading(
    kernel: Kernel, tenths: bool
) -> None:
    """Whole humidities, which is what its makers promise; the kernel refuses those below 0 °C."""
    asked = OneAnswer(kernel, tenths=tenths)
    for frame in frames_of_a_dht11(range(4, 101), range(1)):
        if by_the_kernel(frame, tenths=tenths) == errno.EIO:
            assert frame[3] >= 0x80 or (frame[3] > 0 and not tenths)
        else:
            assert asked.read(frame) == (frame[2] + frame[3] / 10, frame[0])


def test_tenths_of_humidity_are_readings_once_they_were_seen(kernel: Kernel) -> None:
    asked = OneAnswer(kernel, tenths=True)
    assert asked.read((51, 2, 25, 6)) is Cause.UNDECODABLE  # or 2 %, 1 °C
    assert asked.read((52, 2, 25, 6)) == (25.6, 52.2)  # no frame but this one gives it
    assert asked.read((51, 2, 25, 6)) == (25.6, 51.2)
    assert asked.read((0, 0, 22, 0)) is Cause.UNDECODABLE
    assert asked.read((3, 0, 22, 0)) is Cause.UNDECODABLE


def test_a_dht22_s_frames_are_not_taken_for_a_dht11_s(kernel: Kernel) -> None:
    kernel.answers = [(25600, 76800)]
    assert sensor_of(kernel, Model.DHT22).read() == Measurement(25.6, 76.8)


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
