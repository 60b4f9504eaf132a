"""Captures of the line: `time_us,level`, one row an edge, the first row the level at time 0."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from edge.frame import Edge

HEADER = "time_us,level"
_TIME = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)


class CaptureError(ValueError):
    """A file is no capture; the text is one line that names file, line, value and rule."""


def load(path: str) -> list[Edge]:
    """Read a capture file; `-` is standard input. Raises CaptureError and OSError."""
    if path == "-":
        return list(rows(sys.stdin, "standard input"))
    with Path(path).open(encoding="utf-8") as stream:
        return list(rows(stream, path))


def rows(stream: Iterable[str], name: str) -> Iterator[Edge]:
    """The edges in `stream`, times in µs as they stand there. Raises CaptureError."""
    number = 0
    earlier_us = 0.0
    try:
        for number, line in enumerate(stream, start=1):
            text = line.strip()
            if number == 1:
                if text.removeprefix("\ufeff") != HEADER:
                    raise _wrong(name, number, text, f"the header {HEADER}")
                continue
            time, comma, level = text.partition(",")
            if not comma or level not in ("0", "1"):
                raise _wrong(name, number, text, "a time in µs, a comma, and 0 or 1")
            if not _TIME.fullmatch(time):
                raise _wrong(name, number, time, "a time in µs, as 1234 or 1234.5")
            time_us = float(time) if "." in time else int(time)
            if time_us < earlier_us:
                raise _wrong(name, number, time, f"a time not before {show_us(earlier_us)}")
            earlier_us = time_us
            yield time_us, int(level)
    except UnicodeDecodeError:
        raise CaptureError(f"{name}, after line {number}: not text in UTF-8") from None
    if number == 0:
        raise CaptureError(f"{name}: empty; expected is the header {HEADER}")


def write(stream: TextIO, edges: Iterable[Edge]) -> None:
    """Write a capture."""
    stream.write(HEADER + "\n")
    stream.writelines(f"{show_us(time_us)},{level}\n" for time_us, level in edges)


def show_us(time_us: float) -> str:
    """A time as it stands in a capture: whole, or to the nanosecond."""
    return f"{time_us:.3f}".rstrip("0").rstrip(".")


def _wrong(name: str, number: int, value: str, allowed: str) -> CaptureError:
    shown = ascii(value if len(value) <= 40 else value[:39] + "…")
    return CaptureError(f"{name}, line {number}: {shown}: expected is {allowed}")
