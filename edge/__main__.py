"""`python -m edge`: run the edge, or one of its tools."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.deferred import defer

if TYPE_CHECKING:
    import argparse


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    runs = words in ([], ["run"])
    if runs or words[:1] == ["credential"]:
        # Told to end while the rest is imported: as orderly as after. Process 1 of a container would
        # not even hear it without a handler.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if runs else 143))
    if runs:
        # The tools' modules stay out of the memory of a node that only runs.
        _defer_unused()
        from edge.commands import run  # noqa: PLC0415

        return run.run()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")  # tools say it themselves
    try:
        options = _parser().parse_args(words)
        code: int = options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `… | head`: the reader has seen enough; nothing more may be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


class _TlsError(OSError):
    """What paho and our socket watch for in every connection; without TLS, nothing raises it."""


def _defer_unused() -> None:
    """Keep out what paho and pydantic import for features that a running edge does not use.

    8 MB with libcrypto and email: docs/adr/0013.
    """
    defer("urllib.request")  # paho: proxies, with PySocks only
    defer("hashlib")  # paho: websockets
    defer("secrets")  # pydantic: comparing secrets
    defer("importlib.metadata", entry_points=lambda **_: ())  # pydantic: plugins
    if "mqtts:" not in os.environ.get("BRISA_BROKER_URL", "").lower():
        defer("ssl", SSLWantReadError=_TlsError, SSLWantWriteError=_TlsError)


def _parser() -> argparse.ArgumentParser:
    import argparse  # noqa: PLC0415

    from broker import __version__  # noqa: PLC0415
    from broker.settings import describe  # noqa: PLC0415
    from edge.commands import (  # noqa: PLC0415
        credential,
        decode,
        doctor,
        encode,
        journal,
        read,
        run,
    )
    from edge.settings import EdgeSettings  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="python -m edge",
        description="Temperature and humidity from a sensor on this node, to MQTT."
        " Without a command: run.",
        epilog=describe(EdgeSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"brisa {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    runner = commands.add_parser("run", help="sample and publish until told to stop")
    runner.set_defaults(run=run.run)
    for module in (read, doctor, decode, encode, journal, credential):
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
