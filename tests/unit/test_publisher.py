"""The publisher: what it says after a connect, when it says it again, and whom it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.buffered import Publish
from broker.contract import (
    Backfill,
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
from edge.journal import Journal
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
        self.now_s = 1000.0
        self.now = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return self.now_s

    def utc_now(self) -> datetime:
        return self.now

    def synchronised(self) -> bool:
        return True

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
        self.connected = True
        self._tell_up()
        for one in stored:
            self.hears_stored(one)
        self._tell_synchronised()

    def hears_stored(self, stored: Stored) -> None:
        self._hear(Publish(STORED.encode(), stored.to_json(), True))

    def goes_down(self) -> None:
        self.connected = False
        self._tell_down("")

    def hears(self, status: NodeStatus, *, retained: bool = False) -> None:
        self._hear(Publish(STATUS.encode(), status.to_json(), retained))

    def hears_raw(self, topic: str, payload: bytes) -> None:
        self._hear(Publish(topic.encode(), payload, True))

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

    def __init__(self, path: Path) -> None:
        self.sensor = BlockedSensor()
        self.clock = SteppedClock()
        self.journal = Journal(path, node="pi-1", clock=self.clock)
        self.journal.open()
        self.publisher = Publisher(
            EdgeSettings(node="pi-1"),
            clock=self.clock,
            journal=self.journal,
            session_factory=RecordingSession,
        )
        assert isinstance(self.publisher.session, RecordingSession)
        self.session = self.publisher.session
        self.sampler = Sampler(
            "s",
            self.sensor,
            interval_s=5.0,
            clock=self.clock,
            on_sample=lambda _: None,
            on_change=lambda: None,
        )
        self.publisher.add(self.sampler)

    def measures(self, temperature_c: float) -> None:
        measurement = Measurement(temperature_c, 41.0)
        self.publisher.sample(
            "s", Sample(measurement, self.clock.now_s, self.clock.now, clock_synchronised=True)
        )


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


def test_strange_words_of_the_recorder_are_said_and_nothing_else(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    edge.session.comes_up()
    edge.session.hears_raw(STORED, b'{"stream": "x"}')
    edge.session.hears_raw(STORED, b"")  # cleared
    edge.session.hears_raw("brisa/pi-1/never-heard-of/stored", STORED_ELSEWHERE)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "stream 'x'" in caplog.text
