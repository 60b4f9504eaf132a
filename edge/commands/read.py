"""`python -m edge read`: read a sensor and print what it says, without MQTT.

Exit code: 0 after a reading, and when the user ends it (Ctrl-C); 1 where there was none, or where a
person must look at the sensor; 2 for a bad argument.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from threading import Event
from types import MappingProxyType

from edge.commands.sensor_arguments import add_sensor_arguments
from edge.sensors.base import Measurement, NoReading, Sensor, SensorBroken
from edge.sensors.registry import create

# The lines of the report that brisa continues: scripts look for them.
_READING = MappingProxyType(
    {
        "es": "Temperatura={t:.1f}°C | Humedad={h:.1f}%HR",
        "en": "Temperature={t:.1f}°C | Humidity={h:.1f}%RH",
    }
)
_FAILED = MappingProxyType(
    {"es": "Falla de lectura. Reintentando...", "en": "Reading failed. Retrying..."}
)


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("read", help="read a sensor and print what it says")
    add_sensor_arguments(parser)
    parser.add_argument("--once", action="store_const", const=1, dest="count", help="one read only")
    parser.add_argument("--count", type=_count, metavar="N", help="N reads; default: until Ctrl-C")
    parser.add_argument(
        "--interval-s", type=float, default=5.0, metavar="S", help="seconds; default: 5"
    )
    parser.add_argument("--lang", choices=("es", "en"), default="es", help="default: es")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        sensor = create(
            args.driver,
            model=args.model,
            options=dict(args.options),
            sysfs_root=args.sysfs_root,
            dev_root=args.dev_root,
        )
        interval_s = _checked_interval_s(args.interval_s, sensor)
    except ValueError as error:
        return _stopped(2, str(error))
    show = _json_line if args.json else _line
    try:
        sensor.open()
        good = _print_reads(
            sensor,
            args.count,
            interval_s,
            lambda outcome: show(outcome, args.lang),
            say_why=not args.json,
        )
    except SensorBroken as error:
        return _stopped(1, str(error))
    except KeyboardInterrupt:
        return 0
    finally:
        sensor.close()
    return 0 if good else 1


def _print_reads(
    sensor: Sensor,
    count: int | None,
    interval_s: float,
    line: Callable[[Measurement | NoReading], str],
    *,
    say_why: bool,
) -> int:
    """Read and print; the number of readings. say_why: on standard error, where the line does not."""
    pause = Event()
    done = good = 0
    while True:
        outcome: Measurement | NoReading
        try:
            outcome = sensor.read()
            good += 1
        except NoReading as error:
            outcome = error
            if say_why:
                print(f"edge read: {error}", file=sys.stderr)
        print(line(outcome), flush=True)
        done += 1
        if done == count:
            return good
        if not sensor.paces_itself:
            pause.wait(interval_s)


def _line(outcome: Measurement | NoReading, lang: str) -> str:
    if isinstance(outcome, NoReading):
        return _FAILED[lang]
    return _READING[lang].format(t=outcome.temperature_c, h=outcome.humidity_pct)


def _json_line(outcome: Measurement | NoReading, _lang: str) -> str:
    if isinstance(outcome, NoReading):
        shown: dict[str, str | float] = {"error": str(outcome), "cause": outcome.cause.value}
    else:
        shown = {"temperature_c": outcome.temperature_c, "humidity_pct": outcome.humidity_pct}
    return json.dumps(shown, ensure_ascii=False)


def _checked_interval_s(interval_s: float, sensor: Sensor) -> float:
    """The interval. Raises ValueError for one that the sensor does not bear."""
    if not sensor.min_interval_s <= interval_s <= 86_400:  # also not a number
        raise ValueError(
            f"--interval-s {interval_s:g}: the driver {sensor.driver} can read a {sensor.model} "
            f"every {sensor.min_interval_s:g} s at the most; allowed are up to 86400"
        )
    return interval_s


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _stopped(code: int, why: str) -> int:
    sys.stderr.write(f"edge read: {why}\n")
    return code
