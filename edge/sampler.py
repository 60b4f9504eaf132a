"""When to read a sensor, and what to make of it: one thread a sensor, so that none waits for another."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from broker.contract import SensorState
from edge.clock import Clock
from edge.frame import Model
from edge.plausibility import Plausibility
from edge.sensors.base import Cause, Measurement, NoReading, Sample, Sensor, SensorBroken

log = logging.getLogger(__name__)

# Attempts beyond the first before the next reading is due, as far as the sensor's pace allows.
RETRIES = 3
# After this many readings in a row that did not come, a person should look.
BROKEN_AFTER = 12


class Sampler:
    """Reads one sensor at its pace, judges what it says, and hands on what is accepted.

    on_sample: called in the sampler's thread for each accepted sample, in order.
    on_change: called there whenever the state changed, and after each cycle.
    """

    def __init__(
        self,
        name: str,
        sensor: Sensor,
        *,
        interval_s: float,
        clock: Clock,
        on_sample: Callable[[Sample], None],
        on_change: Callable[[], None],
    ) -> None:
        self.name = name
        self.sensor = sensor
        self.interval_s = interval_s
        self.state = SensorState.RETRYING
        self.since: datetime = clock.utc_now()
        self.reason = "no reading yet"
        self.readings = 0
        self.attempts = 0
        self.discarded: Counter[Cause] = Counter()
        self.cycle_ended_s = clock.monotonic_s()
        self._clock = clock
        self._on_sample = on_sample
        self._on_change = on_change
        self._plausibility = Plausibility(Model(sensor.model))
        self._said: SensorState | None = None
        self._missed = 0
        self._started_s = 0.0  # the last read
        self._open = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sampler-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End after the read that is under way; one that blocks longer is left behind (daemon)."""
        self._stop.set()
        self.sensor.close()
        self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        due_s = self._clock.monotonic_s()
        while not self._stop.is_set():
            try:
                again_soon = self._cycle(due_s)
                self._on_change()
            except Exception as error:
                log.exception("sensor %s: the driver failed", self.name)
                self._enter(SensorState.BROKEN, f"the driver failed: {error!r}"[:300])
                again_soon = False
            self.cycle_ended_s = self._clock.monotonic_s()
            due_s = self._next_due_s(due_s, again_soon)
            self._stop.wait(max(0.0, due_s - self._clock.monotonic_s()))

    def _next_due_s(self, due_s: float, again_soon: bool) -> float:
        now_s = self._clock.monotonic_s()
        if self.sensor.paces_itself and self.state is not SensorState.BROKEN:
            return now_s
        # never sooner than the sensor bears, whether it answered or not
        soonest_s = self._started_s + min(max(self.sensor.min_interval_s, 0.1), self.interval_s)
        if again_soon:
            return soonest_s
        due_s += self.interval_s
        # What was missed while a read blocked is not made up for.
        return max(due_s if due_s > now_s - self.interval_s else now_s, soonest_s)

    def _cycle(self, due_s: float) -> bool:
        """One reading, with its retries. True if one is held that the next should confirm, soon."""
        retry_s = max(self.sensor.min_interval_s, 0.05)
        for _ in range(1 + RETRIES):
            self.attempts += 1
            try:
                measurement = self._read()
            except NoReading as error:
                self.discarded[error.cause] += 1
                reason = f"{error.cause}: {error}" if str(error) != error.cause else str(error)
                log.debug("sensor %s: no reading: %s", self.name, reason)
                last_for_now = (
                    self.sensor.paces_itself
                    or self._clock.monotonic_s() + retry_s >= due_s + self.interval_s
                )
                if last_for_now or self._stop.wait(retry_s):
                    break
            except SensorBroken as error:
                self.sensor.close()
                self._open = False  # the next cycle looks for it again: somebody may have mended it
                self._enter(SensorState.BROKEN, str(error))
                return False
            else:
                return self._judge(measurement)
        if not self._stop.is_set():
            self._missed_one(reason)
        return False

    def _read(self) -> Measurement:
        if not self._open:
            self.sensor.open()
            self._open = True
        self._started_s = self._clock.monotonic_s()
        return self.sensor.read()

    def _judge(self, measurement: Measurement) -> bool:
        sample = Sample(
            measurement,
            self._clock.monotonic_s(),
            self._clock.utc_now(),
            self._clock.synchronised(),
        )
        judgement = self._plausibility.offer(sample)
        for discarded, cause in judgement.discarded:
            self.discarded[cause] += 1
            log.debug(
                "sensor %s: discarded %.1f °C %.1f %%: %s",
                self.name,
                discarded.measurement.temperature_c,
                discarded.measurement.humidity_pct,
                cause,
            )
        for accepted in judgement.accepted:
            self.readings += 1
            self._on_sample(accepted)
        if judgement.accepted:
            self._missed = 0
            self._enter(SensorState.OK, "")
        elif judgement.discarded:
            self._missed_one(f"{judgement.discarded[-1][1]}: no two readings agree")
        return self._plausibility.waiting

    def _missed_one(self, reason: str) -> None:
        self._missed += 1
        if self._missed < BROKEN_AFTER:
            self._enter(SensorState.RETRYING, reason)
        else:
            self._enter(
                SensorState.BROKEN,
                f"no reading {BROKEN_AFTER} times in a row ({reason}): look at power and wiring,"
                " or take its power away for a moment",
            )

    def _enter(self, state: SensorState, reason: str) -> None:
        if state is not self._said:
            self._said = state
            self.since = self._clock.utc_now()
            level = logging.INFO if state is SensorState.OK else logging.WARNING
            log.log(level, "sensor %s is %s%s", self.name, state, f": {reason}" if reason else "")
        self.state, self.reason = state, reason[:500]
