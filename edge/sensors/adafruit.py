"""Adafruit_DHT 1.4.0, for nodes that were set up with it before.

An archived C library that watches the pin in a busy loop through /dev/gpiomem or /dev/mem: it needs
root or the group gpio, and does not work on a Pi 5. Its `read_retry` tries 15 times, 2 s apart, so
that a read may block for half a minute: give it a thread of its own.

Its detection of the board goes by /proc/cpuinfo and says "Unknown platform" on today's kernels;
the option `platform` names the board instead.
"""

from __future__ import annotations

import importlib
import warnings
from types import MappingProxyType, ModuleType

from edge.frame import Model
from edge.sensors.base import Cause, Measurement, NoReading, SensorBroken
from edge.sensors.limits import checked

TRIES = 15
BETWEEN_TRIES_S = 2
INSTALL = (
    "pip install setuptools wheel && pip install --use-pep517 --no-build-isolation"
    " --config-settings=--global-option=build_ext --config-settings=--global-option=--force-pi2"
    " Adafruit_DHT==1.4.0"
)
_SENSORS = MappingProxyType({Model.DHT11: 11, Model.DHT22: 22})
# The option `platform`, and the library's module for it. `test` is its own: always 50 %, 42 °C.
_PLATFORMS = MappingProxyType(
    {"auto": None, "pi": "Raspberry_Pi_2", "pi1": "Raspberry_Pi", "test": "Test"}
)


class AdafruitSensor:
    """One sensor through Adafruit_DHT. pin: BCM number. platform: auto, pi, pi1 or test."""

    driver = "adafruit"
    min_interval_s = 2.0
    paces_itself = False

    def __init__(self, *, model: Model, pin: int = 3, platform: str = "auto") -> None:
        self.model = model
        self.source = "simulated" if platform == "test" else str(model)
        self._pin = pin
        self._platform_name = platform
        self._library: ModuleType | None = None
        self._platform: ModuleType | None = None

    def open(self) -> None:
        self._library = _import("Adafruit_DHT")
        module = _PLATFORMS[self._platform_name]
        self._platform = _import(f"Adafruit_DHT.{module}") if module else None

    def read(self) -> Measurement:
        library = self._library
        if library is None:
            raise NoReading(Cause.IO, "not open")
        try:
            humidity_pct, temperature_c = library.read_retry(
                _SENSORS[self.model], self._pin, TRIES, BETWEEN_TRIES_S, self._platform
            )
        except RuntimeError as error:
            raise SensorBroken(
                f"Adafruit_DHT: {error} On a Pi 2, 3, 4 or Zero 2 set the option platform=pi, on a "
                "Pi 1 or Zero platform=pi1; run as root or in the group gpio. It does not work on "
                "a Pi 5: use the driver iio or gpio there"
            ) from error
        if humidity_pct is None or temperature_c is None:
            raise NoReading(Cause.TIMEOUT, f"no answer in {TRIES} tries")
        # Its 32-bit floats, as the tenths that the sensor sent.
        return checked(round(temperature_c, 1), round(humidity_pct, 1), self.model)

    def close(self) -> None:
        self._library = self._platform = None


def _import(name: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            # It is older than today's rules for regular expressions; nothing to tell a user.
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        raise SensorBroken(f"{name} is not installed ({error}). On a Pi: {INSTALL}") from error
