"""Says `stored` to each sensor, by a session that may be away."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from broker.contract import Kind, Stored, Topics
from broker.session import NotConnectedError, Session

Sensor = tuple[str, str]  # node and name


class Announcer:
    """All but `on_up` is for one thread."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._new_connection = threading.Event()
        self._said: dict[Sensor, Stored] = {}  # on this connection
        self._unsaid: dict[Sensor, Stored] = {}

    def on_up(self) -> None:
        """Say everything again: the broker may have forgotten."""
        self._new_connection.set()

    def note(self, marks: Mapping[Sensor, Stored], asked: set[Sensor]) -> None:
        """These are to be said where they are new; to those who asked in any case."""
        if self._new_connection.is_set():
            self._new_connection.clear()
            self._said.clear()
        for sensor, mark in marks.items():
            if sensor in asked or self._said.get(sensor) != mark:
                self._unsaid[sensor] = mark

    def say(self, session: Session) -> None:
        """Publish what is to be said; what cannot go out now, the next time."""
        while self._unsaid:
            sensor, mark = next(iter(self._unsaid.items()))
            topic = self._topics.of(Kind.STORED, *sensor)
            try:
                session.publish(topic, mark.to_json(), retain=True)
            except NotConnectedError:
                return
            self._said[sensor] = self._unsaid.pop(sensor)
