"""The arguments by which a command is told of a sensor; the edge's own variables are the defaults."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edge.sensors.registry import DEFAULT, DRIVERS


def add_sensor_arguments(parser: argparse.ArgumentParser, *, one: bool = True) -> None:
    """Add --driver, --model, --option and the roots. one: without --driver it is one; else all."""
    variables = os.environ
    driver = variables.get("BRISA_DRIVER", DEFAULT) if one else None
    model = variables.get("BRISA_MODEL", "dht11")
    given = [_pair(text) for text in variables.get("BRISA_OPTIONS", "").split(",") if "=" in text]
    parser.add_argument("--driver", choices=DRIVERS, default=driver, help=f"[{driver or 'all'}]")
    parser.add_argument("--model", choices=("dht11", "dht22"), default=model, help=f"[{model}]")
    parser.add_argument(
        "--option",
        action="append",
        type=_pair,
        default=given,
        metavar="NAME=VALUE",
        dest="options",
        help="of a driver: see below; may be given again",
    )
    for root in ("sysfs", "dev"):
        place = Path(variables.get(f"BRISA_{root.upper()}_ROOT", "/" + root.removesuffix("fs")))
        parser.add_argument(
            f"--{root}-root", type=Path, default=place, metavar="DIR", help=f"[{place}]"
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
