"""The last hours of every sensor at once, coarsely, for a small curve on each card.

One query that looks into the roll-up's key for each sensor: what the years before have left there
is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select

from gateway.history.query import GAP_INTERVALS
from gateway.history.schema import minute, sensor
from gateway.views import DEFAULT_INTERVAL_S

HOURS, POINTS = 6, 36
MINUTE_S = 60
MAX_SENSORS = 1000  # as many as any database takes in one query


class Means(NamedTuple):
    """Of the readings of one stretch of time."""

    temperature_c: float
    humidity_pct: float


Trend = list[Means | None]  # oldest first, evenly spaced; None: a gap
Trends = dict[tuple[str, str], Trend]  # by node and sensor


def trends(
    connection: Connection, until_s: int, hours: int = HOURS, points: int = POINTS
) -> Trends:
    """Of each sensor that has readings in these hours, up to the stretch that `until_s` is in.

    The stretches are always cut at the same moments, so that a curve only grows at its end.
    """
    width_s = max(MINUTE_S, hours * 3600 // points // MINUTE_S * MINUTE_S)
    last = until_s // width_s
    first = last - points + 1
    names = select(sensor.c.id, sensor.c.node, sensor.c.name, sensor.c.interval_s)
    every = {row.id: row for row in connection.execute(names.order_by(sensor.c.id))}
    answer: Trends = {}
    ids = list(every)
    for start in range(0, len(ids), MAX_SENSORS):
        query = _sums(ids[start : start + MAX_SENSORS], first * width_s, last * width_s, width_s)
        for sensor_id, of_sensor in groupby(connection.execute(query), lambda row: row[0]):
            _, node, name, interval_s = every[sensor_id]
            far_s = width_s + GAP_INTERVALS * (interval_s or DEFAULT_INTERVAL_S)
            means = {
                int(start_s) // width_s - first: _means(*sums) for _, start_s, *sums in of_sensor
            }
            answer[node, name] = _trend(means, points, far_s / width_s)
    return answer


def _sums(ids: list[int], first_s: int, last_s: int, width_s: int) -> Select[Any]:
    """Rows of: sensor, start, readings, and the sums of both quantities, in thousandths.

    The sensors are named: of a join with their table SQLite would read every minute there is.
    """
    at, c = minute.c.start_s, minute.c
    bucket = (at - at % width_s).label("bucket")  # not `//`: MySQL would round what it divides
    sums = (func.sum(of) for of in (c.readings, c.temperature_sum, c.humidity_sum))
    query = select(c.sensor_id, bucket, *sums).where(c.sensor_id.in_(ids))
    query = query.where(at >= first_s, at < last_s + width_s)
    return query.group_by(c.sensor_id, "bucket").order_by(c.sensor_id, "bucket")


def _means(readings: int, temperature_sum: int, humidity_sum: int) -> Means:
    scale = 1000 * int(readings)
    return Means(round(int(temperature_sum) / scale, 3), round(int(humidity_sum) / scale, 3))


def _trend(means: Mapping[int, Means], points: int, far: float) -> Trend:
    """`far`: further from one to the next is a gap.

    A sensor that seldom measures has none there: a straight line, as one would be drawn.
    """
    trend: Trend = [means.get(place) for place in range(points)]
    for begin, end in pairwise(means):
        if end - begin > far:
            continue
        for place in range(begin + 1, end):
            share = (place - begin) / (end - begin)
            ends = zip(means[begin], means[end], strict=True)
            trend[place] = Means(*(round(a + (b - a) * share, 3) for a, b in ends))
    return trend
