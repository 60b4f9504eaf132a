"""The recorder's queue, from the network thread to the writer: a share of it for each node."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.contract import Kind, Topic

MAX_MESSAGES, MAX_BYTES = 50_000, 16 * 1024 * 1024
# Some 5,000 rows; what makes half a transaction does not wait for more.
BATCH_BYTES = 1024 * 1024
# So much of a node's is taken before it is the next one's turn: about a back-fill.
TURN_BYTES = 32 * 1024
MESSAGE_BYTES = 200  # what a message takes beside its payload


class Waiting(NamedTuple):
    """A message in the queue."""

    topic: Topic
    payload: bytes
    since_s: float

    @property
    def bytes(self) -> int:
        return len(self.payload) + MESSAGE_BYTES


@dataclass
class _Node:
    """What waits of a node. Readings go before the rest, which keeps its order: what a back-fill or
    a health says to be gone must not overtake what was sent again before.
    """

    readings: deque[Waiting] = field(default_factory=deque)
    others: deque[Waiting] = field(default_factory=deque)
    bytes: int = 0

    def put(self, one: Waiting) -> None:
        (self.readings if one.topic.kind is Kind.READING else self.others).append(one)
        self.bytes += one.bytes

    def take(self) -> Waiting:
        one = (self.readings or self.others).popleft()
        self.bytes -= one.bytes
        return one

    def give_up(self) -> Waiting:
        """The newest, of a back-fill before a reading: it is in the journal, and is sent again."""
        one = (self.others or self.readings).pop()
        self.bytes -= one.bytes
        return one

    @property
    def oldest_s(self) -> float:
        return min(lane[0].since_s for lane in (self.readings, self.others) if lane)


class Inbox:
    """What came and was not taken yet; bounded in messages and in bytes.

    Nodes are served in turns, and where there is no more room, the one with the most loses some:
    so a node that sends without end delays nobody but itself.
    """

    def __init__(
        self,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self.bytes = 0
        self._messages = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._nodes: dict[
            str, _Node
        ] = {}  # those of which something waits; the first is served next
        self._hurry = False
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return self._messages

    def put(self, topic: Topic, payload: bytes) -> None:
        """Never waits; what finds no room is counted, and what comes after `close` is not."""
        with self._changed:
            if self._closed:
                return
            one = Waiting(topic, payload, self._monotonic())
            node = self._nodes.get(topic.node) or _Node()
            while not self._fits(one):
                self.dropped += 1
                name = max(self._nodes, key=lambda name: self._nodes[name].bytes, default="")
                if not name or node.bytes + one.bytes >= self._nodes[name].bytes:
                    return
                self._gone(self._nodes[name].give_up())
                if not self._nodes[name].bytes:
                    del self._nodes[name]
            self._nodes.setdefault(topic.node, node).put(one)
            self.bytes += one.bytes
            self._messages += 1
            # an edge waits for the answer to a back-fill
            if topic.kind is Kind.BACKFILL or self.bytes >= BATCH_BYTES // 2:
                self._hurry = True
            if self._hurry or self._messages == 1:
                self._changed.notify()

    def take(self, longest_s: float, company_s: float) -> list[Waiting]:
        """Up to BATCH_BYTES, of each node in its turn: at once if it is urgent, else when the oldest
        has waited for `company_s`.

        Empty if nothing came within `longest_s`, or if closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._closed, longest_s)
            if self._messages:
                left_s = self._oldest_since_s() + company_s - self._monotonic()
                self._changed.wait_for(lambda: self._hurry or self._closed, max(0.0, left_s))
            before = self.bytes
            batch: list[Waiting] = []
            while self._nodes and before - self.bytes < BATCH_BYTES:
                name, node = next(iter(self._nodes.items()))
                del self._nodes[name]
                turn_ends = node.bytes - TURN_BYTES
                while node.bytes > max(0, turn_ends) and before - self.bytes < BATCH_BYTES:
                    one = node.take()
                    self._gone(one)
                    batch.append(one)
                if node.bytes:
                    self._nodes[name] = node  # behind the others
            self._hurry = bool(self._messages)
            return batch

    @property
    def oldest_s(self) -> float:
        """How long the oldest has waited, seconds; 0 if there is none."""
        with self._changed:
            return self._monotonic() - self._oldest_since_s() if self._messages else 0.0

    def close(self) -> None:
        """Take in nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # ---- with the lock held

    def _fits(self, one: Waiting) -> bool:
        return self._messages < self._max_messages and self.bytes + one.bytes <= self._max_bytes

    def _gone(self, one: Waiting) -> None:
        self.bytes -= one.bytes
        self._messages -= 1

    def _oldest_since_s(self) -> float:
        return min(node.oldest_s for node in self._nodes.values())
