"""The account of the history: of every stream, what is stored, missing and lost.

From the ranges that the recorder keeps; no reading is counted for it, so that it costs the same
after years.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Row, ScalarSelect, Select, func, select

from gateway.history.ledger import LOST, STORED
from gateway.history.moments import moment
from gateway.history.schema import NO_CLOCK_BEFORE_MS, minute, reading, sensor, span, stream
from gateway.history.views import AuditView, LostSpan, SensorAudit, StreamAudit

LISTED_SPANS = 50


def audit(connection: Connection) -> AuditView:
    """What is stored, missing and lost of every stream; no reading is counted for it."""
    newest = (
        select(reading.c.measured_ms)
        .where(reading.c.stream_id == stream.c.id)
        .order_by(reading.c.measured_ms.desc())
        .limit(1)
        .scalar_subquery()
    )
    since_ms, mine = NO_CLOCK_BEFORE_MS, reading.c.stream_id == stream.c.id
    first_raw = _first(reading.c.measured_ms, mine, since_ms)
    first_minute = _first(minute.c.start_s, minute.c.sensor_id == sensor.c.id, since_ms // 1000)
    every = (
        select(
            sensor.c.node,
            sensor.c.name,
            stream.c.id,
            stream.c.uuid,
            stream.c.newest_seq,
            newest.label("newest_ms"),
            first_raw.label("first_ms"),
            first_minute.label("minute_s"),
        )
        .join_from(sensor, stream, isouter=True)
        .order_by(sensor.c.node, sensor.c.name, stream.c.first_heard_ms, stream.c.id)
    )
    streams: Sequence[Any] = connection.execute(every).all()
    sums = {(row.stream_id, row.kind): row for row in connection.execute(_SUMS)}
    lost: dict[int, list[LostSpan]] = defaultdict(list)
    for row in connection.execute(_newest_lost()):
        lost[row.stream_id].append(_lost(row))
    sensors = []
    for (node, name), of_sensor in groupby(streams, lambda row: (row.node, row.name)):
        group = list(of_sensor)
        audits = [_stream(row, sums, lost[row.id]) for row in group if row.id is not None]
        newest_ms = max((row.newest_ms for row in group if row.newest_ms is not None), default=None)
        raw_ms = min((row.first_ms for row in group if row.first_ms is not None), default=None)
        minute_s = group[0].minute_s
        totals = {
            count: sum(getattr(one, count) for one in audits)
            for count in ("stored", "missing", "lost", "gaps")
        }
        first_at = None if minute_s is None else moment(first_ms(minute_s, raw_ms))
        newest_at = None if newest_ms is None else moment(newest_ms)
        sensors.append(
            SensorAudit(
                node=node,
                sensor=name,
                first_at=first_at,
                newest_at=newest_at,
                streams=audits,
                **totals,
            )
        )
    return AuditView(sensors=sensors)


def first_ms(minute_s: int, raw_ms: int | None) -> int:
    """The first reading's date: of its minute, and of the first raw one that is still there."""
    if raw_ms is not None and raw_ms < (minute_s + 60) * 1000:
        return raw_ms
    return minute_s * 1000


def _first(column: Column[int], mine: ColumnElement[bool], since: int) -> ScalarSelect[Any]:
    """The lowest that is not below `since`: one look into an index."""
    query = select(column).where(mine, column >= since).order_by(column)
    return query.limit(1).scalar_subquery()


_SUMS = (
    select(
        span.c.stream_id,
        span.c.kind,
        func.count().label("ranges"),
        func.sum(span.c.last_seq - span.c.first_seq + 1).label("numbers"),
        func.min(span.c.first_seq).label("first_seq"),
        func.max(span.c.last_seq).label("last_seq"),
    )
    .where(span.c.kind.in_((STORED, LOST)))
    .group_by(span.c.stream_id, span.c.kind)
)


def _newest_lost() -> Select[Any]:
    """Of each stream, newest first."""
    order = span.c.noted_ms.desc(), span.c.first_seq.desc()
    place = func.row_number().over(partition_by=span.c.stream_id, order_by=order)
    ranked = select(span, place.label("place")).where(span.c.kind == LOST).subquery()
    newest = select(ranked).where(ranked.c.place <= LISTED_SPANS)
    return newest.order_by(ranked.c.stream_id, ranked.c.place)


def _stream(
    row: Row[Any], sums: Mapping[tuple[int, str], Row[Any]], lost_spans: list[LostSpan]
) -> StreamAudit:
    stored, lost = sums.get((row.id, STORED)), sums.get((row.id, LOST))
    last_seq = max(row.newest_seq, *(each.last_seq for each in (stored, lost) if each), 0)
    # whole numbers: some databases sum up as decimals
    stored_total, lost_total = (int(each.numbers) if each else 0 for each in (stored, lost))
    return StreamAudit(
        stream=UUID(row.uuid),
        first_seq=stored.first_seq if stored else None,
        last_seq=last_seq,
        stored=stored_total,
        missing=last_seq - stored_total - lost_total,
        lost=lost_total,
        gaps=lost.ranges if lost else 0,
        lost_spans=lost_spans,
    )


def _lost(row: Row[Any]) -> LostSpan:
    return LostSpan(
        first_seq=row.first_seq,
        last_seq=row.last_seq,
        count=row.last_seq - row.first_seq + 1,
        noted_at=moment(row.noted_ms),
        after_at=None if row.after_ms is None else moment(row.after_ms),
        before_at=None if row.before_ms is None else moment(row.before_ms),
    )
