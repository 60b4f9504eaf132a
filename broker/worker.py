"""A thread that must go on: nothing that it does may end it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE_S = 1.0  # after a failure
REPEAT_LOG_S = 60.0


class Worker:
    """Repeats `step` in a thread of its own until `stopping` is set.

    What `step` raises is logged in whole, each failure once a minute, and the step is repeated after
    a pause. `step` waits by itself for what it does next, and returns
    soon after `stopping` was set: `wake` is called then, to end a wait for anything else.

    stalled_after_s: liveness fails if for so long no step has ended well, nor said that it makes
    `progress`; None: a step may take as long as it likes, such as one that waits for a database.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        *,
        wake: Callable[[], object] = lambda: None,
        stalled_after_s: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._step = step
        self._wake = wake
        self._stalled_after_s = stalled_after_s
        self._monotonic = monotonic
        self._progress_s = 0.0
        self._logged: dict[str, float] = {}

    def start(self) -> None:
        self.progress()
        self.thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """Wait until the step under way has ended; at most so long: it is left behind (daemon)."""
        self.stopping.set()
        self._wake()
        if self.thread.is_alive():
            self.thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        return self.thread.is_alive()

    def progress(self) -> None:
        """The step under way goes on: to be called where it waits for what may take long."""
        self._progress_s = self._monotonic()

    def liveness_errors(self) -> list[str]:
        """What only a new process can heal, one line each."""
        if not self.alive:
            return [f"the thread {self.thread.name} is dead"]
        behind_s = self._monotonic() - self._progress_s
        if self._stalled_after_s is not None and behind_s > self._stalled_after_s:
            return [f"the thread {self.thread.name} has made no progress for {behind_s:.0f} s"]
        return []

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._step()
                self.progress()
            except Exception as error:
                if self._is_news(repr(error)):
                    log.exception("%s failed, and goes on", self.thread.name)
                self.stopping.wait(PAUSE_S)

    def _is_news(self, what: str) -> bool:
        now_s = self._monotonic()
        if now_s - self._logged.get(what, -math.inf) < REPEAT_LOG_S:
            return False
        if len(self._logged) > 100:
            self._logged.clear()
        self._logged[what] = now_s
        return True
