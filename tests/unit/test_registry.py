"""The registry of drivers."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.sensors.adafruit import _PLATFORMS
from edge.sensors.registry import DRIVERS, PLATFORMS, create

EXAMPLES = {
    "device": "dht11@3",
    "pin": "17",
    "chip": "pinctrl-rp1",
    "platform": "test",
    "file": "x.csv",
    "pace": "recorded",
    "speed": "2.5",
    "seed": "7",
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("model", ["dht11", "dht22"])
def test_each_driver_is_made_with_all_its_options_and_touches_nothing(
    driver: str, model: str, tmp_path: Path
) -> None:
    options = {name: EXAMPLES[name] for name in DRIVERS[driver].options}
    sensor = create(driver, model=model, options=options, sysfs_root=tmp_path, dev_root=tmp_path)
    assert (sensor.driver, sensor.model) == (driver, model)
    assert sensor.min_interval_s >= 0
    assert sensor.paces_itself is (driver == "replay")
    made_up = {"replay": "replay", "simulated": "simulated", "adafruit": "simulated"}
    assert sensor.source == made_up.get(driver, model)
    sensor.close()


@pytest.mark.parametrize(
    ("driver", "model", "options", "says"),
    [
        ("w1", "dht11", {}, "driver 'w1': allowed are iio, gpio, adafruit, replay, simulated"),
        ("iio", "dht21", {}, "model 'dht21': allowed are dht11, dht22"),
        ("iio", "dht11", {"pin": "3"}, "option 'pin' of the driver iio: allowed are device"),
        ("gpio", "dht11", {"pin": "28"}, "option pin='28' of the driver gpio: allowed are 0 to 27"),
        ("gpio", "dht11", {"pin": "-1"}, "option pin='-1' of the driver gpio"),
        ("gpio", "dht11", {"pin": "²"}, "option pin='²' of the driver gpio"),
        ("gpio", "dht11", {"chip": ""}, "option chip='' of the driver gpio: allowed are a label"),
        ("adafruit", "dht11", {"platform": "bbb"}, "allowed are auto | pi | pi1 | test"),
        ("replay", "dht11", {"pace": "fast"}, "allowed are asked | recorded"),
        ("replay", "dht11", {"speed": "nan"}, "allowed are 0.01 to 1000"),
        ("replay", "dht11", {"speed": "quick"}, "allowed are 0.01 to 1000"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    driver: str, model: str, options: dict[str, str], says: str
) -> None:
    with pytest.raises(ValueError, match=r"\A.+\Z") as caught:
        create(driver, model=model, options=options)
    assert says in str(caught.value)


def test_the_adafruit_driver_knows_each_platform_that_may_be_asked_for() -> None:
    assert tuple(_PLATFORMS) == PLATFORMS


def test_a_driver_s_library_is_not_loaded_before_it_is_opened() -> None:
    program = (
        "import sys; from edge.sensors.registry import DRIVERS, create;"
        "[create(name, model='dht11') for name in DRIVERS];"
        "print([name for name in ('gpiod', 'Adafruit_DHT', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "[]\n"
