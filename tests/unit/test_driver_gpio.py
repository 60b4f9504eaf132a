"""The gpio driver where there is no GPIO chip; with one: tests/hardware/test_virtual_pi.py."""

import errno
import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import gpiod
import pytest
from gpiod.line import Direction
from gpiod.line import Edge as LineEdge

from edge.encode import TIMINGS, frame_bytes, pulses, wrong_sum
from edge.frame import Edge, Model
from edge.sensors.base import Cause, NoReading, SensorBroken
from edge.sensors.gpio import EVENTS, LABELS, GpioSensor, measured


def answer_edges(data: bytes, model: Model = Model.DHT22) -> list[Edge]:
    """The edges of one answer, from the moment the host lets go. data: all that is sent."""
    edges: list[Edge] = []
    now_us, level = 1000.0, 1
    _host_low, *lasts = pulses(data, TIMINGS[model])
    for lasts_us in (*lasts, 0.0):
        edges.append((now_us, level))
        now_us += lasts_us
        level ^= 1
    return edges


def test_the_edges_of_an_answer_become_a_measurement() -> None:
    data = frame_bytes(-4.5, 51.3, Model.DHT22)
    got = measured(answer_edges(data), Model.DHT22)
    assert (got.temperature_c, got.humidity_pct, got.frame) == (-4.5, 51.3, data)


@pytest.mark.parametrize("missed", [1, 2])
def test_the_first_edges_may_be_missed(missed: int) -> None:
    data = frame_bytes(22.4, 45.3, Model.DHT11)
    got = measured(answer_edges(data, Model.DHT11)[missed:], Model.DHT11)
    assert (got.temperature_c, got.humidity_pct) == (22.4, 45.3)


def test_too_few_edges_are_a_timeout() -> None:
    edges = answer_edges(frame_bytes(-4.5, 51.3, Model.DHT22))
    for few in ([], edges[:3], edges[:60]):
        with pytest.raises(NoReading) as caught:
            measured(few, Model.DHT22)
        assert caught.value.cause is Cause.TIMEOUT


def test_a_wrong_sum_is_said_as_one() -> None:
    edges = answer_edges(wrong_sum(frame_bytes(-4.5, 51.3, Model.DHT22)))
    with pytest.raises(NoReading) as caught:
        measured(edges, Model.DHT22)
    assert caught.value.cause is Cause.CHECKSUM


def test_no_edge_missed_in_the_middle_gives_another_value() -> None:
    chance = random.Random(5)
    for _ in range(200):
        reading = (chance.randint(-400, 800) / 10, chance.randint(1, 1000) / 10)
        edges = answer_edges(frame_bytes(*reading, Model.DHT22))
        del edges[chance.randrange(len(edges))]
        try:
            got = measured(edges, Model.DHT22)
        except NoReading:
            continue
        assert (got.temperature_c, got.humidity_pct) == reading


def test_without_a_device_node_the_text_names_it_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SensorBroken, match=r"no .*/gpiochip\*.*--device /dev/gpiochip0.*iio"):
        GpioSensor(model=Model.DHT11, dev_root=tmp_path).open()


def test_a_chip_named_by_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    missing = tmp_path / "gpiochip9"
    with pytest.raises(SensorBroken, match=f"there is no {missing}; here: none"):
        GpioSensor(model=Model.DHT11, chip=str(missing), dev_root=tmp_path).open()


def test_a_file_that_is_no_chip_is_said(tmp_path: Path) -> None:
    fake = tmp_path / "gpiochip0"
    fake.touch()
    with pytest.raises(SensorBroken, match=str(fake)):
        GpioSensor(model=Model.DHT11, chip=str(fake), dev_root=tmp_path).open()


class Chips:
    """Stands for the module gpiod on boards whose chips have other numbers: node name to label."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.request_lines = None
        self._labels = labels

    def Chip(self, path: str) -> Any:  # noqa: N802 - gpiod's name
        return Chip(self._labels[Path(path).name])


class Chip:
    def __init__(self, label: str) -> None:
        self._label = label

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def get_info(self) -> Any:
        if self._label == "denied":
            raise PermissionError
        return SimpleNamespace(label=self._label)


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    for number in (0, 4, 10):
        (tmp_path / f"gpiochip{number}").touch()
    return tmp_path


@pytest.mark.parametrize("place", ["gpiochip0", "gpiochip4", "gpiochip10"])
@pytest.mark.parametrize("label", LABELS)
def test_the_header_s_chip_is_found_by_its_label_whatever_its_number(
    nodes: Path, place: str, label: str
) -> None:
    labels = {"gpiochip0": "gpio-brcmstb", "gpiochip4": "raspberrypi-exp", "gpiochip10": "other"}
    chips = Chips(labels | {place: label})
    assert GpioSensor(model=Model.DHT11, dev_root=nodes)._find_chip(chips) == nodes / place


def test_where_no_label_fits_those_that_are_there_are_named(nodes: Path) -> None:
    chips = Chips({"gpiochip0": "one", "gpiochip4": "two", "gpiochip10": "three"})
    with pytest.raises(SensorBroken, match=r"gpiochip4 \(two\); choose by the option chip"):
        GpioSensor(model=Model.DHT11, chip="four", dev_root=nodes)._find_chip(chips)


def test_a_chip_that_may_not_be_opened_is_a_matter_of_rights(nodes: Path) -> None:
    chips = Chips({"gpiochip0": "denied", "gpiochip4": "two", "gpiochip10": "three"})
    with pytest.raises(SensorBroken, match=r"may not open .*/gpiochip0: add it to the group"):
        GpioSensor(model=Model.DHT11, dev_root=nodes)._find_chip(chips)


def test_close_is_safe_before_open_and_twice_and_then_there_is_no_reading() -> None:
    sensor = GpioSensor(model=Model.DHT11)
    sensor.close()
    sensor.close()
    with pytest.raises(NoReading, match="not open"):
        sensor.read()


class AnsweringLine:
    """Stands for a requested line whose queue still holds edges of before the start pulse.

    Like the kernel's, the queue has room for so many, and the oldest go first.
    """

    def __init__(self, answer: list[Edge]) -> None:
        from_now_us = time.monotonic() * 1e6 + 1e6
        before = [(float(us), us % 2) for us in range(9)]
        after = [(from_now_us + us, level) for us, level in answer]
        self._events = [
            SimpleNamespace(
                timestamp_ns=int(us * 1000),
                event_type=level,
                Type=SimpleNamespace(RISING_EDGE=1),
            )
            for us, level in before + after
        ]
        self.set: list[Any] = []

    def reconfigure_lines(self, config: dict[int, Any]) -> None:
        self.set.append((config[17].direction, config[17].edge_detection))

    def wait_edge_events(self, _timeout: float) -> bool:
        return True

    def read_edge_events(self, count: int) -> list[Any]:
        return self._events[-EVENTS:][:count]


def test_a_start_pulse_is_sent_and_only_what_follows_it_counts() -> None:
    data = frame_bytes(-4.5, 51.3, Model.DHT22)
    line = AnsweringLine(answer_edges(data))
    slept_s: list[float] = []
    sensor = GpioSensor(model=Model.DHT22, pin=17, sleep=slept_s.append)
    sensor._request = line
    assert len(sensor._ask(gpiod, line)) == len(answer_edges(data))
    assert sensor.read().frame == data
    low, listen, idle = line.set[:3]
    assert low[0] == Direction.OUTPUT
    assert listen == (Direction.INPUT, LineEdge.BOTH)
    assert idle == (Direction.INPUT, LineEdge.NONE)
    assert 0.018 <= slept_s[0] <= 0.020


def test_the_64_bits_of_an_am2301_are_read_whole() -> None:
    data = frame_bytes(25.6, 52.6, Model.DHT22)
    line = AnsweringLine(answer_edges(data + bytes(3)))
    sensor = GpioSensor(model=Model.DHT22, pin=17, sleep=lambda _s: None)
    sensor._request = line
    got = sensor.read()
    assert (got.temperature_c, got.humidity_pct, got.frame) == (25.6, 52.6, data)


class Line:
    """Stands for a requested line that another thread lets go of in the middle of a read."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.released = False

    def reconfigure_lines(self, _config: object) -> None:
        raise self._error

    def release(self) -> None:
        self.released = True


def test_closed_while_it_reads_is_no_reading() -> None:
    sensor = GpioSensor(model=Model.DHT11)
    sensor._request = Line(gpiod.RequestReleasedError())
    with pytest.raises(NoReading, match="closed while reading"):
        sensor.read()


def test_a_line_that_fails_is_let_go_of_and_said() -> None:
    line = Line(OSError(errno.ENODEV, "No such device"))
    sensor = GpioSensor(model=Model.DHT11, pin=17)
    sensor._request = line
    with pytest.raises(SensorBroken, match="GPIO 17: No such device"):
        sensor.read()
    assert line.released


def test_how_many_edges_came_is_in_the_text_and_not_in_the_reason() -> None:
    errors = []
    for count in (0, 83):
        with pytest.raises(NoReading, match=rf"^no whole answer \({count} edges\)$") as caught:
            measured([(100.0 * n, n % 2) for n in range(count)], Model.DHT11)
        errors.append(caught.value)
    assert {error.reason for error in errors} == {"timeout: no whole answer"}
