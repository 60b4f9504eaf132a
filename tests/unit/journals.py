"""A journal with clocks that only move when told to; for the journal's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.contract import Measured, Reading
from edge.clock import Clock
from edge.journal import Journal
from edge.sensors.base import Measurement, Sample
from tests.support import PATIENCE_S

START = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


class SetClock(Clock):
    """Stands still until told to move."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.utc = START
        self.right = True
        self.boot = "boot-1"

    def monotonic_s(self) -> float:
        return self.now_s

    def utc_now(self) -> datetime:
        return self.utc

    def synchronised(self) -> bool:
        return self.right

    def boot_id(self) -> str:
        return self.boot

    def pass_(self, seconds: float) -> None:
        self.now_s += seconds
        self.utc += timedelta(seconds=seconds)

    def reboot(self, *, right: bool = True) -> None:
        """The monotonic clock begins again; the machine was off for an hour."""
        self.boot = f"boot-{int(self.boot.split('-')[1]) + 1}"
        self.now_s = 20.0
        self.utc += timedelta(hours=1)
        self.right = right

    def sample(self, temperature_c: float = 24.0, humidity_pct: float = 41.0) -> Sample:
        return Sample(Measurement(temperature_c, humidity_pct), self.now_s, self.utc, self.right)


def make(path: Path, clock: Clock, **arguments: float) -> Journal:
    return Journal(path, node="pi-1", clock=clock, **arguments)  # type: ignore[arg-type]


@contextmanager
def journal(path: Path, clock: Clock, **arguments: float) -> Iterator[Journal]:
    opened = make(path, clock, **arguments)
    opened.open()
    try:
        yield opened
    finally:
        opened.close()


def add(journal: Journal, clock: SetClock, count: int = 1, sensor: str = "dht11") -> list[Reading]:
    """Readings that all differ, 5 s apart."""
    found = []
    for _ in range(count):
        clock.pass_(5)
        number = journal.rows()
        found.append(
            journal.append(sensor, clock.sample(20 + number % 300 / 10, 40 + number % 7), "dht11")
        )
    return found


def kept(journal: Journal, sensor: str = "dht11") -> list[Reading]:
    """All rows of a sensor, the newest stream first."""
    return [
        Reading(stream=info.stream, **dict(row))
        for info in journal.streams(sensor)
        for row in everything(journal, info.stream)
    ]


def everything(journal: Journal, stream: object, page: int = 7) -> list[Measured]:
    found: list[Measured] = []
    while rows := journal.after(stream, found[-1].seq if found else 0, page):  # type: ignore[arg-type]
        found += rows
    return found


def settled(journal: Journal) -> None:
    """Wait until what could be salvaged is in."""
    if journal._salvage:
        journal._salvage.join(PATIENCE_S)
    assert journal.whole


def killed(path: Path, to: Path) -> Path:
    """The files of a journal that is in use, as a process that is killed now would leave them."""
    to.mkdir(parents=True, exist_ok=True)
    for name in (path.name, f"{path.name}-wal"):
        if path.with_name(name).exists():
            (to / name).write_bytes(path.with_name(name).read_bytes())
    return to / path.name


def put_back(left: Path, path: Path) -> Path:
    """What `killed` took, in the very files that it was taken from: no copy, for the journal."""
    for name in (path.name, f"{path.name}-wal"):
        if (left.parent / name).exists():
            path.with_name(name).write_bytes((left.parent / name).read_bytes())
    return path
