"""A room that does not exist: smooth, with day and night. Everything it gives says `simulated`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from edge.frame import Model
from edge.sensors.base import Measurement

_DAY_S = 86_400
_WARMEST_S = 15 * 3600  # mid-afternoon, UTC
_RESOLUTION = {Model.DHT11: 1.0, Model.DHT22: 0.1}


class SimulatedSensor:
    """A room whose temperature and humidity follow from its seed and the time alone.

    clock: seconds since 1970. seed: another number is another room.
    """

    driver = "simulated"
    source = "simulated"
    min_interval_s = 0.0
    paces_itself = False

    def __init__(
        self, *, model: Model, seed: int = 1, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.model = model
        self._seed = seed
        self._wall_clock = wall_clock
        self._drifts: list[tuple[float, float]] = []

    def open(self) -> None:
        from random import Random  # noqa: PLC0415 - 1 MB that a node with a sensor does not need

        chance = Random(self._seed)
        # Slow waves of periods that have no common measure: people, sun, doors.
        self._drifts = [
            (chance.uniform(0.6, 1.6) * period_s, chance.uniform(0, math.tau))
            for period_s in (600, 2_700, 11_000, 47_000)
        ]

    def read(self) -> Measurement:
        if not self._drifts:
            self.open()
        now_s = self._wall_clock()
        day = math.cos(math.tau * (now_s - _WARMEST_S) / _DAY_S)
        drift = sum(math.sin(math.tau * now_s / period + phase) for period, phase in self._drifts)
        # Warm air holds more water: the same water is less of what it could hold.
        temperature_c = 22 + 2.5 * day + 0.3 * drift
        humidity_pct = 48 - 6 * day - 1.2 * drift
        step = _RESOLUTION[self.model]
        return Measurement(_rounded(temperature_c, step), _rounded(humidity_pct, step))

    def close(self) -> None:
        pass


def _rounded(value: float, step: float) -> float:
    return round(round(value / step) * step, 1)
