"""The arguments by which a command is told of a sensor."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.sensors.registry import DEFAULT, DRIVERS


def add_sensor_arguments(parser: argparse.ArgumentParser, *, driver: str | None = DEFAULT) -> None:
    """Add --driver, --model, --option and the roots. driver: the default one; None for all."""
    shown = "all" if driver is None else driver
    parser.add_argument("--driver", choices=DRIVERS, default=driver, help=f"default: {shown}")
    parser.add_argument(
        "--model", choices=("dht11", "dht22"), default="dht11", help="default: dht11"
    )
    parser.add_argument(
        "--option",
        action="append",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        dest="options",
        help="of a driver: see below; may be given again",
    )
    parser.add_argument(
        "--sysfs-root", type=Path, default=Path("/sys"), metavar="DIR", help="default: /sys"
    )
    parser.add_argument(
        "--dev-root", type=Path, default=Path("/dev"), metavar="DIR", help="default: /dev"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["drivers and their options:", *_about_drivers()])


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _about_drivers() -> list[str]:
    lines = []
    for name, driver in DRIVERS.items():
        lines.append(f"  {name:<10} {driver.about}")
        lines += [
            f"             {option}: {what.about}; {what.allowed}"
            for option, what in driver.options.items()
        ]
    return lines
