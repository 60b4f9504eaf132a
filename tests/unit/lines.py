"""What can happen to a line between the sensor and us, for the tests of frames."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from edge.frame import Edge


def sampled(edges: Iterable[Edge], rate_hz: float, phase: float = 0.0) -> list[Edge]:
    """As an analyser sees it that looks `rate_hz` times a second; phase: 0 to 1 of a sample."""
    period_us = 1e6 / rate_hz
    seen: list[Edge] = []
    for time_us, level in edges:
        at_us = math.ceil(time_us / period_us + phase) * period_us if time_us else 0.0
        if seen and seen[-1][0] == at_us:
            seen.pop()
        if not seen or seen[-1][1] != level:
            seen.append((at_us, level))
    return seen


def jittered(edges: list[Edge], most_us: float, rng: random.Random) -> list[Edge]:
    """Each edge up to `most_us` early or late."""
    return edges[:1] + [(t + rng.uniform(-most_us, most_us), level) for t, level in edges[1:]]


def with_glitches(
    edges: list[Edge], share: float, longest_us: float, rng: random.Random
) -> list[Edge]:
    """A short pulse of the other level in `share` of the pulses; the next two stay clean."""
    glitched: list[Edge] = []
    clean = 0
    for (time_us, level), (next_us, _) in zip(edges, [*edges[1:], (math.inf, 0)], strict=True):
        glitched.append((time_us, level))
        room_us = min(next_us - time_us, 1000.0)
        clean -= 1
        if time_us and room_us > longest_us + 2 and clean < 0 and rng.random() < share:
            clean = 2
            width_us = rng.uniform(0.1, longest_us)
            begins_us = time_us + rng.uniform(0.5, room_us - width_us - 0.5)
            glitched += [(begins_us, 1 - level), (begins_us + width_us, level)]
    return glitched


def without(edges: list[Edge], lost: set[int]) -> list[Edge]:
    """The same events, some of them missed."""
    return [edge for at, edge in enumerate(edges) if at not in lost]
