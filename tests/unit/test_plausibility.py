from __future__ import annotations

import math
import random
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.slips import count
from edge.encode import TIMINGS, edges, frame_bytes, room
from edge.frame import Model, decode, measurement
from edge.plausibility import HUMIDITY_STEP_PCT, TEMPERATURE_STEP_C, Plausibility
from edge.sensors.base import Cause, Measurement, NoReading, Sample
from tests.unit.lines import without

repeatable = settings(derandomize=True, deadline=None, max_examples=60)
ROOM = (24.0, 41.0)
DOUBLED = (48.0, 82.0)
HALVED = (12.0, 20.5)
Value = tuple[float, float]


def sample(value: Value, now_s: float) -> Sample:
    return Sample(Measurement(*value), now_s, datetime(2026, 1, 1, tzinfo=UTC), True)


class Watched:
    """A filter that is offered values every 5 s, or 2 s after one that it holds."""

    def __init__(self) -> None:
        self.filter = Plausibility()
        self.now_s = 0.0
        self.accepted: list[Value] = []
        self.discarded: list[tuple[Value, Cause]] = []

    def offer(self, *values: Value) -> None:
        for value in values:
            judgement = self.filter.offer(sample(value, self.now_s))
            self.accepted += [_value(one) for one in judgement.accepted]
            self.discarded += [(_value(one), cause) for one, cause in judgement.discarded]
            self.now_s += 2.0 if self.filter.waiting else 5.0


def _value(one: Sample) -> Value:
    return one.measurement.temperature_c, one.measurement.humidity_pct


@pytest.fixture
def watched() -> Watched:
    """With two readings of a room accepted."""
    watched = Watched()
    watched.offer(ROOM, ROOM)
    assert watched.accepted == [ROOM, ROOM]
    return watched


def test_the_first_is_held_until_a_second_agrees() -> None:
    watched = Watched()
    watched.offer(ROOM)
    assert watched.accepted == []
    assert watched.filter.waiting
    watched.offer((24.1, 41.2))
    assert watched.accepted == [ROOM, (24.1, 41.2)]
    assert not watched.filter.waiting


def test_a_first_one_that_slipped_is_discarded() -> None:
    watched = Watched()
    watched.offer(DOUBLED, ROOM, ROOM)
    assert watched.accepted == [ROOM, ROOM]
    assert watched.discarded == [(DOUBLED, Cause.SLIP)]


def test_a_small_step_is_accepted_at_once(watched: Watched) -> None:
    watched.offer((26.5, 51.0), (24.0, 41.0))
    assert watched.accepted[2:] == [(26.5, 51.0), (24.0, 41.0)]
    assert watched.discarded == []


@pytest.mark.parametrize("slipped", [DOUBLED, HALVED, (24.0, 20.5), (48.0, 41.0), (24.0, 51.1)])
def test_a_jump_that_is_gone_is_a_slip(watched: Watched, slipped: Value) -> None:
    watched.offer(slipped)
    assert watched.filter.waiting
    watched.offer(ROOM)
    assert watched.accepted[2:] == [ROOM]
    assert watched.discarded == [(slipped, Cause.SLIP)]
    assert not watched.filter.waiting


def test_a_jump_that_stays_is_delayed_and_not_dropped(watched: Watched) -> None:
    watched.offer((24.0, 28.0), (24.0, 27.0))
    assert watched.accepted[2:] == [(24.0, 28.0), (24.0, 27.0)]
    assert watched.discarded == []


def test_a_jump_that_goes_half_way_back_is_delayed_and_not_dropped(watched: Watched) -> None:
    watched.offer((24.0, 52.0), (24.0, 46.0))
    assert watched.accepted[2:] == [(24.0, 52.0), (24.0, 46.0)]
    assert watched.discarded == []


@pytest.mark.parametrize(
    ("jump", "back"),
    [
        ((40.0, 60.0), (50.0, 50.0)),  # the temperature goes on, the humidity turns back
        ((40.0, 60.0), (30.0, 70.0)),
    ],
)
def test_a_jump_that_is_on_the_way_in_one_value_only_is_a_slip(
    watched: Watched, jump: Value, back: Value
) -> None:
    """What a room does, it does in both: a value that is gone at the next look was none."""
    watched.offer(jump, back)
    assert watched.discarded == [(jump, Cause.SLIP)]
    assert watched.accepted[2:] == []


def test_a_jump_that_is_on_the_way_in_both_values_is_kept(watched: Watched) -> None:
    watched.offer((40.0, 60.0), (50.0, 70.0))
    assert watched.discarded == []
    assert watched.filter.waiting


def test_a_far_jump_needs_a_third(watched: Watched) -> None:
    watched.offer(DOUBLED, DOUBLED)
    assert watched.accepted[2:] == []
    assert watched.filter.waiting
    watched.offer(DOUBLED)
    assert watched.accepted[2:] == [DOUBLED] * 3
    assert watched.discarded == []


def test_one_slip_twice_does_not_pass(watched: Watched) -> None:
    watched.offer(DOUBLED, DOUBLED, ROOM)
    assert watched.accepted[2:] == [ROOM]
    assert watched.discarded == [(DOUBLED, Cause.SLIP)] * 2


def test_two_slips_that_differ_do_not_pass(watched: Watched) -> None:
    watched.offer(DOUBLED, HALVED, ROOM)
    assert watched.accepted[2:] == [ROOM]
    assert watched.discarded == [(DOUBLED, Cause.SLIP), (HALVED, Cause.SLIP)]


def test_a_breath_on_the_sensor_is_seen_whole(watched: Watched) -> None:
    breath = [(24.4, 58.0), (25.0, 72.0), (25.5, 81.0), (25.8, 86.0), (26.0, 89.0), (26.0, 91.0)]
    watched.offer(*breath)
    assert watched.accepted[2:] == breath
    assert watched.discarded == []


def test_after_an_hour_a_jump_still_has_to_be_confirmed(watched: Watched) -> None:
    watched.now_s += 3600
    watched.offer(DOUBLED, (15.0, 60.0), (15.0, 60.0), (15.1, 60.0))
    assert watched.accepted[2:] == [(15.0, 60.0), (15.0, 60.0), (15.1, 60.0)]
    assert watched.discarded == [(DOUBLED, Cause.SLIP)]


@pytest.mark.parametrize("slipped", [(24.0, 57.0), (29.5, 41.0)])
def test_after_an_hour_the_limit_is_still_one(watched: Watched, slipped: Value) -> None:
    watched.now_s += 3600
    watched.offer(slipped, ROOM)
    assert watched.discarded == [(slipped, Cause.SLIP)]


def test_after_a_gap_the_room_may_have_changed_more(watched: Watched) -> None:
    watched.now_s += 60
    watched.offer((28.0, 54.0))
    assert watched.accepted[2:] == [(28.0, 54.0)]


@pytest.mark.parametrize(
    "impossible",
    [(0.0, 0.0), (-40.1, 50.0), (80.1, 50.0), (20.0, 100.1), (20.0, -0.1), (math.nan, 50.0)],
)
def test_the_impossible_is_out_of_range_and_changes_nothing(
    watched: Watched, impossible: Value
) -> None:
    watched.offer(impossible)
    assert [cause for _, cause in watched.discarded] == [Cause.RANGE]
    assert not watched.filter.waiting
    watched.offer((24.0, 28.0), impossible, (24.0, 28.0))
    assert watched.accepted[2:] == [(24.0, 28.0)] * 2


def test_a_dht11_cannot_give_what_a_dht22_can() -> None:
    assert Plausibility(Model.DHT11).offer(sample((-30.0, 50.0), 0)).discarded[0][1] is Cause.RANGE
    assert Plausibility(Model.DHT22).offer(sample((-30.0, 50.0), 0)).discarded == ()


@pytest.mark.parametrize(
    ("model", "once", "twice"), [("dht11", 0.002, 0.04), ("dht22", 0.03, 0.06)]
)
def test_of_the_slips_that_pass_the_sum_no_more_get_by_than_is_claimed(
    model: str, once: float, twice: float
) -> None:
    total: Counter[str] = Counter()
    for row in count(Model(model), 600).values():
        total += row
    assert total["sum"] > 1000
    assert total["once"] <= once * total["sum"]
    assert total["twice"] <= twice * total["sum"]


@repeatable
@given(model=st.sampled_from(Model), seed=st.integers(0, 2**32))
def test_a_slow_room_is_accepted_whole(model: Model, seed: int) -> None:
    watched = Watched()
    readings = room(22.0, 50.0, model, 40, seed=seed)
    watched.offer(*readings)
    assert watched.accepted == readings
    assert watched.discarded == []


@repeatable
@given(model=st.sampled_from(Model), seed=st.integers(0, 2**32))
def test_what_is_damaged_never_passes_beyond_the_step_limit(model: Model, seed: int) -> None:
    rng = random.Random(seed)
    readings = room(rng.uniform(0, 40), rng.uniform(20, 90), model, 12, seed=seed)
    frames = [_with_flips(frame_bytes(t, h, model), rng) for t, h in readings]
    line = list(edges(frames, TIMINGS[model], interval_s=5, jitter_us=2, seed=seed))
    lost = {at for at in range(3, len(line)) if rng.random() < 0.005}
    plausibility = Plausibility(model)
    for frame in decode(without(line, lost)):
        number = round((frame.start_us - 520_000) / 5e6)
        try:
            measured = measurement(frame.data, model)
        except NoReading:
            continue
        taken = Sample(measured, number * 5.0, datetime(2026, 1, 1, tzinfo=UTC), True)
        for one in plausibility.offer(taken).accepted:
            true = readings[round(one.monotonic_s / 5)]
            drift = 1.5  # of the room itself, between the reading beside it and this one
            temperature_c, humidity_pct = _value(one)
            assert abs(temperature_c - true[0]) <= TEMPERATURE_STEP_C.most + drift
            assert abs(humidity_pct - true[1]) <= HUMIDITY_STEP_PCT.most + drift


def _with_flips(data: bytes, rng: random.Random) -> bytes:
    """Two bits misread in four frames of ten: the least that an 8-bit sum can miss."""
    bits = int.from_bytes(data, "big")
    if rng.random() < 0.4:
        for at in rng.sample(range(40), 2):
            bits ^= 1 << at
    return bits.to_bytes(5, "big")
