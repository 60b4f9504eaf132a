"""Is it a reading? The range and the slip filter between a driver and the journal.

The fifth byte of a frame is an 8-bit sum. A frame that slipped by one bit (an edge missed or seen
twice) doubles, halves or scrambles its values, and a slip before the first bit passes that sum in
15 to 42 % of cases on a DHT22, and up to always on a DHT11 without tenths. Range alone cannot tell
24 °C from 48 °C, so a reading is compared with the last one that was accepted:

- within the step limit of it: accepted;
- a jump: *held*, and the sensor is to be read again as soon as it may (`waiting`);
- the next reading agrees with the held one: both are accepted, the held one first, so that a true
  jump (a window opened, a breath, an hour without power) is delayed by seconds and never dropped.
  A jump of more than twice the limit needs a third: two slips of one reading agree in 60 to 75 %
  of cases, so two in a row are not proof enough where a slip is likely;
- the next reading is back at the last accepted one: the held one is discarded as SLIP;
- it goes on in the held one's direction: a fast change; both are held until two agree;
- it agrees with nothing: the held one is discarded, the new one held.

With no last reading (start-up) the first is held until a second agrees.

The step limit is what a sensor of the family can do between two reads. Temperature: 2 °C, since
a real DHT11 stepped from 27 to 25 within 2.3 s (dht11_250khz), and 0.1 °C more a second, up to 5.
Humidity: 5 %, and 1 % more a second (a breath raises it by 50 % with a time constant of some 6 s),
up to 15. It stops growing after a while: a longer gap makes a jump wait, not pass.

The guarantee: a wrong value that passes unseen lies within the step limit of a reading beside it,
unless slips that agree come in a row: three, or two where the jump is under twice the limit or
nothing was accepted before. What it cannot do: a true peak that is gone by the very next reading
looks like a slip, and is dropped.

Measured by `python bench/slips.py` (3,000 random readings a model, every one-bit slip of each,
read every 5 s): of the slips that pass the sum, range and filter together stop 99.9 % for a DHT11
and 97.8 % for a DHT22; what is left differs from the truth by less than the limit. Of slips that
come twice in a row, 97 % and 95 %. On the real recordings no true reading is dropped, and all of
the 806 slips of their frames that pass the sum are stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.frame import Model, in_range
from edge.sensors.base import Cause, Measurement, Sample


@dataclass(frozen=True, slots=True)
class StepLimit:
    """How far two readings may lie apart: `base` + `per_s` · seconds between them, up to `most`."""

    base: float
    per_s: float
    most: float

    def after(self, elapsed_s: float) -> float:
        return min(self.base + self.per_s * max(elapsed_s, 0.0), self.most)


TEMPERATURE_STEP_C = StepLimit(base=2.0, per_s=0.1, most=5.0)
HUMIDITY_STEP_PCT = StepLimit(base=5.0, per_s=1.0, most=15.0)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of the samples known so far; accepted ones in the order they were taken."""

    accepted: tuple[Sample, ...] = ()
    discarded: tuple[tuple[Sample, Cause], ...] = ()


class Plausibility:
    """The filter for one sensor; offer it every sample in the order they were taken."""

    def __init__(self, model: Model = Model.DHT22) -> None:
        self._model = model
        self._last: Sample | None = None
        self._held: list[Sample] = []
        self._agreeing = 0  # how many of the last in _held agree with each other

    @property
    def waiting(self) -> bool:
        """Is a sample held? Then read again as soon as the sensor may be read."""
        return bool(self._held)

    def offer(self, sample: Sample) -> Judgement:
        """Judge `sample`, and those held before it."""
        if not self._possible(sample.measurement):
            return Judgement(discarded=((sample, Cause.RANGE),))
        held = self._held
        if self._last and _apart(self._last, sample) <= 1:
            if all(_apart(one, sample) <= 1 for one in held):
                return self._accept(*held, sample)
            judgement = self._accept(sample)
            return Judgement(judgement.accepted, _slips(held))
        if held and _apart(held[-1], sample) <= 1:
            self._agreeing += 1
            if self._agreeing >= self._needed():
                return self._accept(*held, sample)
            held.append(sample)
        elif held and self._last and _in_line(self._last, held[-1], sample):
            self._agreeing = 1
            held.append(sample)
        else:
            self._agreeing = 1
            self._held = [sample]
            return Judgement(discarded=_slips(held))
        return Judgement()

    def _accept(self, *samples: Sample) -> Judgement:
        self._last = samples[-1]
        self._held = []
        self._agreeing = 0
        return Judgement(accepted=samples)

    def _needed(self) -> int:
        return 3 if self._last and _apart(self._last, self._held[-1]) > 2 else 2

    def _possible(self, measured: Measurement) -> bool:
        """In the model's range (a NaN is not), and not the 0 °C and 0 % of a broken line."""
        values = measured.temperature_c, measured.humidity_pct
        return in_range(*values, self._model) and values != (0.0, 0.0)


def _slips(samples: list[Sample]) -> tuple[tuple[Sample, Cause], ...]:
    return tuple((sample, Cause.SLIP) for sample in samples)


def _apart(one: Sample, other: Sample) -> float:
    """How far two samples lie apart, in step limits; the larger of temperature and humidity."""
    elapsed_s = other.monotonic_s - one.monotonic_s
    a, b = one.measurement, other.measurement
    # A tenth is no exact float: 20.3 - 18.1 is a hair more than 2.2.
    return max(
        round(abs(a.temperature_c - b.temperature_c), 3) / TEMPERATURE_STEP_C.after(elapsed_s),
        round(abs(a.humidity_pct - b.humidity_pct), 3) / HUMIDITY_STEP_PCT.after(elapsed_s),
    )


def _in_line(last: Sample, held: Sample, new: Sample) -> bool:
    """Does `held` lie on the way from `last` to `new`, in both values?"""
    elapsed_s = new.monotonic_s - held.monotonic_s
    a, b, c = last.measurement, held.measurement, new.measurement
    return _between(
        a.temperature_c, b.temperature_c, c.temperature_c, TEMPERATURE_STEP_C.after(elapsed_s)
    ) and _between(
        a.humidity_pct, b.humidity_pct, c.humidity_pct, HUMIDITY_STEP_PCT.after(elapsed_s)
    )


def _between(a: float, b: float, c: float, slack: float) -> bool:
    return min(a, c) - slack <= b <= max(a, c) + slack
