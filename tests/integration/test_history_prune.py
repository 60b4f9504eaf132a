"""Retention: what goes, what stays, and that no number of it is forgotten."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from broker.contract import Backfill, Measured, Reading, Stored
from gateway.history import prune as module
from gateway.history import run
from gateway.history.prune import cut_off_ms, prune
from gateway.history.schema import ROLLUPS, AnyRow, reading, span, stream
from gateway.history.settings import HistorySettings
from gateway.history.store import Store
from gateway.history.writer import Heard, Writer
from tests.databases import Database

A, B = UUID(int=0xA), UUID(int=0xB)
DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS


@pytest.fixture
def store(any_database: Database) -> Iterator[Store]:
    with contextlib.closing(Store(any_database.url, any_database.password)) as store:
        store.upgrade()
        yield store


def measured(seq: int, day: int, *, right: bool = True, t: float = 20.0) -> Measured:
    """A reading of so many days before now."""
    return Measured(
        seq=seq,
        measured_at=datetime(1970, 1, 1, tzinfo=UTC)
        + timedelta(milliseconds=NOW_MS - day * DAY_MS),
        clock_synchronised=right,
        temperature_c=t,
        humidity_pct=50.0,
        source="dht11",
    )


def write(
    store: Store, uuid: UUID, *readings: Measured, now_ms: int = NOW_MS
) -> dict[tuple[str, str], Stored]:
    said = Backfill(stream=uuid, readings=list(readings))
    return Writer(store, utc_now_ms=lambda: now_ms).write([Heard("pi-1", "dht11", said)])


def seqs(store: Store) -> list[int]:
    with store.read() as connection:
        return list(connection.scalars(sa.select(reading.c.seq).order_by(reading.c.seq)))


def test_old_readings_go_and_their_account_and_rollups_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 3)
    marks = write(store, A, *(measured(seq, day=11 - seq) for seq in range(1, 11)))
    steps: list[int] = []
    assert prune(store, before_ms=NOW_MS - 2 * DAY_MS, progress=steps.append) == 8
    assert steps == [3, 3, 2], "each in a transaction of its own"
    assert seqs(store) == [9, 10], "the one of that very moment stays"
    assert prune(store, before_ms=NOW_MS - 2 * DAY_MS) == 0
    with store.read() as connection:
        for table, _ in ROLLUPS:
            assert connection.scalar(sa.select(sa.func.sum(table.c.readings))) == 10
    assert write(store, A, measured(3, day=8)) == marks
    assert seqs(store) == [9, 10], "one that comes again is known, and not stored again"


def test_a_clock_that_is_ahead_removes_nothing_that_is_not_old(store: Store) -> None:
    assert cut_off_ms(store, days=7, now_ms=NOW_MS) is None
    write(store, A, measured(1, day=300), measured(2, day=1), measured(3, day=0, right=False))
    ahead_ms = NOW_MS + 800 * DAY_MS
    newest_ms = NOW_MS - DAY_MS
    for now_ms in (ahead_ms, NOW_MS, newest_ms):
        assert cut_off_ms(store, days=365, now_ms=now_ms) == newest_ms - 365 * DAY_MS
    assert cut_off_ms(store, days=7, now_ms=newest_ms - 1) == newest_ms - 1 - 7 * DAY_MS
    # a sensor that is silent for long does not hold up the others'
    other = Backfill(stream=B, readings=[measured(1, day=500)])
    Writer(store, utc_now_ms=lambda: NOW_MS).write([Heard("pi-2", "dht11", other)])
    assert cut_off_ms(store, days=7, now_ms=ahead_ms) == newest_ms - 7 * DAY_MS


@pytest.mark.parametrize("synchronised", [True, False])
def test_only_a_clock_that_is_synchronised_removes_by_age(
    store: Store, monkeypatch: pytest.MonkeyPatch, synchronised: bool
) -> None:
    monkeypatch.setattr(run, "clock_is_synchronised", lambda: synchronised)
    write(store, A, measured(1, day=400), measured(2, day=0))
    settings = HistorySettings(history_url="sqlite:///none.db", retention_days=365)
    monkeypatch.setattr(run, "utc_now_ms", lambda: NOW_MS)
    assert run.remove_old(store, settings, lambda: None) == int(synchronised)


def test_a_reading_without_a_right_date_stays_while_it_may_get_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, A, *(measured(seq, day=9000, right=False) for seq in range(1, 5)))
    write(store, B, measured(1, day=9000, right=False), now_ms=NOW_MS - 3 * DAY_MS)
    before_ms = NOW_MS - 2 * DAY_MS
    assert prune(store, before_ms=before_ms) == 1, "stream B has not been heard of since"
    monkeypatch.setattr(module, "UNDATED_KEPT", 3)
    assert prune(store, before_ms=before_ms) == 1, "a journal has no room for number 1"
    assert seqs(store) == [2, 3, 4]
    write(store, A, measured(1, day=1), measured(2, day=1))
    assert seqs(store) == [2, 3, 4]
    with store.read() as connection:
        undated = connection.execute(sa.select(span).where(span.c.kind == "undated")).all()
        assert [row.first_seq for row in undated if row.last_seq == 4] == [3]
        counted = connection.scalar(sa.select(sa.func.sum(ROLLUPS[0][0].c.readings)))
        assert counted == 5


def test_a_date_given_where_retention_was_keeps_the_counts_right(store: Store) -> None:
    """Minute and hour of the wrong date have lost another reading to retention by then."""
    write(store, A, measured(1, day=50, right=False, t=10.0), measured(2, day=50, t=30.0))
    assert prune(store, before_ms=NOW_MS - 40 * DAY_MS) == 1
    write(store, A, measured(1, day=0))
    with store.read() as connection:
        for table, unit_s in ROLLUPS:
            rows = connection.execute(sa.select(table).order_by(table.c.start_s)).all()
            assert [(row.start_s, row.readings, row.temperature_sum) for row in rows] == [
                ((NOW_MS - 50 * DAY_MS) // 1000 // unit_s * unit_s, 1, 30_000),
                (NOW_MS // 1000 // unit_s * unit_s, 1, 10_000),
            ]


def test_a_stream_of_which_nothing_is_left_is_forgotten_in_the_end(store: Store) -> None:
    long_ago_ms = NOW_MS - 500 * DAY_MS
    write(store, A, measured(1, day=500), now_ms=long_ago_ms)
    write(store, B, measured(1, day=500), measured(2, day=1), now_ms=long_ago_ms)

    def streams() -> set[str]:
        with store.read() as connection:
            return set(connection.scalars(sa.select(stream.c.uuid)))

    prune(store, before_ms=NOW_MS - 200 * DAY_MS)
    assert streams() == {str(A), str(B)}, "a journal may still have them"
    prune(store, before_ms=NOW_MS - 100 * DAY_MS)
    assert streams() == {str(B)}
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(span)) == 1


def test_a_stream_heard_of_meanwhile_is_not_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, A, measured(1, day=500), now_ms=NOW_MS - 500 * DAY_MS)
    real = module._forget

    def late(connection: sa.Connection, row: AnyRow) -> None:
        connection.execute(stream.update().values(last_heard_ms=NOW_MS))
        real(connection, row)

    monkeypatch.setattr(module, "_forget", late)
    assert prune(store, before_ms=NOW_MS) == 1
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(stream)) == 1


def test_a_recorder_writes_between(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 1)
    write(store, A, *(measured(seq, day=9) for seq in range(1, 4)))
    coming = iter(range(4, 8))

    def between(_rows: int) -> None:
        said = Reading(stream=A, **dict(measured(next(coming), day=0)))
        Writer(store, utc_now_ms=lambda: NOW_MS).write([Heard("pi-1", "dht11", said)])

    assert prune(store, before_ms=NOW_MS - DAY_MS, progress=between) == 3
    assert seqs(store) == [4, 5, 6, 7], "also after the last, in which nothing was left to go"


def test_streams_of_which_nothing_expires_cost_no_transaction(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose power is cut each night has a new stream each morning, for years."""
    for number in range(20):
        write(store, UUID(int=number + 1), measured(1, day=19 - number))
    began: list[int] = []
    steps: list[int] = []
    real = store.begin
    monkeypatch.setattr(store, "begin", lambda: began.append(1) or real())  # type: ignore[func-returns-value]
    assert prune(store, before_ms=NOW_MS - 17 * DAY_MS, progress=steps.append) == 2
    assert len(began) == 2
    assert steps == [1, 1], "the recorder works between any two"
    assert prune(store, before_ms=NOW_MS - 17 * DAY_MS, progress=steps.append) == 0
    assert len(began) == 2


def test_streams_of_which_nothing_expires_cost_one_look_each(
    store: Store, any_database: Database
) -> None:
    """To find what expires, no database reads the readings that stay."""
    streams, each = 20, 100
    for number in range(streams):
        write(store, UUID(int=number + 1), *(measured(seq, day=1) for seq in range(1, each + 1)))
    run: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        run.append((statement, values))

    sa.event.listen(store.engine, "before_cursor_execute", note)
    before = rows_read(any_database)
    assert prune(store, before_ms=NOW_MS - 500 * DAY_MS) == 0
    assert rows_read(any_database) - before < streams * each / 2
    sa.event.remove(store.engine, "before_cursor_execute", note)
    how = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN", "mariadb": "EXPLAIN"}
    looks = [(sql, values) for sql, values in run if "reading" in sql]
    assert looks
    with store.read() as connection:
        for sql, values in looks:
            plan = connection.exec_driver_sql(f"{how[any_database.kind]} {sql}", values).all()
            words = "\n".join(" ".join(map(str, row)) for row in plan)
            assert "SCAN reading" not in words, words
            assert "Seq Scan on reading" not in words, words
            assert "MATERIALIZED" not in words, words


def rows_read(database: Database) -> int:
    """By all of MariaDB's clients since its start; 0 where the plan alone tells enough."""
    if database.kind != "mariadb":
        return 0
    return sum(int(row[1]) for row in database.query("SHOW GLOBAL STATUS LIKE 'Handler_read%'"))
