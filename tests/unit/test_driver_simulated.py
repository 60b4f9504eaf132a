"""The simulated room."""

import itertools

import pytest

from edge.frame import LIMITS, Model
from edge.sensors.simulated import SimulatedSensor

DAY_S = 86_400


def a_day(seed: int, model: Model = Model.DHT22) -> list[tuple[float, float]]:
    """Temperature and humidity every minute."""
    now_s = 0.0
    sensor = SimulatedSensor(model=model, seed=seed, wall_clock=lambda: now_s)
    sensor.open()
    readings = []
    for minute in range(DAY_S // 60):
        now_s = 1_700_000_000.0 // DAY_S * DAY_S + minute * 60
        got = sensor.read()
        readings.append((got.temperature_c, got.humidity_pct))
    return readings


def test_the_same_seed_is_the_same_room_and_another_is_another() -> None:
    assert a_day(1) == a_day(1)
    assert a_day(1) != a_day(2)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_smooth_and_in_range(seed: int) -> None:
    readings = a_day(seed)
    coldest, hottest, driest, wettest = LIMITS[Model.DHT11]
    for (t0, h0), (t1, h1) in itertools.pairwise(readings):
        assert coldest < t1 < hottest
        assert driest < h1 < wettest
        assert abs(t1 - t0) <= 0.5
        assert abs(h1 - h0) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_afternoons_are_warmer_and_drier_than_nights(seed: int) -> None:
    readings = a_day(seed)
    night, afternoon = readings[2 * 60 : 4 * 60], readings[14 * 60 : 16 * 60]
    assert sum(t for t, _ in afternoon) > sum(t for t, _ in night)
    assert sum(h for _, h in afternoon) < sum(h for _, h in night)


@pytest.mark.parametrize(("model", "steps_a_unit"), [(Model.DHT11, 1), (Model.DHT22, 10)])
def test_it_has_the_resolution_of_the_model(model: Model, steps_a_unit: int) -> None:
    values = [value * steps_a_unit for reading in a_day(1, model) for value in reading]
    assert all(value == pytest.approx(round(value), abs=1e-9) for value in values)
    assert len({value % steps_a_unit for value in map(round, values)}) == steps_a_unit


def test_it_says_that_it_is_made_up() -> None:
    assert SimulatedSensor(model=Model.DHT11).source == "simulated"
