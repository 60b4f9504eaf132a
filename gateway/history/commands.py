"""What the history's tools do; their words are in __main__.py."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from sqlalchemy import Connection, func, select
from tqdm import tqdm

from broker.settings import SettingsError
from gateway.history import account, transfer
from gateway.history.prune import FORGET_MS, UNDATED_KEPT, cut_off_ms, prune
from gateway.history.schema import hour, minute, reading, sensor, stream
from gateway.history.sentences import sentence
from gateway.history.settings import HistorySettings, utc_now_ms
from gateway.history.store import Store, StoreError
from gateway.history.views import LostSpan, SensorAudit, StreamsView
from gateway.history.writer import Writer

SHOWN_LINES = 20
MAX_LINE_BYTES = 64 * 1024
SHOWN_SENSORS = 10
PAGE_STREAMS = 500
SQLITE = b"SQLite format 3\0"
MINUTE_MS = 60_000
TABLE = "  {:36} {:>10} {:>10} {:>10} {:>8} {:>8}"


class CommandError(Exception):
    """It cannot be done; the text is one line that says why."""


def run(settings: HistorySettings, options: argparse.Namespace) -> int:
    """Returns the exit code."""
    what = {"export": _export, "import": _import, "audit": _audit, "prune": _prune}
    try:
        reads = options.command in {"export", "audit"}
        store = Store(settings.history_url, settings.secret, read_only=reads)
        try:
            return what[options.command](store, settings, options)
        finally:
            store.close()
    except (StoreError, CommandError) as error:
        print(f"history: {error}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"history: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
    return 2 if options.command == "audit" else 1  # 1: it was read, and is not whole


def _progress(unit: str, total: int | None = None) -> tqdm[Any]:
    """On a terminal only."""
    return tqdm(total=total, unit=unit, unit_scale=True, disable=None, leave=False)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


# ---- export and import


def _export(store: Store, _settings: HistorySettings, options: argparse.Namespace) -> int:
    start, end, wanted = options.start, options.end, options.sensor
    if None not in (start, end) and start >= end:
        raise SettingsError("--from must be before --to")
    store.check()
    known = transfer.sensors(store)
    if strangers := [key for key in wanted if key not in known]:
        some = ", ".join(map("/".join, known[:SHOWN_SENSORS])) or "none"
        more = len(known) - SHOWN_SENSORS
        some += f" and {more} more" if more > 0 else ""
        raise CommandError(f"no sensor {'/'.join(strangers[0])} in {store.shown}; it has {some}")
    keys = [key for key in known if key in wanted or not wanted]
    lines = Path(options.output).suffix.lower() in {".jsonl", ".json"}
    form = options.format or ("jsonl" if lines else "csv")
    count = 0
    with _output(options.output) as file, _progress(" readings") as bar:
        chunks = transfer.exported(store, keys, start, end, as_csv=form == "csv")
        for rows, text in chunks:
            file.write(text)
            bar.update(rows)
            count += rows
    _say(f"{count} readings")
    return 0


@contextlib.contextmanager
def _output(name: str) -> Iterator[IO[str]]:
    """A file is there when it is whole, or not at all. Raises OSError."""
    path = Path(name)
    if name == "-":
        yield sys.stdout
        sys.stdout.flush()
    elif path.exists() and not path.is_file():  # a pipe, or /dev/null
        with path.open("w", encoding="utf-8") as file:
            yield file
    else:
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with part.open("x", encoding="utf-8") as file:
                yield file
            part.replace(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink()


def _import(store: Store, _settings: HistorySettings, options: argparse.Namespace) -> int:
    shown = 0

    def refuse(number: int, why: str) -> None:
        nonlocal shown
        shown += 1
        if shown <= SHOWN_LINES:
            bar.write(f"{name}:{number}: {why}" if number else f"{name}: {why}", file=sys.stderr)
        elif shown == SHOWN_LINES + 1:
            bar.write("… and more", file=sys.stderr)

    store.upgrade()
    name = ""
    took = transfer.Import(store, Writer(store, utc_now_ms=utc_now_ms), refuse)
    sizes = [Path(file).stat().st_size for file in options.files if file != "-"]
    total = sum(sizes) if len(sizes) == len(options.files) else None
    with _progress("B", total) as bar:
        for name in options.files:
            with contextlib.ExitStack() as stack:
                file: Any = sys.stdin.buffer
                if name != "-":
                    file = stack.enter_context(Path(name).open("rb"))
                if file.peek(len(SQLITE)).startswith(SQLITE):
                    how = "`python -m edge journal export` first"
                    raise CommandError(f"{name} is a journal: {how}")
                if not took.take(_lines(file, bar)):
                    bar.write(f"{name}: no readings in it", file=sys.stderr)
    differ = f"; {took.differ} differ from what is stored, which stays" if took.differ else ""
    _say(f"{took.new} new, {took.known} already there, {took.refused} refused{differ}")
    return 1 if took.refused or took.differ else 0


def _lines(file: IO[bytes], bar: tqdm[Any]) -> Iterator[str]:
    while line := file.readline(MAX_LINE_BYTES):
        bar.update(len(line))
        yield line.decode(errors="replace")


# ---- audit


def _audit(store: Store, settings: HistorySettings, options: argparse.Namespace) -> int:
    store.check()
    with store.read() as connection:  # one state of the database for all of it
        view = account.audit(connection).view
        if options.json:
            print(view.to_json().decode())
        now = datetime.now(UTC)
        for one in view.sensors:
            pages = _pages(connection, one) if options.streams else iter(())
            if options.json:
                for page in pages:
                    print(page.to_json().decode())
            else:
                print(f"{one.node}/{one.sensor}: {' '.join(sentence(one, 'en', now))}")
                _show(pages)
        if not (view.sensors or options.json):
            print("no readings yet")
        verdicts = [_verdict(connection, one, settings) for one in view.sensors if options.verify]
    for _, text in verdicts:
        print(text, file=sys.stderr if options.json else sys.stdout)
    whole = not any(one.missing or one.lost or one.open_ends for one in view.sensors)
    return 0 if whole and all(good for good, _ in verdicts) else 1


def _verdict(
    connection: Connection, of: SensorAudit, settings: HistorySettings
) -> tuple[bool, str]:
    """Are the sums those of the ranges, and the raw readings and the roll-ups those of the account?

    Raw readings that retention removed are not there, and nobody counted them one by one: from the
    first whole minute that it left, the roll-ups say how many there must be.
    """
    name = sensor.c.node == of.node, sensor.c.name == of.sensor
    mine = reading.c.stream_id.in_(select(stream.c.id).join(sensor).where(*name))
    rolled = select(func.sum(hour.c.readings)).join(sensor).where(*name)
    rows = connection.scalar(select(func.count()).where(mine)) or 0
    in_rollups = int(connection.scalar(rolled) or 0)
    # a stream of which nothing is left is forgotten in the end, and its roll-ups stay
    begin_ms = settings.keep_from_ms()
    forgets = connection.scalar(rolled.where(hour.c.start_s < (begin_ms - FORGET_MS) // 1000))
    good = in_rollups == of.stored or (in_rollups > of.stored and bool(forgets))
    text = f"verified: {rows} raw readings"
    if rows < of.stored:
        oldest_ms = connection.scalar(
            select(func.min(reading.c.measured_ms)).where(mine, reading.c.synchronised)
        )
        since_s = -(-max(oldest_ms or 0, begin_ms) // MINUTE_MS) * 60
        there = connection.scalar(
            select(func.count()).where(mine, reading.c.measured_ms >= since_s * 1000)
        )
        in_minutes = select(func.sum(minute.c.readings)).join(sensor).where(*name)
        wanted = int(connection.scalar(in_minutes.where(minute.c.start_s >= since_s)) or 0)
        text += f", {of.stored - rows} removed by retention; {there} since then"
        text += f", {wanted} by the roll-ups"
        good &= there == wanted
    good &= rows <= of.stored
    text += f"; {of.stored} by the account, {in_rollups} by the roll-ups"
    sums = account.Totals(of.stored, of.missing, of.lost, of.gaps, of.open_ends)
    if sums != (counted := account.recounted(connection, of.node, of.sensor)):
        text += f"; {_numbers(sums)} by the sums, {_numbers(counted)} by the ranges"
        good = False
    return good, f"{of.node}/{of.sensor}: {text}: {'right' if good else 'WRONG'}"


def _numbers(sums: account.Totals) -> str:
    return ", ".join(f"{number} {name}" for name, number in sums._asdict().items())


def _pages(connection: Connection, of: SensorAudit) -> Iterator[StreamsView]:
    after: UUID | None = None
    while page := account.streams(connection, of.node, of.sensor, after=after, limit=PAGE_STREAMS):
        yield page
        if (after := page.next) is None:
            return


def _show(pages: Iterator[StreamsView]) -> None:
    for place, page in enumerate(pages):
        if not place:
            print(TABLE.format("stream", "first", "last", "stored", "missing", "lost"))
        for each in page.streams:
            first = each.first_seq or "-"
            numbers = first, each.last_seq, each.stored, each.missing, each.lost
            print(TABLE.format(str(each.stream), *numbers))
            for gap in sorted(each.lost_spans, key=lambda gap: gap.first_seq):
                print(f"    lost: {_lost(gap)}")
            if more := each.gaps - len(each.lost_spans):
                print(f"    lost: {more} more ranges, noted before these")
            if each.open_end:
                print(f"    its journal is gone: readings after {each.last_seq} may be lost")


def _lost(gap: LostSpan) -> str:
    ends = (("after", gap.after_at), ("before", gap.before_at))
    when = " and ".join(f"{word} {at:%Y-%m-%d %H:%M:%S}" for word, at in ends if at is not None)
    measured = f"measured {when} UTC, " if when else ""
    noted = f"noted {gap.noted_at:%Y-%m-%d %H:%M} UTC"
    return f"{gap.first_seq} to {gap.last_seq}, {measured}{noted}"


# ---- prune


def _prune(store: Store, settings: HistorySettings, options: argparse.Namespace) -> int:
    store.check()
    days = options.days or settings.retention_days
    before_ms = cut_off_ms(store, days=days, now_ms=utc_now_ms())
    if before_ms is None:
        print("no reading has a date that is known to be right: nothing is removed by its age")
        return 0
    if options.dry_run:
        with store.read() as connection:
            old = connection.scalar(
                select(func.count())
                .select_from(reading.join(stream))
                .where(
                    reading.c.measured_ms < before_ms,
                    reading.c.synchronised
                    | (stream.c.last_heard_ms < before_ms)
                    | (reading.c.seq <= stream.c.newest_seq - UNDATED_KEPT),
                )
            )
            print(f"{old} readings are older than {days} days")
        return 0
    with _progress(" readings") as bar:
        removed = prune(store, before_ms=before_ms, progress=bar.update)
    print(f"{removed} readings were older than {days} days, and removed")
    return 0
