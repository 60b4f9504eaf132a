"""An independent subscriber: what was said on MQTT, to compare with what was stored."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from broker.contract import (
    Backfill,
    ContractError,
    Kind,
    Mark,
    Measured,
    NodeState,
    NodeStatus,
    Reading,
    SensorHealth,
    Stored,
    Topics,
    parse_payload,
)
from broker.session import Message, Session, Subscription, unique_client_id
from tests.support import PATIENCE_S, RunningBroker

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stream(NamedTuple):
    """A sensor's stream."""

    node: str
    sensor: str
    uuid: str


class Key(NamedTuple):
    """Names a reading, for ever."""

    node: str
    sensor: str
    stream: str
    seq: int

    @property
    def of(self) -> Stream:
        return Stream(self.node, self.sensor, self.stream)


class Row(NamedTuple):
    """What a reading says."""

    measured_ms: int
    synchronised: bool
    temperature_c: float
    humidity_pct: float
    source: str


def row(measured: Measured) -> Row:
    return Row(
        (measured.measured_at - EPOCH) // timedelta(milliseconds=1),
        measured.clock_synchronised,
        measured.temperature_c,
        measured.humidity_pct,
        measured.source,
    )


class Ear:
    """Hears everything that the contract knows, when it is connected."""

    def __init__(self, broker: RunningBroker) -> None:
        self.readings: dict[Key, Row] = {}  # live, as they were first heard
        self.heard_at: dict[Key, datetime] = {}
        self.newest: dict[tuple[str, str], Key] = {}
        self.sent_again: set[Key] = set()
        self.marks: dict[Stream, Mark] = {}  # the newest of each stream
        self.said: list[tuple[str, str, Stored]] = []  # all of them, in order
        self.health: dict[tuple[str, str], SensorHealth] = {}
        self.statuses: list[NodeState] = []  # of any node, in order
        self.strange: list[str] = []
        self.changed = threading.Condition()
        self._topics = Topics()
        self._session = Session(
            broker.settings("viewer"),
            client_id=unique_client_id("ear"),
            protocol=4,
            subscriptions=[Subscription("brisa/#", qos=1)],
            on_message=self._take,
        )

    def start(self) -> None:
        self._session.start()
        assert self._session.wait_until_up(PATIENCE_S)

    def stop(self) -> None:
        self._session.stop()

    def _take(self, message: Message) -> None:
        with self.changed:
            try:
                kind, node, sensor = self._topics.parse(message.topic)
                self._hear(kind, node, sensor, bytes(message.payload))
            except ContractError as error:
                self.strange.append(f"{message.topic}: {error}")
            self.changed.notify_all()

    def _hear(self, kind: Kind, node: str, sensor: str, payload: bytes) -> None:
        if kind is Kind.READING:
            reading = parse_payload(Reading, payload)
            key = Key(node, sensor, str(reading.stream), reading.seq)
            if key not in self.readings:
                self.readings[key] = row(reading)
                self.heard_at[key] = datetime.now(UTC)
            self.newest[node, sensor] = key
        elif kind is Kind.BACKFILL:
            backfill = parse_payload(Backfill, payload)
            stream = str(backfill.stream)
            self.sent_again |= {Key(node, sensor, stream, r.seq) for r in backfill.readings}
        elif kind is Kind.STORED:
            stored = parse_payload(Stored, payload)
            self.said.append((node, sensor, stored))
            for mark in (stored, *stored.earlier):
                self.marks[Stream(node, sensor, str(mark.stream))] = mark
        elif kind is Kind.STATUS:
            self.statuses.append(parse_payload(NodeStatus, payload).state)
        elif kind is Kind.HEALTH:
            self.health[node, sensor] = parse_payload(SensorHealth, payload)

    def mark(self, of: Stream) -> int:
        """How far the recorder said to be; -1: it said nothing."""
        return self.marks[of].seq if of in self.marks else -1
