"""One sensor: what came of it over MQTT, how old its value is, and the state that follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from broker.contract import NodeState, Reading, SensorHealth, SensorState
from gateway.derived import dew_point_c, feels_like_c
from gateway.reasons import reasons
from gateway.views import DEFAULT_INTERVAL_S, LATE_AFTER_INTERVALS, NodeView, SensorView, ViewState

# Clocks set by NTP differ by less; a retained reading from further in the future has a wrong date.
CLOCK_SKEW_S = 2.0
# A date that differs so much from the arrival, in so many live readings in a row, is by a wrong
# clock: one alone may have waited for a broker.
CLOCK_OFF_S, CLOCK_OFF_READINGS = 60.0, 3
_TROUBLE = {SensorState.RETRYING: ViewState.RETRYING, SensorState.BROKEN: ViewState.BROKEN}

Key = tuple[str, str]


@dataclass(slots=True, eq=False)
class Node:
    """A node and its sensors by name; `since`: when its state began, if we saw it begin.

    `version` and `instance` are of its edge, as it said last.
    """

    state: NodeState | None = None
    since: datetime | None = None
    version: str = ""
    instance: str = ""
    sensors: dict[str, Sensor] = field(default_factory=dict)

    def view(self, name: str) -> NodeView:
        return NodeView(
            node=name,
            state=self.state,
            since=self.since,
            version=self.version,
            instance=self.instance,
            sensors={sensor: self.sensors[sensor].state for sensor in sorted(self.sensors)},
        )


@dataclass(slots=True, eq=False)
class Sensor:
    """`key` is node and name; `version` and `fragment` (its JSON, once made) are the board's."""

    node: Node
    key: Key
    reading: Reading | None = None
    health: SensorHealth | None = None
    received_at: datetime | None = None
    age_from: datetime | None = None
    fresh_from_s: float | None = None  # age_from on the monotonic clock
    clock_shared: bool = False  # is the reading dated by the monotonic clock that is ours, too?
    # how far behind ours the node's clock is, which it calls right; and of how many live readings
    behind_s: float = 0.0
    behind_readings: int = 0
    state: ViewState = ViewState.LATE
    since: datetime | None = None
    version: int = 0
    fragment: bytes | None = None

    @property
    def late_after_s(self) -> float:
        interval_s = self.health.interval_s if self.health is not None else DEFAULT_INTERVAL_S
        return LATE_AFTER_INTERVALS * interval_s

    @property
    def late_at_s(self) -> float:
        """When the value is three intervals old, on the monotonic clock; in the past if unknown."""
        return -math.inf if self.fresh_from_s is None else self.fresh_from_s + self.late_after_s

    def is_fresh(self, now_s: float) -> bool:
        """Is the value younger than three intervals?"""
        return now_s <= self.late_at_s

    def is_older(self, reading: Reading, *, retained: bool) -> bool:
        """Is `reading` from before the one we hold? A broker that was restored brings such."""
        held = self.reading
        if held is None or held.stream != reading.stream or held.seq <= reading.seq:
            return False
        # A node whose card was restored numbers again from an earlier one: its dates still rise.
        return retained or reading.measured_at <= held.measured_at

    def take_reading(
        self,
        reading: Reading,
        *,
        retained: bool,
        now_s: float,
        now: datetime,
        monotonic_clock: str,
    ) -> bool:
        """Hold `reading`. False if we held the very same.

        What comes live is as old as its arrival, unless a right clock says that it was late by
        then: an edge announces its newest again to a broker that lost its memory. What was
        retained, or is held already, is no younger for having come just now: its date tells its
        age, if the clock was right; or the monotonic clock, if it is ours (now_s is read from
        `monotonic_clock`); and otherwise nobody knows.
        """
        held = self.reading
        again = held is not None and held.seq == reading.seq and held.stream == reading.stream
        if again and held == reading:
            return False
        if not retained and not again:
            self._compare_clocks(reading, now)
        measured = reading.measured_monotonic
        self.clock_shared = measured is not None and measured.clock == monotonic_clock
        if measured is not None and self.clock_shared:
            age_s = now_s - measured.ms / 1000
        else:
            age_s = (now - reading.measured_at).total_seconds()
        known = (reading.clock_synchronised or self.clock_shared) and age_s >= -CLOCK_SKEW_S
        if not retained and not again and not (known and age_s > self.late_after_s):
            self.received_at = self.age_from = now
            self.fresh_from_s = now_s
        elif not again or self.fresh_from_s is None:
            self.received_at = None
            # the date itself: a difference of seconds may round it to before the year 1
            at = reading.measured_at
            if known and self.clock_shared:
                at = now - timedelta(seconds=age_s)
            self.age_from = at if known else None
            self.fresh_from_s = now_s - max(0.0, age_s) if known else None
        self.reading = reading
        return True

    @property
    def clock_off_s(self) -> float | None:
        """By how many seconds the node's clock is behind ours; None: they agree, as far as known."""
        return self.behind_s if self.behind_readings >= CLOCK_OFF_READINGS else None

    def _compare_clocks(self, reading: Reading, now: datetime) -> None:
        self.behind_s = (now - reading.measured_at).total_seconds()
        off = reading.clock_synchronised and abs(self.behind_s) > CLOCK_OFF_S
        self.behind_readings = self.behind_readings + 1 if off else 0

    def take_health(self, health: SensorHealth) -> bool:
        """Hold `health`. False if nothing of it that is shown has changed: counters are not."""
        before, self.health = self.health, health
        return before is None or _shown(before) != _shown(health)

    def judge(self, now_s: float) -> bool:
        """Find the state. True if it changed."""
        state, since = self._state(now_s)
        if state is self.state and (state is ViewState.LIVE or since == self.since):
            return False
        self.state, self.since = state, since
        return True

    def _state(self, now_s: float) -> tuple[ViewState, datetime | None]:
        if self.node.state is NodeState.OFFLINE:
            return ViewState.OFFLINE, self.node.since
        if self.health is not None and self.health.state is not SensorState.OK:
            return _TROUBLE[self.health.state], self.health.since
        if self.is_fresh(now_s):
            return ViewState.LIVE, self.age_from
        if self.age_from is None:
            return ViewState.LATE, None
        return ViewState.LATE, self.age_from + timedelta(seconds=self.late_after_s)

    def view(self) -> SensorView:
        reading, health = self.reading, self.health
        troubled = self.state in (ViewState.RETRYING, ViewState.BROKEN)
        reason = _reason(health, troubled=troubled)
        return SensorView(
            node=self.key[0],
            sensor=self.key[1],
            state=self.state,
            since=self.since,
            reason=reason,
            reasons=reasons(reason),
            temperature_c=reading.temperature_c if reading else None,
            humidity_pct=reading.humidity_pct if reading else None,
            dew_point_c=_derived(dew_point_c, reading),
            feels_like_c=_derived(feels_like_c, reading),
            measured_at=reading.measured_at if reading else None,
            clock_synchronised=reading.clock_synchronised if reading else None,
            received_at=self.received_at,
            age_from=self.age_from,
            source=reading.source if reading else None,
            stream=reading.stream if reading else None,
            seq=reading.seq if reading else None,
            interval_s=health.interval_s if health else None,
            driver=health.driver if health else None,
            model=health.model if health else None,
            version=self.version,
        )

    def json(self) -> bytes:
        if self.fragment is None:
            self.fragment = self.view().to_json()
        return self.fragment


def _shown(health: SensorHealth) -> tuple[object, ...]:
    return (
        health.state,
        health.since,
        health.reason,
        health.journal,
        health.interval_s,
        health.driver,
        health.model,
    )


def _derived(of: Callable[[float, float], float | None], reading: Reading | None) -> float | None:
    """To a tenth, as the sensors measure; here and not in a script, so that all say the same."""
    if reading is None:
        return None
    value = of(reading.temperature_c, reading.humidity_pct)
    return None if value is None else round(value, 1) + 0.0  # never -0.0


def _reason(health: SensorHealth | None, *, troubled: bool) -> str:
    """What a person should know: why there is no value, else what is wrong with the journal."""
    if health is None:
        return ""
    return (health.reason if troubled else "") or health.journal
