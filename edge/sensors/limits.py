"""Measurements from drivers that see values and no frame, held to what the model can measure."""

from __future__ import annotations

from edge.frame import Model, in_range
from edge.sensors.base import Cause, Measurement, NoReading


def checked(temperature_c: float, humidity_pct: float, model: Model) -> Measurement:
    """The measurement, in °C and %. Raises NoReading (RANGE) for one that `model` cannot make.

    Nor is 0 °C with 0 % a measurement: five zero bytes have a right sum, and the kernel's driver
    has been seen to answer them without an error.
    """
    empty = temperature_c == 0 and humidity_pct == 0
    if empty or not in_range(temperature_c, humidity_pct, model):
        seen = f"{temperature_c:.1f} °C, {humidity_pct:.1f} %"
        raise NoReading(Cause.RANGE, f"not a {model} reading", seen=seen)
    return Measurement(temperature_c, humidity_pct)
