"""`python -m edge decode`: the frames of a capture, one JSON object a line."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from edge import capture
from edge.frame import Frame, Model, decode, measurement
from edge.sensors.base import NoReading

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[
        argparse.ArgumentParser
    ]  # argparse names it no other way

EPILOG = """\
Each line has start_us (when the sensor's response begins, in the capture's µs), bytes, checksum_ok,
temperature_c and humidity_pct; the last two are null where the sum is wrong, and where the bytes
are nothing that the model can have measured.

exit code: 0 at least one frame was found, with a right sum or a wrong one; 1 the capture has none;
2 the file cannot be read, or is no capture. For 1 and 2 the reason is on standard error.

example: python -m edge decode edge/demo/dht22.csv --model dht22
"""


def add(subparsers: Subparsers) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "decode",
        help="print the frames of a capture",
        description="Print the frames that a DHT11 or DHT22 sent, from a capture of its data line.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a capture: the header time_us,level, then one row an edge, the first row the level "
        "at time 0; - is standard input",
    )
    parser.add_argument(
        "--model",
        required=True,
        choices=[model.value for model in Model],
        help="how the sensor codes its bytes; dht22 is also AM2301, 2302, 2303, 2320, 2321, 2322 "
        "and RHT03",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        edges = capture.load(args.file)
    except capture.CaptureError as error:
        print(f"edge decode: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"edge decode: {args.file}: {error.strerror}", file=sys.stderr)
        return 2
    frames = decode(edges)
    for frame in frames:
        print(json.dumps(described(frame, Model(args.model))))
    if not frames:
        name = "standard input" if args.file == "-" else args.file
        print(
            f"edge decode: {name}: no frame found in {len(edges)} rows: a sensor's answer has a"
            " response, 40 or 64 bits and a closing low, all of them whole",
            file=sys.stderr,
        )
    return 0 if frames else 1


def described(frame: Frame, model: Model) -> dict[str, object]:
    """A frame as one line says it."""
    try:
        measured = measurement(frame.data, model)
    except NoReading:
        measured = None
    start_us = round(frame.start_us, 3)
    return {
        "start_us": int(start_us) if start_us == int(start_us) else start_us,
        "bytes": list(frame.data),
        "checksum_ok": frame.checksum_ok,
        "temperature_c": measured.temperature_c if measured else None,
        "humidity_pct": measured.humidity_pct if measured else None,
    }
