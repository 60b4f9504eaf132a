"""The account of the history: of every stream, what is stored, missing and lost.

From the ranges that the recorder keeps; no reading is counted for it, so that it costs the same
after years.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Row, ScalarSelect, select

from gateway.history.moments import moment
from gateway.history.schema import NO_CLOCK_BEFORE_MS, minute, reading, sensor, span, stream
from gateway.history.spans import Spans
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
    spans: dict[tuple[int, str], list[Row[Any]]] = defaultdict(list)
    of_interest = select(span).where(span.c.kind.in_(("stored", "lost")))
    for row in connection.execute(of_interest.order_by(span.c.stream_id, span.c.first_seq)):
        spans[row.stream_id, row.kind].append(row)
    sensors = []
    for (node, name), of_sensor in groupby(streams, lambda row: (row.node, row.name)):
        group = list(of_sensor)
        audits = [_stream(row, spans) for row in group if row.id is not None]
        newest_ms = max((row.newest_ms for row in group if row.newest_ms is not None), default=None)
        raw_ms = min((row.first_ms for row in group if row.first_ms is not None), default=None)
        minute_s = group[0].minute_s
        sums = {
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
                **sums,
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


def _stream(row: Row[Any], spans: dict[tuple[int, str], list[Row[Any]]]) -> StreamAudit:
    stored, lost = (
        Spans((one.first_seq, one.last_seq) for one in spans[row.id, kind])
        for kind in ("stored", "lost")
    )
    there = Spans(sorted([*stored, *lost]))
    last_seq = max([row.newest_seq, *(last for _, last in there)])
    gaps = spans[row.id, "lost"]
    gaps.sort(key=lambda one: (one.noted_ms, one.first_seq), reverse=True)
    return StreamAudit(
        stream=UUID(row.uuid),
        first_seq=min((first for first, _ in stored), default=None),
        last_seq=last_seq,
        stored=stored.total(),
        missing=last_seq - there.total(),
        lost=lost.total(),
        gaps=len(gaps),
        lost_spans=[
            LostSpan(
                first_seq=one.first_seq,
                last_seq=one.last_seq,
                count=one.last_seq - one.first_seq + 1,
                noted_at=moment(one.noted_ms),
                after_at=None if one.after_ms is None else moment(one.after_ms),
                before_at=None if one.before_ms is None else moment(one.before_ms),
            )
            for one in gaps[:LISTED_SPANS]
        ],
    )
