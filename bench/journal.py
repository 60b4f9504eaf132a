"""Bytes that a journal writes in a day at one reading per 5 s, and the memory that a full one takes.

As root, each runs on an ext4 of its own behind a loop device, whose counter has all that reaches the
card, the file system's own journal too; without, /proc/self/io has the pages that were written. Time
is accelerated: the kernel, which writes what has been waiting for 30 s, is told to do so every six
readings. `python -m bench.journal --real-time 900` waits for it instead.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from unittest import mock
from uuid import uuid4

from bench.processes import BenchError, say
from edge import journal_db, journal_format
from edge.clock import Clock
from edge.journal import Journal
from edge.journal_format import CURRENT, INSERT, Row, Whose
from edge.sensors.base import Measurement, Sample

INTERVAL_S = 5
PER_DAY = 86_400 // INTERVAL_S
WRITE_BACK_S = 30  # vm.dirty_expire_centisecs
WARM_UP = 1500  # until the log has its length, and rows age out
FULL_BYTES = 64 * 1024 * 1024
NAIVE, AS_IT_COMES = "sqlite3, 4096, WAL, FULL", "sqlite3 as it comes"
OURS = "journal, 512, every 12th"
Append = Callable[[int], None]
CARD_OPTIONS = "noatime"


class Written(NamedTuple):
    """MB (1,000,000 bytes) a day; `card_mb` None without the right to mount."""

    card_mb: float | None
    process_mb: float


class PacedClock(Clock):
    """5 s a reading."""

    now_s = 0.0

    def boot_id(self) -> str:
        return "an earlier boot"  # whose elapsed time is not that of the edge that takes it up

    def monotonic_s(self) -> float:
        return self.now_s

    def sample(self, number: int) -> Sample:
        self.now_s = number * float(INTERVAL_S)
        moment = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=self.now_s)
        value = Measurement(20 + number % 97 / 10, 40 + number % 31 / 10)
        return Sample(value, self.now_s, moment, clock_synchronised=True)


@contextlib.contextmanager
def ours(folder: Path, *, page: int, sync_every: int) -> Iterator[Append]:
    """The journal as it is after a week: for each reading that comes, one ages out."""
    clock = PacedClock()
    with contextlib.ExitStack() as patches:
        for module in (journal_format, journal_db):
            for name, size in (("PAGE_BYTES", page), ("FRAME_BYTES", page + 24)):
                patches.enter_context(mock.patch.object(module, name, size))
        journal = Journal(
            folder / "journal.db",
            node="pi-1",
            clock=clock,
            days=WARM_UP / 2 / PER_DAY,
            sync_every=sync_every,
        )
        journal.open()
        if journal.problem:
            raise BenchError(journal.problem)
    yield lambda number: void(journal.append("dht22", clock.sample(number), "dht22"))
    journal.close()


@contextlib.contextmanager
def naive(folder: Path, *, mode: str) -> Iterator[Append]:
    """A table, and a commit a row; SQLite with its own page size and synchronisation."""
    clock = PacedClock()
    database = sqlite3.connect(folder / "naive.db", isolation_level=None, check_same_thread=False)
    database.execute(f"PRAGMA journal_mode = {mode}")
    database.execute(
        "CREATE TABLE reading (stream TEXT, seq INTEGER, measured_at TEXT, synchronised INTEGER,"
        " temperature_c REAL, humidity_pct REAL, source TEXT, PRIMARY KEY (stream, seq))"
    )
    stream = "6f6c2a3e-3f8c-4b42-9d6e-0d3a5a1c8f10"

    def append(number: int) -> None:
        sample = clock.sample(number)
        value = sample.measurement
        at = sample.measured_at.isoformat()
        row = (stream, number, at, True, value.temperature_c, value.humidity_pct, "dht22")
        database.execute("INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    yield append
    database.close()


Variant = Callable[[Path], contextlib.AbstractContextManager[Append]]


def variants() -> dict[str, Variant]:
    def of(page: int, sync_every: int) -> Variant:
        return lambda folder: ours(folder, page=page, sync_every=sync_every)

    return {
        NAIVE: lambda folder: naive(folder, mode="WAL"),
        AS_IT_COMES: lambda folder: naive(folder, mode="DELETE"),
        "journal, 512, every": of(512, 1),
        OURS: of(512, 12),
        "journal, 512, every 60th": of(512, 60),
        "journal, 1024, every 12th": of(1024, 12),
        "journal, 4096, every 12th": of(4096, 12),
    }


def measure(*, readings: int = 2880, names: Collection[str] = ()) -> dict[str, Written]:
    """By name, MB a day, from so many readings after the warm-up; of these variants, or of all."""
    found = {}
    for name, variant in variants().items():
        if names and name not in names:
            continue
        with card() as (folder, card_bytes), variant(folder) as append:
            file_system = os.open(folder, os.O_RDONLY)
            before_card = before = 0
            for number in range(1, WARM_UP + readings + 1):
                append(number)
                if number * INTERVAL_S % WRITE_BACK_S == 0:
                    write_back(file_system)
                if number == WARM_UP:
                    before_card, before = card_bytes(), process_bytes()
            write_back(file_system)
            factor = PER_DAY / readings / 1e6
            on_card = (card_bytes() - before_card) * factor
            found[name] = Written(
                on_card if os.geteuid() == 0 else None, (process_bytes() - before) * factor
            )
            os.close(file_system)
        say(f"{name}: {found[name].card_mb or 0:.0f}, by the process {found[name].process_mb:.0f}")
    return found


def measure_real_time(seconds: float) -> dict[str, float]:
    """By name, MB a day on the card; all at once, each on a card of its own."""
    found: dict[str, float] = {}

    def run(name: str, variant: Variant) -> None:
        with card() as (folder, card_bytes), variant(folder) as append:
            for number in range(1, WARM_UP + 1):
                append(number)
            ready.wait()
            before, began_s, number = card_bytes(), time.monotonic(), WARM_UP
            while (passed_s := time.monotonic() - began_s) < seconds:
                number += 1
                append(number)
                done.wait(max(0.0, (number - WARM_UP) * INTERVAL_S - passed_s))
            found[name] = (card_bytes() - before) * 86_400 / seconds / 1e6

    def settle() -> None:
        os.sync()
        time.sleep(10)

    done = threading.Event()
    all_variants = variants()
    ready = threading.Barrier(len(all_variants), action=settle)
    threads = [threading.Thread(target=run, args=item) for item in all_variants.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: found[name] for name in all_variants}


def memory() -> dict[str, float]:
    """VmRSS in MB of a process that uses a journal, after it was read from end to end."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as folder:
        empty, full = Path(folder) / "empty.db", Path(folder) / "full.db"
        fill(full, "pi-1")
        for name, path in (("journal, empty", empty), ("journal, 64 MiB", full)):
            found[name] = float(run(sys.executable, "-c", USER, str(path)))
    return found


USER = """
import sys
from pathlib import Path
from edge.clock import Clock
from edge.journal import Journal
from edge.sensors.base import Measurement, Sample
clock = Clock()
journal = Journal(Path(sys.argv[1]), node="pi-1", clock=clock, days=1e5)
journal.open()
assert not journal.problem, journal.problem
sample = Sample(Measurement(24.4, 41.0), clock.monotonic_s(), clock.utc_now(), True)
for _ in range(1000):
    journal.append("dht22", sample, "dht22")
for info in journal.streams("dht22"):
    after = 0
    while rows := journal.after(info.stream, after, 500):
        after = rows[-1].seq
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmRSS"].split()[0]) * 1024 / 1e6)
"""


def fill(path: Path, node: str) -> None:
    """As many rows of this node as the bound allows."""
    journal = Journal(path, node=node, clock=PacedClock(), days=1e5)
    journal.open()
    database = journal._db
    if database is None:
        raise BenchError("the journal is not open")
    whose = Whose(uuid4(), node, "dht22")
    with database.transaction():
        stream = database.begin(whose, CURRENT)
    seq = 0
    while path.stat().st_size < FULL_BYTES - 3_000_000:
        rows = [
            Row(n, n * 5000, True, n, 20 + n % 97 / 10, 40 + n % 31 / 10, "dht22")
            for n in range(seq + 1, seq + 10_001)
        ]
        with database.transaction():
            database.sql.executemany(INSERT, (row.stored(stream.key, whose) for row in rows))
        seq += 10_000
    journal.close()


@contextlib.contextmanager
def card() -> Iterator[tuple[Path, Callable[[], int]]]:
    """A folder, and the bytes written to the device below it so far."""
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as name:
        folder, image = Path(name) / "card", Path(name) / "image"
        folder.mkdir()
        if os.geteuid() != 0:
            yield folder, lambda: 0
            return
        image.write_bytes(b"")
        os.truncate(image, 256 * 1024 * 1024)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
        device = run("losetup", "--find", "--show", str(image))
        counter = Path("/sys/block", Path(device).name, "stat")
        try:
            run("mount", "-o", CARD_OPTIONS, device, str(folder))
            try:
                yield folder, lambda: int(counter.read_text(encoding="ascii").split()[6]) * 512
            finally:
                run("umount", "--lazy", str(folder))
        finally:
            run("losetup", "--detach", device)


def write_back(file_system: int) -> None:
    if ctypes.CDLL(None, use_errno=True).syncfs(file_system):
        raise BenchError("syncfs failed")


def process_bytes() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    counters = dict(line.split(": ") for line in lines)
    return int(counters["write_bytes"]) - int(counters["cancelled_write_bytes"])


def run(*command: str) -> str:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise BenchError(f"{command[0]}: {result.stderr.strip()}")
    return result.stdout.strip()


def void(_: object) -> None:
    """Takes what is not needed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.journal", description=__doc__)
    parser.add_argument("--readings", type=int, default=2880, help="default: 2880, four hours")
    parser.add_argument("--real-time", type=float, metavar="S", help="so many seconds, instead")
    options = parser.parse_args()
    if options.real_time:
        for name, written_mb in measure_real_time(options.real_time).items():
            print(f"{name}: {written_mb:.1f} MB a day")
        return 0
    for name, written in measure(readings=options.readings).items():
        on_card = "-" if written.card_mb is None else f"{written.card_mb:.1f}"
        print(f"{name}: {on_card} MB a day on the card, {written.process_mb:.1f} by the process")
    for name, resident_mb in memory().items():
        print(f"{name}: {resident_mb:.1f} MB resident")
    return 0


if __name__ == "__main__":
    sys.exit(main())
