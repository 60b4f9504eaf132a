"""A recording through the same decoder as a sensor on a line, again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge.capture import CaptureError, load
from edge.frame import Frame, Model, decode, measurement
from edge.sensors.base import Cause, Measurement, NoReading, SensorBroken

DEMO = Path(__file__).parent.parent / "demo"  # brisa's own, from `python -m edge encode`
_ALONE_S = 5.0  # from a recording's only frame to the same again


class ReplaySensor:
    """The frames of a capture, in a loop; a frame with a wrong sum is no reading, as on a line.

    file: `time_us,level`; None: brisa's own for the model. pace: `asked`: each read gives the next
    frame; `recorded`: each read waits for its frame's time. speed: so many times as fast as
    recorded. clock: seconds, monotonic.
    """

    driver = "replay"
    source = "replay"
    min_interval_s = 0.0

    def __init__(
        self,
        *,
        model: Model,
        file: str | None = None,
        pace: str = "asked",
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.paces_itself = pace == "recorded"
        self._file = file or str(DEMO / f"{model}.csv")
        self._speed = speed
        self._clock = clock
        self._closed = threading.Event()
        self._frames: list[Frame] = []
        self._next = 0
        self._loop_s = 0.0
        self._started_s = 0.0

    def open(self) -> None:
        try:
            self._frames = decode(load(self._file))
        except CaptureError as error:
            raise SensorBroken(str(error)) from error
        except OSError as error:
            raise SensorBroken(f"{self._file}: {error.strerror}") from error
        if not self._frames:
            raise SensorBroken(f"{self._file}: no whole frame in it")
        self._next = 0
        self._loop_s = _loop_s(self._frames)
        self._closed.clear()
        self._started_s = self._clock()

    def read(self) -> Measurement:
        if not self._frames:
            self.open()
        loops, at = divmod(self._next, len(self._frames))
        frame = self._frames[at]
        if self.paces_itself:
            recorded_s = (frame.start_us - self._frames[0].start_us) / 1e6
            self._wait_until((loops * self._loop_s + recorded_s) / self._speed)
        self._next += 1
        return measurement(frame.data, self.model)

    def close(self) -> None:
        self._closed.set()

    def _wait_until(self, since_start_s: float) -> None:
        """Wait for a moment of the replay; `close` ends it with NoReading."""
        left_s = self._started_s + since_start_s - self._clock()
        if self._closed.wait(max(left_s, 0)):
            raise NoReading(Cause.IO, "closed while waiting for the next frame")


def _loop_s(frames: list[Frame]) -> float:
    """From the first frame to the same again: the recording, and its mean interval once more."""
    if len(frames) == 1:
        return _ALONE_S
    span_s = (frames[-1].start_us - frames[0].start_us) / 1e6
    return span_s * len(frames) / (len(frames) - 1)
