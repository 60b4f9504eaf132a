"""The disk budget: what is measured, what goes when it is used up, and what is said of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from broker.contract import SensorHealth, SensorState
from gateway.history import account, budget
from gateway.history.budget import ROW_BYTES, Growth, days_left, keep_within, usage, used_bytes
from gateway.history.dialects import bulk_insert
from gateway.history.query import history
from gateway.history.schema import hour, minute, reading, sensor, stream
from gateway.history.store import Store
from gateway.history.writer import Heard, Writer
from tests.databases import Database
from tests.support import eventually

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS
DAYS, EACH_S = 30, 60  # a month of readings, one a minute
A = UUID(int=0xA)


@pytest.fixture
def store(any_database: Database) -> Iterator[Store]:
    with contextlib.closing(Store(any_database.url, any_database.password)) as store:
        store.upgrade()
        yield store


def rollup(start_s: int, readings: int) -> dict[str, Any]:
    quantity = {"min": 20.3, "sum": 20_300 * readings, "max": 20.3}
    values = {f"{name}_{k}": v for name in ("temperature", "humidity") for k, v in quantity.items()}
    return {"sensor_id": 1, "start_s": start_s, "readings": readings, **values}


def fill(store: Store) -> None:
    """As the recorder would have, in one go."""
    begin_ms = NOW_MS - DAYS * DAY_MS
    count = DAYS * 86_400 // EACH_S
    with store.begin() as connection:
        of_sensor = {"id": 1, "node": "pi-1", "name": "dht11", "interval_s": float(EACH_S)}
        connection.execute(sensor.insert(), {**of_sensor, "stored": count, "current": str(A)})
        heard = {"first_heard_ms": begin_ms, "last_heard_ms": NOW_MS, "newest_seq": count}
        connection.execute(
            stream.insert(), {"id": 1, "sensor_id": 1, "uuid": str(A), "watermark": count, **heard}
        )
        rows = [
            (1, n + 1, begin_ms + n * EACH_S * 1000, True, 20.3, 40.7, "dht11")
            for n in range(count)
        ]
        bulk_insert(connection, reading, rows)
        connection.execute(
            minute.insert(), [rollup(begin_ms // 1000 + n * 60, 1) for n in range(count)]
        )
        connection.execute(
            hour.insert(), [rollup(begin_ms // 1000 + n * 3600, 60) for n in range(DAYS * 24)]
        )


def used(store: Store) -> int:
    with store.begin() as connection:
        return used_bytes(connection)


def filled(store: Store) -> int:
    """What it takes, once the database's own statistics have it: PostgreSQL's come a second late."""
    empty = used(store)
    fill(store)
    return eventually("it is in the statistics", lambda: (n := used(store)) > empty + 4e6 and n)


def keep(store: Store, budget_bytes: int, progress: Any = lambda _rows: None) -> int:
    return keep_within(store, budget_bytes, now_ms=NOW_MS, retention_days=365, progress=progress)


def count(store: Store, table: sa.Table) -> int:
    with store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_what_is_used_is_about_what_the_rows_were_measured_to_take(store: Store) -> None:
    before = used(store)
    grown = filled(store) - before
    with store.read() as connection:
        cost = ROW_BYTES[connection.dialect.name]
    rows = DAYS * 1440
    assert grown == pytest.approx(rows * (cost.raw + cost.rollup), rel=0.3)


def test_the_oldest_raw_readings_go_first_and_no_more_than_needed(store: Store) -> None:
    at_first = filled(store)
    with store.read() as connection:
        cost = ROW_BYTES[connection.dialect.name]
    steps: list[int] = []
    removed = keep(store, round(at_first - 9.5 * 1440 * cost.raw), steps.append)
    days = removed / 1440
    assert 10 <= days <= 12  # in whole days, and a fiftieth of the budget beyond
    assert sum(steps) == removed
    with store.read() as connection:
        oldest_ms = connection.scalar(sa.select(sa.func.min(reading.c.measured_ms)))
        assert oldest_ms == NOW_MS - DAYS * DAY_MS + days * DAY_MS
        (one,) = account.audit(connection).view.sensors
        assert (one.stored, one.missing, one.lost) == (DAYS * 1440, 0, 0)
        found = usage(connection)
    assert found is not None
    assert found.used_bytes <= found.budget_bytes
    assert (count(store, minute), count(store, hour)) == (DAYS * 1440, DAYS * 24)
    # what it wrote down is what it is, and the next hour removes nothing
    eventually("measured anew", lambda: used(store) <= found.budget_bytes)
    assert keep(store, found.budget_bytes) == 0


def test_then_minutes_go_and_hours_stay_and_show_what_was(store: Store) -> None:
    filled(store)
    assert keep(store, 1_000_000 if used(store) > 1_000_000 else 1) == (DAYS - 1) * 1440
    kept_minutes = count(store, minute)
    assert 1440 <= kept_minutes < DAYS * 1440, "the last day's stay, whatever the budget"
    assert count(store, reading) == 1440
    assert count(store, hour) == DAYS * 24
    begin = NOW_MS - DAYS * DAY_MS
    with store.read() as connection:
        early = history(connection, "pi-1", "dht11", begin, begin + DAY_MS, 500)
        late = history(connection, "pi-1", "dht11", NOW_MS - DAY_MS // 24, NOW_MS, 60)
    assert early is not None
    assert late is not None
    assert (early.source, len(early.points)) == ("hour", 24)
    assert late.source != "hour"


def test_a_database_within_its_budget_is_left_as_it_is(store: Store) -> None:
    fill(store)
    assert keep(store, 10**9) == 0
    assert (count(store, reading), count(store, minute)) == (DAYS * 1440, DAYS * 1440)
    with store.read() as connection:
        found = usage(connection)
        cost = ROW_BYTES[connection.dialect.name]
    assert found is not None
    daily = 1440 * cost.raw + (1440 + 24) * cost.rollup
    assert found.growth_bytes_per_day == round(daily)
    assert found.full_at is not None
    left_days = (10**9 - found.used_bytes) / daily
    expiry_days = 365 - DAYS
    rollups = (1440 + 24) * cost.rollup
    expected_days = (
        left_days
        if left_days <= expiry_days
        else expiry_days + (10**9 - found.used_bytes - expiry_days * daily) / rollups
    )
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=NOW_MS)
    assert (found.full_at - now) / timedelta(days=1) == pytest.approx(expected_days)


def test_a_reading_that_gets_its_date_leaves_an_hour_whose_minutes_are_gone(store: Store) -> None:
    filled(store)
    keep(store, 1)
    first_s = (NOW_MS - DAYS * DAY_MS) // 1000
    with store.begin() as connection:
        budget_hour = hour.c.start_s == first_s
        before = connection.execute(sa.select(hour).where(budget_hour)).one()
        from gateway.history import rollup as rollups

        rollups.leave(connection, 1, [(first_s * 1000, 20.3, 20.3)])
        after = connection.execute(sa.select(hour).where(budget_hour)).one()
    assert after.readings == before.readings - 1
    assert after.temperature_sum == before.temperature_sum - 20_300


@pytest.mark.parametrize(
    ("free", "growth", "expiry_days", "days"),
    [
        (0, Growth(10, 1), 5, 0.0),
        (-5, Growth(10, 1), 5, 0.0),
        (22, Growth(10, 1), 5, 2.0),
        (56, Growth(10, 1), 5, 6.0),  # from the fifth day on only roll-ups are added
        (56, Growth(10, 0), 5, None),
        (1, Growth(0, 0), 5, None),
    ],
)
def test_until_when_it_lasts(
    free: float, growth: Growth, expiry_days: float, days: float | None
) -> None:
    assert days_left(free, growth, expiry_days) == days


def test_a_sensor_that_is_gone_adds_nothing(sqlite: Database) -> None:
    with contextlib.closing(Store(sqlite.url)) as store:
        store.upgrade()
        health = SensorHealth(
            state=SensorState.OK, since=datetime(2026, 1, 1, tzinfo=UTC), reason="", driver="replay",
            model="dht11", interval_s=60.0,
        )  # fmt: skip
        Writer(store, utc_now_ms=lambda: NOW_MS).write([Heard("pi-1", "dht11", health)])
        with store.begin() as connection:
            assert budget._growth(connection, NOW_MS) == Growth(0, 0)
