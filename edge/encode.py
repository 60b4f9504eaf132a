"""Readings to bytes to edges: the decoder's inverse, for demonstrations and for tests.

The timings are measured on real sensors (shared/data/captures/SOURCE.md and the recordings there),
not the datasheet's. Pure: the same seed gives the same edges.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge.frame import LIMITS, Edge, Model

FIRST_START_US = 500_000  # when the host pulls the line low for the first time


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each part of an answer lasts, in µs. byte_low_us: the low before a new byte."""

    host_low_us: float
    release_us: float
    response_low_us: float
    response_high_us: float
    bit_low_us: float
    byte_low_us: float
    zero_us: float
    one_us: float
    closing_us: float


TIMINGS = {
    Model.DHT11: Timing(20_000, 44, 51, 86, 54, 54, 23, 70, 57),
    Model.DHT22: Timing(20_000, 44, 61, 81, 54, 66, 26, 73, 47),
}


def frame_bytes(
    temperature_c: float, humidity_pct: float, model: Model, *, complement: bool = False
) -> bytes:
    """The five bytes of a reading, to the tenth.

    complement: negative DHT22 temperatures in two's complement, as some sensors send them, instead
    of a sign and a magnitude. Raises ValueError for a value outside the model's range.
    """
    coldest, hottest, driest, wettest = LIMITS[model]
    if not coldest <= temperature_c <= hottest:
        raise ValueError(f"{temperature_c} °C: a {model} gives {coldest} to {hottest}")
    if not driest <= humidity_pct <= wettest:
        raise ValueError(f"{humidity_pct} %: a {model} gives {driest} to {wettest}")
    temperature, humidity = round(temperature_c * 10), round(humidity_pct * 10)
    if model is Model.DHT11:
        whole, tenths = divmod(abs(temperature), 10)
        sign = 0x80 if temperature < 0 else 0
        return summed(bytes([*divmod(humidity, 10), whole, tenths | sign]))
    if temperature < 0:
        temperature = temperature + 0x10000 if complement else -temperature | 0x8000
    return summed(humidity.to_bytes(2, "big") + temperature.to_bytes(2, "big"))


def summed(four: bytes) -> bytes:
    """Four bytes, and their sum."""
    return four + bytes([sum(four) & 0xFF])


def wrong_sum(data: bytes) -> bytes:
    """The same frame with one bit of its sum turned round."""
    return data[:4] + bytes([data[4] ^ 0x10])


def edges(
    frames: Iterable[bytes],
    timing: Timing,
    *,
    interval_s: float = 5.0,
    jitter_us: int = 1,
    seed: int = 0,
) -> Iterator[Edge]:
    """The line while `frames` are read, one every `interval_s`; each pulse within ±jitter_us."""
    rng = random.Random(seed)
    yield 0, 1
    for number, data in enumerate(frames):
        now_us: float = FIRST_START_US + round(number * interval_s * 1e6)
        level = 0
        for lasts_us in (*pulses(data, timing), 0):
            yield now_us, level
            now_us += lasts_us + (rng.randint(-jitter_us, jitter_us) if jitter_us else 0)
            level ^= 1


def pulses(data: bytes, timing: Timing) -> Iterator[float]:
    """The lengths in µs, from the fall of the host's start pulse to the end of the closing low."""
    yield timing.host_low_us
    yield timing.release_us
    yield timing.response_low_us
    yield timing.response_high_us
    for at in range(len(data) * 8):
        yield timing.byte_low_us if at and at % 8 == 0 else timing.bit_low_us
        yield timing.one_us if data[at // 8] >> (7 - at % 8) & 1 else timing.zero_us
    yield timing.closing_us


def room(
    temperature_c: float, humidity_pct: float, model: Model, count: int, *, seed: int = 0
) -> Sequence[tuple[float, float]]:
    """`count` readings (°C, %) of a room that drifts about the given values.

    A slow wave and the sensor's own restlessness. A DHT11 gives whole units, as most of them do.
    """
    rng = random.Random(seed)
    digits = 0 if model is Model.DHT11 else 1
    phase = rng.uniform(0, math.tau)
    readings = []
    for number in range(count):
        wave = math.sin(phase + math.tau * number / 60)
        temperature = temperature_c + 0.6 * wave + rng.gauss(0, 0.05)
        humidity = humidity_pct - 1.5 * wave + rng.gauss(0, 0.15)
        readings.append((round(temperature, digits), round(humidity, digits)))
    return readings
