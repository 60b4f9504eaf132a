"""What came over MQTT and could not be shown: counted by its cause, and said once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

REPORT_EVERY_S = 60.0
CAUSES = ("foreign_topic", "bad_payload", "too_many_sensors", "too_many_topics", "older")


class Rejections:
    """Counters, with the latest example of each cause for the log. `fate`: what became of them."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        causes: Iterable[str] = CAUSES,
        fate: str = "not shown",
    ) -> None:
        self._monotonic = monotonic
        self._causes = tuple(causes)
        self._fate = fate
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._reported_at_s = float("-inf")

    def count(self, cause: str, example: str, times: int = 1) -> None:
        """Count `times` more; `example` says what was refused, and why."""
        with self._lock:
            self._totals[cause] += times
            self._examples[cause] = example

    def totals(self) -> dict[str, int]:
        """Every cause, also those that never happened."""
        with self._lock:
            return {cause: self._totals[cause] for cause in (*self._causes, *self._totals)}

    def report_if_due(self) -> None:
        """Log what is new, in one line; at once after a quiet minute, then once a minute."""
        now_s = self._monotonic()
        if now_s - self._reported_at_s < REPORT_EVERY_S:
            return
        with self._lock:
            new = self._totals - self._reported
            if not new:
                return
            self._reported = self._totals.copy()
            parts = [
                f"{n} {cause} (last: {_line(self._examples[cause])})" for cause, n in new.items()
            ]
        self._reported_at_s = now_s
        log.warning("%s: %s", self._fate, "; ".join(parts))


def _line(text: str) -> str:
    """`text` holds what strangers sent: nothing in it may begin a line of its own."""
    return "".join(c if c.isprintable() else "?" for c in text[:300])
