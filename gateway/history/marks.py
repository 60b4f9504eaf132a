"""How far the database is with each sensor's streams: what the recorder publishes as `stored`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from broker.contract import MAX_EARLIER_STREAMS, MAX_NAMED_RANGES, Mark, Stored
from gateway.history.ledger import LOST, STORED, UNDATED
from gateway.history.schema import AnyRow, sensor, span, stream
from gateway.history.spans import Range

# A journal keeps a stream's readings for 7 days: so long after the last sign of it, and a day
# more, an edge may want to know how far it is.
RECENT_MS = 8 * 86_400_000
# With so many streams, more would be larger than the packet that the broker takes: whoever may write as
# a node could have the recorder disconnected.
EARLIER_RANGES = 8
_CHUNK = 500  # values in one IN (…)

Key = tuple[str, str]  # node, sensor
T = TypeVar("T")


def marks(connection: Connection, now_ms: int, sensor_ids: Iterable[int]) -> dict[Key, Stored]:
    """Of these sensors. First comes the stream that a sensor's live messages are of."""
    streams: dict[Key, list[AnyRow]] = defaultdict(list)
    for ids in chunks(sensor_ids):
        crowded = set(connection.scalars(_crowded(ids, now_ms)))
        queries = [_streams([one], now_ms, most=1 + MAX_EARLIER_STREAMS) for one in sorted(crowded)]
        if others := [one for one in ids if one not in crowded]:
            queries.append(_streams(others, now_ms))
        for query in queries:
            for row in connection.execute(query):
                streams[row.node, row.name].append(row)
    spans: dict[int, dict[str, list[Range]]] = defaultdict(lambda: defaultdict(list))
    for ids in chunks(row.id for rows in streams.values() for row in rows):
        ranges = sa.select(span.c.stream_id, span.c.kind, span.c.first_seq, span.c.last_seq)
        of_these = ranges.where(span.c.stream_id.in_(ids)).order_by(span.c.first_seq)
        for stream_id, kind, first, last in connection.execute(of_these):
            spans[stream_id][kind].append((first, last))
    said = {}
    for key, rows in streams.items():
        current = _mark(rows[0], spans[rows[0].id], MAX_NAMED_RANGES)
        earlier = [_mark(row, spans[row.id], EARLIER_RANGES) for row in rows[1:]]
        said[key] = Stored(**dict(current), earlier=earlier)
    return said


def _crowded(sensor_ids: Sequence[int], now_ms: int) -> sa.Select[Any]:
    """Those of the sensors that have more streams to say than are said: a few index entries each."""
    mine = stream.c.sensor_id == sensor.c.id
    more = [
        sa.select(stream.c.id)
        .where(mine, condition)
        .order_by(order.desc())
        .limit(1)
        .offset(1 + MAX_EARLIER_STREAMS)
        .correlate(sensor)
        .scalar_subquery()
        .is_not(None)
        for condition, order in (
            (stream.c.lacking_ms.is_not(None), stream.c.lacking_ms),
            (stream.c.last_heard_ms >= _since_ms(now_ms), stream.c.last_heard_ms),
        )
    ]
    return sa.select(sensor.c.id).where(sensor.c.id.in_(sensor_ids), sa.or_(*more))


def _since_ms(now_ms: int) -> sa.Case[int]:
    """Since when a stream must have been heard of to be said; any, of a sensor that was only imported."""
    return sa.case((sensor.c.current.is_(None), 0), else_=now_ms - RECENT_MS)


def _streams(sensor_ids: Sequence[int], now_ms: int, most: int | None = None) -> sa.Select[Any]:
    """The few of a sensor's streams that are said, however many it has: each is in an index.

    most: so many of each kind are enough; for one sensor only.
    """
    of_these = sa.select(stream.c.id).where(stream.c.sensor_id.in_(sensor_ids))
    joined = of_these.join_from(sensor, stream)
    wanted = [
        of_these.where(stream.c.lacking_ms.is_not(None)).order_by(stream.c.lacking_ms.desc()),
        joined.where(stream.c.last_heard_ms >= _since_ms(now_ms)).order_by(
            stream.c.last_heard_ms.desc()
        ),
    ]
    if most is None:
        wanted = [each.order_by(None) for each in wanted]
    else:
        wanted = [sa.select(each.limit(most).subquery().c.id) for each in wanted]
    found = sa.union(*wanted, joined.where(stream.c.uuid == sensor.c.current)).subquery()
    order = (
        stream.c.uuid != sensor.c.current,
        stream.c.missing == 0,
        stream.c.last_heard_ms.desc(),
        stream.c.id.desc(),
    )
    place = sa.func.row_number().over(partition_by=stream.c.sensor_id, order_by=order)
    ranked = (
        sa.select(stream, sensor.c.node, sensor.c.name, place.label("place"))
        .join_from(found, stream, stream.c.id == found.c.id)
        .join(sensor)
        .subquery()
    )
    said = sa.select(ranked).where(ranked.c.place <= 1 + MAX_EARLIER_STREAMS)
    return said.order_by(ranked.c.sensor_id, ranked.c.place)


def _mark(row: AnyRow, spans: Mapping[str, list[Range]], ranges: int) -> Mark:
    """`ranges`: so many it names of those that are undated, and of the lost, the newest."""
    stored = spans.get(STORED)
    return Mark(
        stream=UUID(row.uuid),
        seq=row.watermark,
        missing=row.missing,
        newest=stored[-1][1] if stored else 0,
        closed=_is_closed(row),
        undated=spans.get(UNDATED, [])[-ranges:],
        lost=spans.get(LOST, [])[-ranges:],
    )


def _is_closed(row: AnyRow) -> bool:
    """Is nothing to come of it, and known whether its end is?"""
    in_order = row.ended_seq is not None and row.ended_seq >= row.newest_seq
    return bool(row.open_end) or (in_order and not row.missing)


def chunks(values: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """So many values that any database takes them in one statement."""
    every = list(values)
    for begin in range(0, len(every), size):
        yield every[begin : begin + size]
