"""Retention: old raw readings go, in bounded transactions; their account and roll-ups stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from gateway.history.ledger import Ledger, Row
from gateway.history.schema import AnyRow, reading, sensor, span, stream
from gateway.history.store import Store

CHUNK_ROWS = 2000  # in one transaction: a recorder waits no longer than for these
# A reading without a right date may get one as long as the edge's journal has it. A journal of the
# default size holds fewer than this; so the newest of a stream stay, however old they look.
UNDATED_KEPT = 1_000_000
# A stream of which nothing is left is forgotten when it was last heard of so long before the
# oldest reading that is kept: no journal can bring it back then, to be counted twice.
FORGET_MS = 366 * 86_400_000


def prune(store: Store, *, before_ms: int, progress: Callable[[int], object] | None = None) -> int:
    """Remove the readings measured before `before_ms`; returns how many those were.

    Streams of which nothing expires are not visited: there may be thousands of them. progress:
    called after each transaction with how many went in it. Raises StoreError; what was removed by
    then stays so.
    """
    due = sa.select(stream).where(_due(before_ms))
    with store.read() as connection:
        streams = connection.execute(due.order_by(stream.c.id)).all()
    removed = 0
    for row in streams:
        rows = CHUNK_ROWS
        while rows == CHUNK_ROWS:
            with store.begin() as connection:
                rows = _remove(connection, row, before_ms)
                if rows < CHUNK_ROWS and row.last_heard_ms < before_ms - FORGET_MS:
                    _forget(connection, row)
            removed += rows
            if progress:
                progress(rows)
    return removed


def _due(before_ms: int) -> ColumnElement[bool]:
    """Streams with readings to remove, or with none left and to be forgotten.

    The date of a stream's oldest reading decides first: one look into the index. A planner would
    rewrite EXISTS alone to read every reading that stays; CASE fixes what is asked first.
    """
    c = reading.c
    dates = sa.select(c.measured_ms).where(c.stream_id == stream.c.id)
    oldest_ms = dates.order_by(c.measured_ms).limit(1).scalar_subquery()
    expired = sa.exists().where(_expired(stream.c, before_ms))
    forgettable = sa.and_(stream.c.last_heard_ms < before_ms - FORGET_MS, oldest_ms.is_(None))
    return sa.case((oldest_ms < before_ms, expired), else_=forgettable)


def _expired(of: Any, before_ms: int) -> ColumnElement[bool]:
    """Readings to remove of a stream; `of`: its row, or the table's columns to join with."""
    c = reading.c
    return sa.and_(
        c.stream_id == of.id,
        c.measured_ms < before_ms,
        sa.or_(
            c.synchronised,
            c.seq <= of.newest_seq - UNDATED_KEPT,
            of.last_heard_ms < before_ms,
        ),
    )


def _remove(connection: Connection, row: AnyRow, before_ms: int) -> int:
    c = reading.c
    old = sa.select(c.seq).where(_expired(row, before_ms))
    numbers = connection.scalars(old.order_by(c.measured_ms).limit(CHUNK_ROWS)).all()
    if numbers:
        connection.execute(reading.delete().where(c.stream_id == row.id, c.seq.in_(numbers)))
    return len(numbers)


def _forget(connection: Connection, row: AnyRow) -> None:
    """Remove a stream, unless it has been heard of meanwhile or has readings (of later dates)."""
    lock = sa.select(sensor.c.id).where(sensor.c.id == row.sensor_id).with_for_update()
    connection.execute(lock)
    newer = sa.select(stream.c.id).where(
        stream.c.id == row.id, stream.c.last_heard_ms > row.last_heard_ms
    )
    left = sa.select(reading.c.seq).where(reading.c.stream_id == row.id).limit(1)
    if connection.execute(newer).first() is None and connection.execute(left).first() is None:
        ranges = connection.execute(sa.select(span).where(span.c.stream_id == row.id))
        sums = Ledger((Row(*one[1:]) for one in ranges), row.newest_seq).sums()._asdict()
        less = {name: sensor.c[name] - number for name, number in sums.items()}
        connection.execute(sensor.update().values(less).where(sensor.c.id == row.sensor_id))
        connection.execute(span.delete().where(span.c.stream_id == row.id))
        connection.execute(stream.delete().where(stream.c.id == row.id))
