"""From the samplers to the journal, and on to MQTT: the newest reading and health of each sensor,
the node's status, and what the recorder lacks.

Every sample is in the journal before it is published. What was measured while the broker was away
is not queued here: the newest is published on return, and what the recorder lacks is sent from the
journal (backfill.py). Everything retained is said again after every reconnect, since a broker may
have come back without its memory.

A card may take many seconds for a write. What the network thread is told, and what needs the
journal, is therefore left to a thread of its own: a broker drops who does not answer.
"""

from __future__ import annotations

import functools
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

from broker import __version__
from broker.contract import (
    Backfill,
    ContractError,
    Kind,
    MonotonicTime,
    NodeState,
    NodeStatus,
    Reading,
    SensorHealth,
    SensorState,
    Stored,
    Topic,
    Topics,
    parse_payload,
)
from broker.ending import Ending
from broker.session import Message, NotConnectedError, Session, Subscription, Will, unique_client_id
from broker.worker import Worker
from edge.backfill import Backfiller
from edge.clock import Clock
from edge.journal import Journal
from edge.sampler import Sampler
from edge.sensors.base import Sample
from edge.settings import EdgeSettings

log = logging.getLogger(__name__)

# Counters in a health message may be this old; a change of state is said at once.
HEALTH_EVERY_S = 60.0
LOOK_S = 0.1  # while handing over


@dataclass
class _Said:
    """What was last published of a sensor's health, and when."""

    state: SensorState | None = None
    reason: str = ""
    journal: str = ""
    at_s: float = 0.0


class Publisher:
    """Says what the samplers found. Callbacks of samplers and of the session end here.

    Two locks. `_lock` guards what is known of the sensors, and is held while the journal writes:
    the network thread never waits for it. `_line` guards the connection and what goes out on it;
    who holds it waits for nothing else.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        clock: Clock,
        journal: Journal,
        session_factory: Callable[..., Session] = Session,
    ) -> None:
        self.published_total = 0
        self.ending = False  # told to stop, and handing over what is left
        self.twin = ""
        self._leaving = False
        self._ended = False
        self._connection = 0  # its number
        # the connection that readings may go out on, once its recorder has spoken
        self._open: int | None = None
        self._clock = clock
        self._topics = Topics(settings.root)
        self._node = settings.node
        self._samplers: dict[str, Sampler] = {}
        self._journal = journal
        self._newest: dict[str, Reading] = {}
        self._said: dict[str, _Said] = {}
        self._lock = threading.RLock()
        self._line = threading.RLock()
        self._left_to_do: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._worker = Worker("publisher", self._work, wake=lambda: self._leave(lambda: None))
        self.backfiller = Backfiller(
            journal,
            publish=self._backfill,
            lock=self._lock,
            alone=lambda: not self.twin,
            speaks=self._samplers.__contains__,
            is_open=lambda: self._open == self._connection,
            former_gone=settings.former_journals == "gone",
            monotonic_s=clock.monotonic_s,
            after_s=settings.backfill_after_s,
            per_s=settings.backfill_per_s,
        )
        # not the client id: with that, everybody who has any password could throw this edge off
        self._instance = uuid4().hex[:8]
        self._status_topic = self._topics.status(settings.node)
        self.session = session_factory(
            settings,
            client_id=unique_client_id(settings.node),
            protocol=5,
            will=Will(self._status_topic, self._status(NodeState.OFFLINE)),
            subscriptions=[
                Subscription(self._status_topic, qos=1, no_local=True),
                # at QoS 0 all that is retained comes before `synchronised`, however many sensors
                Subscription(self._topics.of_all(Kind.STORED, settings.node), qos=0),
                # what was published before: by a file that this one is an old copy of, perhaps
                *(
                    Subscription(self._topics.of_all(kind, settings.node), qos=0, no_local=True)
                    for kind in (Kind.READING, Kind.HEALTH)
                ),
            ],
            on_message=self._heard,
            on_up=self._up,
            on_synchronised=self._synchronised,
            on_down=self._down,
        )

    def add(self, sampler: Sampler) -> None:
        self._samplers[sampler.name] = sampler
        self._said[sampler.name] = _Said()

    def start(self) -> None:
        """Connect. The journal is open by now. Raises OSError for unreadable TLS files."""
        self._worker.start()
        self.backfiller.start()
        self.session.start()

    def hand_over(self, drain_s: float, hurry: Ending) -> None:
        """Wait until the recorder has everything; at most so long, or until told to hurry."""
        if not drain_s:
            return
        end_s = self._clock.monotonic_s() + drain_s
        if left := self.backfiller.left():
            log.info("the recorder lacks %d readings: they are handed over first", left)
            self.backfiller.hurry()
        while left and self._clock.monotonic_s() < end_s and not hurry.wait(LOOK_S):
            left = self.backfiller.left()
        if left:
            log.warning("%d readings are in the journal only, and not stored yet", left)

    def stop(self) -> None:
        """Say `offline` (an orderly good-bye keeps the will unsaid), deliver it, and leave."""
        self._leaving = True
        self.backfiller.stop()
        self._worker.stop(2.0)
        self._ended = True
        for name in self._samplers:
            self._say_health(name)
        self._publish(self._status_topic, self._status(NodeState.OFFLINE))
        if not self.session.stop() and self.session.connects_total:
            log.warning("the broker did not acknowledge everything before the end")

    def liveness_errors(self) -> list[str]:
        network = self.session.network_thread_alive
        return [
            *([] if network else ["the network thread is dead"]),
            *self._worker.liveness_errors(),
            *self.backfiller.liveness_errors(),
        ]

    def sample(self, name: str, sample: Sample) -> None:
        """Journal an accepted sample, and publish it."""
        with self._lock:
            source = self._samplers[name].sensor.source
            reading = self._journal.append(name, sample, source)
            self._newest[name] = self._with_monotonic_time(reading, sample)
            self._say_reading(name)

    def changed(self, name: str) -> None:
        """Publish a sensor's health if its state or a fault changed, or the last was a while ago."""
        sampler = self._samplers[name]
        now_s = self._clock.monotonic_s()
        with self._lock:
            said = self._said[name]
            now = (sampler.state, sampler.reason, self._journal.problem[:500])
            same = now == (said.state, said.reason, said.journal)
            if not same or now_s - said.at_s >= HEALTH_EVERY_S:
                self._say_health(name)

    def health(self, name: str) -> SensorHealth:
        sampler = self._samplers[name]
        current = self._journal.current(name)
        rows = current if current is not None and current.newest_seq else None
        return SensorHealth(
            state=sampler.state,
            since=sampler.since,
            reason=sampler.reason,
            driver=sampler.sensor.driver,
            model=sampler.sensor.model,
            interval_s=sampler.interval_s,
            readings=sampler.readings,
            discarded={cause.value: count for cause, count in sorted(sampler.discarded.items())},
            stream=current.stream if current is not None else None,
            oldest_seq=rows.oldest_seq if rows is not None else None,
            newest_seq=rows.newest_seq if rows is not None else None,
            ended=self._ended,
            journal=self._journal.problem[:500],
        )

    # ---- in the session's network thread

    def _up(self) -> None:
        """After every connect: the broker may know nothing, or still what an old will said."""
        self._publish(self._status_topic, self._status(NodeState.ONLINE))
        for name in self._samplers:
            self._leave(functools.partial(self._say_health, name))

    def _synchronised(self) -> None:
        """After that, when the recorder's word has come, if there is one."""
        self._leave(functools.partial(self._say_readings, self._connection))

    def _down(self, _reason: str) -> None:
        with self._line:
            self._connection += 1
        self._leave(self._forget_recorder)

    def _heard(self, message: Message) -> None:
        try:
            topic = self._topics.parse(message.topic)
            if topic.kind is Kind.STATUS:
                self._heard_status(parse_payload(NodeStatus, message.payload), message)
            elif topic.kind is Kind.STORED and message.payload:
                stored = parse_payload(Stored, message.payload)
                self._leave(
                    functools.partial(self._heard_stored, self._connection, topic.sensor, stored)
                )
            elif message.retain and message.payload:
                self._heard_published(topic, message.payload)
        except ContractError as error:
            log.warning("a strange message on %s: %s", message.topic, error)

    def _heard_status(self, status: NodeStatus, message: Message) -> None:
        """Somebody else spoke of this node's status."""
        ours = status.instance == self._instance and status.state is NodeState.ONLINE
        if ours or self._leaving:  # an echo: not every broker knows `no_local`
            return
        if status.state is NodeState.OFFLINE:
            # an old will, or the good-bye of the pod before us, came after our `online`
            self.twin = ""
            self._publish(self._status_topic, self._status(NodeState.ONLINE))
        elif not message.retain:
            if status.instance != self.twin:  # who came later knows of us only what was retained
                self._publish(self._status_topic, self._status(NodeState.ONLINE))
            self.twin = status.instance
            self._leave(self._journal.note_duplicate)
            log.warning(
                "another edge (%s) calls itself node %s: give one of the two another BRISA_NODE",
                status.instance,
                self._node,
            )

    def _heard_published(self, topic: Topic, payload: bytes | bytearray) -> None:
        """What the broker retained of this node's own: the newest number that was published."""
        if topic.kind is Kind.READING:
            reading = parse_payload(Reading, payload)
            stream, seq = reading.stream, reading.seq
        elif topic.kind is Kind.HEALTH:
            health = parse_payload(SensorHealth, payload)
            if health.stream is None or health.newest_seq is None:
                return
            stream, seq = health.stream, health.newest_seq
        else:
            return
        self._leave(
            functools.partial(self._note_published, self._connection, topic.sensor, stream, seq)
        )

    # ---- in a thread of its own

    def _leave(self, act: Callable[[], None]) -> None:
        """To the publisher's thread, which does one after the other."""
        self._left_to_do.put(act)

    def _work(self) -> None:
        self._left_to_do.get()()

    def _say_readings(self, connection: int) -> None:
        with self._lock:
            self._open = connection
            for name in self._samplers:
                self._say_reading(name)
        self.backfiller.wake()

    def _forget_recorder(self) -> None:
        with self._lock:
            self.backfiller.disconnected()

    def _heard_stored(self, connection: int, name: str, stored: Stored) -> None:
        """The recorder's word: how far it is. It counts for as long as the connection it came on."""
        with self._lock:
            if connection != self._connection:
                return
            above = self.backfiller.heard(name, stored)
            if above is not None:
                self._fork(name, above, "recorder")

    def _note_published(self, connection: int, name: str, stream: UUID, seq: int) -> None:
        with self._lock:
            if connection != self._connection:
                return
            above = self.backfiller.heard_published(name, stream, seq)
            if above is not None:
                self._fork(name, above, "broker")

    def _fork(self, name: str, above: int, who: str) -> None:
        log.warning(
            "sensor %s: the %s has readings past %d that are not of this journal: was an old copy"
            " of it put back? A new stream begins",
            *(name, who, above),
        )
        self._journal.fork(name, above)
        self.backfiller.of(name).start()
        self._newest.pop(name, None)  # it has another number by now: back-fill sends it
        if name in self._samplers:
            self._say_health(name)

    # ---- what they share

    def _with_monotonic_time(self, reading: Reading, sample: Sample) -> Reading:
        """With what tells its age on this machine, where its date cannot."""
        clock = self._clock.monotonic_id()
        if sample.clock_synchronised or not clock:
            return reading
        measured = MonotonicTime(clock=clock, ms=int(sample.monotonic_s * 1000))
        return reading.model_copy(update={"measured_monotonic": measured})

    def _say_reading(self, name: str) -> None:
        reading = self._newest.get(name)
        if reading is None:
            return
        catch_up = self.backfiller.of(name)
        with self._line:
            if self._open == self._connection:
                catch_up.published(reading)
                self._publish(self._topics.of(Kind.READING, self._node, name), reading.to_json())

    def _say_health(self, name: str) -> None:
        with self._lock:
            health = self.health(name)
            if health.stream is not None and health.oldest_seq is not None:
                self.backfiller.of(name).let_out(health.stream, health.oldest_seq - 1)
            if self._publish(self._topics.of(Kind.HEALTH, self._node, name), health.to_json()):
                at_s = self._clock.monotonic_s()
                self._said[name] = _Said(health.state, health.reason, health.journal, at_s)

    def _backfill(self, name: str, batch: Backfill) -> None:
        topic = self._topics.of(Kind.BACKFILL, self._node, name)
        with self._line:
            self.session.publish(topic, batch.to_json())
            self.published_total += 1

    def _publish(self, topic: str, payload: bytes) -> bool:
        with self._line:
            try:
                self.session.publish(topic, payload, retain=True)
            except NotConnectedError:
                return False
            self.published_total += 1
        return True

    def _status(self, state: NodeState) -> bytes:
        return NodeStatus(state=state, instance=self._instance, version=__version__).to_json()
