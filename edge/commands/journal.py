"""`python -m edge journal export`: the readings in a journal's file, whole, live or damaged."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

from broker.contract import Measured
from edge import salvage
from edge.clock import Clock
from edge.journal_db import JournalDb
from edge.journal_faults import FAULTS, said
from edge.journal_format import EARLIER, PAGE_BYTES, Row, Whose
from edge.journal_log import log_of

COLUMNS = ("node", "sensor", "stream", *Measured.model_fields)
EPILOG = """\
FILE may be in use by a running edge, which is not disturbed, and may be damaged, such as one that
was set aside as NAME.damaged-…: what can be read of it is printed, and nothing that is not as it
was written. The newest rows are in FILE-wal, so keep the two together. Neither is changed: the work
is done on a copy in the folder for temporary files (another: TMPDIR).

Each row has node, sensor, stream, seq, measured_at (UTC), clock_synchronised, temperature_c,
humidity_pct and source; `python -m gateway.history import` reads both formats.

exit code: 0 all is well, or something could be read; 1 nothing could be read; 2 a bad argument, or
a file that cannot be opened or written. What was found is said on standard error.

example: python -m edge journal export ~/.local/state/brisa/pi-1.db --format csv -o pi-1.csv
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    journal = subparsers.add_parser(
        "journal", help="read a journal's file", description="Read a journal's file."
    )
    commands = journal.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parser = commands.add_parser(
        "export",
        help="print its readings, as JSON lines or CSV",
        description="Print the readings in a journal's file, by stream and number.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the journal, such as pi-1.db")
    parser.add_argument(
        "--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="a new file; default: standard output"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        with (
            tempfile.TemporaryDirectory(prefix="brisa-journal-") as folder,
            _read(args.file, Path(folder)) as (database, fault),
            contextlib.ExitStack() as stack,
        ):
            output = sys.stdout
            if args.output and str(args.output) != "-":
                output = stack.enter_context(args.output.open("x", encoding="utf-8", newline=""))
            rows = _write(database, output, args.format)
            streams = len(database.streams)
    except BrokenPipeError:
        raise
    except FAULTS as error:
        where = getattr(error, "filename", None) or args.file
        print(f"edge journal export: {where}: {said(error)}", file=sys.stderr)
        return 2
    found = f"{_count(rows, 'reading')} in {_count(streams, 'stream')}"
    log = log_of(args.file)
    if not rows and args.file.stat().st_size <= PAGE_BYTES and not log.exists():
        fault = fault or f"is {log.name} missing beside it?"
    if fault:
        found = (
            f"damaged ({fault}); could be read: {found}" if rows else f"no reading in it: {fault}"
        )
    print(f"edge journal export: {args.file}: {found}", file=sys.stderr)
    return 1 if fault and not rows else 0


@contextlib.contextmanager
def _read(path: Path, folder: Path) -> Iterator[tuple[JournalDb, str]]:
    """A database with all that can be read of a file, and what is wrong with the file."""
    fault = ""
    database = _database(salvage.snapshot(path, folder))
    try:
        try:
            database.open()
            for _ in database.everything():
                pass  # so that nothing is printed before it is known to be good
        except FAULTS as error:
            fault = said(error)
            database.close(clean=False)
            database = _database(folder / "salvaged.db")
            database.open()
            found = salvage.rows(path)
            while batch := list(islice(found, salvage.BATCH_ROWS)):
                database.adopt(batch, EARLIER)
        yield database, fault
    finally:
        database.close(clean=False)


def _database(path: Path) -> JournalDb:
    """One that keeps everything."""
    return JournalDb(path, node="", clock=Clock(), days=1e6, max_bytes=1 << 40, sync_every=1 << 30)


def _write(database: JournalDb, output: TextIO, form: str) -> int:
    """The number of rows written."""
    table = csv.writer(output, lineterminator="\n")
    if form == "csv":
        table.writerow(COLUMNS)
    count = 0
    for stream, row in database.everything():
        said_of = _described(stream.whose, row)
        if form == "csv":
            table.writerow(
                json.dumps(value) if isinstance(value, bool) else value
                for value in said_of.values()
            )
        else:
            output.write(json.dumps(said_of) + "\n")
        count += 1
    return count


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _described(whose: Whose, row: Row) -> dict[str, object]:
    """The columns, in their order, as the contract writes them."""
    measured = row.measured().model_dump(mode="json")
    return {"node": whose.node, "sensor": whose.sensor, "stream": str(whose.uuid), **measured}
