"""What follows from temperature and humidity: the dew point, and what the air feels like. Pure."""

from __future__ import annotations

from math import log, sqrt

# WMO-No. 8, Guide to Instruments and Methods of Observation, annex 4.B (after Sonntag, 1990), the
# saturation vapour pressure of pure water: 6.112 hPa · exp(17.62 t / (243.12 + t)), t in °C. The
# factor cancels out here.
MAGNUS_A, MAGNUS_B_C = 17.62, 243.12
# The range that the WMO gives for these constants. Within it the dew point is off by 0.1 °C
# at most, by the vapour pressures of the CRC Handbook: less than what a sensor's 2 % of humidity
# amount to, which are 0.2 to 0.3 °C.
MAGNUS_MIN_C, MAGNUS_MAX_C = -45.0, 60.0

# The NWS's own calculator has nothing to say of the cold: at 40 °F and less it gives the temperature
# back (Anderson et al., Environ. Health Perspect. 121, 2013), where the formula had it 2 to 6 °F lower.
COLD_F = 40.0
# Steadman's data (J. Appl. Meteorol. 18, 1979) end at 50 °C, and the NWS's chart at 137 °F.
HOT_F = 122.0
CHART_MAX_F = 137.5
# From here on the regression, below it Steadman's simple formula.
REGRESSION_FROM_F = 80.0


def dew_point_c(temperature_c: float, humidity_pct: float) -> float | None:
    """At how many °C water would condense out of the air, over water also below 0 °C.

    humidity_pct: relative. The Magnus formula, solved for the temperature of saturation. None
    outside of its range, for the temperature as for the dew point, and in air without water.
    """
    if not MAGNUS_MIN_C <= temperature_c <= MAGNUS_MAX_C or not 0 < humidity_pct <= 100:
        return None
    gamma = log(humidity_pct / 100) + MAGNUS_A * temperature_c / (MAGNUS_B_C + temperature_c)
    dew_point = MAGNUS_B_C * gamma / (MAGNUS_A - gamma)
    return dew_point if dew_point >= MAGNUS_MIN_C else None


def feels_like_c(temperature_c: float, humidity_pct: float) -> float | None:
    """The heat index of the US National Weather Service, in °C: in the shade, with a light wind.

    humidity_pct: relative. www.wpc.ncep.noaa.gov/html/heatindex_equation.shtml: the simple formula
    first, which is Steadman's averaged with the temperature; where that gives 80 °F or more, the
    regression of Rothfusz (NWS technical attachment SR 90-23, 1990) with both its adjustments,
    within 1.3 °F of Steadman's data.

    None at 40 °F (4.4 °C) and below, where what is felt depends on the wind, which nobody measured
    here; and beyond the data: above 50 °C, or where the index itself is above the NWS's chart.
    """
    t, rh = temperature_c * 1.8 + 32, humidity_pct
    if not COLD_F < t <= HOT_F:
        return None
    index = 0.5 * (t + 61 + (t - 68) * 1.2 + rh * 0.094)
    if index >= REGRESSION_FROM_F:
        index = _rothfusz_f(t, rh)
        if rh < 13 and t <= 112:
            index -= (13 - rh) / 4 * sqrt((17 - abs(t - 95)) / 17)
        elif rh > 85 and t <= 87:
            index += (rh - 85) / 10 * (87 - t) / 5
    return (index - 32) / 1.8 if index <= CHART_MAX_F else None


def _rothfusz_f(t: float, rh: float) -> float:
    """The regression by itself, in °F."""
    constant = -42.379 + 2.04901523 * t - 0.00683783 * t * t
    linear = 10.14333127 - 0.22475541 * t + 0.00122874 * t * t
    square = -0.05481717 + 0.00085282 * t - 0.00000199 * t * t
    return constant + (linear + square * rh) * rh
