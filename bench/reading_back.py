"""How long a person waits for a year's curve, against GROUP BY over the raw readings."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from bench import year
from bench.processes import BenchError, Broker, fetch, gateway, say
from bench.stores import driver, opened
from gateway.history import query
from gateway.history.query import iso
from gateway.history.views import HistoryView
from tests.databases import Database

T = TypeVar("T")
POINTS = 500
DAY_MS = 86_400_000
PLAIN = """
SELECT (measured_ms - {begin}) / {width} AS bucket, count(*), min(temperature_c),
    avg(temperature_c), max(temperature_c), min(humidity_pct), avg(humidity_pct), max(humidity_pct)
    FROM reading WHERE stream_id = 1 {which} GROUP BY 1 ORDER BY 1
"""
# The year has all rows, and is read faster without being told so.
WHICH = "AND measured_ms >= {begin} AND measured_ms < {end}"


class Window(NamedTuple):
    """The last so many days. source: where its points come from."""

    name: str
    days: float
    source: str


YEAR = Window("a year", 365, "hour")
# The longest that is still drawn from minutes, and from readings.
WINDOWS = (YEAR, Window("20 days", 20, "minute"), Window("8 hours", 1 / 3, "reading"))


@dataclass
class Waits:
    """Milliseconds, one figure a time; and whether both gave the same points."""

    plain: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    http: list[float] = field(default_factory=list)
    same: bool = False
    answer_bytes: int = 0


Found = dict[tuple[str, str], Waits]  # by database and window


def measure(broker: Broker, *, plain_times: int, times: int) -> Found:
    """Each window in each database; all warm, but for the first of each."""
    found: Found = {}
    with year.years() as databases:
        for kind, database in databases.items():
            with gateway(broker, database.env) as (_, port):
                for window in WINDOWS:
                    found[kind, window.name] = waits = Waits()
                    _ask(database, port, window, waits, plain_times, times)
                    told = (f"{min(of):.1f}" for of in (waits.plain, waits.ours, waits.http))
                    say(f"{kind}, {window.name}: {', '.join(told)} ms")
    return found


def _ask(
    database: Database, port: int, window: Window, waits: Waits, plain_times: int, times: int
) -> None:
    begin_ms = year.TO_MS - round(window.days * DAY_MS)

    def ours() -> HistoryView:
        with store.read() as connection:
            view = query.history(connection, year.NODE, year.SENSOR, begin_ms, year.TO_MS, POINTS)
        if view is None or view.source != window.source:
            raise BenchError(f"{window.name} is not from the {window.source}s")
        return view

    store = opened(database, read_only=True)
    for _ in range(times):
        view = _timed(waits.ours, ours)
    store.close()
    with contextlib.closing(driver(database)) as connection:
        values = {"begin": begin_ms, "end": year.TO_MS, "width": round(view.bucket_s * 1000)}
        which = "" if window is YEAR else WHICH.format(**values)
        sql = PLAIN.format(which=which, **values)
        cursor = connection.cursor()
        for _ in range(plain_times):
            rows = _timed(waits.plain, lambda: cursor.execute(sql).fetchall())
    waits.same = _same(_points(view), [tuple(map(float, row[1:])) for row in rows])
    asked = f"from={iso(begin_ms)}&to={iso(year.TO_MS)}&points={POINTS}"
    path = f"/api/v1/sensors/{year.NODE}/{year.SENSOR}/history?{asked}"
    for _ in range(times):
        body = _timed(waits.http, lambda: fetch(port, path))
    waits.answer_bytes = len(body)
    if len(json.loads(body)["points"]) != len(view.points):
        raise BenchError("over HTTP there are other points")


def _timed(into: list[float], act: Callable[[], T]) -> T:
    began_s = time.perf_counter()
    found = act()
    into.append((time.perf_counter() - began_s) * 1000)
    return found


def _points(view: HistoryView) -> list[tuple[float, ...]]:
    return [
        (
            point.readings,
            *(
                value
                for of in (point.temperature_c, point.humidity_pct)
                for value in (of.min, of.mean, of.max)
            ),
        )
        for point in view.points
        if point is not None
    ]


def _same(ours: list[tuple[float, ...]], plain: list[tuple[float, ...]]) -> bool:
    """But for the last digit of what we round."""
    return len(ours) == len(plain) and all(
        abs(mine - theirs) <= 0.001
        for of_ours, of_plain in zip(ours, plain, strict=True)
        for mine, theirs in zip(of_ours, of_plain, strict=True)
    )
