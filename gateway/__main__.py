"""`python -m gateway`: the page, the API and the stream, from what comes over MQTT."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

from broker import __version__, logs
from broker.settings import SettingsError, describe, load, unknown_variables
from gateway.settings import GatewaySettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words:
        _explain(words)
    try:
        settings = load(GatewaySettings, os.environ)
    except SettingsError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    logs.configure(settings.log_level, settings.log_format, "gateway")
    for line in unknown_variables(os.environ, GatewaySettings):
        logging.getLogger(__name__).warning("%s", line)
    from gateway.server import Gateway, HistoryError  # noqa: PLC0415 - a wrong setting is said before all this

    try:
        Gateway(settings).run()
    except (OSError, HistoryError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


def _explain(words: list[str]) -> None:
    """Say what can be set, and leave: the command line takes nothing else."""
    import argparse  # noqa: PLC0415 - not while running

    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description="Take in what the sensors publish over MQTT, and show it on a web page.",
        epilog=describe(GatewaySettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"brisa {__version__}")
    parser.parse_args(words)


if __name__ == "__main__":
    # Told to end before the server is there to hear it: as orderly as after, and as quiet.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    sys.exit(main())
