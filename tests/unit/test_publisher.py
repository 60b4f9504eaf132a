"""The publisher: what it says after a connect, when it says it again, and whom it answers."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from broker.buffered import Publish
from broker.contract import (
    Backfill,
    Mark,
    NodeState,
    NodeStatus,
    Reading,
    SensorHealth,
    SensorState,
    Stored,
    parse_payload,
)
from broker.session import Message, NotConnectedError, Session
from broker.settings import BrokerSettings
from edge.clock import Clock
from edge.journal import Journal, StreamInfo
from edge.journal_file import JournalFile
from edge.publisher import HEALTH_EVERY_S, Publisher
from edge.sampler import Sampler
from edge.sensors.base import Cause, Measurement, NoReading, Sample
from edge.settings import EdgeSettings
from tests.support import PATIENCE_S, eventually

STATUS, HEALTH, READING = "brisa/pi-1/status", "brisa/pi-1/s/health", "brisa/pi-1/s/reading"
STORED_ELSEWHERE = b'{"stream": "7f0c1d7e-3c1e-4f6e-9a51-0c3c1b8f8a01", "seq": 9}'
STORED, BACKFILL = "brisa/pi-1/s/stored", "brisa/pi-1/s/backfill"


class SteppedClock(Clock):
    """Moves when told to."""

    def __init__(self) -> None:
        self.right = True
        self.now_s = 1000.0
        self.now = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return self.now_s

    def utc_now(self) -> datetime:
        return self.now

    def synchronised(self) -> bool:
        return self.right

    def monotonic_id(self) -> str:
        return "3b1f0c9a5d7e2486"

    def pass_(self, seconds: float) -> None:
        self.now_s += seconds
        self.now += timedelta(seconds=seconds)


class RecordingSession(Session):
    """Keeps what is published. The test says when it is connected, and what is heard."""

    network_thread_alive = True

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        on_message: Callable[[Message], None],
        on_up: Callable[[], None],
        on_synchronised: Callable[[], None],
        on_down: Callable[[str], None],
        **options: Any,
    ) -> None:
        super().__init__(settings, **options)
        self.said: list[tuple[str, bytes]] = []
        self.echoes = False
        self.works_off: Callable[[], None] = lambda: None
        self._hear, self._tell_up = on_message, on_up
        self._tell_synchronised, self._tell_down = on_synchronised, on_down

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if not self.connected:
            raise NotConnectedError
        assert retain is not topic.endswith("/backfill"), topic
        self.said.append((topic, payload))
        if self.echoes and topic == STATUS:
            self.hears(parse_payload(NodeStatus, payload))

    def comes_up(self, *stored: Stored) -> None:
        """And what the broker retained of the recorder comes before anything else."""
        self.connects()
        for one in stored:
            self.hears_stored(one)
        self.synchronises()

    def connects(self) -> None:
        self.connected = True
        self._tell_up()
        self.works_off()

    def synchronises(self) -> None:
        """All that the broker retained has come."""
        self._tell_synchronised()
        self.works_off()

    def hears_stored(self, stored: Stored, topic: str = STORED) -> None:
        self.hears_raw(topic, stored.to_json())

    def goes_down(self) -> None:
        self.connected = False
        self._tell_down("")
        self.works_off()

    def hears(self, status: NodeStatus, *, retained: bool = False) -> None:
        self._hear(Publish(STATUS.encode(), status.to_json(), retained))

    def hears_raw(self, topic: str, payload: bytes) -> None:
        self._hear(Publish(topic.encode(), payload, True))
        self.works_off()

    def of(self, topic: str) -> list[bytes]:
        return [payload for said, payload in self.said if said == topic]

    def take(self) -> list[tuple[str, bytes]]:
        """What was said since the last time this was asked."""
        said, self.said = self.said, []
        return said


class BlockedSensor:
    """Blocks in its read until it is closed."""

    driver, model, source = "blocked", "dht22", "dht22"
    min_interval_s = 0.0
    paces_itself = False

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._closed = threading.Event()

    def open(self) -> None:
        pass

    def read(self) -> Measurement:
        self.asked.set()
        self._closed.wait(PATIENCE_S)
        raise NoReading(Cause.IO)

    def close(self) -> None:
        self._closed.set()


class Edge:
    """A publisher with one sampler, which is not started."""

    def __init__(self, path: Path, *, days: float = 7.0) -> None:
        self.sensor = BlockedSensor()
        self.clock = SteppedClock()
        self.journal = Journal(path, node="pi-1", clock=self.clock, days=days)
        self.journal.open()
        self.publisher = Publisher(
            EdgeSettings(node="pi-1"),
            clock=self.clock,
            journal=self.journal,
            session_factory=RecordingSession,
        )
        assert isinstance(self.publisher.session, RecordingSession)
        self.session = self.publisher.session
        self.session.works_off = self.works_off
        self.sampler = Sampler(
            "s",
            self.sensor,
            interval_s=5.0,
            clock=self.clock,
            on_sample=lambda _: None,
            on_change=lambda: None,
        )
        self.publisher.add(self.sampler)

    def works_off(self) -> None:
        """What the publisher's thread would do."""
        while not self.publisher._left_to_do.empty():
            self.publisher._work()

    def measures(self, temperature_c: float) -> None:
        self.publisher.sample("s", self.sample(temperature_c))

    def sample(self, temperature_c: float) -> Sample:
        measurement = Measurement(temperature_c, 41.0)
        right = self.clock.synchronised()
        return Sample(measurement, self.clock.now_s, self.clock.now, clock_synchronised=right)

    def current(self, name: str = "s") -> StreamInfo:
        current = self.journal.current(name)
        assert current is not None
        return current

    def offers(self, name: str = "s") -> Backfill | None:
        """What the back-fill's thread would send now."""
        before = len(self.session.said)
        self.publisher.backfiller._send(name)
        new = [payload for topic, payload in self.session.said[before:] if "backfill" in topic]
        return parse_payload(Backfill, new[0]) if new else None


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path / "journal.db")
    yield edge
    edge.journal.close()


def topics(said: list[tuple[str, bytes]]) -> list[str]:
    return [topic for topic, _ in said]


def states(said: list[tuple[str, bytes]]) -> list[NodeState]:
    return [parse_payload(NodeStatus, payload).state for topic, payload in said if topic == STATUS]


def test_after_every_connect_all_that_is_retained_is_said_again(edge: Edge) -> None:
    """A broker may come back without its memory; of what it missed the newest is enough."""
    edge.session.comes_up()
    edge.measures(20.0)
    assert topics(edge.session.take()) == [STATUS, HEALTH, READING]
    edge.session.goes_down()
    for temperature_c in (21.0, 22.0):
        edge.measures(temperature_c)
    assert edge.session.take() == []
    edge.session.comes_up()
    again = edge.session.take()
    assert topics(again) == [STATUS, HEALTH, READING]
    assert states(again) == [NodeState.ONLINE]
    newest = parse_payload(Reading, again[-1][1])
    assert (newest.seq, newest.temperature_c) == (3, 22.0)


def test_only_where_the_clock_is_not_right_the_monotonic_time_is_published(edge: Edge) -> None:
    edge.session.comes_up()
    edge.measures(20.0)
    edge.clock.right = False
    edge.clock.pass_(5.25)
    edge.measures(21.0)
    right, wrong = (json.loads(payload) for payload in edge.session.of(READING))
    assert "measured_monotonic" not in right
    assert wrong["measured_monotonic"] == {"clock": "3b1f0c9a5d7e2486", "ms": 1005250}
    edge.clock.pass_(60)
    edge.session.comes_up()  # what is said again was measured when it was
    assert json.loads(edge.session.of(READING)[-1]) == wrong


def test_health_is_said_at_once_when_it_changed_and_else_every_minute(edge: Edge) -> None:
    edge.session.comes_up()
    edge.session.take()
    edge.clock.pass_(HEALTH_EVERY_S - 1)
    edge.publisher.changed("s")
    assert edge.session.take() == []
    edge.clock.pass_(1)
    edge.publisher.changed("s")
    assert topics(edge.session.take()) == [HEALTH]
    edge.publisher.changed("s")
    assert edge.session.take() == []
    edge.sampler.state = SensorState.OK
    edge.publisher.changed("s")
    assert topics(edge.session.take()) == [HEALTH]


def test_a_fault_of_the_journal_is_said_when_it_begins_and_not_again(edge: Edge) -> None:
    edge.session.comes_up()
    edge.measures(20.0)
    edge.publisher.changed("s")
    edge.session.take()
    assert edge.journal._db is not None
    edge.journal._failed(edge.journal._db, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    for _ in range(3):
        edge.publisher.changed("s")
    (said,) = edge.session.of(HEALTH)
    assert "No space left on device" in parse_payload(SensorHealth, said).journal


def test_its_own_echo_is_not_answered_nor_taken_for_a_twin(edge: Edge) -> None:
    """Not every broker knows `no_local`; what it says last must be `offline`."""
    edge.session.echoes = True
    edge.session.comes_up()
    edge.publisher.stop()
    assert states(edge.session.take()) == [NodeState.ONLINE, NodeState.OFFLINE]
    assert not edge.publisher.twin


def test_an_offline_of_the_one_before_is_answered_until_it_leaves_itself(edge: Edge) -> None:
    old_will = NodeStatus(state=NodeState.OFFLINE, instance="the pod before")
    edge.session.comes_up()
    edge.session.take()
    edge.session.hears(old_will)
    assert states(edge.session.take()) == [NodeState.ONLINE]
    edge.publisher.stop()
    edge.session.hears(old_will)
    assert states(edge.session.take()) == [NodeState.OFFLINE]


def test_a_twin_is_one_who_speaks_now_not_one_who_was_retained(edge: Edge) -> None:
    """What is retained may be our own predecessor's."""
    edge.session.comes_up()
    twins = []
    for state, retained in [
        (NodeState.ONLINE, True),
        (NodeState.ONLINE, False),
        (NodeState.OFFLINE, False),
    ]:
        edge.session.hears(NodeStatus(state=state, instance="other"), retained=retained)
        twins.append(edge.publisher.twin)
    assert twins == ["", "other", ""]


def test_who_came_later_is_told_once_that_this_edge_is_online(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    """What it says to that, and again after each connect, is not answered: it would not end."""
    edge.session.comes_up()
    edge.session.take()
    told = []
    for instance in ("other", "other", "a third", "a third"):
        edge.session.hears(NodeStatus(state=NodeState.ONLINE, instance=instance))
        told.append(states(edge.session.take()))
    assert told == [[NodeState.ONLINE], [], [NodeState.ONLINE], []]
    assert edge.publisher.twin == "a third"
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 4
    assert all("calls itself node pi-1" in line for line in warnings)
    assert ["(other)" in line for line in warnings] == [True, True, False, False]
    edge.session.hears(NodeStatus(state=NodeState.OFFLINE, instance="a third"))
    edge.session.take()
    # who comes back after that knows as little as who comes first
    edge.session.hears(NodeStatus(state=NodeState.ONLINE, instance="a third"))
    assert states(edge.session.take()) == [NodeState.ONLINE]


def test_what_is_in_the_journal_of_a_twin_is_never_called_lost(edge: Edge) -> None:
    theirs = Mark(stream=uuid4(), seq=7, missing=2)
    for temperature_c in (20.0, 21.0):
        edge.measures(temperature_c)
    ours = Mark(stream=edge.current().stream, seq=1, missing=1)
    edge.journal.fork("s", 1)
    edge.session.comes_up(Stored(stream=edge.current().stream, seq=1, earlier=[theirs, ours]))
    other = NodeStatus(state=NodeState.ONLINE, instance="other")
    edge.session.hears(other)
    assert edge.offers() is None
    edge.session.hears(other.model_copy(update={"state": NodeState.OFFLINE}))
    assert edge.offers() == Backfill(stream=ours.stream, after=1, readings=[])
    done = ours.model_copy(update={"seq": 2, "missing": 0})
    edge.session.hears_stored(Stored(stream=edge.current().stream, seq=1, earlier=[theirs, done]))
    assert edge.offers() is None


def test_an_old_copy_of_the_journal_is_known_by_what_the_broker_retained(tmp_path: Path) -> None:
    """And what it lacks is called lost when the recorder is there."""
    before = Edge(tmp_path / "journal.db")
    for temperature_c in (20.0, 21.0, 22.0):
        before.measures(temperature_c)
    before.journal.close()
    edge = Edge(tmp_path / "journal.db")
    old = edge.current().stream
    edge.publisher.backfiller.start()
    edge.publisher.backfiller.stop()
    edge.measures(23.0)  # while it was not connected: number 4, which another reading has
    edge.session.connects()
    retained = json.loads(edge.session.of(HEALTH)[-1]) | {"newest_seq": 9}
    edge.session.take()
    edge.session.hears_raw(HEALTH, json.dumps(retained).encode())
    edge.session.synchronises()
    new = edge.current()
    assert (new.stream != old, new.newest_seq) == (True, 1)
    assert READING not in topics(edge.session.take())  # back-fill sends it, by its new number
    edge.session.hears_stored(Stored(stream=old, seq=0))
    batch = edge.offers()
    assert batch is not None
    assert (batch.stream, [row.seq for row in batch.readings]) == (old, [1, 2, 3])
    edge.session.hears_stored(Stored(stream=old, seq=3, newest=3))
    edge.offers()  # what was measured meanwhile
    edge.clock.pass_(60)
    gone = Backfill(stream=old, after=3, newest=9, readings=[])
    new_mark = Stored(stream=new.stream, seq=1, newest=1)
    edge.session.hears_stored(
        new_mark.model_copy(update={"earlier": [Mark(stream=old, seq=3, newest=3)]})
    )
    assert edge.offers() == gone
    edge.session.hears_stored(
        new_mark.model_copy(update={"earlier": [Mark(stream=old, seq=9, newest=3)]})
    )
    assert edge.offers() is None
    edge.journal.close()


def test_nothing_is_sent_again_before_all_that_was_retained_has_come(edge: Edge) -> None:
    edge.measures(20.0)
    edge.clock.pass_(60)
    edge.session.connects()
    edge.session.hears_stored(Stored(stream=edge.current().stream, seq=0))
    assert edge.offers() is None
    edge.session.synchronises()
    assert edge.offers() is not None


def test_an_edge_that_ends_says_which_number_was_its_last(edge: Edge) -> None:
    edge.session.comes_up()
    edge.measures(20.0)
    edge.measures(21.0)
    assert [parse_payload(SensorHealth, one).ended for one in edge.session.of(HEALTH)] == [False]
    edge.publisher.stop()
    last = parse_payload(SensorHealth, edge.session.of(HEALTH)[-1])
    assert (last.ended, last.newest_seq) == (True, 2)


def test_health_says_what_the_journal_can_still_send(edge: Edge) -> None:
    edge.session.comes_up()
    empty = parse_payload(SensorHealth, edge.session.take()[-1][1])
    assert (empty.stream, empty.oldest_seq, empty.newest_seq) == (None, None, None)
    for temperature_c in (20.0, 21.0):
        edge.measures(temperature_c)
    health = edge.publisher.health("s")
    reading = parse_payload(Reading, edge.session.take()[-1][1])
    assert (health.stream, health.oldest_seq, health.newest_seq) == (reading.stream, 1, 2)
    assert health.journal == ""


def test_what_the_recorder_lacks_is_sent_and_the_new_goes_on(edge: Edge) -> None:
    edge.publisher.backfiller.start()
    try:
        for temperature_c in (20.0, 21.0, 22.0):
            edge.measures(temperature_c)
        current = edge.journal.current("s")
        assert current is not None
        edge.clock.pass_(60)
        edge.session.comes_up(Stored(stream=current.stream, seq=1))
        said = eventually("a back-fill", lambda: edge.session.of(BACKFILL))
        batch = parse_payload(Backfill, said[0])
        assert (batch.after, [row.seq for row in batch.readings]) == (1, [2, 3])
        edge.measures(23.0)
        assert parse_payload(Reading, edge.session.of(READING)[-1]).seq == 4
    finally:
        edge.publisher.backfiller.stop()


def test_an_old_copy_of_the_journal_begins_a_new_stream_before_a_number_is_used(
    edge: Edge, tmp_path: Path
) -> None:
    for temperature_c in (20.0, 21.0):
        edge.measures(temperature_c)
    old = edge.journal.current("s")
    assert old is not None
    edge.journal.close()
    again = Edge(tmp_path / "journal.db")  # ended in order: the stream goes on
    again.publisher.backfiller.of("s")
    again.measures(22.0)
    again.session.comes_up(Stored(stream=old.stream, seq=9))
    assert READING not in topics(again.session.take())  # its number was another's
    again.measures(23.0)
    new = parse_payload(Reading, again.session.of(READING)[-1])
    assert new.stream != old.stream
    assert new.seq == 2
    (first,) = again.journal.after(new.stream, 0, 1)
    assert first.temperature_c == 22.0
    again.journal.close()


def test_after_such_a_copy_one_new_stream_is_enough(
    edge: Edge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The recorder's word of the old one comes again, before it hears of the new."""
    edge.measures(20.0)
    old = edge.current().stream
    edge.journal.close()
    again = Edge(tmp_path / "journal.db")
    again.publisher.backfiller.of("s")
    theirs = Stored(stream=old, seq=9, newest=9)
    again.session.comes_up(theirs)
    new = again.current()
    assert (new.stream != old, new.newest_seq) == (True, 0)  # and there is no row of it yet
    said = parse_payload(SensorHealth, again.session.of(HEALTH)[-1])
    assert said.stream == new.stream
    again.session.hears_stored(theirs)
    assert again.current().stream == new.stream
    again.measures(21.0)
    again.session.hears_stored(theirs)
    again.session.hears_stored(Stored(stream=new.stream, seq=1, newest=1))
    assert again.current() == (new.stream, 1, 1)
    assert [one.stream for one in again.journal.streams("s")] == [new.stream, old]
    assert caplog.text.count("A new stream begins") == 1
    again.journal.close()


def test_a_sensor_that_is_configured_no_more_gets_a_new_stream_too(tmp_path: Path) -> None:
    """And no health of it is said, nor asked for."""
    edge = Edge(tmp_path / "journal.db")
    edge.journal.append("gone", edge.sample(20.0), "dht22")
    old = edge.current("gone").stream
    edge.publisher.backfiller.of("gone")
    edge.journal.append("gone", edge.sample(21.0), "dht22")
    edge.session.comes_up()
    edge.session.take()
    topic = STORED.replace("/s/", "/gone/")
    for _ in range(2):
        edge.session.hears_stored(Stored(stream=old, seq=1, newest=3), topic)
    assert edge.session.take() == []
    streams = edge.journal.streams("gone")
    assert [(one.stream == old, one.newest_seq) for one in streams] == [(False, 1), (True, 1)]
    edge.journal.close()


def test_of_a_sensor_that_is_configured_no_more_all_is_sent_when_there_is_a_recorder(
    edge: Edge,
) -> None:
    edge.journal.append("gone", edge.sample(20.0), "dht22")
    edge.publisher.backfiller.of("gone")
    edge.measures(21.0)
    edge.session.comes_up()
    edge.clock.pass_(60)
    assert edge.offers("gone") is None
    edge.session.hears_stored(Stored(stream=edge.current().stream, seq=1))
    batch = edge.offers("gone")
    assert batch is not None
    assert (batch.stream, batch.after) == (edge.current("gone").stream, 0)
    assert [row.temperature_c for row in batch.readings] == [20.0]
    assert edge.offers() is None


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_aged_out_unpublished_is_not_taken_for_the_numbers_of_another(
    tmp_path: Path, is_ours: bool
) -> None:
    """Health says from where on there are readings: so the recorder writes down that those before
    are lost, and its watermark is past all that was ever published. One more was another's."""
    edge = Edge(tmp_path / "journal.db", days=600 / 86_400)
    edge.session.comes_up()
    edge.measures(20.0)
    edge.session.goes_down()
    for _ in range(63):
        edge.clock.pass_(60)
        edge.measures(21.0)
    before = edge.current()
    assert 50 < before.oldest_seq < before.newest_seq == 64
    seq = before.oldest_seq - 1 if is_ours else before.oldest_seq
    edge.session.comes_up(Stored(stream=before.stream, seq=seq, newest=1 if is_ours else seq))
    now = edge.current()
    assert (now == before) is is_ours
    assert now.newest_seq == (64 if is_ours else 64 - seq + 1)
    assert [parse_payload(Reading, said).seq for said in edge.session.of(READING)] == (
        [1, 64] if is_ours else [1]
    )
    edge.journal.close()


def test_no_reading_goes_out_before_the_recorders_word_has_come(edge: Edge) -> None:
    """After any connect: the number might be another's, and nobody would ever know."""
    for number in range(1, 4):
        edge.session.connects()
        edge.measures(20.0 + number)
        assert READING not in topics(edge.session.take())
        edge.session.synchronises()
        (payload,) = edge.session.of(READING)
        assert parse_payload(Reading, payload).temperature_c == 20.0 + number
        edge.session.goes_down()
        edge.session.take()


def test_what_the_recorder_said_does_not_count_after_the_connection(edge: Edge) -> None:
    """The database may be another by the next one."""
    for temperature_c in (20.0, 21.0, 22.0):
        edge.measures(temperature_c)
    edge.clock.pass_(60)
    edge.session.comes_up(Stored(stream=edge.current().stream, seq=1))
    assert edge.publisher.backfiller.behind("s") == 2
    edge.session.goes_down()
    assert edge.publisher.backfiller.behind("s") == 0
    edge.session.comes_up()
    assert edge.offers() is None


def test_strange_words_of_the_recorder_are_said_and_nothing_else(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    edge.session.comes_up()
    edge.session.hears_raw(STORED, b'{"stream": "x"}')
    edge.session.hears_raw(STORED, b"")  # cleared
    edge.session.hears_raw("brisa/pi-1/never-heard-of/stored", STORED_ELSEWHERE)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "stream 'x'" in caplog.text


@contextmanager
def slow_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it ends, nothing that is written arrives. Gives what is set when somebody waits for it."""
    waited_for, ended = threading.Event(), threading.Event()
    one = JournalFile.one

    def slow(db: JournalFile, statement: str, *values: object) -> Any:
        if statement == "COMMIT":
            waited_for.set()
            assert ended.wait(2 * PATIENCE_S)
        return one(db, statement, *values)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "one", slow)
        try:
            yield waited_for
        finally:
            ended.set()


def test_the_network_thread_does_not_wait_for_a_card(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker drops an edge that says nothing for as long as some cards take to write."""
    edge.measures(20.0)
    stored = Stored(stream=edge.current().stream, seq=1)
    edge.session.comes_up(stored)
    edge.session.take()
    edge.session.works_off = lambda: None
    edge.publisher._worker.start()

    def what_comes() -> None:
        edge.session.hears(NodeStatus(state=NodeState.OFFLINE, instance="the pod before"))
        edge.session.hears_stored(Stored(stream=stored.stream, seq=1, newest=9))  # a fork
        edge.session.goes_down()
        edge.session.comes_up(stored)

    measuring = threading.Thread(target=edge.measures, args=[21.0])
    network = threading.Thread(target=what_comes)
    with slow_card(monkeypatch) as waited_for:
        measuring.start()
        assert waited_for.wait(PATIENCE_S)
        network.start()
        network.join(PATIENCE_S)
        waits = network.is_alive()
        said = edge.session.take()
    measuring.join(PATIENCE_S)
    network.join(PATIENCE_S)
    eventually("the rest", lambda: READING in topics(edge.session.take()))
    edge.publisher.stop()
    assert not waits
    assert states(said) == [NodeState.ONLINE] * 2
    assert topics(said) == [STATUS] * 2


def test_what_was_said_on_a_connection_opens_no_other(edge: Edge) -> None:
    """It may be done so late that the next one is up, whose recorder has not said its word yet."""
    edge.measures(20.0)
    edge.session.works_off = lambda: None
    edge.session.comes_up(Stored(stream=edge.current().stream, seq=1))
    edge.session.goes_down()
    edge.session.connects()
    edge.works_off()
    edge.measures(21.0)
    assert READING not in topics(edge.session.take())
    assert edge.publisher.backfiller.behind("s") == 0
    edge.session.synchronises()
    edge.works_off()
    assert topics(edge.session.take()) == [READING]


def test_what_fails_in_the_publishers_thread_does_not_end_it(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    edge.session.works_off = lambda: None
    edge.publisher._worker.start()
    edge.measures(20.0)

    def fail(_: str) -> StreamInfo:
        raise KeyError("of the journal")

    with monkeypatch.context() as patch:
        patch.setattr(edge.journal, "current", fail)
        edge.session.connects()
        eventually("it is logged", lambda: "KeyError: 'of the journal'" in caplog.text)
    edge.session.synchronises()
    eventually("a reading", lambda: READING in topics(edge.session.take()))
    edge.publisher.stop()
