"""The writer against a plain model of it, and each rule by itself, on each database."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.contract import (
    MAX_EARLIER_STREAMS,
    MAX_NAMED_RANGES,
    SEQ_MAX,
    Backfill,
    Mark,
    Measured,
    Reading,
    SensorHealth,
    Stored,
)
from gateway.history import ledger, writer
from gateway.history.account import Totals, recounted
from gateway.history.marks import EARLIER_RANGES
from gateway.history.marks import marks as real_marks
from gateway.history.prune import prune
from gateway.history.schema import ROLLUPS, reading, sensor, span, stream
from gateway.history.spans import Spans
from gateway.history.store import (
    Conflict,
    Refused,
    Store,
    StoreError,
    Unavailable,
    WrongSchema,
)
from gateway.history.writer import Heard, Writer
from tests.databases import Database

A, B, C = (UUID(int=n) for n in (0xA, 0xB, 0xC))
NOW_MS = 1_780_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Key = tuple[str, str]


def measured(
    seq: int, ms: int | None = None, *, right: bool = True, t: float = 20.5, h: float = 40.0
) -> Measured:
    ms = NOW_MS - 10_000_000 + seq * 1000 if ms is None else ms
    return Measured(
        seq=seq,
        measured_at=EPOCH + timedelta(milliseconds=ms),
        clock_synchronised=right,
        temperature_c=t,
        humidity_pct=h,
        source="dht11",
    )


def live(uuid: UUID, one: Measured, sensor: str = "dht11", node: str = "pi-1") -> Heard:
    return Heard(node, sensor, Reading(stream=uuid, **dict(one)))


def again(
    uuid: UUID,
    *readings: Measured,
    after: int | None = None,
    sensor: str = "dht11",
    newest: int | None = None,
    gone: bool = False,
) -> Heard:
    said = Backfill(stream=uuid, after=after, readings=list(readings), newest=newest, gone=gone)
    return Heard("pi-1", sensor, said)


def health(
    uuid: UUID | None,
    oldest: int | None = None,
    newest: int | None = None,
    interval_s: float = 5,
    ended: bool | None = None,
) -> Heard:
    said = SensorHealth.model_validate(
        {
            "state": "ok",
            "since": "2026-01-01T00:00:00Z",
            "driver": "replay",
            "model": "dht11",
            "interval_s": interval_s,
            "stream": uuid,
            "oldest_seq": oldest,
            "newest_seq": newest,
            "ended": ended,
        },
        strict=False,
    )
    return Heard("pi-1", "dht11", said)


# ---- the model


@dataclass
class Row:
    ms: int
    right: bool
    t: float
    h: float
    pruned: bool = False


@dataclass
class Account:
    rows: dict[int, Row] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    newest: int = 0
    ended: int | None = None
    open_end: bool = False

    @property
    def closed(self) -> bool:
        whole = len(self.rows.keys() | self.lost) == self.newest
        return self.open_end or (whole and self.ended is not None and self.ended >= self.newest)

    def hear(self, one: Measured) -> None:
        self.newest = max(self.newest, one.seq)
        ms = (one.measured_at - EPOCH) // timedelta(milliseconds=1)
        row = self.rows.get(one.seq)
        if row is None:
            right = one.clock_synchronised
            self.rows[one.seq] = Row(ms, right, one.temperature_c, one.humidity_pct)
            self.lost.discard(one.seq)
        elif one.clock_synchronised and not row.right:
            row.right = True
            row.ms = row.ms if row.pruned else ms

    def sent_again(self, said: Backfill) -> None:
        self.newest = max(self.newest, said.newest or 0)
        for one in said.readings:
            self.hear(one)
        if said.gone:
            self.open_end = self.ended is not None and self.ended < self.newest
        elif said.readings:
            self.open_end = False
        if said.after is not None:
            last = said.readings[-1].seq if said.readings else self.newest
            self.lose(said.after + 1, last)

    def told_of(self, said: SensorHealth) -> None:
        oldest, newest = said.oldest_seq, said.newest_seq
        self.newest = max(self.newest, oldest or 0, newest or 0)
        self.lose(1, oldest - 1 if oldest else newest or 0)
        if said.ended is not None:
            self.ended = newest or 0 if said.ended else self.ended or 0

    def lose(self, first: int, last: int) -> None:
        self.lost |= set(range(first, last + 1)) - self.rows.keys()

    @property
    def mark(self) -> int:
        known = self.rows.keys() | self.lost
        return next(seq for seq in range(self.newest + 2) if seq + 1 not in known)


class Model:
    """What is to be in the database after these messages, the simplest way."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[Key, UUID], Account] = {}
        self.current: dict[Key, UUID] = {}
        self.pruned = False

    def hear(self, batch: Sequence[Heard]) -> None:
        for node, name, said in batch:
            if said.stream is None:
                continue
            account = self.accounts.setdefault(((node, name), said.stream), Account())
            if isinstance(said, Reading | SensorHealth):
                self.current[node, name] = said.stream
            if isinstance(said, Reading):
                account.hear(said)
            elif isinstance(said, Backfill):
                account.sent_again(said)
            else:
                account.told_of(said)

    def prune(self, before_ms: int) -> int:
        old = [
            row
            for account in self.accounts.values()
            for row in account.rows.values()
            if row.right and row.ms < before_ms and not row.pruned
        ]
        for row in old:
            row.pruned = self.pruned = True
        return len(old)

    def check(self, store: Store, marks: dict[Key, Stored]) -> None:
        keys = {key for key, _ in self.accounts}
        assert marks.keys() == keys
        with store.read() as connection:
            kept = connection.execute(
                sa.select(
                    sensor.c.node,
                    sensor.c.name,
                    stream.c.uuid,
                    *(reading.c[name] for name in ("seq", "measured_ms", "synchronised")),
                    *(reading.c[name] for name in ("temperature_c", "humidity_pct")),
                ).select_from(reading.join(stream).join(sensor))
            ).all()
            spans: dict[tuple[Key, UUID, str], set[int]] = defaultdict(set)
            for row in connection.execute(
                sa.select(sensor.c.node, sensor.c.name, stream.c.uuid, span).select_from(
                    span.join(stream).join(sensor)
                )
            ):
                numbers = set(range(row.first_seq, row.last_seq + 1))
                of = spans[(row.node, row.name), UUID(row.uuid), row.kind]
                assert not numbers & of, "a number is in two ranges"
                of |= numbers
            rolled = {
                unit_s: connection.execute(
                    sa.select(sensor.c.node, sensor.c.name, table).join(sensor)
                ).all()
                for table, unit_s in ROLLUPS
            }
        assert sorted(tuple(row) for row in kept) == sorted(
            (*key, str(uuid), seq, row.ms, row.right, row.t, row.h)
            for (key, uuid), account in self.accounts.items()
            for seq, row in account.rows.items()
            if not row.pruned
        )
        for (key, uuid), account in self.accounts.items():
            undated = {seq for seq, row in account.rows.items() if not row.right}
            assert spans[key, uuid, "stored"] == account.rows.keys()
            assert spans[key, uuid, "lost"] == account.lost
            assert spans[key, uuid, "undated"] == undated
        for unit_s, rows in rolled.items():
            self._check_rollup(unit_s, rows)
        for key, said in marks.items():
            self._check_marks(key, said)

    def _check_rollup(self, unit_s: int, rolled: Sequence[sa.Row[*tuple[object, ...]]]) -> None:
        expected: dict[tuple[Key, int], list[Row]] = defaultdict(list)
        for (key, _), account in self.accounts.items():
            for row in account.rows.values():
                expected[key, row.ms // (unit_s * 1000) * unit_s].append(row)
        assert {((row.node, row.name), row.start_s) for row in rolled} == expected.keys()
        for bucket in rolled:
            rows = expected[(bucket.node, bucket.name), bucket.start_s]
            for quantity, values in (
                ("temperature", [one.t for one in rows]),
                ("humidity", [one.h for one in rows]),
            ):
                low, total, high = (
                    bucket._mapping[f"{quantity}_{part}"] for part in ("min", "sum", "max")
                )
                assert bucket.readings == len(values)
                assert total == sum(round(value * 1000) for value in values)
                # one that got another date after retention took others may have left its mark
                assert low == min(values) or (self.pruned and low < min(values))
                assert high == max(values) or (self.pruned and high > max(values))

    def _check_marks(self, key: Key, said: Stored) -> None:
        mine = {uuid: account for (of, uuid), account in self.accounts.items() if of == key}
        if key in self.current:
            assert said.stream == self.current[key]
        marks: list[Mark] = [said, *said.earlier]
        assert {mark.stream for mark in marks} == mine.keys()
        assert all(mark.closed is mine[mark.stream].closed for mark in marks)
        assert len(marks) == len(mine)
        for mark in marks:
            account = mine[mark.stream]
            assert mark.seq == account.mark
            assert mark.missing == account.newest - len(account.rows.keys() | account.lost)
            undated = Spans((seq, seq) for seq, row in account.rows.items() if not row.right)
            named = MAX_NAMED_RANGES if mark.stream == said.stream else EARLIER_RANGES
            assert mark.undated == list(undated)[-named:]
            assert mark.lost == list(Spans((seq, seq) for seq in account.lost))[-named:]
            assert mark.newest == max(account.rows, default=0)


def batches(rng: random.Random, numbers: int) -> list[Heard]:
    """Late, repeated, reordered and re-dated readings and claims, of some sensors and streams."""
    batch: list[Heard] = []
    for _ in range(rng.randint(1, 6)):
        name, uuid = rng.choice(["dht11", "dht22"]), rng.choice([A, A, A, B, C])
        first = rng.randint(1, numbers)

        def one(seq: int) -> Measured:
            right = rng.random() < 0.6
            ms = NOW_MS - 20_000_000 + seq * 25_000 if right else seq * 40_000 - 100_000
            t, h = rng.randint(-400, 800) / 10, rng.randint(0, 1000) / 10
            return measured(seq, ms + rng.randint(0, 9_999), right=right, t=t, h=h)

        match rng.randint(0, 6):
            case 0 | 1 | 2:
                batch.append(live(uuid, one(first), name))
            case 3 | 4:
                seqs = sorted(rng.sample(range(first, first + 12), rng.randint(1, 8)))
                after = rng.choice([None, rng.randint(0, seqs[0] - 1)])
                batch.append(again(uuid, *map(one, seqs), after=after, sensor=name))
            case 5:
                newest = rng.choice([None, first + rng.randint(0, 9)])
                gone = rng.random() < 0.5
                batch.append(again(uuid, after=first, sensor=name, newest=newest, gone=gone))
            case _:
                newest = rng.choice([None, first + rng.randint(0, 9)])
                ended = rng.choice([None, False, True])
                batch.append(health(uuid, rng.choice([None, first]), newest, ended=ended))
    return batch


def sums_are_of_the_ranges(store: Store) -> None:
    """What is kept with the readings is what the ranges of all streams give."""
    noted = sa.func.max(sa.case((span.c.kind == "lost", span.c.noted_ms)))
    of_streams = sa.select(stream, noted).join_from(stream, span, isouter=True)
    counted = sa.select(sa.func.count()).where(stream.c.sensor_id == sensor.c.id)
    counts = sa.select(sensor.c.streams, counted.scalar_subquery())
    with store.read() as connection:
        for row in connection.execute(sa.select(sensor)).all():
            sums = Totals(row.stored, row.missing, row.lost, row.gaps, row.open_ends)
            assert sums == recounted(connection, row.node, row.name)
        for row in connection.execute(of_streams.group_by(stream.c.id)):
            assert row.lost_ms == row[-1]
            assert row.lacking_ms == (row.last_heard_ms if row.missing else None)
        assert all(kept == streams for kept, streams in connection.execute(counts))


class AgainstTheModel(RuleBasedStateMachine):
    """Any order of batches, restarts, restored copies and retention, on SQLite."""

    template: Path  # an empty database

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="brisa-writer-"))
        self.path = self.folder / "history.db"
        shutil.copy(self.template, self.path)
        self.store = Store(f"sqlite:///{self.path}")
        self.heard: list[Sequence[Heard] | int] = []  # batches, and dates of pruning
        self.model = Model()
        self.copied: list[Sequence[Heard] | int] | None = None
        self.marks: dict[Key, Stored] = {}

    def writer(self) -> Writer:
        return Writer(self.store, utc_now_ms=lambda: NOW_MS)

    @initialize()
    def empty(self) -> None:
        assert every_mark(self.store) == {}

    @rule(seed=st.integers(0, 2**32), numbers=st.sampled_from([10, 40, 300]))
    def write(self, seed: int, numbers: int) -> None:
        batch = batches(random.Random(seed), numbers)
        one = self.writer()
        said = one.write(batch)
        assert not one.rejected
        self.heard.append(batch)
        self.model.hear(batch)
        every = every_mark(self.store)
        assert said == {key: every[key] for key in {(node, name) for node, name, _ in batch}}

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(self.heard))
        if not isinstance(batch, int):
            self.writer().write(batch)
            self.heard.append(batch)
            self.model.hear(batch)

    @rule(back_s=st.integers(0, 20_000))
    def retention(self, back_s: int) -> None:
        before_ms = NOW_MS - back_s * 1000
        assert prune(self.store, before_ms=before_ms) == self.model.prune(before_ms)
        self.heard.append(before_ms)

    @rule()
    def copy(self) -> None:
        with (
            contextlib.closing(sqlite3.connect(self.path)) as live,
            contextlib.closing(sqlite3.connect(self.folder / "copy.db")) as saved,
        ):
            live.backup(saved)
        self.copied = list(self.heard)

    @precondition(lambda self: self.copied is not None)
    @rule()
    def restore(self) -> None:
        assert self.copied is not None
        for left in ("-wal", "-shm"):
            Path(f"{self.path}{left}").unlink(missing_ok=True)
        shutil.copy(self.folder / "copy.db", self.folder / "new.db")
        (self.folder / "new.db").rename(self.path)
        self.heard = list(self.copied)
        self.model = Model()
        for step in self.heard:
            if isinstance(step, int):
                self.model.prune(step)
            else:
                self.model.hear(step)

    @invariant()
    def agrees(self) -> None:
        self.model.check(self.store, every_mark(self.store))
        sums_are_of_the_ranges(self.store)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


def test_any_order_of_messages_restarts_copies_and_retention(tmp_path: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    AgainstTheModel.template = tmp_path / "template.db"
    with contextlib.closing(Store(f"sqlite:///{AgainstTheModel.template}")) as store:
        store.upgrade()
    run_state_machine_as_test(
        AgainstTheModel,
        settings=settings(max_examples=60, stateful_step_count=20, deadline=None),
    )


@pytest.fixture
def store(any_database: Database) -> Iterator[Store]:
    with contextlib.closing(Store(any_database.url, any_database.password)) as store:
        store.upgrade()
        yield store


@pytest.fixture
def on_sqlite(sqlite: Database) -> Iterator[Store]:
    with contextlib.closing(Store(sqlite.url)) as store:
        store.upgrade()
        yield store


def writer_on(store: Store, now_ms: int = NOW_MS) -> Writer:
    return Writer(store, utc_now_ms=lambda: now_ms)


def every_mark(store: Store, now_ms: int = NOW_MS) -> dict[Key, Stored]:
    with store.read() as connection:
        return real_marks(connection, now_ms, connection.scalars(sa.select(sensor.c.id)))


def seqs(store: Store) -> list[int]:
    with store.read() as connection:
        return list(connection.scalars(sa.select(reading.c.seq).order_by(reading.c.seq)))


def lost(store: Store) -> list[tuple[int | None, ...]]:
    columns = [span.c[name] for name in ("first_seq", "last_seq", "noted_ms", "after_ms")]
    with store.read() as connection:
        query = sa.select(*columns, span.c.before_ms).where(span.c.kind == "lost")
        return [tuple(row) for row in connection.execute(query.order_by(span.c.first_seq))]


@pytest.mark.parametrize("seed", range(3))
def test_random_batches(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    model = Model()
    for step in range(15):
        batch = batches(rng, rng.choice([10, 40, 300]))
        writer_on(store).write(batch)
        model.hear(batch)
        if step == 10:
            before_ms = NOW_MS - 15_000_000
            assert prune(store, before_ms=before_ms) == model.prune(before_ms)
        model.check(store, every_mark(store))
        sums_are_of_the_ranges(store)


def test_an_older_database_gets_the_sums_of_what_is_in_it(
    store: Store, any_database: Database
) -> None:
    rng = random.Random(5)
    for _ in range(15):
        writer_on(store).write(batches(rng, 40))
    on = " ON stream" if any_database.kind == "mariadb" else ""
    any_database.query("CREATE INDEX stream_missing ON stream (sensor_id, missing)")
    for index, column in (("stream_lacking", "lacking_ms"), ("stream_lost", "lost_ms")):
        any_database.query(f"DROP INDEX {index}{on}")
        any_database.query(f"ALTER TABLE stream DROP COLUMN {column}")
    for name in ("streams", *Totals._fields):
        any_database.query(f"ALTER TABLE sensor DROP COLUMN {name}")
    any_database.query("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(WrongSchema, match="older brisa"):
        store.check()
    store.upgrade()
    store.check()
    sums_are_of_the_ranges(store)
    writer_on(store).write(batches(rng, 40))
    sums_are_of_the_ranges(store)


def test_two_recorders_at_once(store: Store, any_database: Database) -> None:
    rng = random.Random(8)
    # what they leave does not depend on who was first: values and dates follow from the number
    fixed = [
        live(rng.choice([A, A, B]), measured(rng.randint(1, 60)), rng.choice(["dht11", "dht22"]))
        for _ in range(120)
    ]
    model = Model()
    model.hear(fixed)
    barrier = threading.Barrier(2)

    def record(mixed: random.Random) -> None:
        with contextlib.closing(Store(any_database.url, any_database.password)) as own:
            mine = writer_on(own)
            order = list(fixed)
            mixed.shuffle(order)
            barrier.wait()
            for begin in range(0, len(order), 4):
                mine.write(order[begin : begin + 4])
            assert not mine.rejected

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(record, [random.Random(1), random.Random(2)]))
    marks = every_mark(store)
    with store.read() as connection:
        current = connection.execute(sa.select(sensor.c.name, sensor.c.current)).all()
    model.current = {("pi-1", name): UUID(uuid) for name, uuid in current}  # of whoever was last
    model.check(store, marks)


# ---- rule by rule


def test_what_is_said_after_the_commit(store: Store) -> None:
    one = writer_on(store)
    assert one.write([]) == {}
    assert one.write([live(A, measured(1)), live(A, measured(2)), live(A, measured(4))]) == {
        ("pi-1", "dht11"): Stored(stream=A, seq=2, missing=1, newest=4)
    }
    assert one.write([again(A, measured(3))]) == {
        ("pi-1", "dht11"): Stored(stream=A, seq=4, newest=4)
    }
    assert one.write([live(B, measured(1), node="pi-2")]) == {
        ("pi-2", "dht11"): Stored(stream=B, seq=1, newest=1)
    }
    assert every_mark(store).keys() == {("pi-1", "dht11"), ("pi-2", "dht11")}


def test_a_stream_is_its_sensors_own(store: Store) -> None:
    """A hostile node that knows another's stream writes in its own history."""
    one = writer_on(store)
    one.write([live(A, measured(1)), live(A, measured(2))])
    hostile = [live(A, measured(seq, t=99.0), node="pi-2") for seq in (1, 2, 3)]
    assert one.write(hostile) == {("pi-2", "dht11"): Stored(stream=A, seq=3, newest=3)}
    assert every_mark(store)["pi-1", "dht11"] == Stored(stream=A, seq=2, newest=2)


def test_the_first_value_stays_and_a_right_date_replaces_a_wrong_one(store: Store) -> None:
    one = writer_on(store)
    marks = one.write([live(A, measured(1, 5000, right=False, t=1.0))])
    assert marks["pi-1", "dht11"].undated == [(1, 1)]
    marks = one.write([again(A, measured(1, 70_000, t=2.0))])
    assert marks["pi-1", "dht11"].undated == []
    for later in (measured(1, 90_000), measured(1, 5000, right=False)):
        one.write([live(A, later)])
    with store.read() as connection:
        row = connection.execute(sa.select(reading)).one()
    assert (row.measured_ms, row.synchronised, row.temperature_c) == (70_000, True, 1.0)


def test_readings_that_get_another_date_leave_nothing_where_they_were(store: Store) -> None:
    one = writer_on(store)
    seqs = range(1, 4)
    one.write([again(A, *(measured(seq, seq * 40_000, right=False) for seq in seqs))])
    one.write([again(A, *(measured(seq, NOW_MS) for seq in seqs))])
    for table, unit_s in ROLLUPS:
        with store.read() as connection:
            rows = connection.execute(sa.select(table.c.start_s, table.c.readings)).all()
        now_s = NOW_MS // 1000
        assert [tuple(row) for row in rows] == [(now_s - now_s % unit_s, 3)]


def test_a_gap_is_noted_with_its_neighbours_dates(store: Store) -> None:
    t = NOW_MS
    writer_on(store, 1).write([live(A, measured(2, t + 2)), live(A, measured(7, t + 7))])
    writer_on(store, 2).write([health(A, oldest=6, newest=7)])
    assert lost(store) == [(1, 1, 2, None, t + 2), (3, 5, 2, t + 2, None)]
    writer_on(store, 3).write([again(A, measured(6, t + 6), after=5)])
    assert lost(store)[1] == (3, 5, 2, t + 2, t + 6)
    writer_on(store, 4).write([again(A, measured(4, t + 4))])
    assert lost(store) == [
        (1, 1, 2, None, t + 2),
        (3, 3, 2, t + 2, t + 4),
        (5, 5, 2, t + 4, t + 6),
    ]


def test_a_neighbour_without_a_right_date_says_nothing_of_when(store: Store) -> None:
    """Else a sentence would have it that nothing came since 1970."""
    one = writer_on(store, 1)
    one.write([again(A, measured(1, 5000, right=False)), again(A, measured(4, 8000), after=1)])
    assert lost(store) == [(2, 3, 1, None, None)], "some clocks call themselves right in 1970"
    one.write([health(A, oldest=9, newest=9), live(A, measured(9, NOW_MS, right=False))])
    assert lost(store) == [(2, 3, 1, None, None), (5, 8, 1, None, None)]
    one.write([again(A, measured(1, NOW_MS)), again(A, measured(9, NOW_MS + 9))])
    assert lost(store) == [(2, 3, 1, NOW_MS, None), (5, 8, 1, None, NOW_MS + 9)]


def test_an_edge_that_keeps_nothing_has_lost_what_is_missing(store: Store) -> None:
    one = writer_on(store)
    one.write([live(A, measured(2))])
    marks = one.write([health(A, newest=5), live(A, measured(4))])
    assert marks["pi-1", "dht11"] == Stored(
        stream=A, seq=5, newest=4, lost=[(1, 1), (3, 3), (5, 5)]
    )
    assert [row[:2] for row in lost(store)] == [(1, 1), (3, 3), (5, 5)]


def test_a_claim_counts_for_what_came_before_it(store: Store) -> None:
    one = writer_on(store)
    one.write([live(A, measured(9))])
    marks = one.write([again(A, measured(2), measured(3)), again(A, measured(5), after=1)])
    assert marks["pi-1", "dht11"] == Stored(stream=A, seq=0, missing=4, newest=9, lost=[(4, 4)])
    assert [row[:2] for row in lost(store)] == [(4, 4)]
    one.write([again(A, after=5)])
    assert [row[:2] for row in lost(store)] == [(4, 4), (6, 8)]


def test_the_streams_of_a_sensor(store: Store) -> None:
    days = 86_400_000
    writer_on(store, NOW_MS - 9 * days).write([live(A, measured(1)), live(B, measured(3))])
    marks = writer_on(store).write([live(C, measured(1))])
    whole_and_old = [Mark(stream=B, seq=0, missing=2, newest=3)]
    assert marks["pi-1", "dht11"] == Stored(stream=C, seq=1, newest=1, earlier=whole_and_old)
    marks = writer_on(store).write([again(A, measured(2))])
    assert marks["pi-1", "dht11"].stream == C, "back-fill of an old one does not make it the newest"
    assert {mark.stream for mark in marks["pi-1", "dht11"].earlier} == {A, B}
    marks = writer_on(store).write([health(A)])
    assert marks["pi-1", "dht11"].stream == A


def test_only_the_newest_of_many_streams_and_ranges_are_said(on_sqlite: Store) -> None:
    uuids = [uuid4() for _ in range(40)]
    for number, uuid in enumerate(uuids):
        writer_on(on_sqlite, NOW_MS + number).write([live(uuid, measured(1))])
    said = every_mark(on_sqlite, NOW_MS + 50)["pi-1", "dht11"]
    assert said.stream == uuids[-1]
    assert [mark.stream for mark in said.earlier] == uuids[-2:-34:-1]
    odd = [measured(seq, right=False) for seq in range(1, 100, 2)]
    marks = writer_on(on_sqlite, NOW_MS + 60).write([again(uuids[0], *odd)])
    first = next(m for m in marks["pi-1", "dht11"].earlier if m.stream == uuids[0])
    assert first.undated == [(seq, seq) for seq in range(85, 100, 2)]


def test_history_that_was_only_imported_has_a_mark(on_sqlite: Store) -> None:
    writer_on(on_sqlite, 1).write([again(A, measured(1))])
    assert every_mark(on_sqlite) == {("pi-1", "dht11"): Stored(stream=A, seq=1, newest=1)}


def test_the_interval_is_of_the_health(store: Store) -> None:
    one = writer_on(store)
    assert one.write([health(None, interval_s=7)]) == {}, "it has no stream yet"
    one.write([health(A, interval_s=2.5), live(A, measured(1))])
    with store.read() as connection:
        assert connection.scalar(sa.select(sensor.c.interval_s)) == 2.5


def test_the_largest_number(store: Store) -> None:
    one = writer_on(store)
    marks = one.write([live(A, measured(SEQ_MAX, 1)), health(A, oldest=3, newest=SEQ_MAX)])
    assert marks["pi-1", "dht11"] == Stored(
        stream=A, seq=2, missing=SEQ_MAX - 3, newest=SEQ_MAX, lost=[(1, 2)]
    )
    marks = one.write([again(A, measured(SEQ_MAX, 1), after=0), again(A, after=SEQ_MAX)])
    assert marks["pi-1", "dht11"] == Stored(
        stream=A, seq=SEQ_MAX, newest=SEQ_MAX, lost=[(1, SEQ_MAX - 1)]
    )
    assert [row[:2] for row in lost(store)] == [(1, SEQ_MAX - 1)]


def test_more_than_a_database_can_count_stops_nothing(store: Store) -> None:
    one = writer_on(store)
    one.write([health(A, 1, SEQ_MAX), health(B, 1, SEQ_MAX)])
    one.write([live(C, measured(1))])
    assert (not one.rejected, seqs(store)) == (True, [1])
    with store.read() as connection:
        assert connection.scalar(sa.select(sensor.c.missing)) == SEQ_MAX
        assert recounted(connection, "pi-1", "dht11").missing == 2 * SEQ_MAX


@pytest.mark.parametrize("year", [1, 1969, 9999])
def test_a_date_from_anywhere(store: Store, year: int) -> None:
    moment = datetime(year, 1, 1, 0, 0, 59, 999_000, tzinfo=UTC)
    ms = (moment - EPOCH) // timedelta(milliseconds=1)
    model = Model()
    for batch in (
        [live(A, measured(1, ms, right=False)), live(A, measured(2, ms + 1, right=False))],
        [again(A, measured(1))],
    ):
        writer_on(store).write(batch)
        model.hear(batch)
    model.check(store, every_mark(store))


# ---- what a node may not do


def test_too_many_sensors(on_sqlite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_SENSORS", 4)
    monkeypatch.setattr(writer, "MAX_SENSORS_PER_NODE", 2)
    one = writer_on(on_sqlite)
    flood = [live(A, measured(1), f"s{n}") for n in range(4)]
    marks = one.write([*flood, live(A, measured(1), node="pi-2")])
    assert marks.keys() == {("pi-1", "s0"), ("pi-1", "s1"), ("pi-2", "dht11")}
    assert one.rejected == {"too_many_sensors": 2}
    marks = one.write([live(A, measured(1), node=f"pi-{n}") for n in (3, 4)] + flood[:1])
    assert marks.keys() == {("pi-3", "dht11"), ("pi-1", "s0")}
    assert one.rejected == {"too_many_sensors": 3}


def test_too_many_streams(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all sensors of a node together; what it has already goes on, and so do other nodes."""
    monkeypatch.setattr(writer, "MAX_STREAMS_PER_NODE", 3)
    one = writer_on(store)
    one.write([live(A, measured(1)), live(B, measured(1)), live(C, measured(1), "other")])
    marks = one.write(
        [
            *(live(A, measured(2)), live(C, measured(2)), live(C, measured(2), "other")),
            *(live(A, measured(1), "other"), live(C, measured(1), node="pi-2")),
        ]
    )
    assert marks["pi-1", "dht11"] == Stored(
        stream=A, seq=2, newest=2, earlier=[Mark(stream=B, seq=1, newest=1)]
    )
    assert marks["pi-1", "other"] == Stored(stream=C, seq=2, newest=2)
    assert marks["pi-2", "dht11"] == Stored(stream=C, seq=1, newest=1)
    assert one.rejected == {"too_many_streams": 2}
    sums_are_of_the_ranges(store)


def test_a_forgotten_stream_gives_its_place_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_STREAMS_PER_NODE", 1)
    writer_on(store, 1).write([live(A, measured(1, 1))])
    prune(store, before_ms=NOW_MS)
    sums_are_of_the_ranges(store)
    one = writer_on(store)
    assert one.write([live(B, measured(1))])["pi-1", "dht11"].stream == B
    assert not one.rejected


def test_too_scattered(on_sqlite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_RANGES", 3)
    one = writer_on(on_sqlite)
    odd = again(A, *(measured(seq) for seq in range(1, 20, 2)), measured(20), after=0)
    marks = one.write([odd, live(B, measured(1), "other")])
    assert seqs(on_sqlite) == [1, 1, 3, 5]
    assert lost(on_sqlite) == [], "the sender's word is not taken where we are not whole"
    assert marks["pi-1", "other"] == Stored(stream=B, seq=1, newest=1)
    assert one.rejected == {"too_scattered": 1}
    assert one.examples == {"too_scattered": "pi-1/dht11"}


def pieces(store: Store) -> dict[str, int]:
    with store.read() as connection:
        return dict(connection.execute(sa.select(sensor.c.name, sensor.c.pieces)).all())


def test_a_node_has_room_for_so_many_pieces_in_all_its_streams(
    on_sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MAX_PIECES", 4)
    one = writer_on(on_sqlite)
    one.write([live(uuid, measured(seq)) for uuid in (A, B) for seq in (1, 3, 5)])
    one.write([live(C, measured(1), "other"), live(C, measured(2), "other")])
    assert pieces(on_sqlite) == {"dht11": 4, "other": 0}
    one.write([live(C, measured(4), "other"), live(A, measured(7))])
    assert one.rejected == {"too_scattered": 2}
    one.write([live(C, measured(1), node="pi-2"), live(C, measured(3), node="pi-2")])
    one.write([again(A, measured(2)), live(C, measured(4), "other"), live(C, measured(6), "other")])
    assert one.rejected == {"too_scattered": 3}, "there was room for one again"
    one.write([again(B, after=0)])  # an honest claim: 2 and 4 are lost
    assert [row[:2] for row in lost(on_sqlite)] == [(2, 2), (4, 4)]
    with on_sqlite.read() as connection:
        kinds = connection.execute(
            sa.select(span.c.stream_id, sa.func.count()).group_by(span.c.stream_id, span.c.kind)
        ).all()
        total = connection.scalar(sa.select(sa.func.sum(sensor.c.pieces)))
    assert total == sum(count - 1 for _, count in kinds)


def test_what_the_database_refuses_stops_nothing_else(
    any_database: Database, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    if any_database.kind == "sqlite":
        any_database.query(
            "CREATE TRIGGER no BEFORE INSERT ON reading WHEN new.temperature_c > 100"
            " BEGIN SELECT RAISE(ABORT, 'too hot for me'); END"
        )
    else:
        any_database.query("ALTER TABLE reading ADD CONSTRAINT hot CHECK (temperature_c < 100)")
    one = writer_on(store)
    batch = [live(A, measured(seq, t=101.0 if seq == 4 else 20.0)) for seq in range(1, 8)]
    marks = one.write(batch)
    assert seqs(store) == [1, 2, 3, 5, 6, 7]
    assert marks["pi-1", "dht11"] == Stored(stream=A, seq=3, missing=1, newest=7)
    assert one.rejected == {"refused": 1}
    [record] = caplog.records
    line = record.getMessage()
    assert line.startswith(f"pi-1/dht11: a reading is not stored: {any_database.url}: ")
    assert "\n" not in line


def test_what_we_fail_at_stops_nothing_else(
    on_sqlite: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = writer._Stream.take

    def take(stream: writer._Stream, one: Measured) -> bool:
        if one.seq in (4, 6):
            raise ZeroDivisionError("a bug")
        return real(stream, one)

    monkeypatch.setattr(writer._Stream, "take", take)
    one = writer_on(on_sqlite)
    marks = one.write([live(A, measured(seq)) for seq in range(1, 8)])
    assert seqs(on_sqlite) == [1, 2, 3, 5, 7]
    assert marks["pi-1", "dht11"] == Stored(stream=A, seq=3, missing=2, newest=7)
    assert one.rejected == {"not_stored": 2}
    assert one.examples == {"not_stored": "pi-1/dht11: a reading: a bug"}
    assert [bool(record.exc_info) for record in caplog.records] == [True, False], "one trace"


@pytest.mark.parametrize("error", [StoreError("no rights"), WrongSchema("no table"), Unavailable()])
def test_what_is_not_about_a_message_is_for_the_caller(
    on_sqlite: Store, monkeypatch: pytest.MonkeyPatch, error: StoreError
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(writer, "marks", fail)
    one = writer_on(on_sqlite)
    with pytest.raises(type(error)):
        one.write([live(A, measured(seq)) for seq in range(1, 8)])
    assert not one.rejected
    assert seqs(on_sqlite) == []


@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("heard_ms", [100, NOW_MS - 20_000])
def test_ten_thousand_streams_of_a_sensor_do_not_weigh_on_what_comes(
    on_sqlite: Store, heard_ms: int, missing: int, *, began: bool
) -> None:
    """After years of being switched off each evening; or after minutes of a hostile node."""
    writer_on(on_sqlite, 1).write([live(A, measured(1))])
    with on_sqlite.begin() as connection:
        rows = [
            {"id": n, "sensor_id": 1, "uuid": str(UUID(int=n)), "first_heard_ms": n,
             "last_heard_ms": heard_ms + n, "newest_seq": 9 + missing, "watermark": 9,
             "missing": missing, "lacking_ms": heard_ms + n if missing else None}
            for n in range(100, 10_100)
        ]  # fmt: skip
        connection.execute(stream.insert(), rows)
        of = [
            {"stream_id": n, "kind": "stored", "first_seq": 1, "last_seq": 9}
            for n in range(100, 10_100)
        ]
        connection.execute(span.insert(), of)
        connection.execute(sensor.update().values(streams=10_001, missing=missing * 10_000))
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with on_sqlite.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(step, 1000)
        batch = [live(B if began else A, measured(2))]
        transaction = writer._Transaction(connection, batch, NOW_MS)
        said = transaction.write(batch)["pi-1", "dht11"]
        driver.set_progress_handler(None, 0)
    assert said.stream == batch[0].said.stream
    earlier = [mark.stream for mark in said.earlier]
    if missing or heard_ms > 100:
        assert earlier == [UUID(int=n) for n in range(10_099, 10_099 - MAX_EARLIER_STREAMS, -1)]
    else:
        assert earlier == []
    assert steps < 20, "of a thousand instructions of SQLite's machine each"


def test_what_is_missing_is_said_before_what_was_heard_of_last(store: Store) -> None:
    uuids = [UUID(int=n) for n in range(1, 81)]
    for number, uuid in enumerate(uuids):
        seq = 1 + number % 2  # of every other one the first is missing
        writer_on(store, NOW_MS + number).write([live(uuid, measured(seq))])
    said = every_mark(store, NOW_MS + 100)["pi-1", "dht11"]
    assert said.stream == uuids[-1]
    assert [mark.stream for mark in said.earlier] == uuids[-3:-67:-2]
    writer_on(store, NOW_MS + 100).write([again(uuids[-3], measured(1))])
    said = every_mark(store, NOW_MS + 101)["pi-1", "dht11"]
    assert [mark.stream for mark in said.earlier] == uuids[-5:-69:-2], "it is whole now"


def test_streams_that_were_only_imported_are_bounded_too(store: Store) -> None:
    uuids = [UUID(int=n) for n in range(1, 41)]
    for number, uuid in enumerate(uuids):
        writer_on(store, number).write([again(uuid, measured(1))])
    said = every_mark(store)["pi-1", "dht11"]
    assert [said.stream, *(mark.stream for mark in said.earlier)] == uuids[:-34:-1]


def test_nothing_of_a_batch_is_stored_if_its_end_is_not(
    on_sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = writer_on(on_sqlite)
    one.write([live(A, measured(1))])

    def fail(*_: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "marks", fail)
        with pytest.raises(Unavailable, match="away"):
            one.write([live(A, measured(2))])
    assert seqs(on_sqlite) == [1]
    assert every_mark(on_sqlite)["pi-1", "dht11"].seq == 1


@pytest.mark.parametrize("error", [Conflict, Refused])
def test_another_in_the_way_is_tried_again_a_few_times(
    on_sqlite: Store, monkeypatch: pytest.MonkeyPatch, error: type[Conflict | Refused]
) -> None:
    real, times = real_marks, [writer.TRIES - 1]

    def fail(*arguments: object) -> object:
        if times[0]:
            times[0] -= 1
            raise error("in the way")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "marks", fail)
    one = writer_on(on_sqlite)
    assert one.write([live(A, measured(1))])["pi-1", "dht11"].seq == 1
    assert not one.rejected
    times[0] = 1000
    if error is Conflict:
        with pytest.raises(Unavailable, match="in the way"):
            one.write([live(A, measured(2))])
    else:
        assert one.write([live(A, measured(2))]) == {}
        assert one.rejected == {"refused": 1}
