"""Logs that read well on a terminal, and as one line of JSON a record in a pod."""

from __future__ import annotations

import logging
import sys
from typing import Literal


def configure(level: str, fmt: Literal["auto", "text", "json"], name: str) -> None:
    """Send all logging to standard error. `name` is the process: edge, gateway, broker."""
    as_json = fmt == "json" or (fmt == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_formatter(name) if as_json else _text_formatter(name))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _text_formatter(name: str) -> logging.Formatter:
    return logging.Formatter(f"%(asctime)s {name:<8} %(levelname)-7s %(message)s", "%H:%M:%S")


def _json_formatter(name: str) -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - not needed on a terminal

    return JsonFormatter(
        "{levelname}{name}{message}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields={"process": name},
        timestamp="time",
    )
