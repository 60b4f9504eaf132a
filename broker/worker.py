"""A thread that must go on: nothing that it does may end it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE_S = 1.0  # after a failure


class Worker:
    """Repeats `step` in a thread of its own until `stopping` is set.

    What `step` raises is logged, in whole when it begins to fail or fails otherwise than before, and
    the step is repeated after a pause. `step` waits by itself for what it does next, and returns
    soon after `stopping` was set.
    """

    def __init__(self, name: str, step: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._step = step

    def start(self) -> None:
        self.thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """Wait until the step under way has ended; at most so long: it is left behind (daemon)."""
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        return self.thread.is_alive()

    def _run(self) -> None:
        failed = ""
        while not self.stopping.is_set():
            try:
                self._step()
                failed = ""
            except Exception as error:
                if repr(error) != failed:
                    log.exception("%s failed, and goes on", self.thread.name)
                failed = repr(error)
                self.stopping.wait(PAUSE_S)
