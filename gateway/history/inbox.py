"""The recorder's queue, from the network thread to the writer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from broker.contract import Kind, Topic

MAX_MESSAGES, MAX_BYTES = 50_000, 32 * 1024 * 1024
# Some 5,000 rows; what makes half a transaction does not wait for more.
BATCH_BYTES = 1024 * 1024
MESSAGE_BYTES = 200  # what a message takes beside its payload


class Waiting(NamedTuple):
    """A message in the queue."""

    topic: Topic
    payload: bytes
    since_s: float


class Inbox:
    """What came and was not taken yet; bounded in messages and in bytes."""

    def __init__(
        self,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self.bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._waiting: deque[Waiting] = deque()
        self._hurry = False
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, topic: Topic, payload: bytes) -> None:
        """Never waits; what finds no room is counted, and what comes after `close` is not."""
        size = len(payload) + MESSAGE_BYTES
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) >= self._max_messages or self.bytes + size > self._max_bytes:
                self.dropped += 1
                return
            self._waiting.append(Waiting(topic, payload, self._monotonic()))
            self.bytes += size
            # an edge waits for the answer to a back-fill
            if topic.kind is Kind.BACKFILL or self.bytes >= BATCH_BYTES // 2:
                self._hurry = True
            if self._hurry or len(self._waiting) == 1:
                self._changed.notify()

    def take(self, longest_s: float, company_s: float) -> list[Waiting]:
        """The oldest, up to BATCH_BYTES: at once if it is urgent, else when it is `company_s` old.

        Empty if nothing came within `longest_s`, or if closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, longest_s)
            if self._waiting:
                left_s = self._waiting[0].since_s + company_s - self._monotonic()
                self._changed.wait_for(lambda: self._hurry or self._closed, max(0.0, left_s))
            before = self.bytes
            batch = []
            while self._waiting and before - self.bytes < BATCH_BYTES:
                batch.append(self._waiting.popleft())
                self.bytes -= len(batch[-1].payload) + MESSAGE_BYTES
            self._hurry = bool(self._waiting)
            return batch

    @property
    def oldest_s(self) -> float:
        """How long the oldest has waited, seconds; 0 if there is none."""
        with self._changed:
            return self._monotonic() - self._waiting[0].since_s if self._waiting else 0.0

    def close(self) -> None:
        """Take in nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
