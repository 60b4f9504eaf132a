"""`python -m edge doctor`: what works on this node, and if not, why and what to do.

Exit code: 0 where a hardware driver works (the one that was named, if one was) and every other
check passes; 1 where not; 2 for a bad argument.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from edge.commands.sensor_arguments import add_sensor_arguments
from edge.connection import check_broker, check_clock
from edge.doctor import Check, Finding, examine, verdict
from edge.sensors.base import Sensor
from edge.sensors.registry import DRIVERS, create


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    checks: Sequence[Check] = (check_clock, check_broker),
) -> None:
    """Add the subcommand. checks: what else to look at."""
    parser = subparsers.add_parser("doctor", help="say what works here, and if not, what to do")
    add_sensor_arguments(parser, one=False)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=functools.partial(run, checks=checks))


def run(args: argparse.Namespace, checks: Sequence[Check] = ()) -> int:
    drivers = [args.driver] if args.driver else list(DRIVERS)
    options = dict(args.options)

    def make(driver: str) -> Sensor:
        known = DRIVERS[driver].options if args.driver is None else options
        return create(
            driver,
            model=args.model,
            options={name: text for name, text in options.items() if name in known},
            sysfs_root=args.sysfs_root,
            dev_root=args.dev_root,
        )

    try:
        for driver in drivers:
            make(driver)
        _each_known(options, drivers)
    except ValueError as error:
        sys.stderr.write(f"edge doctor: {error}\n")
        return 2
    findings: list[Finding] = []
    try:
        for found in examine(make, drivers, checks):
            # A driver that was named bears on the verdict, also one without hardware.
            named = args.driver and found.what == f"driver {args.driver}"
            finding = replace(found, counts=True) if named else found
            findings.append(finding)
            print(_json_line(finding) if args.json else _line(finding), flush=True)
    except KeyboardInterrupt:
        return 1
    return 0 if verdict(findings) else 1


def _line(finding: Finding) -> str:
    word = "works" if finding.works else "no" if finding.counts else "-"
    return f"{word:<5}  {finding.what}: {finding.says}"


def _json_line(finding: Finding) -> str:
    shown = {key: value for key, value in asdict(finding).items() if key != "counts"}
    return json.dumps(shown, ensure_ascii=False)


def _each_known(options: dict[str, str], drivers: Sequence[str]) -> None:
    """Raises ValueError for an option that none of the drivers has."""
    allowed = {name for driver in drivers for name in DRIVERS[driver].options}
    for name in options:
        if name not in allowed:
            raise ValueError(f"option {name!r}: allowed are {', '.join(sorted(allowed))}")
