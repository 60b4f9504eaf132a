"""Dew point and heat index, against tables that others published."""

from __future__ import annotations

import pytest

from broker.contract import TEMPERATURE_MAX_C, TEMPERATURE_MIN_C
from gateway.derived import dew_point_c, feels_like_c

# The vapour pressure of water in kPa by °C: CRC Handbook of Chemistry and Physics, 85th edition (2004),
# page 6-8; below 0 °C over supercooled water, Smithsonian Meteorological Tables, 6th edition, table 94.
# Air at t whose dew point is d has the humidity 100 · p(d) / p(t), by definition.
PRESSURES_KPA = {
    -40: 0.01891,
    -30: 0.05088,
    -20: 0.12540,
    -10: 0.28627,
    0: 0.6113,
    5: 0.8726,
    10: 1.2281,
    15: 1.7056,
    20: 2.3388,
    25: 3.1690,
    30: 4.2455,
    35: 5.6267,
    40: 7.3814,
    45: 9.5898,
    50: 12.3440,
    55: 15.7520,
    60: 19.9320,
}
# The NWS's heat index chart, www.weather.gov/safety/heat-index, whole °F: by the temperature in °F,
# at 40, 45 … 100 %.
CHART_F = {
    80: (80, 80, 81, 81, 82, 82, 83, 84, 84, 85, 86, 86, 87),
    82: (81, 82, 83, 84, 84, 85, 86, 88, 89, 90, 91, 93, 95),
    84: (83, 84, 85, 86, 88, 89, 90, 92, 94, 96, 98, 100, 103),
    86: (85, 87, 88, 89, 91, 93, 95, 97, 100, 102, 105, 108, 112),
    88: (88, 89, 91, 93, 95, 98, 100, 103, 106, 110, 113, 117, 121),
    90: (91, 93, 95, 97, 100, 103, 105, 109, 113, 117, 122, 127, 132),
    92: (94, 96, 99, 101, 105, 108, 112, 116, 121, 126, 131),
    94: (97, 100, 103, 106, 110, 114, 119, 124, 129, 135),
    96: (101, 104, 108, 112, 116, 121, 126, 132),
    98: (105, 109, 113, 117, 123, 128, 134),
    100: (109, 114, 118, 124, 129, 136),
    102: (114, 119, 124, 130, 137),
    104: (119, 124, 131, 137),
    106: (124, 130, 137),
    108: (130, 137),
    110: (136,),
}
# Where the regression itself is not what the chart says, by less than 1 °F.
CHART_IS_OTHERWISE = {(90, 45), (90, 70)}
# Steadman's own table, of which the regression is a fit, as NOAA printed it: by °F, at 0, 5 and 10 %.
DRY_F = {
    90: (83, 84, 85),
    95: (87, 88, 89),
    100: (91, 93, 95),
    105: (95, 97, 100),
    110: (99, 102, 105),
}


def of_f(fahrenheit: float) -> float:
    return (fahrenheit - 32) / 1.8


def feels_like_f(temperature_f: float, humidity_pct: float) -> float:
    found = feels_like_c(of_f(temperature_f), humidity_pct)
    assert found is not None
    return found * 1.8 + 32


@pytest.mark.parametrize("dew_point", PRESSURES_KPA)
def test_the_dew_point_is_that_of_the_handbooks_vapour_pressures(dew_point: int) -> None:
    for temperature, pressure in PRESSURES_KPA.items():
        if temperature >= dew_point:
            humidity = 100 * PRESSURES_KPA[dew_point] / pressure
            assert dew_point_c(temperature, humidity) == pytest.approx(dew_point, abs=0.11)


def test_saturated_air_is_at_its_dew_point_and_dry_air_has_none() -> None:
    for temperature in (-45.0, -20.0, 0.0, 21.5, 60.0):
        assert dew_point_c(temperature, 100.0) == pytest.approx(temperature)
    assert dew_point_c(20.0, 0.0) is None


@pytest.mark.parametrize(
    ("temperature", "humidity"),
    [(-45.1, 50), (60.1, 50), (TEMPERATURE_MIN_C, 100), (TEMPERATURE_MAX_C, 1), (20, 0.1)],
)
def test_outside_of_the_formulas_range_there_is_no_dew_point(
    temperature: float, humidity: float
) -> None:
    assert dew_point_c(temperature, humidity) is None


@pytest.mark.parametrize("temperature_f", CHART_F)
def test_what_it_feels_like_is_what_the_chart_says(temperature_f: int) -> None:
    for place, index_f in enumerate(CHART_F[temperature_f]):
        humidity = 40 + 5 * place
        # the chart is older than the adjustment for damp air
        damp_f = max(0, humidity - 85) / 10 * max(0, 87 - temperature_f) / 5
        off_f = 1.0 if (temperature_f, humidity) in CHART_IS_OTHERWISE else 0.5
        found_f = feels_like_f(temperature_f, humidity) - damp_f
        assert found_f == pytest.approx(index_f, abs=off_f), humidity


@pytest.mark.parametrize("temperature_f", DRY_F)
def test_dry_air_feels_as_steadman_has_it(temperature_f: int) -> None:
    """Within 1 °F; without its adjustment it would be up to 3.6 off."""
    for place, index_f in enumerate(DRY_F[temperature_f]):
        assert feels_like_f(temperature_f, 5 * place) == pytest.approx(index_f, abs=1.0)
    # by hand: the regression has 90.18, less (13 - 5) / 4 · √(17 / 17)
    assert feels_like_f(95, 5) == pytest.approx(88.18, abs=0.01)


def test_mild_air_feels_as_the_simple_formula_says() -> None:
    """By hand; and the example of Adafruit's DHT-sensor-library, pull request 154."""
    assert feels_like_f(70, 50) == pytest.approx(0.5 * (70 + 61 + 2 * 1.2 + 4.7))
    assert feels_like_f(74.84, 68.5) == pytest.approx(75.23, abs=0.02)


@pytest.mark.parametrize(
    ("temperature", "humidity"),
    [(4.4, 50), (-10, 90), (50.1, 5), (45, 90), (TEMPERATURE_MAX_C, 0)],
    ids=["cold", "frost", "hot", "off the chart", "a stuck sensor"],
)
def test_where_nobody_measured_it_is_not_made_up(temperature: float, humidity: float) -> None:
    assert feels_like_c(temperature, humidity) is None


def test_every_value_of_the_contract_is_taken() -> None:
    for tenths in range(round(TEMPERATURE_MIN_C * 10), round(TEMPERATURE_MAX_C * 10) + 1, 7):
        for humidity in range(101):
            dew_point = dew_point_c(tenths / 10, humidity)
            assert dew_point is None or dew_point <= tenths / 10 + 1e-9
            index = feels_like_c(tenths / 10, humidity)
            assert index is None or 0 < index < 60
