"""A history as the recorder would have written it, for the tests of what reads it."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection

from broker.contract import MAX_BACKFILL_READINGS, Backfill, Measured, Reading, SensorHealth
from gateway.history import schema
from gateway.history.store import Store, Unavailable
from gateway.history.writer import Heard, Writer
from tests.databases import Database
from tests.unit.told import STREAM

# A Sunday, a whole hour.
BEGIN = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)
OTHER = UUID("00000000-0000-4000-8000-000000000002")


def ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def temperature_c(seq: int) -> float:
    return 20 + seq % 7 / 10


class Past:
    """The writer's own database, with a clock that only moves when told to."""

    def __init__(self, database: Database) -> None:
        self.store = Store(database.url, database.password or None)
        self.store.upgrade()
        self.now = BEGIN
        self._writer = Writer(self.store, utc_now_ms=lambda: ms(self.now))

    def close(self) -> None:
        self.store.close()

    def readings(
        self,
        numbers: Iterable[int],
        *,
        node: str = "pi-1",
        sensor: str = "dht11",
        stream: UUID = STREAM,
        after: int | None = None,
        every_s: float = 5,
        at: Callable[[int], datetime] | None = None,
        synchronised: bool = True,
        live: bool = False,
    ) -> None:
        """seq 1 is measured at BEGIN. live: as they come when nothing is wrong."""
        made = [
            Measured(
                seq=seq,
                measured_at=at(seq) if at else BEGIN + timedelta(seconds=every_s * (seq - 1)),
                clock_synchronised=synchronised,
                temperature_c=temperature_c(seq),
                humidity_pct=50.0,
                source="dht11",
            )
            for seq in numbers
        ]
        if live:
            heard = [
                Heard(node, sensor, Reading(stream=stream, **dict(reading))) for reading in made
            ]
            self._writer.write(heard)
            return
        for start in range(0, max(1, len(made)), MAX_BACKFILL_READINGS):
            part = made[start : start + MAX_BACKFILL_READINGS]
            said = Backfill(stream=stream, after=after if start == 0 else None, readings=part)
            self._writer.write([Heard(node, sensor, said)])

    def health(self, *, sensor: str = "dht11", interval_s: float = 5.0, **fields: object) -> None:
        said = {"state": "ok", "since": BEGIN, "driver": "iio", "model": "dht11", **fields}
        health = SensorHealth.model_validate({**said, "interval_s": interval_s}, strict=False)
        self._writer.write([Heard("pi-1", sensor, health)])

    def forget_raw(self) -> None:
        """As retention does."""
        with self.store.begin() as connection:
            connection.execute(schema.reading.delete())


def parsed_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def away(monkeypatch: pytest.MonkeyPatch, text: str = "history.db: locked") -> None:
    """Every database, from now on."""

    @contextlib.contextmanager
    def read(self: Store) -> Iterator[Connection]:
        raise Unavailable(text)
        yield

    monkeypatch.setattr(Store, "read", read)
