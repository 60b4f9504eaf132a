"""The account of the history: what is stored, missing and lost.

`audit` is read every few seconds: of each sensor one row of sums, which the recorder writes with the
readings, and a bounded number of rows besides, however many streams there ever were. What became of
each stream is in `streams`, a page at a time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Column, Connection, Row, ScalarSelect, Select, Table, func, select

from gateway.history.ledger import LOST, STORED
from gateway.history.marks import chunks
from gateway.history.moments import moment
from gateway.history.schema import (
    NO_CLOCK_BEFORE_MS,
    hour,
    minute,
    reading,
    sensor,
    span,
    stream,
)
from gateway.history.views import AuditView, LostSpan, SensorAudit, StreamAudit, StreamsView

LISTED_SPANS = 50  # of a stream
LISTED_SENSOR_SPANS, LOSING_STREAMS = 20, 5  # of a sensor, and from so many streams
# Beside the one that its live messages are of last: edges of one name, or old streams sent again.
RECENT_STREAMS = 3
_CHUNK_SENSORS = 100

StreamKey = tuple[str, str, UUID | None]  # node, sensor, stream


class Audit(NamedTuple):
    """`newest_stored`: the highest number that is stored, of the streams heard of last."""

    view: AuditView
    newest_stored: Mapping[StreamKey, int]


class Totals(NamedTuple):
    """A sensor's sums, by column of table sensor."""

    stored: int
    missing: int
    lost: int
    gaps: int
    open_ends: int


def audit(connection: Connection) -> Audit:
    """Of every sensor, by node and name."""
    sensors: Sequence[Any] = connection.execute(_SENSORS).all()
    newest_stored: dict[StreamKey, int] = {}
    newest_ms: dict[int, int] = {}
    for row in _recent(connection):
        if row.newest_stored is not None:
            newest_stored[row.node, row.name, UUID(row.uuid)] = row.newest_stored
        if row.newest_ms is not None:
            newest_ms[row.sensor_id] = max(row.newest_ms, newest_ms.get(row.sensor_id, 0))
    lost = _newest_lost(connection, [row.id for row in sensors if row.lost])
    audits = []
    for row in sensors:
        newest = (newest_ms.get(row.id), None if row.newest_s is None else row.newest_s * 1000)
        at_ms = max((ms for ms in newest if ms is not None), default=None)
        audits.append(
            SensorAudit(
                node=row.node,
                sensor=row.name,
                stored=row.stored,
                missing=row.missing,
                lost=row.lost,
                gaps=row.gaps,
                open_ends=row.open_ends,
                first_at=_first_at(row),
                newest_at=None if at_ms is None else moment(at_ms),
                lost_spans=lost[row.id],
            )
        )
    return Audit(AuditView(sensors=audits), newest_stored)


def streams(
    connection: Connection, node: str, name: str, *, after: UUID | None = None, limit: int
) -> StreamsView | None:
    """The streams of a sensor that come after this one; None: there is no such sensor or stream."""
    mine = sensor.c.node == node, sensor.c.name == name
    sensor_id = connection.scalar(select(sensor.c.id).where(*mine))
    if sensor_id is None:
        return None
    page = select(stream).where(stream.c.sensor_id == sensor_id).order_by(stream.c.id)
    if after is not None:
        of = stream.c.sensor_id == sensor_id, stream.c.uuid == str(after)
        if (after_id := connection.scalar(select(stream.c.id).where(*of))) is None:
            return None
        page = page.where(stream.c.id > after_id)
    rows: Sequence[Any] = connection.execute(page.limit(limit + 1)).all()
    sums: dict[tuple[int, str], Row[Any]] = {}
    lost: dict[int, list[LostSpan]] = defaultdict(list)
    for ids in chunks(row.id for row in rows[:limit]):
        counted = _SUMS.where(span.c.stream_id.in_(ids))
        sums |= {(row.stream_id, row.kind): row for row in connection.execute(counted)}
        newest = _ranked(span.c.stream_id, ids, LISTED_SPANS)
        for row in connection.execute(newest):
            lost[row.owner].append(_lost(row))
    return StreamsView(
        node=node,
        sensor=name,
        streams=[_stream(row, sums, lost[row.id]) for row in rows[:limit]],
        next=UUID(rows[limit - 1].uuid) if len(rows) > limit else None,
    )


def recounted(connection: Connection, node: str, name: str) -> Totals:
    """The sums of a sensor, made anew from the ranges of all its streams."""
    mine = sensor.c.node == node, sensor.c.name == name
    # added up here: what somebody made up may be more than a database can count
    ends = select(stream.c.newest_seq, stream.c.open_end).join_from(stream, sensor).where(*mine)
    exist = open_ends = 0
    for newest_seq, open_end in connection.execute(ends):
        exist += newest_seq
        open_ends += open_end
    numbers: Counter[str] = Counter()
    ranges: Counter[str] = Counter()
    for row in connection.execute(_SUMS.join_from(span, stream).join(sensor).where(*mine)):
        numbers[row.kind] += int(row.numbers)
        ranges[row.kind] += row.ranges
    return Totals(
        stored=numbers[STORED],
        missing=exist - numbers.total(),
        lost=numbers[LOST],
        gaps=ranges[LOST],
        open_ends=open_ends,
    )


# ---- of every sensor


def _end(table: Table, *, last: bool) -> ScalarSelect[Any]:
    """The first or last bucket of a sensor, of a date that a set clock can give: one index look."""
    at = table.c.start_s
    query = select(at).where(table.c.sensor_id == sensor.c.id, at >= NO_CLOCK_BEFORE_MS // 1000)
    return query.order_by(at.desc() if last else at).limit(1).scalar_subquery()


_SENSORS = select(
    sensor,
    _end(hour, last=False).label("hour_s"),
    _end(minute, last=False).label("minute_s"),
    _end(minute, last=True).label("newest_s"),
).order_by(sensor.c.node, sensor.c.name)


def _first_at(row: Any) -> Any:
    if row.hour_s is None:
        return None
    in_hour = row.minute_s is not None and row.minute_s < row.hour_s + 3600
    return moment((row.minute_s if in_hour else row.hour_s) * 1000)


def _nth(order: Column[Any], place: int) -> ScalarSelect[Any]:
    """The id of a sensor's stream that comes at this place from the end: one index look."""
    query = select(stream.c.id).where(stream.c.sensor_id == sensor.c.id, order.is_not(None))
    query = query.order_by(order.desc(), stream.c.id.desc()).limit(1).offset(place)
    return query.correlate(sensor).scalar_subquery()


_CURRENT = (
    select(stream.c.id)
    .where(stream.c.sensor_id == sensor.c.id, stream.c.uuid == sensor.c.current)
    .correlate(sensor)
    .scalar_subquery()
)
_RECENT = select(
    _CURRENT, *(_nth(stream.c.last_heard_ms, place) for place in range(RECENT_STREAMS))
)
_LOSING = select(*(_nth(stream.c.lost_ms, place) for place in range(LOSING_STREAMS)))


def _recent(connection: Connection) -> Iterable[Any]:
    newest_stored = (
        select(span.c.last_seq)
        .where(span.c.stream_id == stream.c.id, span.c.kind == STORED)
        .order_by(span.c.first_seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    newest_ms = (
        select(reading.c.measured_ms)
        .where(reading.c.stream_id == stream.c.id)
        .order_by(reading.c.measured_ms.desc())
        .limit(1)
        .scalar_subquery()
    )
    of_these = select(
        sensor.c.node,
        sensor.c.name,
        stream.c.sensor_id,
        stream.c.uuid,
        newest_stored.label("newest_stored"),
        newest_ms.label("newest_ms"),
    ).join_from(stream, sensor)
    found = connection.execute(_RECENT.select_from(sensor))
    for ids in chunks({one for row in found for one in row if one is not None}):
        yield from connection.execute(of_these.where(stream.c.id.in_(ids)))


def _newest_lost(connection: Connection, sensor_ids: Sequence[int]) -> dict[int, list[LostSpan]]:
    lost: dict[int, list[LostSpan]] = defaultdict(list)
    for some in chunks(sensor_ids, _CHUNK_SENSORS):
        found = connection.execute(_LOSING.select_from(sensor).where(sensor.c.id.in_(some)))
        ids = [one for row in found for one in row if one is not None]
        newest = _ranked(stream.c.sensor_id, ids, LISTED_SENSOR_SPANS)
        for row in connection.execute(newest):
            lost[row.owner].append(_lost(row))
    return lost


# ---- of a stream

_SUMS = (
    select(
        span.c.stream_id,
        span.c.kind,
        func.count().label("ranges"),
        func.sum(span.c.last_seq - span.c.first_seq + 1).label("numbers"),
        func.min(span.c.first_seq).label("first_seq"),
    )
    .where(span.c.kind.in_((STORED, LOST)))
    .group_by(span.c.stream_id, span.c.kind)
)


def _ranked(owner: Column[Any], stream_ids: Sequence[int], most: int) -> Select[Any]:
    """The lost ranges of these streams, by owner, newest first; of each owner so many."""
    order = span.c.noted_ms.desc(), span.c.first_seq.desc()
    place = func.row_number().over(partition_by=owner, order_by=order)
    ranked = (
        select(span, owner.label("owner"), place.label("place"))
        .join_from(span, stream)
        .where(span.c.stream_id.in_(stream_ids), span.c.kind == LOST)
        .subquery()
    )
    newest = select(ranked).where(ranked.c.place <= most)
    return newest.order_by(ranked.c.owner, ranked.c.place)


def _stream(
    row: Any, sums: Mapping[tuple[int, str], Row[Any]], lost_spans: list[LostSpan]
) -> StreamAudit:
    stored, lost = sums.get((row.id, STORED)), sums.get((row.id, LOST))
    # whole numbers: some databases sum up as decimals
    stored_total, lost_total = (int(each.numbers) if each else 0 for each in (stored, lost))
    return StreamAudit(
        stream=UUID(row.uuid),
        first_seq=stored.first_seq if stored else None,
        last_seq=row.newest_seq,
        stored=stored_total,
        missing=row.missing,
        lost=lost_total,
        gaps=lost.ranges if lost else 0,
        open_end=bool(row.open_end),
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
