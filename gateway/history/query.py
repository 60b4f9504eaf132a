"""Reads the history, by buckets of time and row by row.

Nothing here writes. Times are milliseconds since 1970, UTC. What the database refuses is for the
store's `read` to say: a StoreError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, func, select

from gateway.history.moments import moment
from gateway.history.schema import NO_CLOCK_BEFORE_MS, hour, minute, reading, sensor, stream
from gateway.history.store import Store
from gateway.history.views import Extremes, HistoryView, Point
from gateway.views import DEFAULT_INTERVAL_S

GAP_INTERVALS = 3
CHUNK_ROWS = 5000
MAX_RAW_STREAMS = 1000  # as many as any database takes in one query
CSV_HEADER = (
    "node,sensor,stream,seq,measured_at,clock_synchronised,temperature_c,humidity_pct,source\n"
)
DAY_PARTS_H = (1, 2, 3, 4, 6, 8, 12, 24)
_PARTS = ("min", "sum", "max")
_UNIT_MS = {"hour": 3_600_000, "minute": 60_000, "reading": 1}


class Raw(NamedTuple):
    """A reading as it is in the database, in the order of the CSV's columns."""

    node: str
    sensor: str
    stream: str
    seq: int
    measured_ms: int
    synchronised: bool
    temperature_c: float
    humidity_pct: float
    source: str


def known(connection: Connection, node: str, name: str) -> Row[int, float | None] | None:
    """The sensor's id and interval_s; None: the history has no such sensor."""
    wanted = select(sensor.c.id, sensor.c.interval_s)
    return connection.execute(wanted.where(sensor.c.node == node, sensor.c.name == name)).first()


# ---- by buckets of time


def history(
    connection: Connection, node: str, name: str, from_ms: int, to_ms: int, points: int
) -> HistoryView | None:
    """Up to `points` buckets, and the gaps between them; None: no such sensor.

    From the coarsest roll-up that is fine enough; so the first and the last bucket may hold
    readings of their minute or hour from just outside.
    """
    found = known(connection, node, name)
    if found is None:
        return None
    sensor_id, interval_s = found
    starts = select(func.min(minute.c.start_s)).where(minute.c.sensor_id == sensor_id)
    ends = select(func.max(hour.c.start_s)).where(hour.c.sensor_id == sensor_id)
    oldest_s, newest_s = connection.scalar(starts), connection.scalar(ends)
    # before this, the disk budget has taken the minutes and left the hours
    first_minute_s, first_hour_s = (_first_dated(connection, t, sensor_id) for t in (minute, hour))
    minutes_from_ms = 0
    if first_hour_s is not None and (first_minute_s or newest_s) >= first_hour_s + 3600:
        oldest_s = min(first_hour_s, oldest_s or first_hour_s)
        minutes_from_ms = 1000 * (first_minute_s or newest_s + 3600)
    there = False
    if oldest_s is not None and newest_s is not None:
        raw = _first_raw(connection, sensor_id, oldest_s * 1000, oldest_s * 1000 + 60_000)
        raw_ms = min(raw.values(), default=None)
        begin_ms, end_ms = _first_ms(oldest_s, raw_ms), (newest_s + 3600) * 1000
        if there := from_ms < end_ms and to_ms > begin_ms:
            from_ms, to_ms = max(from_ms, begin_ms), min(to_ms, end_ms)
    share_ms = (to_ms - from_ms) / points
    coarse = share_ms >= _UNIT_MS["hour"] or from_ms < minutes_from_ms
    source = hour if coarse else minute
    mine = source.c.sensor_id == sensor_id
    fine = there and share_ms < _UNIT_MS["minute"]
    if fine and (streams := _raw_streams(connection, sensor_id, from_ms, to_ms)):
        source, mine = reading, reading.c.stream_id.in_(streams)
    unit_ms = _UNIT_MS[source.name]
    start_ms = from_ms - from_ms % unit_ms
    width_ms = unit_ms * max(1, -(-(to_ms - start_ms) // (unit_ms * points)))
    if source is hour:
        width_ms = _with_the_day(width_ms)
    buckets = _buckets(source, mine, start_ms, to_ms, width_ms)
    rows = connection.execute(buckets).all() if there else []
    far_ms = width_ms + GAP_INTERVALS * 1000 * (interval_s or DEFAULT_INTERVAL_S)
    answer: list[Point | None] = []
    last_ms = None
    for row in rows:
        at_ms = int(row[0]) * (1 if source is reading else 1000)
        if last_ms is not None and at_ms - last_ms > far_ms:
            answer.append(None)
        answer.append(_point(at_ms, row[1:], 1 if source is reading else 1000))
        last_ms = at_ms
    return HistoryView(
        node=node,
        sensor=name,
        from_=moment(from_ms),
        to=moment(to_ms),
        bucket_s=width_ms / 1000,
        source=source.name,
        points=answer,
    )


def _first_dated(connection: Connection, table: Table, sensor_id: int) -> int | None:
    """The first bucket of a date that a set clock can give."""
    at = table.c.start_s
    dated = select(at).where(table.c.sensor_id == sensor_id, at >= NO_CLOCK_BEFORE_MS // 1000)
    first: int | None = connection.scalar(dated.order_by(at).limit(1))
    return first


def _first_ms(minute_s: int, raw_ms: int | None) -> int:
    """The first reading's date: of its minute, and of the first raw one that is still there."""
    if raw_ms is not None and raw_ms < (minute_s + 60) * 1000:
        return raw_ms
    return minute_s * 1000


def _with_the_day(width_ms: int) -> int:
    """The next width that goes into a day, or days into it: others beat against day and night."""
    hours = width_ms // _UNIT_MS["hour"]
    fitting = next((n for n in DAY_PARTS_H if n >= hours), -(-hours // 24) * 24)
    return fitting * _UNIT_MS["hour"]


def _first_raw(connection: Connection, sensor_id: int, from_ms: int, to_ms: int) -> dict[int, int]:
    """Of each stream that has raw readings in the range the date of the first, by its id.

    One look into an index for each; of a plain join MariaDB would read every stream.
    """
    at = reading.c.measured_ms
    mine = select(at).where(reading.c.stream_id == stream.c.id, at >= from_ms)
    first = mine.order_by(at).limit(1).scalar_subquery().label("first_ms")
    every = select(stream.c.id, first).where(stream.c.sensor_id == sensor_id).subquery()
    found = connection.execute(select(every).where(every.c.first_ms < to_ms))
    return {row.id: row.first_ms for row in found}


def _raw_streams(connection: Connection, sensor_id: int, from_ms: int, to_ms: int) -> Sequence[int]:
    """The streams with raw readings in the range; none where retention has taken some of them."""
    first = _first_raw(connection, sensor_id, from_ms, to_ms)
    if not 0 < len(first) <= MAX_RAW_STREAMS:
        return ()
    until_s = min(first.values()) // 1000 - 60
    at = minute.c.start_s
    before = select(at).where(minute.c.sensor_id == sensor_id, at >= -(-from_ms // 1000))
    taken = connection.execute(before.where(at <= until_s).limit(1)).first()
    return list(first) if taken is None else ()


def _buckets(
    source: Table, mine: ColumnElement[bool], start_ms: int, to_ms: int, width_ms: int
) -> Select[Any]:
    """Rows of: start, readings, and (min, sum, max) of both quantities; in the source's units."""
    values: list[ColumnElement[Any]]
    count: ColumnElement[Any] = func.count()
    if source is reading:
        at, start, end, width = reading.c.measured_ms, start_ms, to_ms, width_ms
        values = [reading.c.temperature_c] * 3 + [reading.c.humidity_pct] * 3
    else:
        at, start = source.c.start_s, start_ms // 1000
        end, width = -(-to_ms // 1000), width_ms // 1000
        values = [source.c[f"{of}_{part}"] for of in ("temperature", "humidity") for part in _PARTS]
        count = func.sum(source.c.readings)
    bucket = at - (at - start) % width  # not `//`: MySQL would round what it divides
    parts = [getattr(func, part)(value) for part, value in zip(_PARTS * 2, values, strict=True)]
    query = select(bucket.label("bucket"), count, *parts).where(mine, at >= start, at < end)
    return query.group_by("bucket").order_by("bucket")


def _point(at_ms: int, row: Sequence[Any], scale: int) -> Point:
    count = int(row[0])
    temperature_c, humidity_pct = (
        Extremes(min=low, mean=round(float(total) / (count * scale), 3), max=high)
        for low, total, high in (row[1:4], row[4:7])
    )
    return Point(
        start=moment(at_ms), readings=count, temperature_c=temperature_c, humidity_pct=humidity_pct
    )


# ---- row by row


def rows(
    store: Store,
    key: tuple[str, str] | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    *,
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[list[Raw]]:
    """Every reading of a sensor (node, name), or of all, measured from `from_ms` to before `to_ms`.

    Stream by stream as they were first heard of, by seq, in chunks; between two chunks nothing of
    the database is held. Raises StoreError.
    """
    streams = select(sensor.c.node, sensor.c.name, stream.c.uuid, stream.c.id)
    streams = streams.join_from(stream, sensor).order_by(stream.c.first_heard_ms, stream.c.id)
    if key is not None:
        streams = streams.where(sensor.c.node == key[0], sensor.c.name == key[1])
    with store.read() as connection:
        found = connection.execute(streams).all()
    c = reading.c
    columns = c.seq, c.measured_ms, c.synchronised, c.temperature_c, c.humidity_pct, c.source
    for node, name, uuid, stream_id in found:
        wanted = [c.stream_id == stream_id]
        if from_ms is not None:
            wanted.append(c.measured_ms >= from_ms)
        if to_ms is not None:
            wanted.append(c.measured_ms < to_ms)
        # Where the dates lie among the numbers, so that no chunk has to look for its first row;
        # + 0, or PostgreSQL would look for it itself, from the stream's beginning.
        with store.read() as connection:
            ends = select(func.min(c.seq + 0), func.max(c.seq + 0)).where(*wanted)
            first, last = connection.execute(ends).one()
        while first is not None and first <= last:
            query = select(*columns).where(*wanted, c.seq.between(first, last)).order_by(c.seq)
            with store.read() as connection:
                found_rows = connection.execute(query.limit(chunk_rows))
                chunk = [Raw(node, name, uuid, *row) for row in found_rows]
            if not chunk:
                break
            yield chunk
            first = chunk[-1].seq + 1


def csv(chunk: Sequence[Raw]) -> str:
    """Lines of CSV. No value needs quotes: ids, words and numbers is all there is."""
    return "".join(
        f"{node},{name},{uuid},{seq},{iso(ms)},{'true' if right else 'false'},{t!r},{h!r},{source}\n"
        for node, name, uuid, seq, ms, right, t, h, source in chunk
    )


def iso(ms: int) -> str:
    """As the contract writes a moment."""
    return f"{moment(ms).isoformat(timespec='milliseconds')[:-6]}Z"
