"""A range of time as the address of a sensor's page asks for it, and the answers that are kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection

from gateway import locale
from gateway import past as past_module
from gateway.history import query
from gateway.history.moments import LATEST_MS
from gateway.history.views import HistoryView
from gateway.history.watch import Watch
from gateway.past import (
    AT_ONCE,
    KEPT,
    KEPT_S,
    POINTS,
    RANGES_MS,
    SLOW_S,
    WAIT_S,
    Range,
    asked_range,
    iso,
    labels,
    wider,
)
from gateway.past import Past as Kept
from gateway.problems import Problem
from tests.support import PATIENCE_S
from tests.unit.past import BEGIN, Past, away, ms
from tests.unit.told import Told, make_client

NOW = datetime(2026, 5, 3, 9, 0, 7, tzinfo=UTC)
DAY_MS = 86_400_000
TWENTY_YEARS = timedelta(days=20 * 365)


@pytest.fixture
def app() -> Flask:
    return make_client(Told()).application


def asked(app: Flask, query_: str, now: datetime = NOW) -> Range:
    with app.test_request_context(f"/?{query_}"):
        return asked_range(now)


@pytest.mark.parametrize(
    ("name", "long"),
    [
        ("1h", timedelta(hours=1)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("30d", timedelta(days=30)),
        ("1y", timedelta(days=365)),
    ],
)
def test_a_range_by_name_ends_now_and_moves_on_in_steps_of_a_point(
    app: Flask, name: str, long: timedelta
) -> None:
    range_ = asked(app, f"range={name}")
    long_ms = long // timedelta(milliseconds=1)
    assert (range_.name, range_.to_ms - range_.from_ms) == (name, long_ms)
    step_ms = long_ms // POINTS
    assert 0 <= range_.to_ms - ms(NOW) < step_ms
    assert range_.to_ms % step_ms == 0
    # the same for whoever asks until then, and one step on after it
    last = NOW + timedelta(milliseconds=range_.to_ms - ms(NOW))
    assert asked(app, f"range={name}", last) == range_
    beyond = asked(app, f"range={name}", last + timedelta(milliseconds=1))
    assert beyond.to_ms == range_.to_ms + step_ms


def test_without_any_it_is_the_last_day(app: Flask) -> None:
    assert asked(app, "") == asked(app, "range=24h")
    assert list(RANGES_MS) == ["1h", "24h", "7d", "30d", "1y"]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("2026-05-03T08:00:00Z", "2026-05-03T09:00:00Z"),
        ("2026-05-03T08:00", "2026-05-03T09:00"),
        ("2026-05-03T08:00:00", "2026-05-03T09:00:00.000"),
        ("2026-05-03T10:00:00%2B02:00", "2026-05-03T07:00-02:00"),
        ("2026-05-03T10:00:00+02:00", "2026-05-03T09:00Z"),
    ],
)
def test_a_moment_has_a_zone_or_is_utc_as_a_browser_s_own_input_gives_it(
    app: Flask, begin: str, end: str
) -> None:
    begins = ms(datetime(2026, 5, 3, 8, tzinfo=UTC))
    assert asked(app, f"from={begin}&to={end}") == Range("", begins, begins + 3_600_000)


def test_a_date_is_its_midnight_utc_and_one_end_is_enough(app: Flask) -> None:
    midnight = ms(datetime(2026, 5, 3, tzinfo=UTC))
    assert asked(app, "from=2026-05-03") == Range("", midnight, ms(NOW))
    assert asked(app, "to=2026-05-03") == Range("", midnight - DAY_MS, midnight)
    both = asked(app, "from=2026-05-02&to=2026-05-03")
    assert both == Range("", midnight - DAY_MS, midnight)


def test_ten_seconds_to_twenty_years_can_be_asked_for(app: Flask) -> None:
    end = datetime(2026, 5, 3, tzinfo=UTC)
    for long in (timedelta(seconds=10), TWENTY_YEARS):
        begin = f"{end - long:%Y-%m-%dT%H:%M:%S}"
        range_ = asked(app, f"from={begin}&to=2026-05-03")
        assert range_.to_ms - range_.from_ms == long // timedelta(milliseconds=1)
    for long in (timedelta(seconds=9), timedelta(0), TWENTY_YEARS + timedelta(seconds=1)):
        begin = f"{end - long:%Y-%m-%dT%H:%M:%S}"
        with pytest.raises(Problem, match="10 s to 20 years before to") as refused:
            asked(app, f"from={begin}&to=2026-05-03")
        assert refused.value.parameter == "from"
        assert f"'{begin}'" in refused.value.detail


def test_the_ends_of_time_are_ranges_too(app: Flask) -> None:
    assert asked(app, "to=0001-01-01") == Range("", -DAY_MS, 0)
    assert asked(app, "from=9999-12-31&to=9999-12-31T23:59:59-14:00").to_ms == LATEST_MS
    for now in (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
        for name in RANGES_MS:
            asked(app, f"range={name}", now)


# ---- wider


def test_wider_is_three_times_as_long_around_the_same_middle() -> None:
    begin = ms(BEGIN)
    asked_ = Range("", begin, begin + 60_000)
    assert wider(asked_, BEGIN + timedelta(days=1)) == Range("", begin - 60_000, begin + 120_000)


def test_wider_does_not_go_further_than_now_nor_than_what_was_asked() -> None:
    now = ms(BEGIN)
    day = Range("24h", now - DAY_MS, now)
    assert wider(day, BEGIN) == Range("", now - 3 * DAY_MS, now)
    ahead = Range("", now, now + 60_000)
    assert wider(ahead, BEGIN) == Range("", now - 120_000, now + 60_000)


def test_wider_stays_within_what_can_be_asked(app: Flask) -> None:
    range_, now = asked(app, "range=1y"), NOW
    for _ in range(8):
        range_ = wider(range_, now)
        assert range_.from_ms >= 0
        assert asked(app, f"from={iso(range_.from_ms)}&to={iso(range_.to_ms)}") == range_
    assert range_.to_ms - range_.from_ms == TWENTY_YEARS // timedelta(milliseconds=1)
    earliest = wider(Range("", -DAY_MS, 0), now)
    assert earliest.from_ms == 0 < earliest.to_ms


def test_an_address_has_a_moment_to_the_second_or_finer_where_it_is() -> None:
    assert iso(ms(BEGIN)) == "2026-05-03T08:00:00Z"
    assert iso(ms(BEGIN) + 40) == "2026-05-03T08:00:00.040Z"


# ---- what is kept


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The end of each range that the database was asked for."""
    reads: list[int] = []
    history = query.history

    def counted(
        connection: Connection, node: str, sensor: str, from_ms: int, to_ms: int, points: int
    ) -> HistoryView | None:
        assert points == POINTS
        reads.append(to_ms)
        return history(connection, node, sensor, from_ms, to_ms, points)

    monkeypatch.setattr(query, "history", counted)
    return reads


def of(kept: Kept, to_s: int = 60, sensor: str = "dht11") -> HistoryView | None:
    begin = ms(BEGIN)
    return kept.of("pi-1", sensor, Range("", begin, begin + to_s * 1000))


def test_an_answer_is_kept_for_ten_seconds(
    past: Past, watch: Watch, told: Told, reads: list[int]
) -> None:
    past.readings(range(1, 10))
    kept = Kept(watch, monotonic=told.clock.monotonic)
    first = of(kept)
    assert first is not None
    told.clock.pass_(KEPT_S - 0.001)
    assert of(kept) is first
    assert len(reads) == 1
    told.clock.pass_(0.001)
    assert of(kept) == first
    assert len(reads) == 2
    assert of(kept) is of(kept)
    assert len(reads) == 2
    assert KEPT_S == 10


def test_each_range_and_each_sensor_has_its_own_and_none_is_one_too(
    past: Past, watch: Watch, told: Told, reads: list[int]
) -> None:
    past.readings(range(1, 10))
    past.readings(range(1, 3), sensor="other")
    kept = Kept(watch, monotonic=told.clock.monotonic)
    for _ in range(2):
        assert [view and view.sensor for view in (of(kept), of(kept, sensor="other"))] == [
            *("dht11", "other"),
        ]
        assert of(kept, sensor="none") is None
        assert of(kept, 30) != of(kept)
    assert len(reads) == 4


def test_the_newest_dozen_is_kept_and_no_more(
    past: Past, watch: Watch, told: Told, reads: list[int]
) -> None:
    past.readings([1])
    kept = Kept(watch, monotonic=told.clock.monotonic)
    for to_s in range(10, 10 + KEPT + 1):
        of(kept, to_s)
    assert len(kept._kept) == KEPT == 12
    reads.clear()
    of(kept, 11)  # the oldest but one is still there, the oldest is not
    assert reads == []
    of(kept, 10)
    assert len(reads) == 1


def test_what_was_read_again_is_the_newest(
    past: Past, watch: Watch, told: Told, reads: list[int]
) -> None:
    past.readings([1])
    kept = Kept(watch, monotonic=told.clock.monotonic)
    for to_s in range(10, 10 + KEPT):
        of(kept, to_s)
    told.clock.pass_(KEPT_S)
    of(kept, 10)
    of(kept, 99)  # takes the place of 11
    reads.clear()
    of(kept, 10)
    assert reads == []


def test_what_cannot_be_read_is_not_kept(
    past: Past, watch: Watch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.readings([1])
    kept = Kept(watch, monotonic=told.clock.monotonic)
    with monkeypatch.context() as patch:
        away(patch)
        with pytest.raises(Problem, match="away"):
            of(kept)
    assert of(kept) is not None


def test_those_who_ask_the_same_at_once_ask_the_database_once(
    past: Past, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as may read at once do; who waits for them is told what they were."""
    past.readings(range(1, 10))
    kept, reads = Kept(watch), list[object]()
    history, begun, go = query.history, threading.Semaphore(0), threading.Event()

    def slow(*arguments: Any) -> HistoryView | None:
        reads.append(arguments)
        begun.release()
        assert go.wait(PATIENCE_S)
        return history(*arguments)

    monkeypatch.setattr(query, "history", slow)
    monkeypatch.setattr(past_module, "WAIT_S", PATIENCE_S)
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(of, kept) for _ in range(6)]
        assert all(begun.acquire(timeout=PATIENCE_S) for _ in range(AT_ONCE))
        go.set()
        views = [one.result() for one in asked]
    assert len({view.to_json() for view in views if view is not None}) == 1
    assert None not in views
    assert len(reads) == AT_ONCE


def test_while_a_database_hangs_only_the_first_wait_for_it(
    past: Past, watch: Watch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.readings([1])
    kept = Kept(watch, monotonic=told.clock.monotonic)
    waited: list[float] = []

    def in_vain(*, timeout: float) -> bool:
        waited.append(timeout)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(kept._reading, "acquire", in_vain)
        for passes_s in (0, SLOW_S - 0.001, 0.001):
            told.clock.pass_(passes_s)
            with pytest.raises(Problem, match="slow"):
                of(kept)
    assert waited == [WAIT_S, 0, WAIT_S]
    assert of(kept) is not None


# ---- words


@pytest.mark.parametrize(
    ("at", "step_s", "english"),
    [
        (datetime(2026, 5, 3, 8, 30, 15, tzinfo=UTC), 15, "08:30:15"),
        (datetime(2026, 5, 3, 8, 30, tzinfo=UTC), 60, "08:30"),
        (datetime(2026, 5, 3, tzinfo=UTC), 3600, "3 May"),
        (datetime(2026, 5, 3, tzinfo=UTC), 86_400, "3 May"),
        (datetime(2026, 5, 1, tzinfo=UTC), 30 * 86_400, "May"),
        (datetime(2026, 1, 1, tzinfo=UTC), 30 * 86_400, "2026"),
        (datetime(2026, 1, 1, tzinfo=UTC), 360 * 86_400, "2026"),
    ],
)
def test_a_tick_says_what_changes_from_one_to_the_next(
    client: FlaskClient, at: datetime, step_s: int, english: str
) -> None:
    with client.application.test_request_context("/?lang=en"):
        locale.choose()
        assert labels().time(at, step_s) == english


def test_a_chart_speaks_the_reader_s_language_and_unit(client: FlaskClient) -> None:
    at = datetime(2026, 5, 3, 8, 30, tzinfo=UTC)
    with client.application.test_request_context("/?lang=es&units=f"):
        locale.choose()
        words = labels()
    assert (words.temperature_unit, words.temperature(100), words.temperature(-40)) == (
        *("°F", 212, -40),
    )
    assert words.number(-0.5, 1) == "-0,5"
    assert words.moment(at) == "3 de mayo de 2026 08:30"
    assert words.time(at.replace(hour=0, minute=0), 86_400) == "3 may"
    with client.application.test_request_context("/?lang=en"):
        locale.choose()
        words = labels()
    assert (words.temperature_unit, words.temperature(21.5)) == ("°C", 21.5)
    assert words.moment(at) == "3 May 2026 08:30"
