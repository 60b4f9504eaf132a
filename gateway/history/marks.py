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
        for row in connection.execute(_streams(ids, now_ms)):
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


def _streams(sensor_ids: Sequence[int], now_ms: int) -> sa.Select[Any]:
    """The few of a sensor's streams that are said, however many it has: each is in an index."""
    of_these = stream.c.sensor_id.in_(sensor_ids)
    wanted = [
        sa.select(stream.c.id).where(of_these, stream.c.missing > 0),
        sa.select(stream.c.id).where(of_these, stream.c.last_heard_ms >= now_ms - RECENT_MS),
        *(
            sa.select(stream.c.id)
            .join_from(sensor, stream)
            .where(sensor.c.id.in_(sensor_ids), condition)
            for condition in (stream.c.uuid == sensor.c.current, sensor.c.current.is_(None))
        ),
    ]
    found = sa.union(*wanted).subquery()
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
