"""When to read a sensor, and what to make of it: one thread a sensor, so that none waits for another."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from broker.contract import SensorState
from broker.worker import Worker
from edge.clock import Clock
from edge.frame import Model
from edge.plausibility import Plausibility
from edge.sensors.base import Cause, Measurement, NoReading, Sample, Sensor, SensorBroken

log = logging.getLogger(__name__)

# Attempts beyond the first before the next reading is due, as far as the sensor's pace allows.
RETRIES = 3
# After this many readings in a row that did not come, a person should look.
BROKEN_AFTER = 12
# A read may block for 30 s (Adafruit_DHT); who is silent for longer than that and three intervals has
# stopped.
STALLED_S = 60.0


class Sampler:
    """Reads one sensor at its pace, judges what it says, and hands on what is accepted.

    on_sample: called in the sampler's thread for each accepted sample, in order: one an interval.
    on_change: called there after each cycle, also where the driver failed. What the two raise is
    logged, and is no fault of the sensor; liveness fails if they do not take what they are given.
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
        self._clock = clock
        self._on_sample = on_sample
        self._on_change = on_change
        self._plausibility = Plausibility(Model(sensor.model))
        self._fault = self.reason  # what tells one from another
        self._missed = 0  # in a row
        self._missed_alike = 0  # of these the last ones, all for `_cause`
        self._cause: Cause | None = None
        self._started_s = 0.0  # the last read
        self._due_s = self._next_s = clock.monotonic_s()  # the next that is due; the next at all
        # A reading that is taken before the next is due confirms another: both are of one turn.
        self._turn = self._turn_handed_on = 0
        self._turns: dict[Sample, int] = {}  # of the samples that are held
        self._open = False
        self._worker = Worker(
            f"sampler-{name}",
            self._step,
            wake=self._close,
            stalled_after_s=STALLED_S + 3 * interval_s,
            monotonic=clock.monotonic_s,
        )

    def start(self) -> None:
        self._worker.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End after the read that is under way; one that blocks longer is left behind (daemon)."""
        self._worker.stop(timeout_s)

    def liveness_errors(self) -> list[str]:
        return self._worker.liveness_errors()

    def _step(self) -> None:
        """Wait for the next reading's moment, take it, and hand it on."""
        if self._worker.stopping.wait(max(0.0, self._next_s - self._clock.monotonic_s())):
            return
        if self._next_s >= self._due_s:
            self._turn += 1
            self._due_s += self.interval_s
        again_soon = False
        try:
            again_soon = self._cycle()
            self._on_change()
        finally:
            self._next_s = self._moment_s(again_soon)

    def _moment_s(self, again_soon: bool) -> float:
        """When to read next."""
        now_s = self._clock.monotonic_s()
        if self.sensor.paces_itself and self.state is not SensorState.BROKEN:
            self._due_s = now_s
            return now_s
        if self._due_s <= now_s - self.interval_s:
            self._due_s = now_s  # what was missed while a read blocked is not made up for
        # never sooner than the sensor bears, whether it answered or not
        soonest_s = self._started_s + min(max(self.sensor.min_interval_s, 0.1), self.interval_s)
        return soonest_s if again_soon else max(self._due_s, soonest_s)

    def _cycle(self) -> bool:
        """One reading, with its retries. True if one is held that the next should confirm, soon."""
        retry_s = max(self.sensor.min_interval_s, 0.05)
        for _ in range(1 + RETRIES):
            self.attempts += 1
            try:
                measurement = self._read()
            except NoReading as error:
                cause, reason = error.cause, error.reason
                self.discarded[cause] += 1
                log.debug("sensor %s: no reading: %s: %s", self.name, cause, error)
                last_for_now = (
                    self.sensor.paces_itself or self._clock.monotonic_s() + retry_s >= self._due_s
                )
                if last_for_now or self._worker.stopping.wait(retry_s):
                    break
            except SensorBroken as error:
                if self._worker.stopping.is_set():  # closed by us, in the middle of its read
                    return False
                self._broke(str(error), fault=str(error))
                return False
            except Exception as error:  # noqa: BLE001 - logged in whole when this fault begins
                if self._worker.stopping.is_set():
                    return False
                self._broke(
                    f"the driver failed: {error!r}", fault=type(error).__name__, crash=error
                )
                return False
            else:
                return self._judge(measurement)
        if not self._worker.stopping.is_set():
            self._missed_one(cause, reason)
        return False

    def _read(self) -> Measurement:
        if not self._open:
            self.sensor.open()
            self._open = True
        self._started_s = self._clock.monotonic_s()
        return self.sensor.read()

    def _close(self) -> None:
        try:
            self.sensor.close()
        except Exception:
            log.debug("sensor %s: cannot be closed", self.name, exc_info=True)

    def _judge(self, measurement: Measurement) -> bool:
        sample = Sample(
            measurement,
            self._clock.monotonic_s(),
            self._clock.utc_now(),
            self._clock.synchronised(),
        )
        self._turns[sample] = self._turn
        judgement = self._plausibility.offer(sample)
        for discarded, cause in judgement.discarded:
            del self._turns[discarded]
            self.discarded[cause] += 1
            log.debug(
                "sensor %s: discarded %.1f °C %.1f %%: %s",
                self.name,
                discarded.measurement.temperature_c,
                discarded.measurement.humidity_pct,
                cause,
            )
        if judgement.accepted:
            self._missed = self._missed_alike = 0
            self._enter(SensorState.OK, "", fault="")
        elif judgement.discarded:
            cause = judgement.discarded[-1][1]
            self._missed_one(cause, f"{cause}: no two readings agree")
        turns = [self._turns.pop(accepted) for accepted in judgement.accepted]
        for turn, accepted in zip(turns, judgement.accepted, strict=True):
            if turn > self._turn_handed_on:
                self._turn_handed_on = turn
                self.readings += 1
                self._on_sample(accepted)
        return self._plausibility.waiting

    def _missed_one(self, cause: Cause, reason: str) -> None:
        """A row of misses is one fault, for the cause that it began with.

        On a noisy line each has another cause; one that has come as often as makes a sensor broken
        takes the place of the first.
        """
        self._missed += 1
        self._missed_alike = self._missed_alike + 1 if cause is self._cause else 1
        self._cause = cause
        if self._missed < BROKEN_AFTER:
            if self._missed == 1 or self.state is not SensorState.RETRYING:
                self._enter(SensorState.RETRYING, reason, fault=cause)
        elif BROKEN_AFTER in {self._missed, self._missed_alike}:
            self._enter(
                SensorState.BROKEN,
                f"no reading {BROKEN_AFTER} times in a row ({reason}): look at power and wiring,"
                " or take its power away for a moment",
                fault=cause,
            )

    def _broke(self, reason: str, *, fault: str, crash: Exception | None = None) -> None:
        """Close it; the next cycle looks for it again, since somebody may have mended it."""
        self._close()
        self._open = False
        self._cause = None
        self._missed = self._missed_alike = 0
        self._enter(SensorState.BROKEN, reason, fault=fault, crash=crash)

    def _enter(
        self, state: SensorState, reason: str, *, fault: str, crash: Exception | None = None
    ) -> None:
        """Take on a state; if it is the same, for the same fault, what is said of it stays."""
        if (state, fault) == (self.state, self._fault):
            return
        if state is not self.state:
            self.since = self._clock.utc_now()
        self.state, self.reason, self._fault = state, reason[:500], fault
        level = logging.INFO if state is SensorState.OK else logging.WARNING
        said = f": {reason}" if reason else ""
        log.log(level, "sensor %s is %s%s", self.name, state, said, exc_info=crash)
