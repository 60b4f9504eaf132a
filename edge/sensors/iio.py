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
- It takes a frame whose first byte is below 4 for a DHT22's, also that of a DHT11 below 4 %: 3 % and
  1 °C come out as 76.8 % and 25.6 °C. See `may_be_misread`.
- It refuses the sign of a DHT11 below 0 °C, bit 7 of the last byte, as it refuses more than nine
  tenths (or misreads it, below 4 %). No kernel reads one; the driver gpio does.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

from edge.frame import LIMITS, Model
from edge.sensors.base import Cause, Measurement, NoReading, SensorBroken
from edge.sensors.limits import checked

KEPT_S = 2.02  # DHT11_DATA_VALID_TIME is 2 s
START_PULSE_S = 0.018  # DHT11_START_TRANSMISSION_MIN: no fresh answer comes sooner
UNDECODABLE_LIMIT = 10
# Magnitudes end at -40 °C, the lowest that a sensor of the family measures; that in two's complement
# comes out as -3236.8. Anything between tells the two apart.
_TWOS_COMPLEMENT_BELOW_C = -1600.0
DHT22_BELOW_PCT = 4  # a first byte below this is a DHT22's to the kernel


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
        self._humidity_has_tenths = False

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
        if self.model is Model.DHT11 and self._is_misread(temperature_c, humidity_pct):
            raise NoReading(
                Cause.UNDECODABLE,
                "the kernel's driver misreads a DHT11 below 4 %: use the driver gpio",
                seen=f"{temperature_c:.1f} °C, {humidity_pct:.1f} %",
            )
        measurement = checked(temperature_c, humidity_pct, self.model)
        self._humidity_has_tenths |= humidity_pct != round(humidity_pct)
        return measurement

    def _is_misread(self, temperature_c: float, humidity_pct: float) -> bool:
        """Is this what only the kernel's misreading of a DHT11 can give?

        What may be a misreading may also be true: 26 °C and 26 % are. But a true reading has at
        least 4 %, since the kernel misreads frames of less, and at most a DHT11's 60 °C. Its
        humidity is whole, unless both kernel and sensor do tenths: any reading with tenths that
        cannot be a misreading proves it, and until then tenths are taken for a misreading's.
        """
        five_zero_bytes = temperature_c == 0 and humidity_pct == 0  # for `checked`
        if five_zero_bytes or not may_be_misread(temperature_c, humidity_pct):
            return False
        _, hottest_c, _, _ = LIMITS[Model.DHT11]
        if humidity_pct < DHT22_BELOW_PCT or temperature_c > hottest_c:
            return True
        return humidity_pct != round(humidity_pct) and not self._humidity_has_tenths

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
                    "does so for ever with a DHT11 that sends tenths, unless the Raspberry Pi "
                    "kernel is of November 2024 or later, and with any DHT11 below 0 °C: update the"
                    " kernel, or take the dtoverlay=dht11 line out of /boot/firmware/config.txt, "
                    "reboot and use the driver gpio, which reads both. If that fails too, the line "
                    "is noisy: a shorter wire, a pull-up of 4.7 kΩ"
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


def may_be_misread(temperature_c: float, humidity_pct: float) -> bool:
    """Can this be what the kernel makes of a DHT11's frame that it takes for a DHT22's?

    `dht11_decode` does so where the first byte is below 4. A DHT11's bytes are h, h', t, t': whole
    and tenths of % and of °C; h' is at most 9, so is t', beside bit 7 for the sign. A DHT22's are
    big-endian tenths, so the kernel says (256 h + h') / 10 % and (256 t + t') / 10 °C: tenths that
    are 0 to 9 above a multiple of 256, with t' also above one of 128. In the range of a DHT11 that
    is 0.0–0.9, 25.6–26.5, 51.2–52.1 and 76.8–77.7 %, each with 0.0–0.9, 12.8–13.7, 25.6–26.5,
    38.4–39.3 and 51.2–52.1 °C.

    A frame that the kernel takes for a DHT11's (h from 4 on) gives h % and t °C; with tenths on a
    Raspberry Pi kernel since November 2024.
    """
    humidity, temperature = round(humidity_pct * 10), round(temperature_c * 10)
    return (
        0 <= humidity < DHT22_BELOW_PCT * 256
        and humidity % 256 <= 9
        and temperature >= 0
        and temperature % 128 <= 9
    )


def from_twos_complement(temperature_c: float) -> float:
    """Put right what the kernel made of a two's complement, in °C.

    For t tenths below zero a clone sends 65536 - t. The kernel takes the top bit for a sign and
    the rest, 32768 - t, for the magnitude: it says -(32768 - t), so -t is |that| - 32768.
    """
    return (abs(round(temperature_c * 10)) - 32768) / 10
