"""`python -m edge encode`: a capture made from readings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge import capture, encode
from edge.frame import Model

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[
        argparse.ArgumentParser
    ]  # argparse names it no other way

EPILOG = """\
The edges have the timings of real sensors, with jitter; the same arguments give the same bytes.

exit code: 0 written; 2 an argument is wrong, or the file cannot be written.

examples:
  python -m edge encode --model dht11 --count 60 --temperature 24 --humidity 41 --out room.csv
  python -m edge encode --model dht22 --reading=-7.8,70.3 --reading=-7.9,70.1 --wrong-sum 2
"""


def add(subparsers: Subparsers) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "encode",
        help="make a capture from readings",
        description="Make a capture of the line while a sensor is read: a made-up room that drifts "
        "about --temperature and --humidity, or the readings given.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, choices=[model.value for model in Model])
    parser.add_argument("--count", type=_positive, default=60, help="readings (default: 60)")
    parser.add_argument(
        "--interval-s", type=_seconds, default=5.0, help="from reading to reading (default: 5)"
    )
    parser.add_argument("--temperature", type=float, default=22.0, help="°C (default: 22)")
    parser.add_argument("--humidity", type=float, default=50.0, help="%% (default: 50)")
    parser.add_argument(
        "--reading",
        type=_reading,
        action="append",
        metavar="°C,%",
        help="this reading instead of a made-up room, as 24.0,41.0; once for each",
    )
    parser.add_argument(
        "--wrong-sum",
        type=_positive,
        action="append",
        default=[],
        metavar="N",
        help="give the Nth frame (from 1) a wrong sum; once for each",
    )
    parser.add_argument("--seed", type=int, default=0, help="of room and jitter (default: 0)")
    parser.add_argument("--out", metavar="FILE", help="write there (default: standard output)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    model = Model(args.model)
    readings = args.reading or encode.room(
        args.temperature, args.humidity, model, args.count, seed=args.seed
    )
    try:
        frames = [encode.frame_bytes(t, h, model) for t, h in readings]
    except ValueError as error:
        print(f"edge encode: {error}", file=sys.stderr)
        return 2
    for number in args.wrong_sum:
        if number > len(frames):
            print(f"edge encode: --wrong-sum {number}: there are {len(frames)}", file=sys.stderr)
            return 2
        frames[number - 1] = encode.wrong_sum(frames[number - 1])
    edges = encode.edges(frames, encode.TIMINGS[model], interval_s=args.interval_s, seed=args.seed)
    if not args.out:
        capture.write(sys.stdout, edges)
        return 0
    try:
        with Path(args.out).open("w", encoding="utf-8", newline="\n") as stream:
            capture.write(stream, edges)
    except OSError as error:
        print(f"edge encode: {args.out}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!a}: a whole number from 1 is expected")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # The start pulse and the answer take 25 ms; a year keeps the times within a capture's digits.
    if not 0.1 <= seconds <= 31_536_000:
        raise argparse.ArgumentTypeError(f"{text!a}: 0.1 to 31536000 seconds are expected")
    return seconds


def _reading(text: str) -> tuple[float, float]:
    try:
        temperature_c, humidity_pct = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!a}: °C and % are expected, as 24.0,41.0") from None
    return temperature_c, humidity_pct
