"""The sampler: what it counts, what it hands on, and what state it says the sensor is in."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from broker.contract import SensorState
from edge.clock import Clock
from edge.frame import Model
from edge.sampler import BROKEN_AFTER, Sampler
from edge.sensors.base import Cause, Measurement, NoReading, Sample, SensorBroken
from edge.sensors.registry import create
from tests.support import PATIENCE_S

Said = Measurement | Exception
STEADY = Measurement(24.0, 41.0)


class ScriptedSensor:
    """Says what the test wrote down, then blocks until the test ends."""

    driver, model, source = "scripted", "dht22", "dht22"
    min_interval_s = 0.0
    paces_itself = False

    def __init__(self, *script: Said) -> None:
        self.script: queue.Queue[Said] = queue.Queue()
        for said in script:
            self.script.put(said)
        self.opened = self.closed = 0
        self.exhausted = threading.Event()
        self._closed = threading.Event()

    def open(self) -> None:
        self.opened += 1

    def read(self) -> Measurement:
        try:
            said = self.script.get_nowait()
        except queue.Empty:
            self.exhausted.set()
            self._closed.wait(PATIENCE_S)
            raise NoReading(Cause.IO, "the script is over") from None
        if isinstance(said, Exception):
            raise said
        return said

    def close(self) -> None:
        self.closed += 1
        if self.exhausted.is_set():
            self._closed.set()


@contextmanager
def sampling(
    sensor: ScriptedSensor,
    on_sample: Callable[[Sample], None] = lambda _: None,
    on_change: Callable[[Sampler], None] = lambda _: None,
) -> Iterator[Sampler]:
    sampler = Sampler(
        "s",
        sensor,
        interval_s=0.01,
        clock=Clock(),
        on_sample=on_sample,
        on_change=lambda: on_change(sampler),
    )
    sampler.start()
    try:
        assert sensor.exhausted.wait(PATIENCE_S)
        yield sampler
    finally:
        sampler.stop(PATIENCE_S)
        assert sampler.liveness_errors() == ["the thread sampler-s is dead"]


def values(samples: list[Sample]) -> list[tuple[float, float]]:
    return [(s.measurement.temperature_c, s.measurement.humidity_pct) for s in samples]


def test_what_is_accepted_is_handed_on_once_and_in_order() -> None:
    taken: list[Sample] = []
    script = [Measurement(24.0 + n / 10, 41.0) for n in range(5)]
    with sampling(ScriptedSensor(*script), taken.append) as sampler:
        assert values(taken) == [(24.0 + n / 10, 41.0) for n in range(5)]
        assert sampler.readings == 5
        assert sampler.state is SensorState.OK
    times = [sample.monotonic_s for sample in taken]
    assert times == sorted(times)


def test_a_failure_is_counted_by_its_cause_and_tried_again() -> None:
    script: list[Said] = [NoReading(Cause.TIMEOUT), NoReading(Cause.CHECKSUM), STEADY, STEADY]
    with sampling(ScriptedSensor(*script)) as sampler:
        assert sampler.discarded == {Cause.TIMEOUT: 1, Cause.CHECKSUM: 1}
        assert (sampler.readings, sampler.attempts) == (2, 5)


def test_a_slip_is_discarded_and_counted() -> None:
    taken: list[Sample] = []
    script = [STEADY, STEADY, Measurement(48.0, 82.0), STEADY]
    with sampling(ScriptedSensor(*script), taken.append) as sampler:
        assert values(taken) == [(24.0, 41.0)] * 3
        assert sampler.discarded == {Cause.SLIP: 1}


def test_an_impossible_value_is_discarded_and_counted() -> None:
    with sampling(ScriptedSensor(STEADY, STEADY, Measurement(0.0, 0.0))) as sampler:
        assert sampler.discarded == {Cause.RANGE: 1}
        assert sampler.readings == 2


def test_a_sensor_that_fails_is_retrying_then_broken_then_ok_again() -> None:
    states: list[SensorState] = []
    misses: list[Said] = [NoReading(Cause.TIMEOUT) for _ in range(BROKEN_AFTER)]
    sensor = ScriptedSensor(STEADY, STEADY, *misses, STEADY, STEADY)

    def watch(sampler: Sampler) -> None:
        if not states or states[-1] is not sampler.state:
            states.append(sampler.state)

    with sampling(sensor, on_change=watch):
        pass
    assert states[-4:] == [
        SensorState.OK,
        SensorState.RETRYING,
        SensorState.BROKEN,
        SensorState.OK,
    ]


def test_a_broken_sensor_is_looked_for_again_and_says_why() -> None:
    said: list[tuple[SensorState, str]] = []
    sensor = ScriptedSensor(SensorBroken("no device: add the overlay"), STEADY, STEADY)
    with sampling(sensor, on_change=lambda s: said.append((s.state, s.reason))):
        pass
    assert said[0] == (SensorState.BROKEN, "no device: add the overlay")
    assert (SensorState.OK, "") in said
    assert sensor.opened == 2


def test_a_driver_that_fails_in_its_own_way_is_announced_and_opened_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    crashes: list[Said] = [ZeroDivisionError(f"at {n}") for n in range(BROKEN_AFTER)]
    sensor = ScriptedSensor(*crashes, STEADY, STEADY)
    announced: list[tuple[SensorState, str]] = []
    with sampling(sensor, on_change=lambda s: announced.append((s.state, s.reason))):
        broken = SensorState.BROKEN, "the driver failed: ZeroDivisionError('at 0')"
        assert announced[:BROKEN_AFTER] == [broken] * BROKEN_AFTER
        assert announced[-1] == (SensorState.OK, "")
        assert (sensor.opened, sensor.closed) == (BROKEN_AFTER + 1, BROKEN_AFTER)
    assert caplog.text.count("Traceback") == 1


def test_what_a_driver_raises_because_it_was_closed_in_the_middle_is_no_fault() -> None:
    class Closed(ScriptedSensor):
        def read(self) -> Measurement:
            try:
                return super().read()
            except NoReading:
                raise ValueError("I/O operation on closed file") from None

    announced: list[SensorState] = []
    with sampling(Closed(STEADY, STEADY), on_change=lambda s: announced.append(s.state)):
        pass
    assert announced
    assert SensorState.BROKEN not in announced


def test_after_a_crash_the_next_miss_is_said_for_what_it_is() -> None:
    misses: list[Said] = [NoReading(Cause.TIMEOUT, "no answer")] * (BROKEN_AFTER + 3)
    sensor = ScriptedSensor(*misses, RuntimeError("a bug"), NoReading(Cause.TIMEOUT, "no answer"))
    announced: list[tuple[SensorState, str]] = []
    with sampling(sensor, on_change=lambda s: announced.append((s.state, s.reason))):
        crash = announced.index((SensorState.BROKEN, "the driver failed: RuntimeError('a bug')"))
        assert announced[crash + 1] == (SensorState.RETRYING, "timeout: no answer")


def test_a_driver_that_cannot_even_be_closed_is_opened_again() -> None:
    class Stuck(ScriptedSensor):
        def close(self) -> None:
            super().close()
            raise OSError("of the driver")

    with sampling(Stuck(SensorBroken("no wire"), STEADY, STEADY)) as sampler:
        assert sampler.state is SensorState.OK


@pytest.mark.parametrize("listener", ["on_sample", "on_change"])
def test_what_a_journal_or_publisher_raises_is_not_the_drivers_fault(
    listener: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged once; that it is no work done, liveness sees (test_worker.py)."""
    monkeypatch.setattr("broker.worker.PAUSE_S", 0.01)

    def fail(_: object) -> None:
        raise ZeroDivisionError("of the journal")

    sensor = ScriptedSensor(*[STEADY] * 5)
    listeners: dict[str, Callable[..., None]] = {listener: fail}
    with sampling(sensor, **listeners) as sampler:
        assert (sampler.state, sampler.reason) == (SensorState.OK, "")
        assert (sensor.opened, sensor.closed) == (1, 0)
        assert sampler.liveness_errors() == []
    assert caplog.text.count("Traceback") == 1
    assert "ZeroDivisionError: of the journal" in caplog.text


def test_a_sensor_that_blocks_holds_up_no_other() -> None:
    blocked = ScriptedSensor()
    with sampling(blocked):
        taken: list[Sample] = []
        with sampling(ScriptedSensor(STEADY, STEADY), taken.append):
            assert len(taken) == 2


def test_a_sensor_whose_readings_never_agree_is_not_called_ok() -> None:
    odd = [Measurement(10.0 + 20 * (n % 3), 30.0 + 25 * (n % 3)) for n in range(3 * BROKEN_AFTER)]
    with sampling(ScriptedSensor(STEADY, STEADY, *odd)) as sampler:
        assert sampler.readings == 2
        assert sampler.state is SensorState.BROKEN
        assert "no two readings agree" in sampler.reason


def test_good_readings_make_up_for_earlier_misses() -> None:
    misses: list[Said] = [NoReading(Cause.TIMEOUT) for _ in range(BROKEN_AFTER - 1)]
    script = [STEADY, STEADY, *misses, STEADY, *misses, STEADY]
    states: set[SensorState] = set()
    sensor = ScriptedSensor(*script)
    with sampling(sensor, on_change=lambda s: states.add(s.state)):
        pass
    assert states == {SensorState.OK, SensorState.RETRYING}


def announced(sensor: ScriptedSensor) -> list[tuple[SensorState, str]]:
    """What is announced of it, without what was announced just before."""
    found: list[tuple[SensorState, str]] = []

    def watch(sampler: Sampler) -> None:
        if found[-1:] != [(sampler.state, sampler.reason)]:
            found.append((sampler.state, sampler.reason))

    with sampling(sensor, on_change=watch):
        pass
    return found[found.index((SensorState.OK, "")) :]


def test_a_fault_is_announced_when_it_begins_and_ends_and_not_at_each_attempt() -> None:
    """Whatever the attempts say: on a noisy line each says something else."""
    causes = [Cause.TIMEOUT, Cause.CHECKSUM]
    misses: list[Said] = [NoReading(causes[n % 2], f"miss {n}") for n in range(12 * BROKEN_AFTER)]
    states = announced(ScriptedSensor(STEADY, STEADY, *misses, STEADY, STEADY))
    assert [state for state, _ in states] == [
        SensorState.OK,
        SensorState.RETRYING,
        SensorState.BROKEN,
        SensorState.OK,
    ]


def test_another_fault_in_its_place_is_announced() -> None:
    """One that a driver is sure of at once; a cause when it has come as often as makes one broken."""
    timeouts: list[Said] = [NoReading(Cause.TIMEOUT) for _ in range(4 * BROKEN_AFTER)]
    sums: list[Said] = [NoReading(Cause.CHECKSUM) for _ in range(5 * BROKEN_AFTER)]
    held = [SensorBroken("held"), SensorBroken("held"), SensorBroken("no chip")]
    states = announced(ScriptedSensor(STEADY, STEADY, *timeouts, *sums, *held, STEADY, STEADY))
    assert [(state, reason.partition(":")[0]) for state, reason in states] == [
        (SensorState.OK, ""),
        (SensorState.RETRYING, "timeout"),
        (SensorState.BROKEN, "no reading 12 times in a row (timeout)"),
        (SensorState.BROKEN, "no reading 12 times in a row (checksum)"),
        (SensorState.BROKEN, "held"),
        (SensorState.BROKEN, "no chip"),
        (SensorState.OK, ""),
    ]


@pytest.mark.parametrize("model", Model)
def test_the_first_reading_of_a_recording_is_handed_on_once(model: Model) -> None:
    """It is confirmed by another, 0.1 s later, which is proof and no reading of its own."""
    sure = threading.Event()
    taken: list[Sample] = []
    sampler = Sampler(
        "s",
        create("replay", model=model),
        interval_s=60.0,
        clock=Clock(),
        on_sample=taken.append,
        on_change=lambda: sure.set() if sampler.state is SensorState.OK else None,
    )
    sampler.start()
    try:
        assert sure.wait(PATIENCE_S)
        assert (len(taken), sampler.readings) == (1, 1)
    finally:
        sampler.stop(PATIENCE_S)


class SteppingClock(Clock):
    """Stands still but for what is waited for."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s


class Waiter(threading.Event):
    """An event whose waiting moves the clock, and that is set after so much of it."""

    def __init__(self, clock: SteppingClock, until_s: float) -> None:
        super().__init__()
        self._clock = clock
        self._until_s = until_s

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.now_s += timeout or 0.0
        if self._clock.now_s >= self._until_s:
            self.set()
        return self.is_set()


@pytest.mark.parametrize("interval_s", [5.0, 2.0, 3.0])
@pytest.mark.parametrize("fails", [True, False])
def test_the_sensor_is_never_read_sooner_than_it_bears(interval_s: float, fails: bool) -> None:
    clock = SteppingClock()
    starts: list[float] = []

    class Silent(ScriptedSensor):
        min_interval_s = 2.0

        def read(self) -> Measurement:
            starts.append(clock.now_s)
            clock.now_s += 0.04
            if fails:
                raise NoReading(Cause.TIMEOUT)
            return STEADY

    sampler = Sampler(
        "s",
        Silent(),
        interval_s=interval_s,
        clock=clock,
        on_sample=lambda _: None,
        on_change=lambda: None,
    )
    sampler._worker.stopping = Waiter(clock, until_s=1100.0)
    sampler._worker._run()
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert len(gaps) > 15
    assert min(gaps) > 2.0 - 1e-9
    if not fails:
        # held for a second at first, then one each interval, counted from the first that was due
        assert gaps[3:] == pytest.approx([interval_s] * len(gaps[3:]))
        assert starts[3] % interval_s == pytest.approx(1000.0 % interval_s)
