"""What works on this node, and where something does not, why and what to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge.sensors.base import Cause, NoReading, Sensor, SensorBroken
from edge.sensors.registry import DRIVERS

TRIES = 12  # more than the iio driver takes to call a row of EIOs what it is
SILENT_TRIES = 3
_ADVICE: Mapping[Cause, str] = {
    Cause.TIMEOUT: (
        "check the wiring (data on the GPIO that was chosen, 3.3 or 5 V, ground, a pull-up of 4.7"
        " to 10 kΩ); take its power away for some seconds, since these sensors can hang"
    ),
    Cause.CHECKSUM: "noise on the line: a shorter wire, a pull-up of 4.7 kΩ, away from mains",
    Cause.UNDECODABLE: (
        "noise on the line, or a DHT11 that sends tenths, or is below 0 °C or 4 %: try the driver"
        " gpio"
    ),
    Cause.STALE: "another program reads this sensor: stop it",
    Cause.RANGE: "is it the right model? See --model; else the sensor is at its end",
    Cause.SLIP: "noise on the line: a shorter wire, a pull-up of 4.7 kΩ",
    Cause.IO: "see `dmesg`",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one thing.

    what: the thing (`driver iio`, `broker`). works: does it, here? says: a reading, or why not and
    what to do. counts: does it bear on the verdict?
    """

    what: str
    works: bool
    says: str
    counts: bool = True


Check = Callable[[], Finding]


def examine(
    make: Callable[[str], Sensor], drivers: Sequence[str], checks: Sequence[Check] = ()
) -> Iterator[Finding]:
    """Go through `drivers` and then `checks`; a finding as soon as it is there.

    make: a sensor for a driver's name, not yet opened. Nothing is read twice as fast as the sensor
    bears, so that a silent or noisy one takes half a minute.
    """
    for driver in drivers:
        yield examine_driver(driver, make(driver))
    for check in checks:
        yield check()


def examine_driver(driver: str, sensor: Sensor) -> Finding:
    """Read until there is a reading, or until it is clear that there will be none."""
    what, counts = f"driver {driver}", DRIVERS[driver].hardware
    pause = threading.Event()
    failures: list[NoReading] = []
    try:
        sensor.open()
        while len(failures) < TRIES:
            try:
                got = sensor.read()
            except NoReading as error:
                failures.append(error)
            else:
                reading = f"{got.temperature_c:.1f} °C, {got.humidity_pct:.1f} % ({sensor.source})"
                blind_to = DRIVERS[driver].blind_to.get(sensor.model)
                says = f"{reading}; reads no {sensor.model} {blind_to}" if blind_to else reading
                return Finding(what, True, says, counts)
            if len(failures) >= SILENT_TRIES and {f.cause for f in failures} == {Cause.TIMEOUT}:
                break
            pause.wait(sensor.min_interval_s)
    except SensorBroken as error:
        return Finding(what, False, str(error), counts)
    finally:
        sensor.close()
    last = failures[-1]
    says = f"no reading in {len(failures)} tries ({last.cause}: {last}): {_ADVICE[last.cause]}"
    return Finding(what, False, says, counts)


def verdict(findings: Sequence[Finding]) -> bool:
    """Does a sensor work here, and all that is not a driver?"""
    counting = [finding for finding in findings if finding.counts]
    drivers = [finding for finding in counting if finding.what.startswith("driver ")]
    others = [finding for finding in counting if not finding.what.startswith("driver ")]
    return any(one.works for one in drivers) and all(one.works for one in others)
