"""The feed: what comes over MQTT, on its way to the board.

The network thread only keeps the newest message of each topic; a worker parses them. When little
comes, it does so at once; when thousands come a second, a few times a second and only the newest
of each topic, so that a flood costs little more than receiving it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from broker.contract import MAX_PAYLOAD_BYTES, ContractError, Kind, Topic, Topics, shown
from broker.session import Message
from broker.worker import Worker
from gateway.board import Board
from gateway.rejections import Rejections

log = logging.getLogger(__name__)

TICK_S = 1.0
# After a pass over n topics the worker rests n times this: up to 1,000 messages a second each one
# is parsed, above that only the newest of each topic.
REST_PER_TOPIC_S = 0.001
LONGEST_REST_S = 0.25
STALLED_AFTER_S = 10.0
# For each sensor its reading and health, for each node its status; twice, for what is foreign.
PENDING_PER_SENSOR = 4
NOT_OURS = tuple(f"/{kind}" for kind in (Kind.BACKFILL, Kind.STORED))  # edge's and recorder's


class SessionLike(Protocol):
    """What is asked of broker.session.Session."""

    connected: bool
    subscribed: bool
    synchronised: bool
    last_error: str

    @property
    def network_thread_alive(self) -> bool: ...


class Feed:
    """Hand `on_message`, `on_up` and `on_down` to the session, then `watch` it, then `start`.

    on_change: called in the worker's (or network) thread after the board may have changed.
    """

    def __init__(
        self,
        board: Board,
        topics: Topics,
        rejections: Rejections,
        *,
        max_sensors: int = 2000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_change: Callable[[], None] = _nobody
        self.draining = False
        self.parsed_total = 0
        self._board = board
        self._topics = topics
        self._rejections = rejections
        self._max_pending = max_sensors * PENDING_PER_SENSOR
        self._monotonic = monotonic
        self._session: SessionLike | None = None
        self._lock = threading.Lock()
        self._pending: dict[str, Message] = {}
        self._overflow = 0
        # Those of sensors on the board: they are let in however many others come; and taking a
        # topic apart costs as much as its payload.
        self._known: dict[str, Topic] = {}
        self._asleep = False
        self._wake = threading.Event()
        self._next_tick_s = monotonic()
        self._worker = Worker(
            "feed",
            self._step,
            wake=self._wake.set,
            stalled_after_s=STALLED_AFTER_S,
            monotonic=monotonic,
        )
        self._caught_up = False
        self._late_at_s = math.inf
        self._told_version = board.version

    def watch(self, session: SessionLike) -> None:
        """Ask this session for its health from now on."""
        self._session = session

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """End the worker; what it had not parsed is dropped, since it would show it to nobody."""
        self._worker.stop()

    # ---- what the session calls, in the network thread

    def on_message(self, message: Message) -> None:
        """As cheap as can be: this is called for every message of a flood."""
        try:
            topic = message.topic
        except UnicodeDecodeError as error:
            self._rejections.count("foreign_topic", str(error))
            return
        if topic.endswith(NOT_OURS):
            return
        if len(message.payload) > MAX_PAYLOAD_BYTES:
            self._rejections.count("bad_payload", f"{topic}: {len(message.payload)} bytes")
            return
        with self._lock:  # the worker holds it for two assignments
            pending = self._pending
            if len(pending) < self._max_pending or topic in pending or topic in self._known:
                pending[topic] = message
            else:
                self._overflow += 1
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def on_up(self) -> None:
        self._board.feed_up()
        self.on_change()

    def on_down(self, _reason: str = "") -> None:
        self._board.feed_lost()
        self.on_change()

    # ---- what the probes ask

    def faults(self) -> list[str]:
        """What only a new process can heal, in one line each; for /healthz."""
        faults = []
        if self._session is None or not self._session.network_thread_alive:
            faults.append("the network thread is dead")
        # The worker comes round once a second even if nothing comes.
        if self._worker.liveness_errors():
            faults.append(f"the feed has stalled with {len(self._pending)} messages pending")
        return faults

    def problems(self) -> list[str]:
        """Why the page may not be trusted now, in one line each; for /readyz."""
        problems = self.faults()
        session = self._session
        if session is None or not session.connected:
            error = session.last_error if session is not None else ""
            problems.append(f"not connected to the broker{': ' if error else ''}{error}")
        elif not session.subscribed:
            problems.append("not subscribed")
        elif not session.synchronised or not self._caught_up:
            problems.append("retained state not yet in")
        if self.draining:
            problems.append("draining")
        return problems

    # ---- the worker

    def _step(self) -> None:
        """One pass, and the rest after it."""
        now_s = self._monotonic()
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + TICK_S
            self._rejections.report_if_due()
        parsed = self.work()
        if parsed:
            self._worker.stopping.wait(min(LONGEST_REST_S, parsed * REST_PER_TOPIC_S))
        else:
            self._sleep(min(self._next_tick_s, self._late_at_s) - self._monotonic())

    def work(self) -> int:
        """One pass: parse what is pending, and let time pass. Returns how many topics that were."""
        synchronised = self._session is not None and self._session.synchronised
        with self._lock:
            pending, self._pending = self._pending, {}
            overflow, self._overflow = self._overflow, 0
        for topic, message in pending.items():
            try:
                self._take(topic, message)
            except Exception:  # a fault of ours: say it, and go on with the next
                log.exception("topic %s could not be taken in", shown(topic))
        if overflow:
            limit = f"more than {self._max_pending} at a time"
            self._rejections.count("too_many_topics", limit, overflow)
        self._late_at_s = self._board.tick()
        # Compared with what viewers were told, not with the version before this pass: a request
        # to the board may have turned a sensor late meanwhile.
        if self._board.version != self._told_version:
            version = self._board.version
            self.on_change()
            self._told_version = version
        self.parsed_total += len(pending)
        self._caught_up = synchronised  # all that was retained had come when this pass began
        return len(pending)

    def _take(self, topic: str, message: Message) -> None:
        known = self._known.get(topic)
        try:
            parsed = known or self._topics.parse(topic)
        except ContractError as error:
            self._rejections.count("foreign_topic", str(error))
            return
        self._board.take(parsed, bytes(message.payload), retained=message.retain)
        if known is None and self._board.knows(parsed):
            if len(self._known) >= self._max_pending:  # some are of sensors that are gone
                self._known = {t: p for t, p in self._known.items() if self._board.knows(p)}
            self._known[topic] = parsed

    def _sleep(self, longest_s: float) -> None:
        self._wake.clear()
        self._asleep = True
        if not self._pending:  # else it came before we said that we sleep
            self._wake.wait(max(0.0, longest_s))
        self._asleep = False


def _nobody() -> None:
    pass
