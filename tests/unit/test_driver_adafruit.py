"""The adafruit driver against the real Adafruit_DHT 1.4.0, on its test platform."""

import sys
from types import SimpleNamespace

import pytest

from edge.frame import Model
from edge.sensors import adafruit
from edge.sensors.adafruit import BETWEEN_TRIES_S, TRIES, AdafruitSensor
from edge.sensors.base import Cause, Measurement, NoReading, SensorBroken

pytest.importorskip("Adafruit_DHT", reason="Adafruit_DHT is not installed: it needs a C compiler")


@pytest.mark.parametrize("model", Model)
def test_its_test_platform_always_reads_the_same_and_says_it_is_made_up(model: Model) -> None:
    sensor = AdafruitSensor(model=model, platform="test")
    sensor.open()
    assert sensor.read() == Measurement(42.0, 50.0)
    assert sensor.source == "simulated"
    sensor.close()
    sensor.close()


def test_where_it_does_not_know_the_board_the_option_is_named() -> None:
    sensor = AdafruitSensor(model=Model.DHT11)
    sensor.open()
    with pytest.raises(SensorBroken, match=r"Unknown platform.* platform=pi"):
        sensor.read()


def test_a_driver_that_was_built_for_another_board_is_said() -> None:
    with pytest.raises(SensorBroken, match="Raspberry_Pi_2 is not installed"):
        AdafruitSensor(model=Model.DHT11, platform="pi").open()


def test_not_installed_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Adafruit_DHT", None)
    with pytest.raises(SensorBroken) as caught:
        AdafruitSensor(model=Model.DHT11).open()
    assert adafruit.INSTALL in str(caught.value)
    assert "--force-pi2" in adafruit.INSTALL


@pytest.mark.parametrize(
    ("answer", "cause"), [((None, None), Cause.TIMEOUT), ((0.0, 0.0), Cause.RANGE)]
)
def test_no_answer_and_an_empty_one_are_no_reading(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[float | None, float | None], cause: Cause
) -> None:
    asked = []

    def read_retry(*arguments: object) -> tuple[float | None, float | None]:
        asked.append(arguments)
        return answer

    monkeypatch.setitem(sys.modules, "Adafruit_DHT", SimpleNamespace(read_retry=read_retry))
    sensor = AdafruitSensor(model=Model.DHT22, pin=17)
    sensor.open()
    with pytest.raises(NoReading) as caught:
        sensor.read()
    assert caught.value.cause is cause
    assert asked == [(22, 17, TRIES, BETWEEN_TRIES_S, None)]
