"""Back-fill: a thread that sends what the recorder lacks, at a bounded rate, behind what is new."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

from broker.contract import Backfill, Stored
from broker.session import NotConnectedError
from broker.worker import Worker
from edge.catchup import CatchUp
from edge.journal import Journal

# Whether something is overdue is asked so often, and whenever something was heard.
LOOK_S = 1.0


class Backfiller:
    """Keeps a `CatchUp` for each sensor of the journal, and sends what they want sent.

    publish: of the publisher; raises NotConnectedError. lock: the publisher's, which guards all of
    it. alone: has no other edge this node's name? speaks: are the sensor's readings published? One
    whose are not is in the journal only, since it was configured before. is_open: has all come
    that the broker retained? former_gone: see CatchUp. per_s: readings a second at most.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        publish: Callable[[str, Backfill], None],
        lock: threading.RLock,
        alone: Callable[[], bool],
        speaks: Callable[[str], bool],
        is_open: Callable[[], bool],
        former_gone: bool,
        monotonic_s: Callable[[], float],
        after_s: float,
        per_s: float,
    ) -> None:
        self.sent_total = 0
        self._journal = journal
        self._publish = publish
        self._lock = lock
        self._alone = alone
        self._speaks = speaks
        self._is_open = is_open
        self._former_gone = former_gone
        self._monotonic_s = monotonic_s
        self._after_s = after_s
        self._per_s = per_s
        self._look_s = min(LOOK_S, after_s / 2)
        self._catch_ups: dict[str, CatchUp] = {}
        self._round: list[str] = []  # the sensors that are still to be looked after in this one
        self._wake = threading.Event()
        self._worker = Worker("backfill", self._step, wake=self._wake.set)

    def start(self) -> None:
        """Begin. The journal is open by now."""
        for sensor in self._journal.sensors():  # also of one that is no longer configured
            self.of(sensor)
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()

    def liveness_errors(self) -> list[str]:
        return self._worker.liveness_errors()

    def of(self, sensor: str) -> CatchUp:
        """The sensor's; made at the first call."""
        found = self._catch_ups.get(sensor)
        if found is None:
            found = self._catch_ups[sensor] = CatchUp(
                sensor, self._journal, after_s=self._after_s, former_gone=self._former_gone
            )
            found.start()
        return found

    def behind(self, sensor: str) -> int:
        """How many readings the recorder has not said to have; 0 if there is no recorder."""
        with self._lock:
            return self.of(sensor).behind

    def left(self) -> int:
        """How many readings no recorder has ever said to have."""
        with self._lock:
            return sum(catch_up.left for catch_up in self._catch_ups.values())

    def hurry(self) -> None:
        """See CatchUp.hurry."""
        with self._lock:
            for catch_up in self._catch_ups.values():
                catch_up.hurry()
        self._wake.set()

    def heard(self, sensor: str, stored: Stored) -> int | None:
        """See CatchUp.heard."""
        above = self.of(sensor).heard(stored) if sensor in self._catch_ups else None
        for name, silent in self._catch_ups.items():
            if not self._speaks(name):  # else its health tells the recorder that it exists
                silent.recorder_is_there()
        self._wake.set()
        return above

    def heard_published(self, sensor: str, stream: UUID, seq: int) -> int | None:
        """See CatchUp.heard_published."""
        if sensor not in self._catch_ups and not self._speaks(sensor):
            return None
        return self.of(sensor).heard_published(stream, seq)

    def wake(self) -> None:
        """Look now for what is to be sent."""
        self._wake.set()

    def disconnected(self) -> None:
        for catch_up in self._catch_ups.values():
            catch_up.disconnected()

    def _step(self) -> None:
        """Send a batch of the next sensor that lacks some. One that fails holds up no other."""
        if not self._round:
            self._wake.wait(self._look_s)
            self._wake.clear()
            self._round = list(self._catch_ups)
        while self._round and not self._worker.stopping.is_set():
            sent = self._send(self._round.pop(0))
            if sent:
                self._worker.stopping.wait(sent / self._per_s)

    def _send(self, sensor: str) -> int:
        with self._lock:
            if not self._is_open():
                return 0
            batch = self._catch_ups[sensor].next(self._monotonic_s(), alone=self._alone())
            if batch is None:
                return 0
            try:
                self._publish(sensor, batch)
            except NotConnectedError:
                self._catch_ups[sensor].disconnected()
                return 0
            self.sent_total += len(batch.readings)
        return len(batch.readings)
