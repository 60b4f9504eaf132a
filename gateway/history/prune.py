"""Retention: old raw readings go, in bounded transactions; their account and roll-ups stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from gateway.history.ledger import Ledger, Row
from gateway.history.marks import chunks
from gateway.history.schema import AnyRow, reading, sensor, span, stream
from gateway.history.settings import DAY_MS
from gateway.history.store import Store

CHUNK_ROWS = 2000  # in one transaction: a recorder waits no longer than for these
# A reading without a right date may get one as long as the edge's journal has it. A journal of the
# default size holds fewer than this; so the newest of a stream stay, however old they look.
UNDATED_KEPT = 1_000_000
# A stream of which nothing is left is forgotten when it was last heard of so long before the
# oldest reading that is kept: no journal can bring it back then, to be counted twice.
FORGET_MS = 366 * 86_400_000


def cut_off_ms(store: Store, *, days: int, now_ms: int) -> int | None:
    """Readings measured before this are past their time; None: nobody can say of any.

    A clock that is ahead must not remove what is not old: so it is reckoned from the newest reading
    with a right date, where that is before `now_ms`.
    """
    last_heard = (
        sa.select(stream.c.id)
        .where(stream.c.sensor_id == sensor.c.id)
        .order_by(stream.c.last_heard_ms.desc())
        .limit(1)
        .correlate(sensor)
        .scalar_subquery()
    )
    newest_ms = (
        sa.select(reading.c.measured_ms)
        .where(reading.c.stream_id == stream.c.id, reading.c.synchronised)
        .order_by(reading.c.measured_ms.desc())
        .limit(1)
        .scalar_subquery()
    )
    with store.read() as connection:
        ids = connection.scalars(sa.select(last_heard).select_from(sensor)).all()
        dates = [
            date_ms
            for some in chunks(one for one in ids if one is not None)
            for date_ms in connection.scalars(sa.select(newest_ms).where(stream.c.id.in_(some)))
            if date_ms is not None
        ]
    return min(now_ms, max(dates)) - days * DAY_MS if dates else None


def prune(store: Store, *, before_ms: int, progress: Callable[[int], object] | None = None) -> int:
    """Remove the readings measured before `before_ms`; returns how many those were.

    progress: called after each transaction with how many went in it. Raises StoreError; what was
    removed by then stays so.
    """
    removed = remove_older(store, before_ms=before_ms, progress=progress)
    ended = sa.select(stream).where(
        stream.c.last_heard_ms < before_ms - FORGET_MS, _oldest_ms().is_(None)
    )
    for row in _rows(store, ended):
        with store.begin() as connection:
            _forget(connection, row)
        if progress:
            progress(0)
    return removed


def remove_older(
    store: Store, *, before_ms: int, progress: Callable[[int], object] | None = None
) -> int:
    """As `prune`, and no stream is forgotten.

    Streams of which nothing expires are not visited: there may be thousands of them.
    """
    # The date of a stream's oldest reading decides first: one look into the index. A planner would
    # rewrite EXISTS alone to read every reading that stays; CASE fixes what is asked first.
    expired = sa.exists().where(_expired(stream.c, before_ms))
    due = sa.select(stream).where(sa.case((_oldest_ms() < before_ms, expired), else_=sa.false()))
    removed = 0
    for row in _rows(store, due):
        rows = CHUNK_ROWS
        while rows == CHUNK_ROWS:
            with store.begin() as connection:
                rows = _remove(connection, row, before_ms)
            removed += rows
            if progress:
                progress(rows)
    return removed


def _oldest_ms() -> sa.ScalarSelect[int]:
    """The date of a stream's oldest reading."""
    dates = sa.select(reading.c.measured_ms).where(reading.c.stream_id == stream.c.id)
    return dates.order_by(reading.c.measured_ms).limit(1).scalar_subquery()


def _rows(store: Store, query: sa.Select[Any]) -> Sequence[AnyRow]:
    with store.read() as connection:
        return connection.execute(query.order_by(stream.c.id)).all()


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
        sums = (
            Ledger((Row(*one[1:]) for one in ranges), row.newest_seq, open_end=bool(row.open_end))
            .sums()
            ._asdict()
        )
        sums["streams"] = 1
        less = {name: sensor.c[name] - number for name, number in sums.items()}
        connection.execute(sensor.update().values(less).where(sensor.c.id == row.sensor_id))
        connection.execute(span.delete().where(span.c.stream_id == row.id))
        connection.execute(stream.delete().where(stream.c.id == row.id))
