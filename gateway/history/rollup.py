"""Roll-ups: count, min, sum and max by minute and hour, kept in the transaction of the readings.

What comes is added to what is there; only where readings leave a bucket, because they were given
another date, is it made anew. An hour is the sum of its minutes, until the disk budget takes those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from gateway.history.dialects import upsert
from gateway.history.schema import ROLLUPS, hour, minute, reading, stream
from gateway.history.spans import Spans

Reading = tuple[int, float, float]  # measured_ms, temperature_c, humidity_pct
_MINUTE_S, _HOUR_S = (unit_s for _, unit_s in ROLLUPS)
_MERGE = {"readings": "sum"} | {
    f"{quantity}_{part}": part
    for quantity in ("temperature", "humidity")
    for part in ("min", "sum", "max")
}


class Bucket(NamedTuple):
    """One row of a roll-up, without its key; the sums are in thousandths."""

    readings: int
    temperature_min: float
    temperature_sum: int
    temperature_max: float
    humidity_min: float
    humidity_sum: int
    humidity_max: float


Buckets = dict[int, Bucket]  # by start_s


def add(connection: Connection, readings: Mapping[int, Iterable[Reading]]) -> None:
    """Count in readings, by sensor_id, that were not counted before."""
    minutes = {sensor_id: _minutes(rows) for sensor_id, rows in readings.items()}
    upsert(connection, minute, list(_rows(minutes)), **_MERGE)
    hours = {sensor_id: _merged(of.items(), _HOUR_S) for sensor_id, of in minutes.items()}
    upsert(connection, hour, list(_rows(hours)), **_MERGE)


def leave(connection: Connection, sensor_id: int, readings: Iterable[Reading]) -> None:
    """Take out readings that now have other dates (and are counted there); these are the old ones.

    Minutes come from the raw readings, and hours from minutes. Where some of those were removed for
    their age or the disk budget, count and sum are right still, and min and max may be those of a
    reading that left.
    """
    left = _minutes(readings)
    raw: Buckets = {}
    for begin_s, end_s in _runs(left, _MINUTE_S):
        raw |= _minutes(_raw(connection, sensor_id, begin_s * 1000, end_s * 1000))
    _take_out(connection, minute, sensor_id, left, raw)
    out = _merged(left.items(), _HOUR_S)
    of_hours: Buckets = {}
    for begin_s, end_s in _runs(out, _HOUR_S):
        of_hours |= _counted(connection, minute, sensor_id, begin_s, end_s)
    _take_out(connection, hour, sensor_id, out, _merged(of_hours.items(), _HOUR_S))


def _runs(starts_s: Iterable[int], unit_s: int) -> Iterator[tuple[int, int]]:
    """Begin and end of consecutive buckets."""
    for first, last in Spans((start_s // unit_s, start_s // unit_s) for start_s in starts_s):
        yield first * unit_s, (last + 1) * unit_s


def _take_out(
    connection: Connection, table: Table, sensor_id: int, left: Buckets, remade: Buckets
) -> None:
    """What is `left` out of a roll-up's buckets; `remade`: those made anew of what is still there."""
    unit_s = _MINUTE_S if table is minute else _HOUR_S
    counted: Buckets = {}
    for begin_s, end_s in _runs(left, unit_s):
        counted |= _counted(connection, table, sensor_id, begin_s, end_s)
    changed: Buckets = {}
    gone = []
    for start_s, out in left.items():
        old = counted.get(start_s, out)
        readings_left = old.readings - out.readings
        if readings_left <= 0:
            gone.append(start_s)
        elif start_s in remade and remade[start_s].readings == readings_left:
            changed[start_s] = remade[start_s]
        else:
            changed[start_s] = old._replace(
                readings=readings_left,
                temperature_sum=old.temperature_sum - out.temperature_sum,
                humidity_sum=old.humidity_sum - out.humidity_sum,
            )
    _replace(connection, table, sensor_id, changed, gone)


def thousandths(value: float) -> int:
    """A value as it is summed up: a whole number of thousandths, half to even."""
    return round(value * 1000)


def _minutes(readings: Iterable[Reading]) -> Buckets:
    return _merged(
        (
            (ms // 1000, Bucket(1, t, thousandths(t), t, h, thousandths(h), h))
            for ms, t, h in readings
        ),
        _MINUTE_S,
    )


def _merged(parts: Iterable[tuple[int, Bucket]], unit_s: int) -> Buckets:
    buckets: Buckets = {}
    for at_s, new in parts:
        start_s = at_s - at_s % unit_s
        old = buckets.get(start_s)
        buckets[start_s] = new if old is None else Bucket(
            old[0] + new[0],
            min(old[1], new[1]), old[2] + new[2], max(old[3], new[3]),
            min(old[4], new[4]), old[5] + new[5], max(old[6], new[6]),
        )  # fmt: skip
    return buckets


def _rows(buckets: Mapping[int, Buckets]) -> Iterator[dict[str, float]]:
    for sensor_id, of_sensor in buckets.items():
        for start_s, bucket in of_sensor.items():
            yield {"sensor_id": sensor_id, "start_s": start_s, **bucket._asdict()}


def _raw(connection: Connection, sensor_id: int, from_ms: int, to_ms: int) -> list[Reading]:
    c = reading.c
    query = (
        sa.select(c.measured_ms, c.temperature_c, c.humidity_pct)
        .join(stream, stream.c.id == c.stream_id)
        .where(stream.c.sensor_id == sensor_id, c.measured_ms >= from_ms, c.measured_ms < to_ms)
    )
    return [(ms, t, h) for ms, t, h in connection.execute(query)]


def _counted(
    connection: Connection, table: Table, sensor_id: int, from_s: int, to_s: int
) -> Buckets:
    c = table.c
    query = sa.select(c.start_s, *(c[name] for name in Bucket._fields)).where(
        c.sensor_id == sensor_id, c.start_s >= from_s, c.start_s < to_s
    )
    return {row[0]: Bucket(*row[1:]) for row in connection.execute(query)}


def _replace(
    connection: Connection, table: Table, sensor_id: int, buckets: Buckets, gone: Sequence[int]
) -> None:
    upsert(connection, table, list(_rows({sensor_id: buckets})))
    if gone:
        condition = (table.c.sensor_id == sensor_id, table.c.start_s == sa.bindparam("gone_s"))
        connection.execute(table.delete().where(*condition), [{"gone_s": s} for s in gone])
