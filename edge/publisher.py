"""From the samplers to MQTT: the newest reading and health of each sensor, and the node's status.

What was measured while the broker was away is not queued here: the newest is published on return
(the journal, which keeps all, takes this place). Everything retained is said again after every
reconnect, since a broker may have come back without its memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

from broker import __version__
from broker.contract import (
    ContractError,
    Kind,
    NodeState,
    NodeStatus,
    Reading,
    SensorHealth,
    SensorState,
    Topics,
    parse_payload,
)
from broker.session import Message, NotConnectedError, Session, Subscription, Will, unique_client_id
from edge.clock import Clock
from edge.sampler import Sampler
from edge.sensors.base import Sample
from edge.settings import EdgeSettings

log = logging.getLogger(__name__)

# Counters in a health message may be this old; a change of state is said at once.
HEALTH_EVERY_S = 60.0


class Numbering:
    """Numbers the readings of a sensor 1, 2, 3 … in a stream that begins with the process."""

    def __init__(self) -> None:
        self.stream: UUID = uuid4()
        self.seq = 0

    def next(self) -> int:
        self.seq += 1
        return self.seq


@dataclass
class _Said:
    """What was last published of a sensor's health, and when."""

    state: SensorState | None = None
    reason: str = ""
    at_s: float = 0.0


class Publisher:
    """Says what the samplers found. Callbacks of samplers and of the session end here."""

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        clock: Clock,
        session_factory: Callable[..., Session] = Session,
    ) -> None:
        self.published_total = 0
        self.twin = ""
        self._leaving = False
        self._clock = clock
        self._topics = Topics(settings.root)
        self._node = settings.node
        self._samplers: dict[str, Sampler] = {}
        self._numbering: dict[str, Numbering] = {}
        self._newest: dict[str, Reading] = {}
        self._said: dict[str, _Said] = {}
        self._lock = threading.RLock()
        client_id = unique_client_id(settings.node)
        self._instance = client_id
        self._status_topic = self._topics.status(settings.node)
        self.session = session_factory(
            settings,
            client_id=client_id,
            protocol=5,
            will=Will(self._status_topic, self._status(NodeState.OFFLINE)),
            subscriptions=[Subscription(self._status_topic, qos=1, no_local=True)],
            on_message=self._heard,
            on_up=self._say_everything,
        )

    def add(self, sampler: Sampler) -> None:
        self._samplers[sampler.name] = sampler
        self._numbering[sampler.name] = Numbering()
        self._said[sampler.name] = _Said()

    def start(self) -> None:
        self.session.start()

    def stop(self) -> None:
        """Say `offline` (an orderly good-bye keeps the will unsaid), deliver it, and leave."""
        self._leaving = True
        self._publish(self._status_topic, self._status(NodeState.OFFLINE))
        if not self.session.stop() and self.session.connects_total:
            log.warning("the broker did not acknowledge everything before the end")

    def sample(self, name: str, sample: Sample) -> None:
        """Number an accepted sample and publish it."""
        with self._lock:
            numbering = self._numbering[name]
            reading = Reading(
                stream=numbering.stream,
                seq=numbering.next(),
                measured_at=sample.measured_at,
                clock_synchronised=sample.clock_synchronised,
                temperature_c=sample.measurement.temperature_c,
                humidity_pct=sample.measurement.humidity_pct,
                source=self._samplers[name].sensor.source,
            )
            self._newest[name] = reading
            self._say_reading(name)

    def changed(self, name: str) -> None:
        """Publish a sensor's health if its state changed, or the last was a while ago."""
        sampler, said = self._samplers[name], self._said[name]
        now_s = self._clock.monotonic_s()
        with self._lock:
            same = (sampler.state, sampler.reason) == (said.state, said.reason)
            if not same or now_s - said.at_s >= HEALTH_EVERY_S:
                self._say_health(name)

    def health(self, name: str) -> SensorHealth:
        sampler, numbering = self._samplers[name], self._numbering[name]
        return SensorHealth(
            state=sampler.state,
            since=sampler.since,
            reason=sampler.reason,
            driver=sampler.sensor.driver,
            model=sampler.sensor.model,
            interval_s=sampler.interval_s,
            readings=sampler.readings,
            discarded={cause.value: count for cause, count in sorted(sampler.discarded.items())},
            stream=numbering.stream,
            newest_seq=numbering.seq or None,
        )

    # ---- in the session's network thread

    def _say_everything(self) -> None:
        """After every connect: the broker may know nothing, or still what an old will said."""
        with self._lock:
            self._publish(self._status_topic, self._status(NodeState.ONLINE))
            for name in self._samplers:
                self._say_health(name)
                self._say_reading(name)

    def _heard(self, message: Message) -> None:
        """Somebody else spoke of this node's status."""
        try:
            status = parse_payload(NodeStatus, message.payload)
        except ContractError as error:
            log.warning("a strange status of this node on %s: %s", message.topic, error)
            return
        ours = status.instance == self._instance and status.state is NodeState.ONLINE
        if ours or self._leaving:  # an echo: not every broker knows `no_local`
            return
        if status.state is NodeState.OFFLINE:
            # an old will, or the good-bye of the pod before us, came after our `online`
            self.twin = ""
            self._publish(self._status_topic, self._status(NodeState.ONLINE))
        elif not message.retain:
            self.twin = status.instance
            log.warning(
                "another edge (%s) calls itself node %s: give one of the two another BRISA_NODE",
                status.instance,
                self._node,
            )

    # ---- what they share

    def _say_reading(self, name: str) -> None:
        reading = self._newest.get(name)
        if reading is not None:
            self._publish(self._topics.of(Kind.READING, self._node, name), reading.to_json())

    def _say_health(self, name: str) -> None:
        health = self.health(name)
        if self._publish(self._topics.of(Kind.HEALTH, self._node, name), health.to_json()):
            self._said[name] = _Said(health.state, health.reason, self._clock.monotonic_s())

    def _publish(self, topic: str, payload: bytes) -> bool:
        try:
            self.session.publish(topic, payload, retain=True)
        except NotConnectedError:
            return False
        self.published_total += 1
        return True

    def _status(self, state: NodeState) -> bytes:
        return NodeStatus(state=state, instance=self._instance, version=__version__).to_json()
