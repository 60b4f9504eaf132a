"""`python -m gateway.history`: the recorder, and the tools for what it has recorded."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.settings import SettingsError, load, unknown_variables
from gateway.history.settings import HistorySettings

if TYPE_CHECKING:
    import argparse

FROM = "measured from this moment on: 2026-05-03T12:00:00Z, or a date (UTC)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    recording = words in ([], ["run"])
    try:
        options = None if recording else _parser().parse_args(words)
        settings = load(HistorySettings, os.environ)
        if recording or options is None:
            # Told to end before the recorder is there to hear it: as orderly as after.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: sys.exit(0))
            from gateway.history import run  # noqa: PLC0415 - a wrong setting is said before this

            return run.run(settings)
        for line in unknown_variables(os.environ, HistorySettings):
            print(f"history: {line}", file=sys.stderr)
        from gateway.history import commands  # noqa: PLC0415

        return commands.run(settings, options)
    except SettingsError as error:
        print(f"history: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `… | head`: the reader has seen enough; nothing more may be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    import argparse  # noqa: PLC0415 - not while recording

    from broker import __version__  # noqa: PLC0415
    from broker.settings import describe  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="python -m gateway.history",
        description="Every reading into a database, and the account of those that are not there."
        " Without a command: run.",
        epilog=describe(HistorySettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"brisa {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    command("run", "record until told to stop")
    export = command("export", "write raw readings as lines of JSON or CSV")
    export.add_argument(
        "--sensor", action="append", default=[], type=_sensor, metavar="NODE/SENSOR",
        help="repeat for more [all]",
    )  # fmt: skip
    export.add_argument("--from", dest="start", type=_moment, metavar="ISO", help=FROM)
    export.add_argument("--to", dest="end", type=_moment, metavar="ISO", help="up to before this")
    export.add_argument(
        "--format", choices=("jsonl", "csv"), help="[by the name of FILE: .csv, .jsonl, .json; csv]"
    )
    export.add_argument("-o", "--output", default="-", metavar="FILE", help="- is standard output")
    importer = command("import", "take in what `export` or an edge's `journal export` wrote")
    importer.add_argument("files", nargs="+", metavar="FILE", help="JSON lines or CSV; -: stdin")
    audit = command(
        "audit",
        "say what is stored, missing and lost; exit code 0: all is stored, 1: something is missing"
        " or lost, 2: it cannot be said, for there was an error",
    )
    audit.add_argument(
        "--json",
        action="store_true",
        help="as JSON; with --streams a line more for each page of them",
    )
    audit.add_argument(
        "--streams", action="store_true", help="of each stream too, with the gaps in it"
    )
    audit.add_argument(
        "--verify", action="store_true", help="count the raw readings, and compare them with it"
    )
    prune = command("prune", "remove raw readings that are older than the retention")
    prune.add_argument("--days", type=_days, metavar="N", help="[BRISA_RETENTION_DAYS]")
    prune.add_argument("--dry-run", action="store_true", help="only say how many")
    return parser


def _moment(text: str) -> int:
    """In milliseconds since 1970."""
    import argparse  # noqa: PLC0415

    from gateway.history.moments import parsed  # noqa: PLC0415

    try:
        return parsed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def _sensor(text: str) -> tuple[str, str]:
    import argparse  # noqa: PLC0415

    node, _, sensor = text.partition("/")
    if not (node and sensor):
        raise argparse.ArgumentTypeError(f"{text}: wanted is NODE/SENSOR, such as pi-1/dht11")
    return node, sensor


def _days(text: str) -> int:
    import argparse  # noqa: PLC0415

    if not text.isdecimal() or not 1 <= int(text) <= 36500:
        raise argparse.ArgumentTypeError(f"{text}: allowed are 1 to 36500")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
