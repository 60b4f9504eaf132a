"""The disk budget: what the history takes, until when that lasts, and what goes when it does not.

What counts is the space that rows take, not the size of files: after rows are deleted, databases
keep their files and fill them again. See docs/adr/0014.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.history.moments import moment
from gateway.history.prune import remove_older
from gateway.history.schema import (
    NO_CLOCK_BEFORE_MS,
    ROLLUPS,
    disk,
    minute,
    reading,
    sensor,
    stream,
)
from gateway.history.store import Store
from gateway.history.views import DiskView
from gateway.views import DEFAULT_INTERVAL_S

DAY_MS, DAY_S = 86_400_000, 86_400
# Charts of the last day are made of raw readings: these stay, whatever the budget is.
KEPT_MS = DAY_MS
# What is removed beyond the excess, as a share of the budget, so that not every hour removes a bit.
SLACK = 0.02
FORESEEN_DAYS = 36_500
# A sensor that was not heard of for so long adds nothing.
ACTIVE_MS = DAY_MS


class RowBytes(NamedTuple):
    """What a row takes with its indexes: of 600,000 readings and 60,000 minutes, measured."""

    raw: float
    rollup: float


ROW_BYTES = {
    "sqlite": RowBytes(62, 65),
    "postgresql": RowBytes(148, 133),
    "mysql": RowBytes(103, 96),  # MariaDB, too
}


class Growth(NamedTuple):
    """Bytes a day."""

    raw: float
    rollups: float


def keep_within(
    store: Store,
    budget_bytes: int,
    *,
    now_ms: int,
    retention_days: int,
    progress: Callable[[int], object],
) -> int:
    """Remove what is over the budget, and write down what is in use; returns how many readings went.

    The oldest raw readings go first, then minutes; hours stay. progress: called after each
    transaction with how many rows went in it. Raises StoreError; what was removed stays so.
    """
    with store.begin() as connection:  # MariaDB writes its statistics when it is asked for them
        used = used_bytes(connection)
        cost = ROW_BYTES[connection.dialect.name]
    removed = minutes = 0
    if used > budget_bytes:
        excess = used - budget_bytes * (1 - SLACK)
        removed = _remove_raw(store, excess / cost.raw, now_ms - KEPT_MS, progress)
        excess -= removed * cost.raw
        minutes = _remove_minutes(store, excess / cost.rollup, now_ms - KEPT_MS, progress)
    used -= round(removed * cost.raw + minutes * cost.rollup)
    with store.begin() as connection:
        _write_down(connection, used, budget_bytes, now_ms, retention_days)
    return removed


def used_bytes(connection: Connection) -> int:
    """The space that the rows take, by what the database knows of them without reading them."""
    name = connection.dialect.name
    if name == "sqlite":
        # pages that deleted rows have left are filled again
        found = connection.exec_driver_sql(
            "SELECT (page_count - freelist_count) * page_size"
            " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
    elif name == "postgresql":
        # Rows by its running statistics. Those are lost when it is killed: then what it counted
        # when it last analysed the table, and what came and went since.
        found = connection.exec_driver_sql(f"""
            SELECT sum(CASE c.relname {_of_rows(name, "live")}
                ELSE pg_total_relation_size(c.oid) END)
            FROM pg_stat_user_tables t JOIN pg_class c ON c.oid = t.relid, LATERAL (SELECT CASE
                WHEN coalesce(last_analyze, last_autoanalyze, last_vacuum, last_autovacuum)
                    IS NULL THEN greatest(c.reltuples, 0) + n_tup_ins - n_tup_del
                ELSE n_live_tup END AS live) l
            WHERE t.schemaname = current_schema()""")  # noqa: S608 - words of ours
    else:
        connection.exec_driver_sql("ANALYZE TABLE reading, minute, hour")  # a look at a few pages
        found = connection.exec_driver_sql(f"""
            SELECT sum(CASE table_name {_of_rows(name, "table_rows")}
                ELSE data_length + index_length END)
            FROM information_schema.tables WHERE table_schema = database()""")  # noqa: S608
    return int(found.scalar() or 0)


def _of_rows(dialect: str, count: str) -> str:
    """WHENs for the tables whose rows are many and alike."""
    raw, rollup = ROW_BYTES[dialect]
    sizes = {"reading": raw, "minute": rollup, "hour": rollup}
    return " ".join(f"WHEN '{table}' THEN {size} * {count}" for table, size in sizes.items())


def _remove_raw(
    store: Store, rows: float, before_ms: int, progress: Callable[[int], object]
) -> int:
    """Remove at least so many readings, in whole days, the oldest first; none of `before_ms` on."""
    removed = 0
    while removed < rows:
        with store.read() as connection:
            oldest_ms = _oldest_raw_ms(connection)
        if oldest_ms is None or oldest_ms >= before_ms:
            break
        day_ms = min(oldest_ms + DAY_MS, before_ms)
        removed += remove_older(store, before_ms=day_ms, progress=progress)
    return removed


def _oldest_raw_ms(connection: Connection) -> int | None:
    """The date of the oldest raw reading that has a right one: of each stream one index look."""
    at = reading.c.measured_ms
    mine = sa.select(at).where(reading.c.stream_id == stream.c.id, reading.c.synchronised)
    first = sa.select(mine.order_by(at).limit(1).scalar_subquery().label("ms")).subquery()
    oldest: int | None = connection.scalar(sa.select(sa.func.min(first.c.ms)))
    return oldest


def _remove_minutes(
    store: Store, rows: float, before_ms: int, progress: Callable[[int], object]
) -> int:
    """Remove at least so many minutes, in whole days, the oldest first; none of `before_ms` on.

    Those of readings without a date stay, which may still get one.
    """
    at = minute.c.start_s
    dated = at >= NO_CLOCK_BEFORE_MS // 1000
    mine = sa.select(at).where(minute.c.sensor_id == sensor.c.id, dated)
    first = mine.order_by(at).limit(1).scalar_subquery()
    removed = 0
    while removed < rows:
        with store.read() as connection:
            oldest = connection.execute(sa.select(sensor.c.id, first.label("s"))).all()
        oldest_s = min((row.s for row in oldest if row.s is not None), default=None)
        if oldest_s is None or oldest_s >= before_ms // 1000:
            break
        day_s = min(oldest_s + DAY_S, before_ms // 1000)
        for row in oldest:
            if row.s is not None and row.s < day_s:
                with store.begin() as connection:
                    mine_then = (minute.c.sensor_id == row.id, dated, at < day_s)
                    gone = connection.execute(minute.delete().where(*mine_then)).rowcount
                removed += gone
                progress(gone)
    return removed


# ---- until when it lasts


def days_left(free_bytes: float, growth: Growth, until_expiry_days: float) -> float | None:
    """Days until so much is filled; None: never.

    until_expiry_days: from then on as many raw readings expire as come, and only roll-ups add.
    """
    daily = growth.raw + growth.rollups
    if free_bytes <= 0:
        return 0.0
    if free_bytes <= daily * until_expiry_days:
        return free_bytes / daily
    if not growth.rollups:
        return None
    return until_expiry_days + (free_bytes - daily * until_expiry_days) / growth.rollups


def _write_down(
    connection: Connection, used: int, budget_bytes: int, now_ms: int, retention_days: int
) -> None:
    growth = _growth(connection, now_ms)
    oldest_ms = _oldest_raw_ms(connection)
    kept_days = 0.0 if oldest_ms is None else (now_ms - oldest_ms) / DAY_MS
    days = days_left(budget_bytes - used, growth, max(0.0, retention_days - kept_days))
    connection.execute(disk.delete())
    row = {
        "id": 1,
        "measured_ms": now_ms,
        "used_bytes": used,
        "budget_bytes": budget_bytes,
        "growth_bytes": round(growth.raw + growth.rollups),
        "full_ms": None if days is None or days > FORESEEN_DAYS else round(now_ms + days * DAY_MS),
    }
    connection.execute(disk.insert(), row)


def usage(connection: Connection) -> DiskView | None:
    """What the recorder wrote down last; None: it has not measured yet."""
    row = connection.execute(sa.select(disk)).first()
    if row is None:
        return None
    return DiskView(
        as_of=moment(row.measured_ms),
        used_bytes=row.used_bytes,
        budget_bytes=row.budget_bytes,
        growth_bytes_per_day=row.growth_bytes,
        full_at=None if row.full_ms is None else moment(row.full_ms),
    )


def _growth(connection: Connection, now_ms: int) -> Growth:
    """By the intervals of the sensors that were heard of lately."""
    mine = stream.c.sensor_id == sensor.c.id, stream.c.last_heard_ms >= now_ms - ACTIVE_MS
    heard = sa.select(sensor.c.interval_s).where(sa.exists().where(*mine))
    cost = ROW_BYTES[connection.dialect.name]
    raw = rollups = 0.0
    for interval_s in connection.scalars(heard):
        readings = DAY_S / (interval_s or DEFAULT_INTERVAL_S)
        raw += readings * cost.raw
        rollups += sum(min(readings, DAY_S / unit_s) for _, unit_s in ROLLUPS) * cost.rollup
    return Growth(raw, rollups)
