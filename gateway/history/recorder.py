"""The recorder: what comes over MQTT, on its way into the database.

The network thread only puts messages into a bounded queue. One writer thread takes what is there,
writes it in one transaction, and then says `stored`. While the database is away it keeps what fits
into the queue; the rest is counted and dropped, for the edge has it in its journal, and sends it
again as long as `stored` stays behind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from broker.contract import (
    MODELS,
    Backfill,
    ContractError,
    Kind,
    Reading,
    SensorHealth,
    Stored,
    Topics,
    most_bytes,
    parse_payload,
)
from broker.session import Message, Session
from broker.worker import Worker
from gateway.history.announcer import Announcer, Sensor
from gateway.history.inbox import Inbox, Waiting
from gateway.history.store import Store, StoreError, Unavailable, WrongSchema
from gateway.history.writer import CAUSES as NOT_WRITTEN
from gateway.history.writer import Heard, Writer
from gateway.rejections import Rejections

log = logging.getLogger(__name__)

HEARD: dict[Kind, type[Reading | SensorHealth | Backfill]] = {
    Kind.READING: Reading,
    Kind.HEALTH: SensorHealth,
    Kind.BACKFILL: Backfill,
}
CAUSES = ("foreign_topic", "bad_payload", *NOT_WRITTEN)
TICK_S = 1.0
RETRY_FIRST_S, RETRY_LONGEST_S = 0.5, 5.0  # one of us asks: soon, for edges wait to hand over
SAY_EVERY_S = 60.0
BEHIND_S = 30.0  # and what a reading may wait for company
STUCK_S = 180.0
PRUNE_FIRST_S, PRUNE_EVERY_S, PRUNE_RETRY_S = 60.0, 3_600.0, 600.0


class Recorder:
    """Hand `on_message` and `on_up` to the session, then `watch` it, then `start`.

    prune: removes readings that are older than so many days, and calls what it is given between
    two short transactions. on_end: called in the writer thread when that ends; `fault` says why, if
    it was not told to stop.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        topics: Topics,
        rejections: Rejections,
        *,
        commit_s: float = 1.0,
        prune: Callable[[Callable[[], None]], int] = lambda _between: 0,
        on_end: Callable[[], None] = lambda: None,
        inbox: Inbox | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fault = ""
        self.away = ""  # why the database does not take anything; empty while it does
        self.commits = self.readings = self.pruned = 0
        self.commit_s_total = 0.0
        self.inbox = Inbox(monotonic=monotonic) if inbox is None else inbox
        self.rejections = rejections
        self._store = store
        self._writer = writer
        self._topics = topics
        self._company_s = commit_s
        self._prune = prune
        self._on_end = on_end
        self._monotonic = monotonic
        self._session: Session | None = None
        self._announcer = Announcer(topics)
        self.on_up = self._announcer.on_up  # for the session to call
        self._stopping = threading.Event()
        self._worker = Worker("recorder", self._step, stalled_after_s=STUCK_S, monotonic=monotonic)
        self._unchecked = True  # is the schema as it must be? asked again after every fault
        self._was_open = False
        self._next_prune_s = 0.0
        self._retry_s = self._away_since_s = self._said_away_s = 0.0
        self._dropped_before = self._left = 0
        self._rejected_before: Counter[str] = Counter()

    def watch(self, session: Session) -> None:
        """Publish by this session, and ask it for its health."""
        self._session = session

    def start(self) -> None:
        self._next_prune_s = self._monotonic() + PRUNE_FIRST_S
        self._worker.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Take in nothing more, write what is there. False if not all was written in that time."""
        self.inbox.close()
        self._stopping.set()
        self._worker.thread.join(timeout_s)
        self._left += len(self.inbox)
        if self._left:
            log.warning("%d messages were not stored; they will be sent again", self._left)
        return not self._left and not self._worker.alive

    # ---- what the session calls, in the network thread

    def on_message(self, message: Message) -> None:
        """Never waits, and never raises."""
        try:
            topic = self._topics.parse(message.topic)
        except (ContractError, UnicodeDecodeError) as error:
            self.rejections.count("foreign_topic", str(error))
            return
        payload = bytes(message.payload)
        if len(payload) > most_bytes(MODELS[topic.kind]):
            self.rejections.count("bad_payload", f"{message.topic}: {len(payload)} bytes")
        elif payload and topic.kind in HEARD:  # empty: somebody has cleared what was retained
            self.inbox.put(topic, payload)

    # ---- what the probes ask

    @property
    def database_up(self) -> bool:
        """As of the last attempt."""
        return not (self.away or self._unchecked)

    def alive(self) -> list[str]:
        """What only a new process can heal. A database that is away is not among it."""
        faults = []
        if self._session is None or not self._session.network_thread_alive:
            faults.append("the network thread has ended")
        return faults + self._worker.liveness_errors()

    def ready(self) -> list[str]:
        """Why readings do not get into the database now."""
        problems = self.alive()
        session = self._session
        if session is not None and not session.connected:
            problems.append(session.last_error or "not connected to the broker")
        elif session is not None and not session.subscribed:
            problems.append("not subscribed")
        if self.away:
            problems.append(self.away)
        elif self._unchecked:
            problems.append("the database is not open yet")
        if (oldest_s := self.inbox.oldest_s) > BEHIND_S + self._company_s:
            problems.append(f"{len(self.inbox)} messages wait, the oldest for {oldest_s:.0f} s")
        if self._stopping.is_set():
            problems.append("stopping")
        return problems

    # ---- the writer thread

    def _step(self) -> None:
        """One batch, and retention when it is due. What is raised is not the end, but a StoreError."""
        try:
            if self._unchecked and self._opened():
                self._back()
            self._pass(TICK_S, self._company_s)
            if self._monotonic() >= self._next_prune_s and not self._stopping.is_set():
                self._prune_now()
        except StoreError as error:
            self.fault = str(error)
        if self.fault or (self._stopping.is_set() and not len(self.inbox)):
            self._worker.stopping.set()
            self._on_end()

    def _pass(self, longest_s: float, company_s: float) -> None:
        batch = self.inbox.take(longest_s, company_s)
        heard = [one for waiting in batch if (one := self._parsed(waiting)) is not None]
        if heard:
            marks = self._write(heard)
            asked = {(one.node, one.sensor) for one in heard if isinstance(one.said, Backfill)}
            self._announcer.note(marks, asked)
        if self._session is not None:
            self._announcer.say(self._session)
        for cause, times in (self._writer.rejected - self._rejected_before).items():
            self.rejections.count(cause, self._writer.examples[cause], times)
        self._rejected_before = self._writer.rejected.copy()
        self.rejections.report_if_due()

    def _parsed(self, waiting: Waiting) -> Heard | None:
        kind, node, sensor = waiting.topic
        try:
            return Heard(node, sensor, parse_payload(HEARD[kind], waiting.payload))
        except ContractError as error:
            self.rejections.count("bad_payload", f"{node}/{sensor}/{kind}: {error}")
            return None

    def _write(self, batch: Sequence[Heard]) -> dict[Sensor, Stored]:
        """Wait while the database does not take it, whatever the reason: nothing is thrown away."""
        while self._opened():
            began_s = self._monotonic()
            try:
                marks = self._writer.write(batch)
            except StoreError as error:
                self._gone(error)
            else:
                self.commits += 1
                self.readings += sum(_readings(one.said) for one in batch)
                self.commit_s_total += self._monotonic() - began_s
                self._back()
                return marks
        self._left += len(batch)
        return {}

    def _opened(self) -> bool:
        """Wait until the database is there and as it must be. False if told to stop before.

        Raises StoreError where waiting does not help: its tables are of a newer brisa, or it was
        never open, and the settings are wrong.
        """
        while True:
            if self._retry_s:
                if self._stopping.wait(self._retry_s):
                    return False
                self._worker.progress()
            try:
                if self._unchecked:
                    self._store.upgrade()
            except WrongSchema:
                raise
            except StoreError as error:
                if not (self._was_open or isinstance(error, Unavailable)):
                    raise
                self._gone(error)
            else:
                self._unchecked, self._was_open = False, True
                return True

    def _gone(self, error: StoreError) -> None:
        now_s = self._monotonic()
        if not self.away:
            self._away_since_s, self._said_away_s = now_s, float("-inf")
            self._dropped_before = self.inbox.dropped
        self.away = str(error)
        self._unchecked = True
        self._retry_s = min(RETRY_LONGEST_S, max(RETRY_FIRST_S, 2 * self._retry_s))
        if now_s - self._said_away_s >= SAY_EVERY_S:
            self._said_away_s = now_s
            log.warning("%s; trying again", error)

    def _back(self) -> None:
        if self.away:
            log.info(
                "the database is back after %.0f s; %d messages were dropped meanwhile and will be"
                " sent again",
                self._monotonic() - self._away_since_s,
                self.inbox.dropped - self._dropped_before,
            )
        self.away, self._retry_s = "", 0.0

    def _prune_now(self) -> None:
        self._next_prune_s = self._monotonic() + PRUNE_EVERY_S
        try:
            self.pruned += (removed := self._prune(self._between))
        except _StoppedError:
            return
        except Exception as error:
            self._next_prune_s = self._monotonic() + PRUNE_RETRY_S
            ours = not isinstance(error, StoreError)
            log.warning("old readings were not removed: %s", error, exc_info=ours)
            return
        if removed:
            log.info("%d readings were past their time, and removed", removed)

    def _between(self) -> None:
        """Record on while old rows are being removed."""
        self._pass(0.0, 0.0)
        self._worker.progress()
        if self._stopping.is_set():
            raise _StoppedError


def _readings(said: Reading | SensorHealth | Backfill) -> int:
    return len(said.readings) if isinstance(said, Backfill) else isinstance(said, Reading)


class _StoppedError(Exception):
    """Told to stop in the middle of removing."""
