"""SIGTERM and Ctrl-C, for programs that wait for them."""

from __future__ import annotations

import queue
import signal


class Ending:
    """What a main thread waits for. `end` may be called from any thread, and by the signals.

    A threading.Event must not be set by a handler: it runs in the thread that waits, perhaps just
    while that one holds the event's lock, and would wait for itself for ever. SimpleQueue.put may
    be called there: https://docs.python.org/3/library/queue.html#simplequeue-objects
    """

    def __init__(self) -> None:
        self._said: queue.SimpleQueue[None] = queue.SimpleQueue()

    def watch(self) -> None:
        """From here on the signals end it. To be called in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.end())

    def end(self) -> None:
        self._said.put(None)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until the end; or until then, which returns False."""
        try:
            self._said.get(timeout=timeout_s)
        except queue.Empty:
            return False
        self.end()  # and for who asks again
        return True
