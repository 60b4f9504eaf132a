"""The kernel's dht11 driver, through sysfs; brisa's default.

Needs no library, no device node and no rights: its files are world-readable, also inside a pod.
It serves the whole family: the kernel tells a DHT11's frame from a DHT22's.

What this driver guards against is in the kernel's `drivers/iio/humidity/dht11.c`:

- It keeps what it decoded for 2 s, and a failed read does not arm that, so our own pace must.
- It sets the time stamp of what it keeps before it gives up on a frame that it does not
  understand. So for 2 s after an EIO it may answer with the values before that, 0 at first, and no
  error. Here nothing is asked for more than 2 s after any answer; and an answer that comes sooner
  than a start pulse takes was kept from a read that was not ours, and is not handed out.
- It takes a DHT11's frame only where both fraction bytes are 0 (Linux; the Raspberry Pi kernel
  has taken tenths since November 2024, its pull request 6454). Others answer EIO for ever.
- It reads temperatures below zero as sign and magnitude; clones that send two's complement come
  out near -3276 °C.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

from edge.frame import Model
from edge.sensors.base import Cause, Measurement, NoReading, SensorBroken
from edge.sensors.limits import checked

KEPT_S = 2.02  # DHT11_DATA_VALID_TIME is 2 s
START_PULSE_S = 0.018  # DHT11_START_TRANSMISSION_MIN: no fresh answer comes sooner
UNDECODABLE_LIMIT = 10
# Magnitudes end at -40 °C, the lowest that a sensor of the family measures; that in two's complement
# comes out as -3236.8. Anything between tells the two apart.
_TWOS_COMPLEMENT_BELOW_C = -1600.0


class IioSensor:
    """One dht11 device of the kernel.

    device: its name (`dht11@3`), its folder (`iio:device0`) or its number; may be None where there
    is one only. clock: seconds, monotonic. read_text: reads a sysfs file, as `Path.read_text`.
    """

    driver = "iio"
    min_interval_s = 2.1
    paces_itself = False

    def __init__(
        self,
        *,
        model: Model,
        device: str | None = None,
        sysfs_root: Path = Path("/sys"),
        clock: Callable[[], float] = time.monotonic,
        read_text: Callable[[Path], str] = Path.read_text,
    ) -> None:
        self.model = model
        self.source = model
        self._wanted = device
        self._folder = sysfs_root / "bus/iio/devices"
        self._clock = clock
        self._read_text = read_text
        self._device: Path | None = None
        self._kept_until_s: float | None = None
        self._undecodable = 0

    def open(self) -> None:
        self._device = self._find()

    def read(self) -> Measurement:
        # After it vanished it may be back under another number.
        device = self._device = self._device or self._find()
        started_s = self._clock()
        if self._kept_until_s is not None and started_s <= self._kept_until_s:
            raise NoReading(Cause.STALE, "the kernel's driver may still hold an earlier value")
        temperature_milli = self._value(device / "in_temp_input")
        answered_s = self._clock()
        humidity_milli = self._value(device / "in_humidityrelative_input")
        ended_s = self._clock()
        self._kept_until_s = ended_s + KEPT_S
        if answered_s - started_s < START_PULSE_S:
            raise NoReading(
                Cause.STALE,
                "the kernel's driver answered with a value that it kept: does another program read"
                " this sensor?",
            )
        if ended_s - started_s >= KEPT_S:
            raise NoReading(Cause.STALE, "interrupted between temperature and humidity")
        self._undecodable = 0
        return self._measurement(temperature_milli / 1000, humidity_milli / 1000)

    def close(self) -> None:
        self._device = None

    def _measurement(self, temperature_c: float, humidity_pct: float) -> Measurement:
        if temperature_c < _TWOS_COMPLEMENT_BELOW_C:
            temperature_c = from_twos_complement(temperature_c)
        return checked(temperature_c, humidity_pct, self.model)

    def _value(self, file: Path) -> int:
        """A channel, in thousandths of its unit."""
        try:
            return int(self._read_text(file))
        except OSError as error:
            raise self._fault(error, file) from error
        except ValueError as error:
            raise NoReading(Cause.IO, f"{file}: {error}") from error

    def _fault(self, error: OSError, file: Path) -> NoReading | SensorBroken:
        match error.errno:
            case errno.EIO:
                self._kept_until_s = self._clock() + KEPT_S
                self._undecodable += 1
                if self._undecodable < UNDECODABLE_LIMIT:
                    return NoReading(Cause.UNDECODABLE, "the kernel's driver refused the frame")
                return SensorBroken(
                    f"the kernel's driver refused {UNDECODABLE_LIMIT} frames in a row (EIO). It "
                    "does so for ever with a DHT11 that sends tenths: update the Raspberry Pi "
                    "kernel (November 2024 or later), or take the dtoverlay=dht11 line out of "
                    "/boot/firmware/config.txt, reboot and use the driver gpio. If that fails "
                    "too, the line is noisy: a shorter wire, a pull-up of 4.7 kΩ"
                )
            case errno.ETIMEDOUT:
                return NoReading(Cause.TIMEOUT, "the sensor did not answer, or broke off")
            case errno.ENOENT | errno.ENODEV | errno.ENXIO:
                self._device = None
                return SensorBroken(
                    f"{file.parent} has vanished: was the dtoverlay removed? Reboot, and see `dmesg`"
                )
            case errno.EACCES | errno.EPERM:
                return SensorBroken(
                    f"{file} may not be read by this user: sysfs files are mode 0644; look at the "
                    "mounts and the security profile of this process"
                )
        return NoReading(Cause.IO, f"{file}: {error.strerror}")

    def _find(self) -> Path:
        """The folder of the device. Raises SensorBroken."""
        devices = {path: name for path in self._candidates() if (name := self._name(path))}
        if not devices:
            raise SensorBroken(
                f"no dht11 device below {self._folder}: add the line dtoverlay=dht11,gpiopin=3 to "
                "/boot/firmware/config.txt (gpiopin: the GPIO of the data wire) and reboot"
            )
        if self._wanted is None:
            chosen = list(devices)
        else:
            chosen = [
                path
                for path, name in devices.items()
                if self._wanted in {name, path.name, path.name.removeprefix("iio:device")}
            ]
        if len(chosen) == 1:
            return chosen[0]
        known = ", ".join(f"{name} ({path.name})" for path, name in devices.items())
        if self._wanted is None:
            raise SensorBroken(f"several dht11 devices: choose by the option device, from {known}")
        how_many = "more than one" if chosen else "no"
        raise SensorBroken(f"{how_many} dht11 device {self._wanted!r}: there is {known}")

    def _candidates(self) -> list[Path]:
        return sorted(self._folder.glob("iio:device*"), key=lambda path: (len(path.name), path))

    def _name(self, device: Path) -> str:
        """The device's name (`dht11@3`), or nothing where it is no dht11."""
        try:
            name = self._read_text(device / "name").strip()
        except OSError:
            return ""
        return name if name.startswith("dht11") else ""


def from_twos_complement(temperature_c: float) -> float:
    """Put right what the kernel made of a two's complement, in °C.

    For t tenths below zero a clone sends 65536 - t. The kernel takes the top bit for a sign and
    the rest, 32768 - t, for the magnitude: it says -(32768 - t), so -t is |that| - 32768.
    """
    return (abs(round(temperature_c * 10)) - 32768) / 10
