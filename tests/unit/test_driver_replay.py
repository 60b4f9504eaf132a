"""The replay driver, on recordings that brisa's encoder makes."""

import threading
from pathlib import Path

import pytest

from edge.capture import write
from edge.encode import TIMINGS, edges, frame_bytes, wrong_sum
from edge.frame import Model
from edge.sensors.base import Cause, NoReading, SensorBroken
from edge.sensors.replay import ReplaySensor

FRAMES = [
    frame_bytes(20.0, 40.0, Model.DHT22),
    wrong_sum(frame_bytes(21.0, 41.0, Model.DHT22)),
    frame_bytes(-2.5, 42.0, Model.DHT22),
]


@pytest.fixture
def recording(tmp_path: Path) -> str:
    return recorded(tmp_path / "three.csv", FRAMES)


def recorded(path: Path, frames: list[bytes]) -> str:
    with path.open("w") as stream:
        write(stream, edges(frames, TIMINGS[Model.DHT22], interval_s=3.0))
    return str(path)


def temperatures(sensor: ReplaySensor, count: int) -> list[float | Cause]:
    heard: list[float | Cause] = []
    for _ in range(count):
        try:
            heard.append(sensor.read().temperature_c)
        except NoReading as error:
            heard.append(error.cause)
    return heard


def test_each_read_gives_the_next_frame_for_ever_and_a_wrong_sum_is_no_reading(
    recording: str,
) -> None:
    sensor = ReplaySensor(model=Model.DHT22, file=recording)
    sensor.open()
    assert temperatures(sensor, 7) == [20.0, Cause.CHECKSUM, -2.5] * 2 + [20.0]
    assert (sensor.source, sensor.paces_itself, sensor.min_interval_s) == ("replay", False, 0)


class Moments(threading.Event):
    """A clock, and an event whose wait moves it on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def clock(self) -> float:
        return self.now_s

    def wait(self, timeout: float | None = None) -> bool:
        self.now_s += timeout or 0
        return self.is_set()


@pytest.mark.parametrize(("speed", "interval_s"), [(1.0, 3.0), (10.0, 0.3)])
def test_at_recorded_pace_each_frame_comes_at_its_time(
    recording: str, speed: float, interval_s: float
) -> None:
    moments = Moments()
    sensor = ReplaySensor(
        model=Model.DHT22, file=recording, pace="recorded", speed=speed, clock=moments.clock
    )
    sensor._closed = moments
    sensor.open()
    came_s = []
    for _ in range(7):
        temperatures(sensor, 1)
        came_s.append(moments.now_s - 1000)
    assert came_s == pytest.approx([interval_s * n for n in range(7)], abs=0.001)
    assert sensor.paces_itself


def test_a_reader_that_was_late_waits_less(recording: str) -> None:
    moments = Moments()
    sensor = ReplaySensor(model=Model.DHT22, file=recording, pace="recorded", clock=moments.clock)
    sensor._closed = moments
    sensor.open()
    temperatures(sensor, 1)
    moments.now_s += 4.0
    temperatures(sensor, 1)
    assert moments.now_s == pytest.approx(1004.0)
    temperatures(sensor, 1)
    assert moments.now_s == pytest.approx(1006.0, abs=0.001)


def test_close_ends_the_wait(recording: str) -> None:
    sensor = ReplaySensor(model=Model.DHT22, file=recording, pace="recorded", speed=0.01)
    sensor.open()
    sensor.read()
    heard: list[float | Cause] = []
    reader = threading.Thread(target=lambda: heard.extend(temperatures(sensor, 1)))
    reader.start()
    sensor.close()
    reader.join(timeout=60)
    assert heard == [Cause.IO]


def test_a_single_frame_comes_again_and_again(tmp_path: Path) -> None:
    moments = Moments()
    only = recorded(tmp_path / "one.csv", FRAMES[:1])
    sensor = ReplaySensor(model=Model.DHT22, file=only, pace="recorded", clock=moments.clock)
    sensor._closed = moments
    sensor.open()
    assert temperatures(sensor, 3) == [20.0] * 3
    assert moments.now_s > 1000


@pytest.mark.parametrize("model", Model)
def test_brisa_s_own_recording_is_there_for_each_model(model: Model) -> None:
    sensor = ReplaySensor(model=model)
    sensor.open()
    assert any(isinstance(one, float) for one in temperatures(sensor, 5))


def test_a_missing_or_foreign_file_is_one_clear_line(tmp_path: Path) -> None:
    missing, foreign, empty = (tmp_path / name for name in ("missing", "foreign", "empty"))
    foreign.write_text("hello\n")
    empty.write_text("time_us,level\n0,1\n")
    for path, says in ((missing, "No such file"), (foreign, "line 1"), (empty, "no whole frame")):
        with pytest.raises(SensorBroken) as caught:
            ReplaySensor(model=Model.DHT11, file=str(path)).open()
        assert str(path) in str(caught.value)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
