"""What every sensor driver is to the rest of the edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Cause(StrEnum):
    """Why a reading was not accepted; the names that health and /metrics count by."""

    TIMEOUT = "timeout"  # the sensor did not answer, or broke off
    CHECKSUM = "checksum"  # it answered, and the fifth byte was not the sum of the four
    UNDECODABLE = "undecodable"  # the kernel's driver refused the frame: EIO, sum or format
    STALE = "stale"  # a value that the kernel's driver kept from before
    RANGE = "range"  # a value that this sensor cannot have measured
    SLIP = "slip"  # a jump that the next reading did not confirm
    IO = "io"  # any other error of the machine


class NoReading(Exception):
    """Nothing this time: try again. `cause` says which counter it belongs to.

    detail: what is wrong, in words that stay the same while it goes on. seen: of this attempt, and
    so only for who looks at it: not for health, where each change is news for everybody.
    """

    def __init__(self, cause: Cause, detail: str = "", *, seen: str = "") -> None:
        detail = detail or cause.value
        super().__init__(f"{detail} ({seen})" if seen else detail)
        self.cause = cause
        self.reason = detail if detail == cause else f"{cause}: {detail}"


class SensorBroken(Exception):
    """Trying again will not help: a person must look. The text says at what, and what to do."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a sensor measured.

    temperature_c: °C. humidity_pct: relative humidity in %. frame: the five bytes as the sensor
    sent them, where the driver sees them.
    """

    temperature_c: float
    humidity_pct: float
    frame: bytes | None = None


class Sensor(Protocol):
    """One sensor. The constructor only assigns; `open` looks for the hardware.

    driver: the driver's name in the registry. model: dht11 or dht22. source: what a reading says
    of its origin: the model for hardware, else `replay` or `simulated`. min_interval_s: the
    shortest time from the start of one read to the start of the next; also between retries.
    paces_itself: `read` waits until its moment has come; add no interval to it.
    """

    driver: str
    model: str
    source: str
    min_interval_s: float
    paces_itself: bool

    def open(self) -> None:
        """Find the hardware and take hold of it. Raises SensorBroken."""

    def read(self) -> Measurement:
        """Read once; may block. Raises NoReading and SensorBroken."""

    def close(self) -> None:
        """Let go of the hardware. Safe to call twice, and before `open`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement, and when it was taken.

    monotonic_s: seconds on the monotonic clock. measured_at: UTC. clock_synchronised: whether the
    node's clock was right at that moment, as far as the kernel knows.
    """

    measurement: Measurement
    monotonic_s: float
    measured_at: datetime
    clock_synchronised: bool
