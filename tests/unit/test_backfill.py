"""The back-fill's thread: what it sends of which sensor, how fast, and what it does when it cannot."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from broker.contract import Backfill, Mark, Stored
from broker.session import NotConnectedError
from broker.worker import PAUSE_S
from edge.backfill import Backfiller
from edge.catchup import BATCH_READINGS
from tests.support import PATIENCE_S
from tests.unit.journals import SetClock, add, journal

PER_S = 50.0


class Line:
    """Takes what is published. What happens can be waited for, in its order."""

    def __init__(self) -> None:
        self.works = True
        self.fails_for = ""
        self.twin = False
        self.look_s = 2 * PATIENCE_S  # nothing comes of itself: a word has to wake the thread
        self.happened: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.asked: queue.Queue[None] = queue.Queue()  # whether there is a twin: at each look

    def publish(self, sensor: str, batch: Backfill) -> None:
        if sensor == self.fails_for:
            self.happened.put((sensor, "failed"))
            raise KeyError(sensor)
        if not self.works:
            self.happened.put((sensor, "not connected"))
            raise NotConnectedError
        self.happened.put((sensor, batch))

    def alone(self) -> bool:
        self.asked.put(None)
        return not self.twin

    def next(self) -> tuple[str, Any]:
        """What happens next."""
        return self.happened.get(timeout=PATIENCE_S)


class Pauses(threading.Event):
    """Says how long somebody would have waited for it, and does not let him wait."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def wait(self, timeout: float | None = None) -> bool:
        self._line.happened.put(("pause", timeout))
        return self.is_set()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def line() -> Line:
    return Line()


class Heard(Backfiller):
    """Hears as the publisher does."""

    def heard(self, sensor: str, stored: Stored) -> int | None:
        with self._lock:
            return super().heard(sensor, stored)


Make = Callable[[dict[str, int]], tuple[Backfiller, dict[str, UUID]]]


@pytest.fixture
def started(tmp_path: Path, clock: SetClock, line: Line) -> Iterator[Make]:
    """Starts one with so many readings of each sensor, all of them old enough; `gone` is mute."""
    with journal(tmp_path / "j.db", clock) as kept:
        made = []

        def start(readings: dict[str, int]) -> tuple[Backfiller, dict[str, UUID]]:
            streams = {name: add(kept, clock, n, name)[0].stream for name, n in readings.items()}
            clock.pass_(60)
            backfiller = Heard(
                kept,
                publish=line.publish,
                lock=threading.RLock(),
                alone=line.alone,
                speaks=lambda sensor: sensor != "gone",
                is_open=lambda: True,
                former_gone=False,
                monotonic_s=clock.monotonic_s,
                after_s=5.0,
                per_s=PER_S,
            )
            made.append(backfiller)
            backfiller._worker.stopping = Pauses(line)
            backfiller._look_s = line.look_s
            backfiller.start()
            return backfiller, streams

        yield start
        for backfiller in made:
            backfiller.stop()
            assert backfiller.liveness_errors() == ["the thread backfill is dead"]


def test_each_batch_is_followed_by_a_pause_that_keeps_the_rate(line: Line, started: Make) -> None:
    backfiller, streams = started({"a": BATCH_READINGS + 25})
    backfiller.heard("a", Stored(stream=streams["a"], seq=0))
    _, first = line.next()
    assert [row.seq for row in first.readings] == list(range(1, BATCH_READINGS + 1))
    backfiller.heard("a", Stored(stream=streams["a"], seq=BATCH_READINGS))
    assert line.next() == ("pause", BATCH_READINGS / PER_S)
    _, second = line.next()
    assert (second.after, len(second.readings)) == (BATCH_READINGS, 25)
    assert line.next() == ("pause", 25 / PER_S)
    assert backfiller.sent_total == BATCH_READINGS + 25


def test_in_a_hurry_what_was_not_answered_goes_again_at_once(line: Line, started: Make) -> None:
    backfiller, streams = started({"a": 3})
    backfiller.heard("a", Stored(stream=streams["a"], seq=1))
    sent = line.next()
    assert line.next() == ("pause", 2 / PER_S)
    backfiller.hurry()
    assert line.next() == sent


def test_sensors_share_the_rate(line: Line, started: Make) -> None:
    backfiller, streams = started({"a": 10, "b": 20})
    for name, stream in streams.items():
        backfiller.heard(name, Stored(stream=stream, seq=0))
    happened = [line.next() for _ in range(4)]
    sent = {name: len(batch.readings) for name, batch in happened[::2]}
    assert sent == {"a": 10, "b": 20}
    assert happened[1::2] == [("pause", count / PER_S) for count in sent.values()]


def test_a_sensor_whose_readings_cannot_be_sent_ends_nothing_and_holds_up_no_other(
    line: Line, started: Make, caplog: pytest.LogCaptureFixture
) -> None:
    line.fails_for = "a"
    backfiller, streams = started({"a": 10, "b": 20})
    with backfiller._lock:  # of both before anything is sent
        for name, stream in streams.items():
            backfiller.heard(name, Stored(stream=stream, seq=0))
    assert line.next() == ("a", "failed")
    assert line.next() == ("pause", PAUSE_S)
    name, batch = line.next()
    assert (name, len(batch.readings)) == ("b", 20)
    assert backfiller.liveness_errors() == []
    line.fails_for = ""
    while (happened := line.next())[0] != "a" or happened[1] == "failed":
        backfiller.hurry()
    assert len(happened[1].readings) == 10
    assert caplog.text.count("KeyError: 'a'") == 1


def test_while_another_edge_has_its_name_nothing_is_called_lost(line: Line, started: Make) -> None:
    line.twin, line.look_s = True, 0.01
    backfiller, streams = started({"a": 3})
    old = Mark(stream=streams["a"], seq=1, missing=2)
    with backfiller._lock:
        backfiller._journal.fork("a", 1)
        new = backfiller._journal.current("a")
    assert new is not None
    backfiller.heard("a", Stored(stream=new.stream, seq=2, earlier=[old]))
    # what comes of a look comes before the next; one may have begun before the word
    line.asked = queue.Queue()
    for _ in range(3):
        line.asked.get(timeout=PATIENCE_S)
    assert line.happened.empty()
    line.twin = False
    assert line.next() == ("a", Backfill(stream=old.stream, after=1, readings=[]))


def test_without_a_connection_what_was_heard_no_longer_counts(line: Line, started: Make) -> None:
    backfiller, streams = started({"a": 3})
    line.works = False
    backfiller.heard("a", Stored(stream=streams["a"], seq=1))
    assert line.next() == ("a", "not connected")
    assert backfiller.behind("a") == 0
    assert backfiller.sent_total == 0
    line.works = True
    backfiller.heard("a", Stored(stream=streams["a"], seq=1))  # and not after the patience
    name, batch = line.next()
    assert (name, batch.after, [row.seq for row in batch.readings]) == ("a", 1, [2, 3])


def test_a_sensor_that_is_configured_no_more_is_sent_when_another_was_heard_of(
    line: Line, started: Make
) -> None:
    """One that is configured is waited for: its health tells the recorder that it exists."""
    backfiller, streams = started({"a": 1, "gone": 2, "quiet": 3})
    backfiller.heard("a", Stored(stream=streams["a"], seq=1))
    name, batch = line.next()
    assert (name, batch.after, [row.seq for row in batch.readings]) == ("gone", 0, [1, 2])
    assert [backfiller.behind(name) for name in streams] == [0, 2, 0]


def test_what_was_heard_of_it_is_not_forgotten_when_another_is_heard_of(
    line: Line, started: Make
) -> None:
    backfiller, streams = started({"a": 1, "gone": 2})
    backfiller.heard("gone", Stored(stream=streams["gone"], seq=1))
    _, batch = line.next()
    assert (batch.after, len(batch.readings)) == (1, 1)
    backfiller.heard("a", Stored(stream=streams["a"], seq=1))
    assert backfiller.behind("gone") == 1
    backfiller.heard("gone", Stored(stream=streams["gone"], seq=2))
    backfiller.heard("a", Stored(stream=streams["a"], seq=1))
    assert backfiller.behind("gone") == 0


def test_a_word_of_a_sensor_that_was_never_here_is_one_of_a_recorder(
    line: Line, started: Make
) -> None:
    backfiller, streams = started({"gone": 1})
    assert backfiller.heard("never-heard-of", Stored(stream=uuid4(), seq=5)) is None
    name, batch = line.next()
    assert (name, batch.stream, batch.after) == ("gone", streams["gone"], 0)
