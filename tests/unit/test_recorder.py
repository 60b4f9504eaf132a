"""The recorder between a session and a database that are made up: bounds, faults, what is said."""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import pytest

from broker.contract import (
    MAX_LIST_BYTES,
    MAX_PAYLOAD_BYTES,
    Backfill,
    Kind,
    Reading,
    Stored,
    Topic,
    Topics,
    parse_payload,
)
from broker.session import NotConnectedError, Session
from gateway.history.announcer import Sensor
from gateway.history.inbox import BATCH_BYTES, MESSAGE_BYTES, Inbox
from gateway.history.probes import RecorderHealth
from gateway.history.recorder import (
    BEHIND_S,
    CAUSES,
    PRUNE_EVERY_S,
    PRUNE_FIRST_S,
    PRUNE_RETRY_S,
    RETRY_FIRST_S,
    RETRY_LONGEST_S,
    SAY_EVERY_S,
    STUCK_S,
    Recorder,
)
from gateway.history.store import Store, StoreError, Unavailable, WrongSchema
from gateway.history.writer import Heard, Writer
from gateway.rejections import Rejections
from tests.support import PATIENCE_S, eventually
from tests.unit.metrics import metric_value
from tests.unit.test_feed import BadTopic, Message
from tests.unit.told import Clock

STREAM = UUID("00000000-0000-4000-8000-000000000001")
MEASURED = {
    "measured_at": "2026-11-23T12:00:00Z",
    "clock_synchronised": True,
    "temperature_c": 24.0,
    "humidity_pct": 41.0,
    "source": "dht11",
}
HEALTH = {
    "state": "ok",
    "since": "2026-11-23T12:00:00Z",
    "driver": "iio",
    "model": "dht11",
    "interval_s": 5.0,
}


def reading(seq: int, sensor: str = "dht11") -> Message:
    payload = {"stream": str(STREAM), "seq": seq, **MEASURED}
    return Message(f"brisa/aula/{sensor}/reading", json.dumps(payload).encode())


def health(sensor: str = "dht11") -> Message:
    return Message(f"brisa/aula/{sensor}/health", json.dumps(HEALTH).encode())


def backfill(*seqs: int, sensor: str = "dht11") -> Message:
    readings = [{"seq": seq, **MEASURED} for seq in seqs]
    payload = {"stream": str(STREAM), "readings": readings}
    return Message(f"brisa/aula/{sensor}/backfill", json.dumps(payload).encode())


class Pauses(threading.Event):
    """Lets the clock jump instead of waiting; ends the waiting when told so often."""

    def __init__(self, clock: Clock, most: int = 1000) -> None:
        super().__init__()
        self.slept_s: list[float] = []
        self.most = most
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if self.is_set():
            return True
        self.slept_s.append(timeout or 0.0)
        self._clock.pass_(timeout or 0.0)
        if len(self.slept_s) >= self.most:
            self.set()
        return self.is_set()


@dataclass
class Database:
    """A store and its writer. `faults` are raised, one a call; `always` by every call."""

    shown: str = "sqlite:///test.db"
    upgrades: int = 0
    faults: list[Exception] = field(default_factory=list)
    upgrade_faults: list[Exception] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    batches: list[list[Heard]] = field(default_factory=list)
    before_commit: Callable[[], None] = lambda: None
    seqs: dict[Sensor, set[int]] = field(default_factory=dict)

    def upgrade(self) -> None:
        self.upgrades += 1
        if self.upgrade_faults:
            raise self.upgrade_faults.pop(0)

    def write(self, batch: Sequence[Heard]) -> dict[Sensor, Stored]:
        if self.faults:
            raise self.faults.pop(0)
        self.before_commit()
        self.batches.append(list(batch))
        marks = {}
        for node, sensor, said in batch:
            seqs = self.seqs.setdefault((node, sensor), set())
            if isinstance(said, Reading):
                seqs.add(said.seq)
            elif isinstance(said, Backfill):
                seqs.update(one.seq for one in said.readings)
            reach = next(seq for seq in range(len(seqs) + 1) if seq + 1 not in seqs)
            marks[node, sensor] = Stored(stream=STREAM, seq=reach)
        return marks

    @property
    def written(self) -> list[Heard]:
        return [heard for batch in self.batches for heard in batch]


@dataclass
class SessionDouble:
    """Keeps what is published."""

    connected: bool = True
    subscribed: bool = True
    last_error: str = ""
    connects_total: int = 1
    refused_total: int = 0
    network_thread_alive: bool = True
    said: list[tuple[str, int]] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert retain
        if not self.connected:
            raise NotConnectedError("away")
        self.said.append((topic, parse_payload(Stored, payload).seq))

    def new(self) -> list[tuple[str, int]]:
        said, self.said = self.said, []
        return said


class Bench:
    """A recorder whose passes are made by the test, on a clock that only the test moves."""

    def __init__(self, **options: object) -> None:
        self.clock = Clock()
        self.database = Database()
        self.session = SessionDouble()
        self.rejections = Rejections(self.clock.monotonic, causes=CAUSES, fate="not stored")
        self.inbox = Inbox(monotonic=self.clock.monotonic)
        self.recorder = Recorder(
            cast("Store", self.database),
            cast("Writer", self.database),
            Topics(),
            self.rejections,
            **{  # type: ignore[arg-type]
                "commit_s": 0.0,
                "inbox": self.inbox,
                "monotonic": self.clock.monotonic,
                **options,
            },
        )
        self.recorder.watch(cast("Session", self.session))
        self.pauses = Pauses(self.clock)
        self.recorder._stopping = self.pauses
        self.recorder.on_up()

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.recorder.on_message(message)
        self.pass_()

    def pass_(self) -> None:
        self.recorder._pass(0.0, 0.0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def mark(seq: int, sensor: str = "dht11") -> tuple[str, int]:
    return f"brisa/aula/{sensor}/stored", seq


# ---- the queue


def topic(kind: Kind = Kind.READING, node: str = "aula") -> Topic:
    return Topic(kind, node, "dht11")


def test_the_queue_is_bounded_in_messages() -> None:
    inbox = Inbox(max_messages=3)
    for number in range(5):
        inbox.put(topic(), b"%d" % number)
    assert (len(inbox), inbox.dropped) == (3, 2)
    assert [waiting.payload for waiting in inbox.take(0, 0)] == [b"0", b"1", b"2"]
    assert (len(inbox), inbox.bytes) == (0, 0)
    inbox.put(topic(), b"5")
    assert len(inbox) == 1


def test_the_queue_is_bounded_in_bytes() -> None:
    inbox = Inbox(max_bytes=3 * (1000 + MESSAGE_BYTES))
    for _ in range(5):
        inbox.put(topic(), bytes(1000))
    inbox.put(topic(), b"")
    assert (len(inbox), inbox.dropped) == (3, 3)
    assert inbox.bytes == 3 * (1000 + MESSAGE_BYTES)


def test_a_node_that_fills_the_queue_loses_its_own_and_delays_nobody() -> None:
    inbox = Inbox(max_bytes=64 * BATCH_BYTES // 16)
    flood = [number.to_bytes(2) + bytes(2000) for number in range(3000)]
    for payload in flood:
        inbox.put(topic(Kind.BACKFILL, node="busy"), payload)
    dropped = inbox.dropped
    assert dropped
    quiet = [(topic(kind, node=f"quiet-{n}"), b"%d" % n) for n in range(40) for kind in Kind]
    for one in quiet:
        inbox.put(*one)
    assert inbox.dropped > dropped, "room was made"
    batch = inbox.take(0, 0)
    assert {(one.topic, one.payload) for one in batch if "quiet" in one.topic.node} == set(quiet)
    left = [*batch]
    while batch := inbox.take(0, 0):
        left += batch
    busy = [one.payload for one in left if one.topic.node == "busy"]
    assert busy == flood[: len(busy)], "in their order, and none between is missing"
    assert len(left) + inbox.dropped == len(flood) + len(quiet)
    assert (len(inbox), inbox.bytes, inbox.oldest_s) == (0, 0, 0.0)


def test_of_a_node_new_readings_come_before_what_it_sends_again() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.put(topic(Kind.BACKFILL), b"again %d" % number)
        inbox.put(topic(Kind.HEALTH), b"health %d" % number)
        inbox.put(topic(), b"new %d" % number)
    taken = [one.payload.decode() for one in inbox.take(0, 0)]
    assert taken[:3] == ["new 0", "new 1", "new 2"]
    # a health may say what is gone of it, and must not overtake it
    assert taken[3:] == [f"{what} {number}" for number in range(3) for what in ("again", "health")]


def test_what_is_taken_at_once_is_bounded_and_the_rest_does_not_wait() -> None:
    inbox = Inbox()
    for _ in range(30):
        inbox.put(topic(Kind.BACKFILL), bytes(100_000))
    sizes = []
    while batch := inbox.take(0, PATIENCE_S):  # would be found by pytest's timeout
        sizes.append(sum(len(waiting.payload) for waiting in batch))
    assert sum(sizes) == 30 * 100_000
    assert max(sizes) < BATCH_BYTES + 100_000


class Waits(threading.Condition):
    """Writes down for how long it was asked to wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_s: list[float | None] = []

    def wait_for(self, predicate: Callable[[], object], timeout: float | None = None) -> bool:  # type: ignore[override]
        if not predicate():
            self.asked_s.append(timeout)
        return bool(predicate())


def test_a_reading_waits_for_company_and_a_backfill_does_not() -> None:
    clock = Clock()
    inbox = Inbox(monotonic=clock.monotonic)
    inbox._changed = waits = Waits()
    inbox.put(topic(), b"x")
    clock.pass_(0.25)
    assert len(inbox.take(1.0, 2.0)) == 1
    assert waits.asked_s == [1.75]
    inbox.put(topic(), b"x")
    inbox.put(topic(Kind.BACKFILL), b"x")
    assert len(inbox.take(1.0, 2.0)) == 2
    assert waits.asked_s == [1.75]
    assert inbox.take(1.0, 2.0) == []
    assert waits.asked_s == [1.75, 1.0]
    for _ in range(60):
        inbox.put(topic(), bytes(10_000))
    assert len(inbox.take(1.0, 2.0)) == 60
    assert waits.asked_s == [1.75, 1.0]


def test_a_closed_queue_takes_in_nothing_and_gives_what_it_has() -> None:
    inbox = Inbox()
    inbox.put(topic(), b"x")
    inbox.close()
    inbox.put(topic(), b"y")
    assert [waiting.payload for waiting in inbox.take(PATIENCE_S, PATIENCE_S)] == [b"x"]
    assert inbox.take(PATIENCE_S, PATIENCE_S) == []
    assert inbox.dropped == 0


# ---- what comes in


def test_readings_then_health_and_backfill_get_to_the_writer(bench: Bench) -> None:
    bench.hear(reading(1), health(), backfill(2, 3), reading(4, "patio"))
    written = [(type(one.said).__name__, one.sensor) for one in bench.database.written]
    assert written == [
        ("Reading", "dht11"),
        ("Reading", "patio"),
        ("SensorHealth", "dht11"),
        ("Backfill", "dht11"),
    ]
    assert bench.recorder.commits == len(bench.database.batches) == 1


def test_what_is_not_for_the_recorder_or_cleared_is_passed_over(bench: Bench) -> None:
    bench.hear(
        Message("brisa/aula/status", b'{"state":"online"}'),
        Message("brisa/aula/dht11/stored", b"{}"),
        Message("brisa/aula/dht11/reading", b""),
    )
    assert bench.database.batches == []
    assert set(bench.rejections.totals().values()) == {0}


def test_what_breaks_the_contract_is_counted_and_said_in_one_line(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.hear(
        Message("brisa/AULA/dht11/reading", b"{}"),
        BadTopic("", b""),
        Message("brisa/aula/dht11/reading", b"no JSON"),
        Message("brisa/aula/dht11/reading", bytes(MAX_PAYLOAD_BYTES + 1)),
        Message("brisa/aula/dht11/backfill", bytes(MAX_LIST_BYTES + 1)),
        reading(1),
    )
    totals = bench.rejections.totals()
    assert (totals["foreign_topic"], totals["bad_payload"]) == (2, 3)
    assert [one.said for one in bench.database.written] == [
        parse_payload(Reading, reading(1).payload)
    ]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith("not stored: ")


def test_what_the_writer_refuses_is_in_the_same_count_and_said(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.database.rejected["too_many_streams"] = 2
    bench.database.examples["too_many_streams"] = "aula/dht11"
    bench.hear(reading(1))
    bench.hear(reading(2))
    assert bench.rejections.totals()["too_many_streams"] == 2
    assert [record.getMessage() for record in caplog.records] == [
        "not stored: 2 too_many_streams (last: aula/dht11)"
    ]


# ---- what is said


def test_stored_is_said_after_the_commit_and_not_twice(bench: Bench) -> None:
    bench.database.before_commit = lambda: said.extend(bench.session.said)
    said: list[tuple[str, int]] = []
    bench.hear(reading(1))
    assert said == []
    assert bench.session.new() == [mark(1)]
    bench.hear(reading(1), health())
    assert bench.session.new() == []
    bench.hear(reading(2), reading(1, "patio"))
    assert bench.session.new() == [mark(2), mark(1, "patio")]


def test_a_backfill_is_always_answered(bench: Bench) -> None:
    bench.hear(reading(1), reading(1, "patio"))
    bench.session.new()
    bench.hear(backfill(1), reading(1, "patio"))
    assert bench.session.new() == [mark(1)]


def test_after_a_reconnect_everything_may_be_said_again(bench: Bench) -> None:
    bench.hear(reading(1))
    bench.session.new()
    bench.recorder.on_up()
    bench.hear(reading(1))
    assert bench.session.new() == [mark(1)]
    bench.hear(reading(1))
    assert bench.session.new() == []


def test_what_could_not_be_published_is_published_later_and_only_the_newest(bench: Bench) -> None:
    bench.session.connected = False
    bench.hear(reading(1))
    bench.hear(reading(2))
    bench.session.connected = True
    bench.pass_()
    assert bench.session.new() == [mark(2)]
    bench.pass_()
    assert bench.session.new() == []


# ---- a database that is away


def test_while_the_database_is_away_the_batch_is_kept_and_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.database.faults = [Unavailable("db: gone") for _ in range(12)]
    bench.hear(reading(1))
    assert len(bench.database.written) == 1
    assert bench.session.new() == [mark(1)]
    slept_s = bench.pauses.slept_s
    assert slept_s[:3] == [RETRY_FIRST_S, 2 * RETRY_FIRST_S, 4 * RETRY_FIRST_S]
    assert (slept_s[-1], len(slept_s)) == (RETRY_LONGEST_S, 12)
    lines = [record.getMessage() for record in caplog.records]
    away = [line for line in lines if line == "db: gone; trying again"]
    assert len(away) == 1 + sum(slept_s) // SAY_EVERY_S
    assert lines[-1].startswith(f"the database is back after {sum(slept_s):.0f} s; 0 messages")
    assert len(lines) == len(away) + 1
    assert bench.database.upgrades == 1 + 12  # another database may have come back
    assert bench.recorder.database_up


def test_what_does_not_fit_meanwhile_is_dropped_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(inbox=(inbox := Inbox(max_messages=2)))
    bench.database.faults = [Unavailable("db: gone")]
    bench.pauses.set = lambda: None  # type: ignore[method-assign]
    bench.pauses.most = 1
    bench.recorder.on_message(reading(1))
    original = bench.recorder._gone

    def gone(error: StoreError) -> None:
        original(error)
        for seq in range(2, 7):
            bench.recorder.on_message(reading(seq))

    bench.recorder._gone = gone  # type: ignore[method-assign]
    bench.pass_()
    assert inbox.dropped == 3
    assert "3 messages were dropped meanwhile and will be sent again" in caplog.text
    bench.pass_()
    assert bench.session.new() == [mark(1), mark(3)]


@pytest.mark.parametrize(
    "error",
    [WrongSchema("db: no table hour"), StoreError("db: no rights"), Unavailable("db: gone")],
)
def test_whatever_is_wrong_with_the_database_nothing_is_thrown_away(
    bench: Bench, error: StoreError
) -> None:
    bench.hear(reading(1))
    bench.session.new()
    bench.database.faults = [error for _ in range(5)]
    ready: list[list[str]] = []
    original = bench.recorder._gone

    def gone(error: StoreError) -> None:
        original(error)
        ready.append(bench.recorder.ready())

    bench.recorder._gone = gone  # type: ignore[method-assign]
    bench.hear(reading(2), reading(3))
    assert bench.session.new() == [mark(3)]
    assert sum(bench.rejections.totals().values()) == 0
    assert [len(batch) for batch in bench.database.batches] == [1, 2], "not divided either"
    assert bench.pauses.slept_s == [min(RETRY_LONGEST_S, RETRY_FIRST_S * 2**n) for n in range(5)]
    assert all(str(error) in problems for problems in ready)
    assert bench.database.upgrades == 1 + 5, "somebody may have put another in its place"


def test_one_that_was_open_may_refuse_us_for_a_while(bench: Bench) -> None:
    bench.hear(reading(1))
    bench.database.faults = [StoreError("db: no rights")]
    bench.database.upgrade_faults = [StoreError("db: no rights") for _ in range(3)]
    bench.hear(reading(2))
    assert bench.session.new() == [mark(1), mark(2)]
    assert len(bench.pauses.slept_s) == 4


# ---- removing what is old


def test_readings_past_their_time_are_removed_a_minute_after_the_start_and_daily() -> None:
    calls: list[float] = []

    def prune(between: Callable[[], None]) -> int:
        calls.append(own.clock.now_s)
        own.recorder.on_message(reading(1))
        between()  # recording goes on
        assert own.session.new() == [mark(1)]
        own.recorder.on_up()
        if len(calls) == 3:
            own.pauses.set()
            between()
        return 5

    own = Bench(prune=prune)
    start_s = own.clock.now_s
    own.recorder._next_prune_s = start_s + PRUNE_FIRST_S
    own.inbox._changed = _Ticks(own.clock)
    own.recorder._worker._run()
    assert own.recorder.fault == ""
    assert own.recorder.pruned == 10  # the third was told to stop in the middle
    assert [round(at - start_s) for at in calls] == [
        round(PRUNE_FIRST_S + times * PRUNE_EVERY_S) for times in range(3)
    ]


class _Ticks(threading.Condition):
    """Time passes only while there is nothing to do, and then by the minute."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait_for(self, predicate: Callable[[], object], *_: object) -> bool:  # type: ignore[override]
        if not predicate():
            self._clock.pass_(60.0)
        return bool(predicate())


def test_a_prune_that_fails_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    def prune(_between: Callable[[], None]) -> int:
        raise Unavailable("db: gone")

    bench = Bench(prune=prune)
    bench.recorder._prune_now()
    assert bench.recorder._next_prune_s == bench.clock.now_s + PRUNE_RETRY_S
    assert [record.getMessage() for record in caplog.records] == [
        "old readings were not removed: db: gone"
    ]
    assert not caplog.records[0].exc_info


def test_a_fault_of_ours_in_retention_stops_neither_it_nor_what_is_recorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[float] = []

    def prune(_between: Callable[[], None]) -> int:
        calls.append(own.clock.now_s)
        if len(calls) == 1:
            own.recorder.on_message(reading(1))
            raise ZeroDivisionError("a bug")
        own.pauses.set()
        return 7

    own = Bench(prune=prune)
    own.inbox._changed = _Ticks(own.clock)
    own.recorder._worker._run()
    assert "ZeroDivisionError: a bug" in caplog.text
    assert own.session.new() == [mark(1)]
    assert (own.recorder.pruned, round(calls[1] - calls[0])) == (7, PRUNE_RETRY_S)


# ---- the thread, and its end


@pytest.fixture
def running(bench: Bench) -> Iterator[Bench]:
    bench.recorder._stopping = threading.Event()
    bench.recorder.start()
    yield bench
    bench.recorder.stop(PATIENCE_S)


def test_what_waits_is_written_before_the_end() -> None:
    bench = Bench(commit_s=PATIENCE_S)
    bench.recorder._stopping = threading.Event()
    for seq in range(1, 101):
        bench.recorder.on_message(reading(seq))
    bench.recorder.start()
    assert bench.recorder.stop(PATIENCE_S)
    assert bench.session.new() == [mark(100)]
    bench.recorder.on_message(reading(101))
    assert len(bench.inbox) == 0
    assert bench.recorder.fault == ""


def test_it_ends_although_the_database_is_away(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(commit_s=PATIENCE_S)
    bench.recorder._stopping = threading.Event()
    bench.database.faults = [Unavailable("db: gone") for _ in range(10)]
    bench.recorder.on_message(reading(1))
    bench.recorder.on_message(reading(2))
    bench.recorder.start()
    assert not bench.recorder.stop(PATIENCE_S)
    assert not bench.recorder._worker.alive
    assert "2 messages were not stored; they will be sent again" in caplog.text


def test_it_ends_although_the_database_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    entered, leave = threading.Event(), threading.Event()

    def hangs() -> None:
        entered.set()
        leave.wait(PATIENCE_S)

    bench.database.before_commit = hangs
    bench.recorder._stopping = threading.Event()
    bench.recorder.start()
    bench.recorder.on_message(reading(1))
    assert entered.wait(PATIENCE_S)
    bench.recorder.on_message(reading(2))
    try:
        assert not bench.recorder.stop(timeout_s=0.01)
        assert "1 messages were not stored" in caplog.text
    finally:
        leave.set()
        bench.recorder._worker.thread.join(PATIENCE_S)


@pytest.mark.parametrize("error", [WrongSchema("newer"), StoreError("no such user")])
def test_what_waiting_does_not_mend_ends_it(error: StoreError) -> None:
    ended = threading.Event()
    bench = Bench(on_end=ended.set)
    bench.database.upgrade_faults = [Unavailable("db: not yet"), error]
    bench.recorder._worker._run()
    assert ended.is_set()
    assert bench.recorder.fault == str(error)


def test_a_fault_of_ours_is_logged_and_the_writer_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.worker.PAUSE_S", 0.01)
    bench = Bench()
    bench.recorder._stopping = threading.Event()
    bench.database.upgrade_faults = [RuntimeError("a bug")]
    bench.database.faults = [ZeroDivisionError("another")]
    for seq in (1, 2):
        bench.recorder.on_message(reading(seq))
        if seq == 1:
            bench.recorder.start()
            eventually("the batch fails", lambda: "another" in caplog.text)
    eventually("what comes then is stored", lambda: bench.session.said)
    assert bench.recorder.alive() == []
    assert bench.recorder.stop(PATIENCE_S)
    assert bench.recorder.fault == ""
    assert "a bug" in caplog.text


# ---- what the probes are told


def test_all_well(running: Bench) -> None:
    opened = threading.Event()
    running.database.before_commit = opened.set
    running.recorder.on_message(reading(1))
    assert opened.wait(PATIENCE_S)
    assert running.recorder.alive() == running.recorder.ready() == []


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({"connected": False, "last_error": "refused"}, "refused"),
        ({"connected": False}, "not connected to the broker"),
        ({"subscribed": False}, "not subscribed"),
    ],
)
def test_without_the_broker_it_is_alive_and_not_ready(
    running: Bench, fault: dict[str, object], problem: str
) -> None:
    for name, value in fault.items():
        setattr(running.session, name, value)
    assert running.recorder.alive() == []
    assert problem in running.recorder.ready()


def test_without_the_database_it_is_alive_and_not_ready(running: Bench) -> None:
    running.recorder._gone(Unavailable("db: gone"))
    assert running.recorder.alive() == []
    assert "db: gone" in running.recorder.ready()
    assert not running.recorder.database_up


def test_a_network_thread_that_has_ended_is_not_alive(running: Bench) -> None:
    running.session.network_thread_alive = False
    assert running.recorder.alive() == ["the network thread has ended"]


def test_a_writer_that_is_stuck_is_not_alive(running: Bench) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hangs() -> None:
        entered.set()
        leave.wait(PATIENCE_S)

    running.database.before_commit = hangs
    running.recorder.on_message(reading(1))
    assert entered.wait(PATIENCE_S)
    assert running.recorder.alive() == []
    running.recorder.on_message(reading(2))
    running.clock.pass_(STUCK_S + 1)
    error = f"the thread recorder has made no progress for {STUCK_S + 1:.0f} s"
    assert running.recorder.alive() == [error]
    assert f"1 messages wait, the oldest for {STUCK_S + 1:.0f} s" in running.recorder.ready()
    assert BEHIND_S < STUCK_S
    leave.set()


def test_a_writer_that_only_fails_is_not_alive(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.database.upgrade_faults = [ZeroDivisionError("a bug")] * 1000
    bench.recorder._stopping = threading.Event()
    bench.recorder.start()
    eventually("it fails", lambda: "a bug" in caplog.text)
    bench.clock.pass_(STUCK_S)
    assert bench.recorder.alive() == []
    bench.clock.pass_(1)
    error = f"the thread recorder has made no progress for {STUCK_S + 1:.0f} s"
    assert bench.recorder.alive() == [error]
    bench.database.upgrade_faults.clear()
    assert bench.recorder.stop(PATIENCE_S)


def test_a_writer_that_waits_for_its_database_is_alive(running: Bench) -> None:
    class Waits(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            running.clock.pass_(STUCK_S + (timeout or 0.0))
            return self.is_set()

    committed = threading.Event()
    running.database.before_commit = committed.set
    running.recorder._stopping = Waits()
    running.database.faults = [Unavailable("db: gone")]
    running.recorder.on_message(reading(1))
    assert committed.wait(PATIENCE_S)
    assert running.recorder.alive() == []


def test_a_writer_that_has_ended_is_not_alive(running: Bench) -> None:
    assert running.recorder.stop(PATIENCE_S)
    assert running.recorder.alive() == ["the thread recorder is dead"]
    assert "stopping" in running.recorder.ready()


def test_metrics_have_the_counters(bench: Bench) -> None:
    bench.session.refused_total, bench.session.connects_total = 3, 4
    bench.hear(reading(1), Message("brisa/aula/dht11/reading", b"x"), health(), backfill(2, 3))
    bench.recorder.on_message(reading(2))
    metrics = RecorderHealth(bench.recorder, cast("Session", bench.session)).collect()
    value = functools.partial(metric_value, list(metrics), "brisa_recorder_")

    assert value("commit_seconds_count") == 1
    assert value("readings_total") == 3
    assert value("commit_seconds_sum") == 0
    assert value("rejected_total", cause="bad_payload") == 1
    for cause in ("not_stored", "refused", "too_many_sensors", "too_many_streams", "too_scattered"):
        assert value("rejected_total", cause=cause) == 0
    assert value("queue_messages") == 1
    assert value("queue_bytes") == len(reading(2).payload) + MESSAGE_BYTES
    assert value("dropped_total") == value("pruned_total") == 0
    assert (value("refused_total"), value("connects_total")) == (3, 4)
    assert value("connected") == value("database_up") == 1
