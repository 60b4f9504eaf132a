"""The chart and the small trends, as the server draws them."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.charts import (
    NARROW_TICKS,
    VALUE_STEPS,
    WIDE_TICKS,
    Labels,
    chart,
    plain_number,
    scale,
    sparkline,
    ticks,
)
from gateway.history.moments import exactly
from gateway.history.views import Extremes, HistoryView, Point

BEGIN = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)
Three = tuple[float, float, float]  # lowest, mean, highest
LABELS = Labels()
repeatable = settings(derandomize=True, deadline=None, max_examples=200)


def extremes(value: float | Three) -> Extremes:
    low, mean, high = value if isinstance(value, tuple) else (value, value, value)
    return Extremes(min=low, mean=mean, max=high)


def view(
    values: Sequence[float | Three | None],
    *,
    begin: datetime = BEGIN,
    bucket_s: float = 60,
    span_s: float | None = None,
    humidity: float = 50,
    readings: int = 12,
) -> HistoryView:
    """None: a bucket without a reading, which is a gap."""
    points: list[Point | None] = []
    for index, value in enumerate(values):
        if value is not None:
            points.append(
                Point(
                    start=begin + timedelta(seconds=index * bucket_s),
                    readings=readings,
                    temperature_c=extremes(value),
                    humidity_pct=extremes(humidity),
                )
            )
        elif points and points[-1] is not None:
            points.append(None)
    span_s = bucket_s * len(values) if span_s is None else span_s
    return HistoryView(
        node="pi-1",
        sensor="dht11",
        from_=begin,
        to=begin + timedelta(seconds=span_s),
        bucket_s=bucket_s,
        source="minute",
        points=points,
    )


def drawn(of: HistoryView, labels: Labels = LABELS) -> ET.Element:
    """Well-formed, as far as an XML parser goes."""
    return ET.fromstring(chart(of, labels=labels))  # noqa: S314 - our own


def paths(figure: ET.Element, quantity: str = "temperature") -> dict[str, str]:
    plot = figure.find(f".//svg[@class='plot {quantity}']")
    assert plot is not None
    return {path.get("class", ""): path.get("d", "") for path in plot.iter("path")}


def texts(figure: ET.Element, name: str) -> list[str]:
    found = figure.iter("text")
    return ["".join(text.itertext()) for text in found if text.get("class") == name]


def shown_ticks(figure: ET.Element) -> list[ET.Element]:
    groups = figure.iter("g")
    return [g for g in groups if g.get("class", "").startswith("tick") and not g.get("display")]


def data(figure: ET.Element) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(figure.get("data-chart", ""))
    return content


def corners(path: str) -> list[list[tuple[int, int]]]:
    """The places of each of a path's lines."""
    lines = []
    for line in re.findall(r"M[^M]+", path):
        begin, _, rest = line.strip("Mz").partition("h" if "h" in line else "l")
        x, y = map(int, begin.split())
        places = [(x, y)]
        numbers = [] if "h" in line else [int(number) for number in re.findall(r"-?\d+", rest)]
        for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + dx, y + dy
            places.append((x, y))
        lines.append(places)
    return lines


# ---- curves


def test_a_line_goes_through_the_means_and_a_band_around_them() -> None:
    figure = drawn(view([(19, 20, 21), (20, 21, 23), (19, 20, 22)]))
    (line,) = corners(paths(figure)["mean"])
    assert [x for x, _ in line] == [1600, 4800, 8000]  # in the middle of each third
    assert line[0][1] == line[2][1] > line[1][1]
    (band,) = corners(paths(figure)["band"])
    assert [x for x, _ in band] == [1600, 4800, 8000, 8000, 4800, 1600]
    assert band[0][1] < line[0][1] < band[-1][1]
    assert band[1][1] < line[1][1] < band[-2][1]
    assert paths(figure)["band"].endswith("z")


def test_a_band_without_height_is_left_out() -> None:
    assert set(paths(drawn(view([20, 21, 20])))) == {"mean"}


def test_a_gap_is_a_gap_and_a_point_between_two_is_a_dot() -> None:
    figure = drawn(view([20, 21, None, 22, None, None, (22, 23, 24), 24]))
    mean = corners(paths(figure)["mean"])
    assert [len(line) for line in mean] == [2, 2]
    assert mean[0][-1][0] == 1800
    assert mean[1][0][0] == 7800
    assert [line[0][0] for line in corners(paths(figure)["dots"])] == [4200]


def test_the_band_of_one_point_is_as_wide_as_its_bucket() -> None:
    figure = drawn(view([None, (19, 20, 21), None, None]))
    (band,) = corners(paths(figure)["band"])
    assert [x for x, _ in band] == [2400, 4800, 4800, 2400]


def test_a_bucket_that_begins_before_the_range_is_drawn_within_it() -> None:
    late = view([20, 21]).model_copy(update={"from_": BEGIN + timedelta(seconds=40)})
    (line,) = corners(paths(drawn(late))["mean"])
    assert line[0][0] == 1200  # of 80 s the first 20 are its, and 10 their middle
    assert line[1][0] == 6000


def test_no_points_are_said_and_the_time_is_there() -> None:
    figure = drawn(view([None] * 60))
    assert texts(figure, "none") == [LABELS.no_data]
    assert figure.findtext(".//desc") == LABELS.no_data
    assert not any(paths(figure).values())
    assert len(shown_ticks(figure)) > 4


@pytest.mark.parametrize("value", [0.0, 21.3, -40.0])
def test_a_constant_value_is_in_the_middle_of_its_panel(value: float) -> None:
    figure = drawn(view([value] * 5))
    (line,) = corners(paths(figure)["mean"])
    (_, height, low, high) = data(figure)["panels"][0]
    assert len({y for _, y in line}) == 1
    assert line[0][1] / 10 == pytest.approx((high - value) / (high - low) * height, abs=0.05)
    assert 0.25 < line[0][1] / 10 / height < 0.75
    assert high - low >= 2


def test_negative_numbers_have_a_minus_of_their_own() -> None:
    values = texts(drawn(view([-12, -3, 4])), "value")
    assert "−10" in values
    assert "5" in values
    assert not any("-" in value for value in values)


def test_temperatures_are_in_the_unit_that_is_asked_for() -> None:
    labels = Labels(temperature=lambda value: value * 1.8 + 32, temperature_unit="°F")
    figure = drawn(view([(0, 10, 20), (0, 20, 100)]), labels)
    assert data(figure)["temperature"] == [[500, 180], [180, 360], [180, 1440]]
    assert data(figure)["units"] == ["°F", "%"]
    description = figure.findtext(".//desc") or ""
    assert "lowest 32.0\u00a0°F, mean 59.0\u00a0°F, highest 212.0\u00a0°F" in description
    assert "Humidity: lowest 50.0\u00a0%" in description


def test_the_mean_in_words_weighs_each_bucket_by_its_readings() -> None:
    one = view([20, 30])
    first, second = one.points
    assert first is not None
    weighed = one.model_copy(update={"points": [first.model_copy(update={"readings": 36}), second]})
    assert "mean 22.5" in (drawn(weighed).findtext(".//desc") or "")


def test_texts_can_carry_nothing_into_the_page() -> None:
    evil = "</text><script>&\"'"
    labels = Labels(
        temperature_title=evil,
        humidity_title=evil,
        temperature_unit=evil,
        no_data=evil,
        zone=evil,
        time=lambda *_: evil,
        number=lambda *_: evil,
        moment=lambda *_: evil,
        extremes="{quantity}{min}",
    )
    for of in (view([20, 21]), view([])):
        figure = drawn(of, labels)
        assert not list(figure.iter("script"))
        assert texts(figure, "zone") == [evil]
    assert "<script" not in sparkline([(20, 50)], labels=labels)


def test_nothing_is_styled_in_the_markup() -> None:
    """Our Content-Security-Policy would refuse it."""
    for markup in (chart(view([20, (20, 21, 22)]), labels=LABELS), sparkline([], labels=LABELS)):
        assert not re.search(r"style|on\w+=|javascript:|fill=|stroke=|#[0-9a-f]{3}", markup)


def test_500_points_are_less_than_25_kilobytes() -> None:
    wave = [20 + 5 * math.sin(index / 7) + index * 7919 % 13 / 10 for index in range(500)]
    values = [
        (round(value - index % 7 / 10, 1), round(value, 3), round(value + index % 11 / 10, 1))
        for index, value in enumerate(wave)
    ]
    markup = chart(view(values, bucket_s=172.8), labels=LABELS)
    assert 2_000 < len(gzip.compress(markup.encode())) < 25_000
    assert len(markup) < 60_000


# ---- what the script gets


def test_the_script_gets_what_is_drawn() -> None:
    figure = drawn(view([(19.95, 20.04, 21), None, (20, 21.26, 23)], bucket_s=7.2))
    begin = exactly(BEGIN)
    content = data(figure)
    assert (content["from"], content["to"], content["bucket"]) == (begin, begin + 21_600, 7200)
    assert content["at"] == [begin, 14_400]
    assert content["readings"] == [12, 12]
    mean, below, above = content["temperature"]
    assert mean == [200, 13]
    assert (below, above) == ([0, 13], [10, 17])
    assert content["steps"] == [2, 10]


# ---- the value axis


@repeatable
@given(st.floats(-1e15, 1e15), st.floats(-1e15, 1e15))
def test_values_have_round_ticks_around_them(one: float, other: float) -> None:
    low, high = sorted((one, other))
    made = scale(low, high)
    assert made.low <= low <= high <= made.high
    assert 2 <= len(made.ticks) <= VALUE_STEPS + 3
    assert made.ticks == sorted(set(made.ticks))
    steps = [b - a for a, b in pairwise(made.ticks)]
    step = min(steps)
    assert max(steps) == pytest.approx(step, rel=1e-3)
    mantissa = float(f"{step:.0e}"[0])
    assert mantissa in {1, 2, 5}
    said = [plain_number(tick, made.digits) for tick in made.ticks]
    assert len(set(said)) == len(said)  # none is rounded into another
    for value in (low, high):
        assert 0 <= made.place(value, 100) <= 1000


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (20, 20, ["19.0", "19.5", "20.0", "20.5", "21.0"]),
        (15.2, 24.9, ["15", "20", "25"]),
        (-0.4, 0.4, ["−1.0", "−0.5", "0.0", "0.5", "1.0"]),
        (38, 100, ["20", "40", "60", "80", "100"]),
        (96.5, 100, ["96", "97", "98", "99", "100"]),
    ],
)
def test_ticks_are_what_a_person_would_choose(low: float, high: float, said: list[str]) -> None:
    made = scale(low, high)
    assert [plain_number(tick, made.digits) for tick in made.ticks] == said


# ---- the time axis


@pytest.mark.parametrize(
    ("hours", "first", "narrow"),
    [
        (1, ["08:20", "08:25", "08:30"], ["08:30", "08:45", "09:00", "09:15"]),
        (24, ["10:00", "12:00", "14:00"], ["12:00", "18:00", "4 May", "06:00"]),
        (24 * 7, ["4 May", "5 May", "6 May"], ["5 May", "7 May", "9 May"]),
        (24 * 30, ["4 May", "11 May", "18 May"], ["4 May", "11 May", "18 May", "25 May", "1 Jun"]),
        (24 * 365, ["Jun", "Jul", "Aug", "Sep"], ["Jul", "Oct", "2027", "Apr"]),
        (24 * 365 * 10, ["2027", "2028", "2029"], ["2028", "2031", "2034"]),
        (1 / 60, ["08:17:15", "08:17:20"], ["08:17:15", "08:17:30", "08:17:45", "08:18:00"]),
    ],
)
def test_times_are_round_and_fewer_on_a_narrow_screen(
    hours: float, first: list[str], narrow: list[str]
) -> None:
    begin = BEGIN.replace(minute=17, second=13)
    groups = shown_ticks(drawn(view([], begin=begin, span_s=hours * 3600)))
    said = ["".join(group.itertext()) for group in groups]
    assert said[: len(first)] == first
    assert [
        text for text, group in zip(said, groups, strict=True) if group.get("class") == "tick"
    ] == narrow


LATEST_MS = exactly(datetime(9999, 12, 1, tzinfo=UTC))


@repeatable
@given(st.integers(0, LATEST_MS), st.integers(1, LATEST_MS))
def test_every_range_has_times_that_fit(begin_ms: int, span_ms: int) -> None:
    end_ms = min(begin_ms + span_ms, LATEST_MS + 1)
    made = ticks(begin_ms, end_ms)
    inside = [at_s for at_s in made.at_s if begin_ms <= at_s * 1000 <= end_ms]
    assert len(inside) <= WIDE_TICKS + 2
    assert len([at_s for at_s in inside if at_s in made.narrow]) <= NARROW_TICKS + 1.5
    assert made.at_s == sorted(set(made.at_s))
    assert made.narrow_s % made.step_s == 0
    # one beyond either end, for the zones of others; but for the end of the calendar
    assert made.at_s[0] * 1000 <= begin_ms
    assert made.at_s[-1] * 1000 >= end_ms or made.at_s[-1] > LATEST_MS / 1000 - 2 * made.step_s


def test_times_say_that_they_are_utc_and_which_moment_they_are() -> None:
    figure = drawn(view([20] * 60))
    assert texts(figure, "zone") == ["UTC"]
    for group in shown_ticks(figure):
        text = group.find("text")
        assert text is not None
        at = datetime.fromtimestamp(int(text.get("data-ms", "")) / 1000, UTC)
        assert text.text == f"{at:%H:%M}"
        share = (at - BEGIN) / timedelta(hours=1)
        assert text.get("x") == f"{share * 100:.2f}%"


# ---- whatever comes

numbers = st.floats(-1e12, 1e12)
triples = st.tuples(numbers, numbers, numbers).map(lambda values: tuple(sorted(values)))


@repeatable
@given(
    st.lists(st.none() | triples, max_size=40),
    st.sampled_from([0.001, 1, 7.2, 60, 3600, 86_400 * 30]),
)
def test_whatever_comes_is_drawn_inside(values: list[Three | None], bucket_s: float) -> None:
    of = view(values, bucket_s=bucket_s)
    markup = chart(of, labels=LABELS)
    figure = ET.fromstring(markup)  # noqa: S314
    assert not re.search(r"\b(nan|inf)\b", markup, re.IGNORECASE)
    height = data(figure)["panels"][0][1] * 10
    drawn_points = 0
    for name, path in paths(figure).items():
        for line in corners(path):
            assert all(0 <= x <= 9600 and 0 <= y <= height for x, y in line)
            drawn_points += 0 if name == "band" else len(line)
    assert drawn_points == len([value for value in values if value is not None])


# ---- trends


def test_a_trend_has_two_lines_gaps_and_words() -> None:
    markup = sparkline([(20, 50), (21, 40), None, (22.25, 45), None], labels=LABELS)
    svg = ET.fromstring(markup)  # noqa: S314
    assert svg.findtext("title") == (
        "Temperature: 20.0\u00a0°C to 22.2\u00a0°C, last 22.2\u00a0°C."
        " Humidity: 40.0\u00a0% to 50.0\u00a0%, last 45.0\u00a0%."
    )
    groups = {
        group.get("class"): [corners(path.get("d", "")) for path in group]
        for group in svg.iter("g")
    }
    assert list(groups) == ["temperature", "humidity"]
    for lines, dots in groups.values():
        assert [x for x, _ in lines[0]] == [0, 600]
        assert [x for x, _ in dots[0]] == [1800]
    temperature, humidity = (lines[0] for lines, _ in groups.values())
    assert temperature[0][1] > temperature[1][1]
    assert humidity[0][1] < humidity[1][1]
    assert max(y for _, y in temperature) < 240 < min(y for _, y in humidity)


@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_a_trend_of_nothing_says_so(values: list[None]) -> None:
    svg = ET.fromstring(sparkline(values, labels=LABELS))  # noqa: S314
    assert svg.findtext("title") == LABELS.no_data
    assert not list(svg.iter("path"))


@repeatable
@given(st.lists(st.none() | st.tuples(numbers, numbers), min_size=1, max_size=50))
def test_a_trend_stays_in_its_place(values: list[tuple[float, float] | None]) -> None:
    svg = ET.fromstring(sparkline(values, labels=LABELS))  # noqa: S314
    lines = [line for path in svg.iter("path") for line in corners(path.get("d", ""))]
    assert all(0 <= x <= 2400 and 0 <= y <= 480 for line in lines for x, y in line)
    assert sum(map(len, lines)) == 2 * len([value for value in values if value is not None])
