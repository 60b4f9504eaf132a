"""From the network thread to the board: conflation, bounds, and what /readyz is told."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from broker.contract import MAX_PAYLOAD_BYTES
from gateway.feed import STALLED_AFTER_S, Feed
from tests.unit.told import STREAM, InMemorySession, Told, make_feed


@dataclass
class Message:
    topic: str
    payload: bytes | bytearray
    retain: bool = False


class BadTopic(Message):
    @property
    def topic(self) -> str:
        return b"\xff".decode()

    @topic.setter
    def topic(self, value: str) -> None:
        pass


def reading(seq: int, sensor: str = "dht11") -> Message:
    payload = {
        "stream": str(STREAM),
        "seq": seq,
        "measured_at": "2026-11-23T12:00:00Z",
        "clock_synchronised": True,
        "temperature_c": 24.0,
        "humidity_pct": 41.0,
        "source": "dht11",
    }
    return Message(f"brisa/aula/{sensor}/reading", json.dumps(payload).encode())


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def feed(told: Told) -> Feed:
    return make_feed(told)


@pytest.fixture
def running(feed: Feed) -> Iterator[Feed]:
    feed.watch(InMemorySession())
    feed.work()
    feed.start()
    yield feed
    feed.stop()


def test_of_a_flood_only_the_newest_of_each_topic_is_parsed(told: Told, feed: Feed) -> None:
    for seq in range(1, 1001):
        feed.on_message(reading(seq, "a"))
        feed.on_message(reading(seq, "b"))
    assert feed.work() == 2
    assert feed.parsed_total == 2
    assert (told.view("a").seq, told.view("b").seq) == (1000, 1000)
    assert feed.work() == 0


def test_retained_is_told_apart_from_live(told: Told, feed: Feed) -> None:
    message = reading(1)
    message.retain = True
    feed.on_message(message)
    feed.work()
    assert told.view().received_at is None


def test_a_quiet_feed_wakes_for_each_message(told: Told, running: Feed) -> None:
    changed = threading.Event()
    running.on_change = changed.set
    for seq in (1, 2, 3):
        changed.clear()
        running.on_message(reading(seq))
        assert changed.wait(10)
        assert told.view().seq == seq


def test_viewers_hear_of_it_when_only_time_has_passed(told: Told, feed: Feed) -> None:
    told.reading()
    told.clock.pass_(60)
    changed = threading.Event()
    feed.on_change = changed.set
    feed.start()
    try:
        assert changed.wait(10)
    finally:
        feed.stop()
    assert told.view().state == "late"


def test_viewers_hear_of_what_turned_late_since_somebody_asked(told: Told, feed: Feed) -> None:
    told.reading()
    feed.work()
    told.clock.pass_(60)
    assert told.view().state == "late"
    calls: list[int] = []
    feed.on_change = lambda: calls.append(told.board.version)
    feed.work()
    feed.work()
    assert calls == [told.board.version]


def test_foreign_topics_are_counted_and_good_ones_go_on(told: Told, feed: Feed) -> None:
    foreign = ["other/a/b/reading", "brisa", "brisa/AULA/x/reading", "brisa/a/b/c/d", "brisa/a/b"]
    for topic in foreign:
        feed.on_message(Message(topic, b"{}"))
    feed.on_message(BadTopic("", b""))
    feed.on_message(reading(1))
    feed.work()
    assert told.rejections.totals()["foreign_topic"] == len(foreign) + 1
    assert told.view().seq == 1


def test_what_is_for_the_recorder_is_not_foreign(told: Told, feed: Feed) -> None:
    feed.on_message(Message("brisa/aula/dht11/backfill", b"x"))
    feed.on_message(Message("brisa/aula/dht11/stored", b"x" * 2 * MAX_PAYLOAD_BYTES))
    assert feed.work() == 0  # not even kept
    assert set(told.rejections.totals().values()) == {0}


def test_made_up_topics_cannot_fill_the_memory(told: Told) -> None:
    feed = make_feed(told, max_sensors=10)
    feed.on_message(reading(1))
    for number in range(10_000):
        feed.on_message(Message(f"brisa/aula/{number}/nonsense", b""))
    feed.on_message(reading(2))
    assert feed.work() == 40
    totals = told.rejections.totals()
    assert (totals["foreign_topic"], totals["too_many_topics"]) == (39, 10_001 - 40)
    assert told.view().seq == 2


def test_made_up_topics_never_keep_out_those_that_are_on_the_board(told: Told) -> None:
    feed = make_feed(told, max_sensors=10)
    feed.on_message(reading(1))
    feed.on_message(Message("brisa/aula/status", b'{"state":"online"}'))
    feed.work()
    for number in range(100):
        feed.on_message(reading(1, f"made-up-{number}"))
    feed.on_message(reading(2))
    feed.on_message(Message("brisa/aula/status", b'{"state":"offline"}'))
    assert feed.work() == 42
    assert (told.view().seq, told.view().state) == (2, "offline")
    assert told.rejections.totals()["too_many_topics"] == 60


def test_what_is_remembered_of_topics_is_bounded_and_keeps_those_on_the_board() -> None:
    told = Told(max_sensors=10)
    feed = make_feed(told, max_sensors=10)
    feed.on_message(reading(1))
    feed.work()
    for number in range(200):  # each comes and goes, and its other topic stays behind
        for topic, payload in (
            ((reading(1, f"s{number}")).topic, reading(1).payload),
            (
                f"brisa/aula/s{number}/health",
                b"",
            ),
        ):
            feed.on_message(Message(topic, payload))
        feed.work()
        feed.on_message(Message(f"brisa/other-{number}/a/nonsense", b""))
        feed.work()
        assert len(feed._known) <= 40
    assert "brisa/aula/dht11/reading" in feed._known
    assert told.view().seq == 1


@pytest.mark.parametrize("too_long", [0, 1])
def test_a_payload_that_is_too_long_is_counted_and_not_kept(
    told: Told, feed: Feed, too_long: int
) -> None:
    message = reading(1)
    message.payload += b" " * (MAX_PAYLOAD_BYTES + too_long - len(message.payload))
    feed.on_message(message)
    assert told.rejections.totals()["bad_payload"] == too_long
    assert feed.work() == 1 - too_long


def test_the_worker_does_not_sleep_on_what_came_while_it_was_about_to(feed: Feed) -> None:
    waits: list[float] = []
    feed._wake.wait = waits.append  # type: ignore[method-assign,assignment]
    feed.on_message(reading(1))
    feed._sleep(1.0)
    assert waits == []
    feed.work()
    feed._sleep(1.0)
    assert waits == [1.0]


def test_a_fault_of_ours_stops_neither_the_others_nor_the_worker(
    told: Told, feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    feed.on_message(Message("brisa/aula/bad/reading", "text"))  # type: ignore[arg-type]
    feed.on_message(reading(1, "good"))
    with caplog.at_level(logging.ERROR):
        assert feed.work() == 2
    assert told.view("good").seq == 1
    assert "brisa/aula/bad/reading" in caplog.text


def test_on_change_is_called_once_a_pass_and_only_for_a_change(told: Told, feed: Feed) -> None:
    calls: list[int] = []
    feed.on_change = lambda: calls.append(told.board.version)
    feed.on_message(reading(1, "a"))
    feed.on_message(reading(1, "b"))
    feed.work()
    assert calls == [2]
    feed.on_message(reading(1, "b"))
    feed.work()
    assert calls == [2]


def test_the_board_hears_when_the_broker_comes_and_goes(told: Told, feed: Feed) -> None:
    feed.on_up()
    assert told.board.feed.connected
    feed.on_down("lost")
    assert not told.board.feed.connected


# ---- readiness


def test_a_feed_that_runs_has_no_problems(running: Feed) -> None:
    assert running.problems() == []


@pytest.mark.parametrize(
    ("session", "problem"),
    [
        (InMemorySession(connected=False, last_error="refused"), "broker: refused"),
        (InMemorySession(subscribed=False), "not subscribed"),
        (InMemorySession(synchronised=False), "retained state not yet in"),
        (InMemorySession(network_thread_alive=False), "the network thread is dead"),
        (None, "the network thread is dead"),
    ],
)
def test_each_fault_of_the_session_is_a_problem(
    running: Feed, session: InMemorySession | None, problem: str
) -> None:
    running._session = session
    assert any(problem in line for line in running.problems())


def test_retained_state_that_came_but_is_not_on_the_board_yet_is_a_problem(
    told: Told, feed: Feed
) -> None:
    session = InMemorySession(synchronised=False)
    feed.watch(session)
    feed.work()
    feed.on_message(reading(1))
    session.synchronised = True
    assert "retained state not yet in" in feed.problems()
    feed.work()
    assert told.view().seq == 1
    assert "retained state not yet in" not in feed.problems()


def test_draining_is_a_problem(running: Feed) -> None:
    running.draining = True
    assert running.problems() == ["draining"]


def test_a_worker_that_does_not_come_round_is_a_stalled_feed(told: Told, feed: Feed) -> None:
    feed.watch(InMemorySession())
    feed.work()
    entered, leave = threading.Event(), threading.Event()

    def stuck() -> float:
        entered.set()
        leave.wait(30)
        return math.inf

    told.board.tick = stuck  # type: ignore[method-assign]
    feed.start()
    try:
        assert entered.wait(10)
        assert feed.problems() == []
        told.clock.pass_(STALLED_AFTER_S + 1)
        assert [line for line in feed.problems() if "stalled" in line]
    finally:
        leave.set()
        feed.stop()


def test_a_worker_that_is_gone_is_a_stalled_feed(feed: Feed) -> None:
    feed.watch(InMemorySession())
    feed.work()
    feed.start()
    feed.stop()
    assert feed.problems() == ["the feed has stalled with 0 messages pending"]


def test_a_tick_that_raises_does_not_end_the_worker(
    told: Told, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.worker.PAUSE_S", 0.0)
    feed.watch(InMemorySession())
    feed.work()
    ticked, taken_in = threading.Event(), threading.Event()

    def tick() -> float:
        if not ticked.is_set():
            ticked.set()
            raise ValueError("once")
        return math.inf

    monkeypatch.setattr(told.board, "tick", tick)
    feed.on_change = taken_in.set
    feed.start()
    try:
        assert ticked.wait(10)
        feed.on_message(reading(1))
        assert taken_in.wait(10)
        assert told.view().seq == 1
        assert feed.faults() == []
    finally:
        feed.stop()


def test_faults_are_only_what_a_new_process_would_heal(running: Feed) -> None:
    running.draining = True
    session = InMemorySession(connected=False)
    running.watch(session)
    assert running.faults() == []
    session.network_thread_alive = False
    assert running.faults() == ["the network thread is dead"]
