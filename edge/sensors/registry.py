"""The drivers by name; what each takes, and where it is. A driver is imported when it is chosen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import cast

from edge.frame import Model
from edge.sensors.base import Sensor

DEFAULT = "iio"
PLATFORMS = ("auto", "pi", "pi1", "test")  # of the driver adafruit


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a driver.

    about: for --help. allowed: what it may be. parse: text to value; raises ValueError for others.
    """

    about: str
    allowed: str
    parse: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver that can be chosen.

    about: for --help and doctor. place: `module:class`. hardware: it reads a real sensor.
    options: by name. takes: which of the machine's things the class is given (clocks, roots).
    blind_to: by model, what of its readings the driver cannot read, for doctor.
    """

    about: str
    place: str
    hardware: bool
    options: Mapping[str, Option] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    blind_to: Mapping[str, str] = field(default_factory=dict)


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return parse


def _text(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _speed(text: str) -> float:
    speed = float(text)
    if not 0.01 <= speed <= 1000:
        raise ValueError
    return speed


_PIN = Option("the data wire's GPIO, BCM number (3)", "0 to 27", _number(0, 27))

DRIVERS: Mapping[str, Driver] = MappingProxyType(
    {
        "iio": Driver(
            "the kernel's dht11 driver (dtoverlay=dht11); needs no rights",
            "edge.sensors.iio:IioSensor",
            hardware=True,
            options={
                "device": Option(
                    "which, where there are several", "a name such as dht11@3, or a number", _text
                )
            },
            takes=("sysfs_root", "clock"),
            blind_to={Model.DHT11: "below 0 °C or 4 %, on any kernel: there, use the driver gpio"},
        ),
        "gpio": Driver(
            "a GPIO line through libgpiod; needs /dev/gpiochip*",
            "edge.sensors.gpio:GpioSensor",
            hardware=True,
            options={
                "pin": _PIN,
                "chip": Option(
                    "the GPIO chip (the header's)",
                    "a label such as pinctrl-rp1, or a path such as /dev/gpiochip0",
                    _text,
                ),
            },
            takes=("dev_root",),
        ),
        "adafruit": Driver(
            "the Adafruit_DHT library, for nodes that were set up with it",
            "edge.sensors.adafruit:AdafruitSensor",
            hardware=True,
            options={
                "pin": _PIN,
                "platform": Option("the board (auto)", " | ".join(PLATFORMS), _one_of(*PLATFORMS)),
            },
        ),
        "replay": Driver(
            "a recording, again and again",
            "edge.sensors.replay:ReplaySensor",
            hardware=False,
            options={
                "file": Option("the recording (brisa's own)", "a file: time_us,level", _text),
                "pace": Option(
                    "the next frame when asked, or at its recorded time (asked)",
                    "asked | recorded",
                    _one_of("asked", "recorded"),
                ),
                "speed": Option("how many times as fast as recorded (1)", "0.01 to 1000", _speed),
            },
            takes=("clock",),
        ),
        "simulated": Driver(
            "a room that does not exist",
            "edge.sensors.simulated:SimulatedSensor",
            hardware=False,
            options={"seed": Option("which room (1)", "0 to 999999", _number(0, 999_999))},
            takes=("wall_clock",),
        ),
    }
)


def create(
    driver: str,
    *,
    model: str,
    options: Mapping[str, str] = MappingProxyType({}),
    sysfs_root: Path = Path("/sys"),
    dev_root: Path = Path("/dev"),
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
) -> Sensor:
    """Make a sensor; nothing is opened yet.

    clock: seconds, monotonic. wall_clock: seconds since 1970. Raises ValueError with one line that
    names the driver, model, option or value, and what is allowed.
    """
    chosen = DRIVERS.get(driver)
    if chosen is None:
        raise ValueError(f"driver {driver!r}: allowed are {', '.join(DRIVERS)}")
    if model not in tuple(Model):
        raise ValueError(f"model {model!r}: allowed are {', '.join(Model)}")
    machine = {
        "sysfs_root": sysfs_root,
        "dev_root": dev_root,
        "clock": clock,
        "wall_clock": wall_clock,
    }
    arguments = {name: machine[name] for name in chosen.takes}
    arguments |= {name: _value(driver, name, text) for name, text in options.items()}
    module, _, name = chosen.place.partition(":")
    return cast("Sensor", getattr(import_module(module), name)(model=Model(model), **arguments))


def _value(driver: str, name: str, text: str) -> object:
    options = DRIVERS[driver].options
    if name not in options:
        allowed = ", ".join(options)
        raise ValueError(f"option {name!r} of the driver {driver}: allowed are {allowed}")
    try:
        return options[name].parse(text)
    except ValueError:
        allowed = options[name].allowed
        raise ValueError(
            f"option {name}={text!r} of the driver {driver}: allowed are {allowed}"
        ) from None
