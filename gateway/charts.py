"""The history as SVG: a chart of a range of time, and a small trend for a card.

What the chart needs to become interactive goes along in `data-chart`, for static/chart.js. Texts
do not shrink with the screen: positions across are percentages, and only the curves are stretched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

from gateway.history.moments import LATEST_MS, exactly, moment
from gateway.history.views import Extremes, HistoryView, Point

TITLE_PX = 34  # above each panel, for its title
AXIS_PX = 26  # below them
GUTTER_PX = 8  # between a panel and the numbers beside it
MIN_SPAN = 2.0  # a panel shows at least so much, so that a sensor's noise looks as small as it is
VALUE_STEPS = 4
WIDE_TICKS, NARROW_TICKS = 13, 4.5
MINUTE_S, HOUR_S, DAY_S, MONTH_S = 60, 3600, 86_400, 30 * 86_400
YEAR_S = 12 * MONTH_S
_CLOCK_STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(MINUTE_S * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR_S * n for n in (1, 2, 3, 6, 12)),
)
_DAY_STEPS_S = (DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S)
_MONTHS = (1, 3, 6, *(12 * n * ten for ten in (1, 10, 100, 1000) for n in (1, 2, 5)))
_MONDAY_S = 4 * DAY_S  # 1970-01-05, where weeks are counted from
_NBSP = "\u00a0"

Place = tuple[int, int]  # in tenths of a pixel


def plain_number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def plain_time(at: datetime, step_s: int) -> str:
    """Of a tick: what changes from one to the next, and the next larger unit where that begins."""
    if step_s < DAY_S and (at.hour, at.minute, at.second) != (0, 0, 0):
        return f"{at:%H:%M:%S}" if step_s < MINUTE_S else f"{at:%H:%M}"
    if step_s < MONTH_S:
        return f"{at.day} {at:%b}"
    return f"{at:%b}" if step_s < YEAR_S and at.month > 1 else f"{at.year}"


def plain_moment(at: datetime) -> str:
    return f"{at.day} {at:%B} {at.year} {at:%H:%M}"


def same(value_c: float) -> float:
    return value_c


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How a chart speaks. As it is: English and °C. Words in braces are filled in."""

    number: Callable[[float, int], str] = plain_number  # value, digits after the point
    time: Callable[[datetime, int], str] = plain_time  # a tick, and the seconds between two
    moment: Callable[[datetime], str] = plain_moment  # a whole one, in a sentence
    temperature: Callable[[float], float] = same  # from °C into the unit
    temperature_unit: str = "°C"
    humidity_unit: str = "%"
    temperature_title: str = "Temperature"
    humidity_title: str = "Humidity"
    title: str = "Temperature and humidity from {begin} to {end}, UTC"
    extremes: str = "{quantity}: lowest {min}, mean {mean}, highest {max}."
    trend: str = "{quantity}: {min} to {max}, last {last}."
    no_data: str = "No readings in this time"
    zone: str = "UTC"  # what the ticks are in, until the script puts the reader's
    readings: str = "{n} readings"  # ... and what the script says beside a point's values
    reading: str = "1 reading"
    hint: str = "Arrow keys: point by point. + and −: closer and wider. Escape: end."


class Scale(NamedTuple):
    """A panel's values from bottom to top, with round ticks."""

    low: float
    high: float
    ticks: list[float]
    digits: int

    def place(self, value: float, height: float) -> int:
        return round((self.high - value) / (self.high - self.low) * height * 10)


class Ticks(NamedTuple):
    """Along the time. `narrow_s`: between two that a narrow screen has room for."""

    step_s: int
    narrow_s: int
    at_s: list[int]  # one more at either end, for zones where ticks are elsewhere
    narrow: frozenset[int]


class Panel(NamedTuple):
    """Where one is, in pixels from the chart's top, and the values at its ends."""

    top: int
    height: int
    low: float
    high: float


class Quantity(NamedTuple):
    """One of the two, in the unit that is shown; None where there is a gap."""

    name: str
    title: str
    unit: str
    values: list[Extremes | None]


# ---- scales


def scale(low: float, high: float) -> Scale:
    """Round numbers around the values: 1, 2 or 5 of something apart."""
    middle = low + (high - low) / 2
    span = max(high - low, MIN_SPAN, 1e-9 * max(abs(low), abs(high)))
    low, high = min(low, middle - span / 2), max(high, middle + span / 2)
    exponent = math.floor(math.log10(span / VALUE_STEPS))
    factor = next(
        factor for factor in (1, 2, 5, 10, 20) if factor * 10.0**exponent * VALUE_STEPS >= span
    )
    step = factor * 10.0**exponent
    digits = max(0, -exponent - (factor >= 10))
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    ticks = [round(number * step, digits) + 0.0 for number in range(first, last + 1)]
    return Scale(min(low, ticks[0]), max(high, ticks[-1]), ticks, digits)


def ticks(from_ms: int, to_ms: int) -> Ticks:
    """Round moments of UTC, as many as a wide screen has room for."""
    span_s = (to_ms - from_ms) / 1000
    for step_s in (*_CLOCK_STEPS_S, *_DAY_STEPS_S):
        if span_s / step_s <= WIDE_TICKS:
            origin_s = _MONDAY_S if step_s > 2 * DAY_S else 0
            first = (from_ms // 1000 - origin_s) // step_s
            last = -((origin_s - -(-to_ms // 1000)) // step_s)
            latest = (LATEST_MS // 1000 - origin_s) // step_s  # dates go no further on
            numbers = range(first, min(last, latest) + 1)
            at_s = {number: origin_s + number * step_s for number in numbers}
            break
    else:
        months = next(n for n in _MONTHS if span_s / (n * MONTH_S) <= WIDE_TICKS)
        step_s = months * MONTH_S
        first, last = (_month(ms) // months for ms in (from_ms, to_ms))
        at_s = {
            number: _month_s(number * months)
            for number in range(first, last + 2)
            if 12 <= number * months < 12 * 10_000
        }
    share = next(
        n
        for n in range(1, 7)
        if span_s / (n * step_s) <= NARROW_TICKS
        and (step_s * n in _CLOCK_STEPS_S or step_s * n % DAY_S == 0)
    )
    narrow = frozenset(at for number, at in at_s.items() if number % share == 0)
    return Ticks(step_s, step_s * share, list(at_s.values()), narrow)


def _month(ms: int) -> int:
    at = moment(ms)
    return at.year * 12 + at.month - 1


def _month_s(month: int) -> int:
    return exactly(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)) // 1000


# ---- paths


def _path(places: Sequence[Place]) -> str:
    """From one to the next; relative, which is shorter."""
    (x, y), *_ = places
    parts = [f"M{x} {y}l"]
    for next_x, next_y in places[1:]:
        dx, dy = next_x - x, next_y - y
        parts.append(f"{'' if dx < 0 or len(parts) == 1 else ' '}{dx}{'' if dy < 0 else ' '}{dy}")
        x, y = next_x, next_y
    return "".join(parts)


def _runs(count: int, is_gap: Callable[[int], bool]) -> Iterator[range]:
    """The stretches between gaps, as indices."""
    start = 0
    for index in range(count + 1):
        if index == count or is_gap(index):
            if index > start:
                yield range(start, index)
            start = index + 1


def _line(runs: Sequence[Sequence[Place]]) -> Markup:
    """Lines, and dots for what has no neighbour; a dot is a line without length."""
    lines = "".join(_path(run) for run in runs if len(run) > 1)
    dots = "".join(f"M{run[0][0]} {run[0][1]}h0" for run in runs if len(run) == 1)
    markup = Markup("")
    if lines:
        markup += Markup('<path class="mean" d="{}"/>').format(lines)
    if dots:
        markup += Markup('<path class="dots" d="{}"/>').format(dots)
    return markup


# ---- the chart


def chart(view: HistoryView, *, labels: Labels, width: int = 960, height: int = 420) -> Markup:
    """A `<figure class="chart">` for static/chart.css and static/chart.js.

    width: how fine the curves are across; on the screen the chart is as wide as its place.
    """
    from_ms = exactly(view.from_)
    to_ms = max(exactly(view.to), from_ms + 1)
    bucket_ms = round(view.bucket_s * 1000)
    across = _Across(from_ms, to_ms, bucket_ms, width)
    panel_px = (height - 2 * TITLE_PX - AXIS_PX) // 2
    quantities = _quantities(view.points, labels)
    axis = ticks(from_ms, to_ms)
    present = [point for point in view.points if point is not None]
    body = Markup("")
    panels: list[Panel] = []
    for index, quantity in enumerate(quantities):
        top = TITLE_PX + index * (TITLE_PX + panel_px)
        values = [value for value in quantity.values if value is not None]
        ends = (min(v.min for v in values), max(v.max for v in values)) if values else None
        at = scale(*ends) if ends else Scale(0, 1, [], 0)
        body += _grid(at, top, panel_px, quantity, labels)
        panels.append(Panel(top, panel_px, at.low, at.high))
    body = _time_axis(axis, from_ms, to_ms, panels, labels) + body
    for quantity, (top, _, low, high) in zip(quantities, panels, strict=True):
        curves = _curves(view.points, quantity, Scale(low, high, [], 0), across, panel_px)
        body += Markup(
            '<svg class="plot {}" y="{}" width="100%" height="{}" viewBox="0 0 {} {}"'
            ' preserveAspectRatio="none"><g>{}</g></svg>'
        ).format(quantity.name, top, panel_px, width * 10, panel_px * 10, curves)
    if not present:
        y = TITLE_PX + panel_px // 2
        body += Markup('<text class="none" x="50%" y="{}">{}</text>').format(y, labels.no_data)
    return Markup(
        '<figure class="chart" data-chart="{}"><svg role="img" width="100%" height="{}">'
        "<title>{}</title><desc>{}</desc>{}</svg></figure>"
    ).format(
        _data(view, quantities, axis, panels, labels),
        height,
        labels.title.format(begin=labels.moment(view.from_), end=labels.moment(view.to)),
        _in_words(present, quantities, labels),
        body,
    )


class _Across(NamedTuple):
    """From moments to places."""

    from_ms: int
    to_ms: int
    bucket_ms: int
    width: int

    def _place(self, ms: float) -> int:
        return round((ms - self.from_ms) / (self.to_ms - self.from_ms) * self.width * 10)

    def ends(self, point: Point) -> tuple[int, int]:
        """Of what the range has of its bucket."""
        start_ms = exactly(point.start)
        begin = min(max(start_ms, self.from_ms), self.to_ms)
        end = max(min(start_ms + self.bucket_ms, self.to_ms), begin)
        return self._place(begin), self._place(end)

    def middle(self, point: Point) -> int:
        begin, end = self.ends(point)
        return (begin + end) // 2


def _quantities(points: Sequence[Point | None], labels: Labels) -> tuple[Quantity, Quantity]:
    def shown(of: Extremes) -> Extremes:
        low, mean, high = (labels.temperature(value) for value in (of.min, of.mean, of.max))
        return Extremes(min=low, mean=mean, max=high)

    return (
        Quantity(
            "temperature",
            labels.temperature_title,
            labels.temperature_unit,
            [None if point is None else shown(point.temperature_c) for point in points],
        ),
        Quantity(
            "humidity",
            labels.humidity_title,
            labels.humidity_unit,
            [None if point is None else point.humidity_pct for point in points],
        ),
    )


def _curves(
    points: Sequence[Point | None], quantity: Quantity, at: Scale, across: _Across, panel_px: int
) -> Markup:
    lines, bands = [], []
    for run in _runs(len(points), lambda index: points[index] is None):
        here = [point for index in run if (point := points[index])]
        values = [value for index in run if (value := quantity.values[index])]
        xs = [across.middle(point) for point in here]
        lines.append(
            [(x, at.place(value.mean, panel_px)) for x, value in zip(xs, values, strict=True)]
        )
        if all(value.min == value.max for value in values):
            continue  # a band without height
        if len(xs) == 1:
            xs = list(across.ends(here[0]))
            values *= 2
        upper = [(x, at.place(v.max, panel_px)) for x, v in zip(xs, values, strict=True)]
        lower = [(x, at.place(v.min, panel_px)) for x, v in zip(xs, values, strict=True)]
        bands.append(_path([*upper, *reversed(lower)]) + "z")
    band = Markup('<path class="band" d="{}"/>').format("".join(bands)) if bands else Markup("")
    return band + _line(lines)


def _grid(at: Scale, top: int, panel_px: int, quantity: Quantity, labels: Labels) -> Markup:
    markup = Markup('<text class="panel {}" x="0" y="{}">{} <tspan>{}</tspan></text>').format(
        quantity.name, top - 12, quantity.title, quantity.unit
    )
    for value in at.ticks:
        y = top + at.place(value, panel_px) / 10
        markup += Markup(
            '<line x2="100%" y1="{0:g}" y2="{0:g}"/>'
            '<text class="value" x="{1}" y="{0:g}" dy=".35em">{2}</text>'
        ).format(y, -GUTTER_PX, labels.number(value, at.digits))
    return markup


def _time_axis(
    axis: Ticks, from_ms: int, to_ms: int, panels: Sequence[Panel], labels: Labels
) -> Markup:
    markup = Markup("")
    bottom = panels[-1].top + panels[-1].height
    for at_s in axis.at_s:
        x = f"{(at_s * 1000 - from_ms) / (to_ms - from_ms) * 100:.2f}%"
        names = "tick" if at_s in axis.narrow else "tick wide"
        outside = Markup("") if from_ms <= at_s * 1000 <= to_ms else Markup(' display="none"')
        lines = Markup("").join(
            Markup('<line x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(x, top, top + tall)
            for top, tall, *_ in panels
        )
        text = labels.time(moment(at_s * 1000), axis.step_s)
        markup += Markup('<g class="{}"{}>{}<text x="{}" y="{}" data-ms="{}">{}</text></g>').format(
            names, outside, lines, x, bottom + 19, at_s * 1000, text
        )
    return markup + Markup('<text class="zone" x="100%" y="{}">{}</text>').format(
        TITLE_PX - 12, labels.zone
    )


def _in_words(present: Sequence[Point], quantities: Sequence[Quantity], labels: Labels) -> str:
    if not present:
        return labels.no_data
    total = sum(point.readings for point in present)
    sentences = []
    for quantity in quantities:
        values = [value for value in quantity.values if value is not None]
        parts = zip(values, present, strict=True)
        mean = sum(value.mean * (point.readings / total) for value, point in parts)
        numbers = {
            "min": min(value.min for value in values),
            "mean": mean,
            "max": max(value.max for value in values),
        }
        sentences.append(_filled(labels.extremes, numbers, quantity.title, quantity.unit, labels))
    return " ".join(sentences)


def _filled(sentence: str, numbers: dict[str, float], title: str, unit: str, labels: Labels) -> str:
    words = {name: f"{labels.number(value, 1)}{_NBSP}{unit}" for name, value in numbers.items()}
    return sentence.format(quantity=title, **words)


def _data(
    view: HistoryView,
    quantities: Sequence[Quantity],
    axis: Ticks,
    panels: Sequence[Panel],
    labels: Labels,
) -> str:
    """For the script: each column begins with a value and goes on by differences.

    Values are in tenths, the lowest and highest as their distance from the mean.
    """
    present = [point for point in view.points if point is not None]
    columns = {}
    for quantity in quantities:
        values = [value for value in quantity.values if value is not None]
        means = [round(value.mean * 10) for value in values]
        columns[quantity.name] = [
            _differences(means),
            [mean - round(value.min * 10) for mean, value in zip(means, values, strict=True)],
            [round(value.max * 10) - mean for mean, value in zip(means, values, strict=True)],
        ]
    data = {
        "from": exactly(view.from_),
        "to": exactly(view.to),
        "bucket": round(view.bucket_s * 1000),
        "steps": [axis.step_s, axis.narrow_s],
        "at": _differences([exactly(point.start) for point in present]),
        "readings": [point.readings for point in present],
        **columns,
        "panels": panels,
        "units": [labels.temperature_unit, labels.humidity_unit],
        "titles": [labels.temperature_title, labels.humidity_title],
        "texts": {"readings": labels.readings, "reading": labels.reading, "hint": labels.hint},
    }
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _differences(values: Sequence[int]) -> list[int]:
    return [value - before for before, value in zip([0, *values], values, strict=False)]


# ---- the trend


def sparkline(
    values: Sequence[tuple[float, float] | None],
    *,
    labels: Labels,
    width: int = 240,
    height: int = 48,
) -> Markup:
    """Temperature above, humidity below, evenly spaced in time; None: a gap.

    In °C and %, as `history.trends` gives them. Stretched to its place, as the chart is.
    """
    present = [value for value in values if value is not None]
    sentences, body = [], Markup("")
    quantities = (
        ("temperature", labels.temperature_title, labels.temperature_unit, labels.temperature),
        ("humidity", labels.humidity_title, labels.humidity_unit, same),
    )
    half = height / 2
    step = width * 10 / max(1, len(values) - 1)
    for index, (name, title, unit, converted) in enumerate(quantities):
        if not present:
            break
        shown = [value and converted(value[index]) for value in values]
        there = [value for value in shown if value is not None]
        numbers = {"min": min(there), "max": max(there), "last": there[-1]}
        sentences.append(_filled(labels.trend, numbers, title, unit, labels))
        at = _loose(min(there), max(there))
        top = round((half * index + 3) * 10)
        runs = [
            [(round(place * step), top + at.place(value, half - 6)) for place in run
             if (value := shown[place]) is not None]
            for run in _runs(len(values), lambda place: values[place] is None)
        ]  # fmt: skip
        body += Markup('<g class="{}">{}</g>').format(name, _line(runs))
    return Markup(
        '<svg class="sparkline" role="img" viewBox="0 0 {} {}" preserveAspectRatio="none">'
        "<title>{}</title>{}</svg>"
    ).format(width * 10, height * 10, " ".join(sentences) or labels.no_data, body)


def _loose(low: float, high: float) -> Scale:
    """From the lowest to the highest, without ticks; nearly constant ones are in the middle."""
    middle, span = low + (high - low) / 2, max(high - low, MIN_SPAN, 1e-9 * abs(low))
    return Scale(middle - span / 2, middle + span / 2, [], 0)
