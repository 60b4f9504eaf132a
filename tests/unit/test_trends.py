"""The last hours of every sensor, on each of the databases; and how the gateway keeps them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import event

from gateway.history import trends as trends_module
from gateway.history.store import Store, Unavailable
from gateway.history.trends import HOURS, MAX_SENSORS, POINTS, Means, Trends, trends
from gateway.history.watch import TRENDS_EVERY_S, Watch
from tests.databases import Database
from tests.support import eventually
from tests.unit.past import BEGIN, OTHER, Past, ms, temperature_c
from tests.unit.told import Told

KEY = ("pi-1", "dht11")
WIDTH_S = HOURS * 3600 // POINTS


@pytest.fixture
def past(any_database: Database) -> Iterator[Past]:
    with contextlib.closing(Past(any_database)) as past:
        yield past


def read(past: Past, after_s: float, hours: int = HOURS, points: int = POINTS) -> Trends:
    """Until so long after BEGIN."""
    until_s = ms(BEGIN + timedelta(seconds=after_s)) // 1000
    with past.store.read() as connection:
        return trends(connection, until_s, hours, points)


def test_a_trend_is_of_the_means_and_of_all_the_sensors(past: Past) -> None:
    past.readings(range(1, 721))  # an hour
    past.readings(range(1, 121), sensor="patio", stream=OTHER)  # ten minutes
    both = read(past, 3599)
    assert set(both) == {KEY, ("pi-1", "patio")}
    mine = both[KEY]
    assert len(mine) == POINTS
    assert mine[:-6] == [None] * (POINTS - 6)
    for place, means in enumerate(mine[-6:]):
        numbers = range(120 * place + 1, 120 * place + 121)
        mean = sum(temperature_c(number) for number in numbers) / 120
        assert means is not None
        assert means.temperature_c == pytest.approx(mean, abs=0.0006)
        assert means.humidity_pct == 50
    assert [means is None for means in both["pi-1", "patio"][-6:]] == [False] + [True] * 5


def test_a_trend_grows_at_its_end_only(past: Past) -> None:
    past.readings(range(1, 721))
    old, new = read(past, 3599)[KEY], read(past, 3600)[KEY]
    assert new == [*old[1:], None]
    assert read(past, 3000)[KEY] == old  # what is in the stretch that is not over yet counts


def test_readings_before_and_after_are_left_out(past: Past) -> None:
    past.readings(range(1, 721), every_s=60)  # twelve hours
    trend = read(past, 9 * 3600 - 1)[KEY]
    assert None not in trend
    numbers = range(60 * 3 + 1, 60 * 3 + 11)  # those of the fourth hour's first ten minutes
    mean = sum(temperature_c(number) for number in numbers) / 10
    first = trend[0]
    assert first is not None
    assert first.temperature_c == pytest.approx(mean, abs=0.0006)


def test_a_gap_is_a_gap_and_a_sensor_that_seldom_measures_has_none(past: Past) -> None:
    past.health(interval_s=900)
    past.readings(range(1, 5), every_s=1500)  # 0, 25, 50, 75 minutes
    past.readings([9], every_s=1500)  # 200
    trend = read(past, 200 * 60, hours=6)[KEY]
    shown = [means and means.temperature_c for means in trend]
    first = next(place for place, value in enumerate(shown) if value is not None)
    assert first == POINTS - 21
    steps = [b - a for a, b in pairwise(value for value in shown[first : first + 8] if value)]
    assert len(steps) == 7  # nothing is lacking
    assert steps == pytest.approx([0.05, 0.05, 0.1 / 3, 0.1 / 3, 0.1 / 3, 0.05, 0.05], abs=0.001)
    assert shown[first + 8 : -1] == [None] * 12
    assert shown[-1] == pytest.approx(temperature_c(9))


def test_nothing_is_read_of_a_sensor_without_readings(past: Past) -> None:
    assert read(past, 0) == {}
    past.health()
    assert read(past, 0) == {}


@pytest.mark.parametrize("limit", [1, 2, 3, MAX_SENSORS])
def test_many_sensors_are_asked_for_in_parts(
    past: Past, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        past.readings([1], sensor=f"s{number}")
    monkeypatch.setattr(trends_module, "MAX_SENSORS", limit)
    asked: list[str] = []
    event.listen(past.store.engine, "before_cursor_execute", lambda *of: asked.append(of[2]))
    assert len(read(past, 0)) == 3
    assert sum("FROM minute" in sql for sql in asked) == -(-3 // limit)


def test_what_years_have_left_is_not_read(sqlite: Database) -> None:
    """SQLite says how it would go about it."""
    with contextlib.closing(Past(sqlite)) as past:
        past.readings([1])
        asked: list[tuple[str, tuple[object, ...]]] = []
        event.listen(
            past.store.engine,
            "before_cursor_execute",
            lambda *of: asked.append((of[2], of[3])) if "FROM minute" in of[2] else None,
        )
        read(past, 0)
        ((sql, values),) = asked
        with past.store.read() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
    assert "SEARCH minute USING PRIMARY KEY (sensor_id=? AND start_s>? AND start_s<?)" in {
        row[-1] for row in plan
    }


# ---- as the gateway keeps them


@pytest.fixture
def told() -> Told:
    told = Told()
    told.clock.now = BEGIN + timedelta(hours=1)
    return told


@pytest.fixture
def watched(sqlite: Database, told: Told) -> Iterator[tuple[Past, Watch]]:
    with contextlib.closing(Past(sqlite)) as past:
        yield past, Watch(past.store, monotonic=told.clock.monotonic, utcnow=told.clock.utcnow)


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def read(self: Store) -> Iterator[None]:
        raise Unavailable("history.db: locked")
        yield

    monkeypatch.setattr(Store, "read", read)


def test_trends_are_read_once_a_minute(watched: tuple[Past, Watch], told: Told) -> None:
    past, watch = watched
    assert watch.trends() == ({}, None)
    watch.refresh_trends()
    assert watch.trends() == ({}, BEGIN + timedelta(hours=1))
    past.readings([720])
    watch.refresh_trends()  # there were none: it does not wait for the minute
    first = watch.trends()
    assert first.by_sensor[KEY][-2:] == [Means(temperature_c(720), 50.0), None]
    past.readings([719], stream=OTHER)
    told.clock.pass_(TRENDS_EVERY_S - 1)
    watch.refresh_trends()
    assert watch.trends() is first
    told.clock.pass_(1)
    watch.refresh_trends()
    second = watch.trends()
    assert second.by_sensor[KEY] != first.by_sensor[KEY]
    assert second.at == BEGIN + timedelta(hours=1, seconds=TRENDS_EVERY_S)


def test_a_database_that_fails_leaves_the_last_and_their_time(
    watched: tuple[Past, Watch],
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    past, watch = watched
    past.readings([720])
    watch.refresh_trends()
    last = watch.trends()
    told.clock.pass_(TRENDS_EVERY_S)
    with monkeypatch.context() as patch:
        away(patch)
        watch.refresh_trends()
        watch.refresh_trends()
    assert watch.trends() is last
    assert caplog.messages == ["the history's trends cannot be read: history.db: locked"]
    told.clock.pass_(TRENDS_EVERY_S)
    watch.refresh_trends()
    assert watch.trends().at == told.clock.now


def test_its_thread_reads_them_and_a_request_never_does(
    watched: tuple[Past, Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    past, watch = watched
    past.readings([720])
    readers: set[str] = set()

    def noted(*arguments: object) -> Trends:
        readers.add(threading.current_thread().name)
        return {KEY: [None]}

    monkeypatch.setattr(trends_module, "trends", noted)
    watch.trends()
    watch.start()
    try:
        eventually("the trends are read", lambda: watch.trends().by_sensor)
    finally:
        watch.stop()
    assert readers == {"history-watch"}
