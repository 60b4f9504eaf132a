"""What is read from the history, on each of the databases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, event

from gateway.history import account, query
from gateway.history.prune import prune
from gateway.history.schema import span, stream
from gateway.history.views import HistoryView, Point, SensorAudit, StreamAudit
from tests.databases import Database
from tests.unit.past import BEGIN, OTHER, Past, ms, parsed_csv, temperature_c
from tests.unit.told import STREAM


@pytest.fixture
def past(any_database: Database) -> Iterator[Past]:
    with contextlib.closing(Past(any_database)) as past:
        yield past


def history(
    past: Past, begin: datetime, end: datetime, points: int, sensor: str = "dht11"
) -> HistoryView:
    with past.store.read() as connection:
        view = query.history(connection, "pi-1", sensor, ms(begin), ms(end), points)
    assert view is not None
    return view


def present(view: HistoryView) -> list[Point]:
    return [point for point in view.points if point is not None]


def audited(past: Past) -> SensorAudit:
    with past.store.read() as connection:
        (one,) = account.audit(connection).view.sensors
    return one


def streams(past: Past) -> list[StreamAudit]:
    with past.store.read() as connection:
        page = account.streams(connection, "pi-1", "dht11", limit=9)
    assert page is not None
    return page.streams


# ---- by buckets


@pytest.mark.parametrize(
    ("points", "source", "bucket_s", "count"),
    [(2, "hour", 3600, 2), (24, "minute", 300, 24), (1000, "reading", 7.2, 800)],
)
def test_a_history_comes_from_the_coarsest_that_is_fine_enough(
    past: Past, points: int, source: str, bucket_s: float, count: int
) -> None:
    past.readings(range(1, 1441))  # two hours
    view = history(past, BEGIN, BEGIN + timedelta(hours=2), points)
    assert (view.source, view.bucket_s) == (source, bucket_s)
    assert None not in view.points
    found = present(view)
    assert len(found) <= points
    assert found[0].start == BEGIN
    assert sum(point.readings for point in found) == 1440
    assert all(
        (later.start - earlier.start) / timedelta(seconds=bucket_s) >= 1
        for earlier, later in pairwise(found)
    )
    if source != "reading":
        assert len(found) == count


@pytest.mark.parametrize("points", [2, 24, 1000])
def test_each_bucket_has_the_extremes_and_the_mean_of_its_readings(past: Past, points: int) -> None:
    past.readings(range(1, 1441))
    view = history(past, BEGIN, BEGIN + timedelta(hours=2), points)
    for point in present(view):
        first = (point.start - BEGIN) / timedelta(seconds=5)
        numbers = [seq for seq in range(1, 1441) if first <= seq - 1 < first + view.bucket_s / 5]
        values = [temperature_c(seq) for seq in numbers]
        assert point.readings == len(numbers)
        assert (point.temperature_c.min, point.temperature_c.max) == (min(values), max(values))
        assert point.temperature_c.mean == pytest.approx(sum(values) / len(values), abs=0.0006)
        assert (point.humidity_pct.min, point.humidity_pct.mean) == (50.0, 50.0)


def test_a_year_is_never_more_points_than_were_asked_for(past: Past) -> None:
    past.readings(range(1, 400), every_s=86_400)
    for points in (1, 7, 365, 500):
        view = history(past, BEGIN, BEGIN + timedelta(days=365), points)
        assert 0 < len(present(view)) <= points
        assert view.source == "hour"


@pytest.mark.parametrize(("interval_s", "gaps"), [(None, 1), (5.0, 1), (300.0, 0)])
def test_a_gap_is_longer_than_a_bucket_and_three_intervals(
    past: Past, interval_s: float | None, gaps: int
) -> None:
    if interval_s is not None:
        past.health(interval_s=interval_s)
    past.readings([*range(1, 61), *range(121, 181)])  # five minutes, five of nothing, five more
    view = history(past, BEGIN, BEGIN + timedelta(minutes=15), 15)
    assert [point is None for point in view.points].count(True) == gaps
    if gaps:
        assert view.points[5] is None


def test_a_missing_reading_or_two_are_no_gap(past: Past) -> None:
    past.readings([1, 2, 5, 6, 11])
    view = history(past, BEGIN, BEGIN + timedelta(minutes=1), 60)
    assert [point and point.start.second for point in view.points] == [0, 5, 20, 25, None, 50]


def test_a_range_is_cut_to_where_there_are_readings(past: Past) -> None:
    past.readings(range(1, 721))
    view = history(past, BEGIN - timedelta(days=900), BEGIN + timedelta(days=900), 60)
    assert (view.from_, view.to) == (BEGIN, BEGIN + timedelta(hours=1))
    assert len(view.points) == 60


def test_the_first_reading_s_date_is_exact_until_retention_takes_it(past: Past) -> None:
    first = BEGIN + timedelta(minutes=19, seconds=7, milliseconds=12)
    past.readings([1], at=lambda _: first + timedelta(days=1), stream=OTHER)
    past.readings(range(1, 5), at=lambda seq: first + timedelta(hours=2 * (seq - 1)))
    for begins in (first, BEGIN + timedelta(minutes=19)):
        view = history(past, BEGIN - timedelta(days=9), BEGIN + timedelta(days=9), 10)
        assert view.from_ == begins
        assert audited(past).first_at == BEGIN + timedelta(minutes=19)
        past.forget_raw()


@pytest.mark.parametrize("days", [-2, 2])
def test_where_there_is_nothing_there_are_no_points(past: Past, days: int) -> None:
    past.readings(range(1, 10))
    begin = BEGIN + timedelta(days=days)
    view = history(past, begin, begin + timedelta(hours=1), 10)
    assert (view.from_, view.to, view.points) == (begin, begin + timedelta(hours=1), [])


def test_a_sensor_without_a_reading_has_no_points_and_a_stranger_no_history(past: Past) -> None:
    past.health()
    assert history(past, BEGIN, BEGIN + timedelta(hours=1), 10).points == []
    with past.store.read() as connection:
        assert query.history(connection, "pi-1", "none", 0, 1, 10) is None


def test_what_is_older_than_raw_readings_are_kept_comes_from_minutes(past: Past) -> None:
    past.readings(range(1, 721))
    end = BEGIN + timedelta(hours=1)
    past.forget_raw()
    view = history(past, BEGIN, end, 5000)
    assert (view.source, view.bucket_s, len(view.points)) == ("minute", 60, 60)


@pytest.mark.parametrize(("begin_min", "source"), [(0, "minute"), (29, "minute"), (30, "reading")])
def test_raw_readings_are_taken_only_where_retention_has_left_them_all(
    past: Past, begin_min: int, source: str
) -> None:
    past.readings(range(1, 721))
    prune(past.store, before_ms=ms(BEGIN + timedelta(minutes=30)))
    begin, end = BEGIN + timedelta(minutes=begin_min), BEGIN + timedelta(hours=1)
    view = history(past, begin, end, 5000)
    assert view.source == source
    assert sum(point.readings for point in present(view)) == 12 * (60 - begin_min)


def test_a_range_that_begins_between_readings_is_of_raw_ones_too(past: Past) -> None:
    past.readings([1, 100, 101])
    begin = BEGIN + timedelta(seconds=30)
    view = history(past, begin, begin + timedelta(hours=1), 5000)
    assert (view.source, len(present(view))) == ("reading", 2)


def test_of_more_streams_than_go_into_a_query_minutes_are_taken(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.readings([1])
    past.readings([2], stream=OTHER)
    assert history(past, BEGIN, BEGIN + timedelta(hours=1), 5000).source == "reading"
    monkeypatch.setattr(query, "MAX_RAW_STREAMS", 1)
    view = history(past, BEGIN, BEGIN + timedelta(hours=1), 5000)
    assert (view.source, present(view)[0].readings) == ("minute", 2)


def test_another_sensor_is_not_mixed_in_even_with_the_same_stream(past: Past) -> None:
    past.readings(range(1, 11))
    past.readings(range(1, 11), sensor="other")
    for points in (1, 5000):
        view = history(past, BEGIN, BEGIN + timedelta(minutes=1), points)
        assert sum(point.readings for point in present(view)) == 10


def test_a_year_is_summed_up_from_hours_alone(past: Past) -> None:
    """Of raw readings and minutes only the first is looked for."""
    past.readings(range(1, 100), every_s=86_400)
    seen: list[str] = []
    with past.store.read() as connection:
        seen = statements(connection)
        query.history(connection, "pi-1", "dht11", ms(BEGIN), ms(BEGIN + timedelta(days=365)), 500)
    assert seen
    from_finer = [one for one in seen if "FROM reading" in one or "FROM minute" in one]
    firsts = [
        "SELECT min(minute",
        "SELECT minute.start_s FROM minute",
        "SELECT anon_1.id, anon_1.f",
    ]
    assert [one[: len(first)] for one, first in zip(from_finer, firsts, strict=True)] == firsts
    assert " LIMIT " in from_finer[1]


def statements(connection: Connection) -> list[str]:
    """What is executed from now on."""
    seen: list[str] = []

    def executed(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(" ".join(statement.split()))

    event.listen(connection, "before_cursor_execute", executed)
    return seen


# ---- row by row


def chunks(past: Past, *arguments: object, chunk_rows: int = 7) -> list[list[query.Raw]]:
    return list(query.rows(past.store, *arguments, chunk_rows=chunk_rows))  # type: ignore[arg-type]


def test_rows_come_stream_by_stream_and_by_number_in_chunks(past: Past) -> None:
    past.readings(range(20, 30), stream=OTHER)
    past.now += timedelta(hours=1)
    past.readings(range(3, 20), at=lambda seq: BEGIN + timedelta(hours=99 - seq))
    past.readings(range(1, 4), sensor="other")
    found = chunks(past, ("pi-1", "dht11"))
    assert [len(chunk) for chunk in found] == [7, 3, 7, 7, 3]
    flat = [(row.stream, row.seq) for chunk in found for row in chunk]
    assert flat == [(str(OTHER), seq) for seq in range(20, 30)] + [
        (str(STREAM), seq) for seq in range(3, 20)
    ]
    assert sum(len(chunk) for chunk in chunks(past)) == 30


def test_rows_of_a_range_have_dates_in_it_whatever_their_numbers(past: Past) -> None:
    past.readings(range(1, 101), every_s=60)
    past.readings(range(101, 103), at=lambda seq: BEGIN + timedelta(minutes=seq - 91, seconds=1))
    begin, end = ms(BEGIN + timedelta(minutes=10)), ms(BEGIN + timedelta(minutes=12))
    found = chunks(past, ("pi-1", "dht11"), begin, end)
    assert [row.seq for chunk in found for row in chunk] == [11, 12, 101, 102]
    assert chunks(past, ("pi-1", "dht11"), begin - 1, begin) == []
    assert chunks(past, ("pi-1", "none")) == []


def test_between_two_chunks_no_connection_is_held(past: Past) -> None:
    past.readings(range(1, 30))
    pool = past.store.engine.pool
    for _ in query.rows(past.store, chunk_rows=7):
        assert pool.checkedout() == 0  # type: ignore[attr-defined]


def test_rows_that_go_while_they_are_read_end_nothing(past: Past) -> None:
    past.readings(range(1, 30))
    found = query.rows(past.store, chunk_rows=7)
    assert next(found)[-1].seq == 7
    past.forget_raw()
    assert list(found) == []


def test_csv_has_every_column_as_the_contract_writes_it(past: Past) -> None:
    at = BEGIN + timedelta(milliseconds=123)
    past.readings([1], at=lambda _: at, synchronised=False)
    (chunk,) = chunks(past)
    assert query.csv(chunk) == (
        f"pi-1,dht11,{STREAM},1,2026-05-03T08:00:00.123Z,false,20.1,50.0,dht11\n"
    )
    (row,) = parsed_csv(query.CSV_HEADER + query.csv(chunk))
    assert (row["seq"], row["clock_synchronised"], row["source"]) == ("1", "false", "dht11")


# ---- the account


def test_an_audit_counts_what_is_stored_missing_and_lost(past: Past) -> None:
    past.readings(range(1, 11), live=True)
    past.readings(range(21, 31), live=True)
    past.now = BEGIN + timedelta(hours=3)
    past.readings(range(16, 21), after=13)  # 14 and 15 are lost, 11 to 13 still to come
    one = audited(past)
    assert (one.stored, one.missing, one.lost, one.gaps) == (25, 3, 2, 1)
    assert one.first_at == BEGIN
    assert one.newest_at == BEGIN + timedelta(seconds=145)
    (stream,) = streams(past)
    assert (stream.stream, stream.first_seq, stream.last_seq) == (STREAM, 1, 30)
    (lost,) = stream.lost_spans
    assert (lost.first_seq, lost.last_seq, lost.count) == (14, 15, 2)
    assert lost.noted_at == past.now
    assert lost.before_at == BEGIN + timedelta(seconds=75)
    assert one.lost_spans == [lost]


def test_what_exists_and_never_came_is_missing(past: Past) -> None:
    past.readings(range(1, 6), live=True)
    past.health(stream=STREAM, oldest_seq=1, newest_seq=9)
    assert audited(past).missing == 4


def test_an_audit_adds_up_a_sensor_s_streams_oldest_first(past: Past) -> None:
    past.readings(range(1, 6), stream=OTHER)
    past.now += timedelta(days=1)
    past.readings(range(1, 4), at=lambda seq: past.now + timedelta(seconds=seq))
    one = audited(past)
    assert [stream.stream for stream in streams(past)] == [OTHER, STREAM]
    assert (one.stored, one.first_at) == (8, BEGIN)
    assert one.newest_at == past.now + timedelta(seconds=3)


def test_a_date_before_anyone_set_a_clock_is_not_the_first_day(past: Past) -> None:
    past.readings([1], at=lambda _: datetime(1970, 1, 1, 0, 1, tzinfo=UTC), synchronised=False)
    past.readings([2])
    assert audited(past).first_at == BEGIN


def test_pruned_readings_are_stored_as_far_as_the_account_goes(past: Past) -> None:
    past.readings(range(1, 11))
    past.forget_raw()
    one = audited(past)
    assert (one.stored, one.missing, one.first_at, one.newest_at) == (10, 0, BEGIN, BEGIN)


def test_of_many_gaps_the_newest_are_listed_and_all_are_counted(past: Past) -> None:
    for seq in range(2, 2 * account.LISTED_SPANS + 42, 2):
        past.now += timedelta(minutes=1)
        past.readings([seq], after=seq - 2)
    (stream,) = streams(past)
    assert stream.gaps == stream.lost == account.LISTED_SPANS + 20
    assert len(stream.lost_spans) == account.LISTED_SPANS
    assert stream.lost_spans[0].first_seq == 2 * account.LISTED_SPANS + 39
    assert stream.lost_spans[0].noted_at == past.now
    assert audited(past).lost_spans == stream.lost_spans[: account.LISTED_SENSOR_SPANS]


def test_an_audit_reads_as_much_of_one_stream_as_of_thousands(sqlite: Database) -> None:
    """Of ten years of power cuts each night, and a reading lost in each."""
    with contextlib.closing(Past(sqlite)) as past:
        past.readings([2, 3], after=0)
        past.readings([4], after=2)
        add_like_the_first(past, range(2, 11))
        steps_of_ten = audit_steps(past)
        add_like_the_first(past, range(11, 3651))
        assert audit_steps(past) < 1.1 * steps_of_ten


def add_like_the_first(past: Past, stream_ids: Sequence[int]) -> None:
    with past.store.begin() as connection:
        one = dict(connection.execute(sa.select(stream).limit(1)).one()._mapping)
        first = sa.select(span).where(span.c.stream_id == one["id"])
        ranges = [dict(row._mapping) for row in connection.execute(first)]
        uuids = [{**one, "id": n, "uuid": str(UUID(int=n))} for n in stream_ids]
        connection.execute(stream.insert(), uuids)
        of_each = [{**row, "stream_id": n} for row in ranges for n in stream_ids]
        connection.execute(span.insert(), of_each)


def audit_steps(past: Past) -> int:
    """Of SQLite's machine."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with past.store.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(step, 1)
        assert len(account.audit(connection).view.sensors) == 1
        driver.set_progress_handler(None, 0)
    return steps


def test_an_audit_counts_no_raw_readings(past: Past) -> None:
    """So that it is as fast with millions."""
    past.readings(range(1, 1000))
    past.forget_raw()
    assert audited(past).stored == 999


def test_sensors_are_sorted_and_one_that_never_gave_a_reading_is_there(past: Past) -> None:
    past.readings([1], node="pi-2")
    past.readings([1], sensor="b")
    past.health(sensor="a")
    with past.store.read() as connection:
        view = account.audit(connection).view
    assert [(one.node, one.sensor, one.stored) for one in view.sensors] == [
        ("pi-1", "a", 0),
        ("pi-1", "b", 1),
        ("pi-2", "dht11", 1),
    ]
