"""A node that is played: it says over the real broker, with a node's own password, what it is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID, uuid4

from broker.contract import Kind, Reading, SensorHealth, Topics
from broker.session import NotConnectedError, Session, unique_client_id
from tests.support import PATIENCE_S, RunningBroker, eventually


class PlayedNode:
    """Its sensors are whatever it speaks of; each is numbered by itself, from 1.

    What it publishes is retained, as an edge's is.
    """

    def __init__(self, broker: RunningBroker, node: str) -> None:
        self.node = node
        self._topics = Topics()
        self._numbers: dict[str, int] = {}
        self._streams: dict[str, UUID] = {}
        self._session = Session(broker.settings(node), client_id=unique_client_id(node), protocol=5)

    def __enter__(self) -> Self:
        self._session.start()
        if not self._session.wait_until_up(PATIENCE_S):
            raise AssertionError(f"{self.node} cannot connect: {self._session.last_error}")
        return self

    def __exit__(self, *_: object) -> None:
        self._session.stop()

    def status(self, state: str = "online", **fields: str) -> None:
        said = {"state": state, "instance": "played", "version": "1.0", **fields}
        self.raw(self._topics.status(self.node), json.dumps(said).encode())

    def stream(self, sensor: str) -> UUID:
        return self._streams.setdefault(sensor, uuid4())

    def continue_(self, sensor: str, stream: UUID, newest_seq: int) -> None:
        """As an edge that finds its journal again."""
        self._streams[sensor], self._numbers[sensor] = stream, newest_seq

    def reading(
        self,
        sensor: str,
        temperature_c: float = 21.5,
        humidity_pct: float = 45.0,
        *,
        source: str = "dht22",
        measured_at: datetime | None = None,
        clock_synchronised: bool = True,
    ) -> None:
        """The next one; now, if it is not said when."""
        seq = self._numbers[sensor] = self._numbers.get(sensor, 0) + 1
        reading = Reading(
            stream=self.stream(sensor),
            seq=seq,
            measured_at=measured_at or datetime.now(UTC),
            clock_synchronised=clock_synchronised,
            temperature_c=temperature_c,
            humidity_pct=humidity_pct,
            source=source,
        )
        self.raw(self._topics.of(Kind.READING, self.node, sensor), reading.to_json())

    def health(self, sensor: str, state: str = "ok", **fields: Any) -> None:
        said = {
            "state": state,
            "since": datetime.now(UTC),
            "driver": "iio",
            "model": "dht22",
            "interval_s": 5.0,
            **fields,
        }
        health = SensorHealth.model_validate(said, strict=False)
        self.raw(self._topics.of(Kind.HEALTH, self.node, sensor), health.to_json())

    def remove(self, sensor: str) -> None:
        for kind in (Kind.READING, Kind.HEALTH):
            self.raw(self._topics.of(kind, self.node, sensor), b"")

    def raw(self, topic: str, payload: bytes) -> None:
        """Anything at all; while there is no room for it, it waits."""

        def published() -> bool:
            try:
                self._session.publish(topic, payload, retain=True)
            except NotConnectedError as error:
                raise AssertionError(str(error)) from None
            return True

        eventually(f"{topic} is published", published)
