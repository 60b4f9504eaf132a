"""The chart in a real browser, with the headers that the gateway sends: pointers, fingers, keys."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Locator, Page, Route, expect

from gateway.app import HERE
from gateway.charts import Labels, chart
from gateway.headers import SECURITY_HEADERS
from gateway.history.moments import exactly
from gateway.history.views import Extremes, HistoryView, Point
from tests.browser.conftest import Watched
from tests.support import PATIENCE_S

expect.set_options(timeout=PATIENCE_S * 1000)

BEGIN = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)
HOURS = 24
FROM_MS, SPAN_MS = exactly(BEGIN), HOURS * 3_600_000
HTML = """<!doctype html><html lang="es"><meta charset="utf-8"><title>A chart</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/static/chart.css">
<script type="module" src="/boot.js"></script>%s<p>After it</p>"""
BOOT = """import { enhance } from "/static/chart.js";
window.asked = [];
window.figure = document.querySelector(".chart");
window.enhanced = enhance(window.figure, {
  locale: "es",
  onRange: (from, to) => { window.asked.push([from, to]); return window.answer; },
});"""


def view(count: int = 480, gap: range = range(100, 160)) -> HistoryView:
    points: list[Point | None] = []
    width = timedelta(hours=HOURS) / count
    for index in range(count):
        if index in gap:
            if index == gap.start:
                points.append(None)
            continue
        wave = round(20 + 5 * math.sin(index / 60), 1)
        points.append(
            Point(
                start=BEGIN + index * width,
                readings=36,
                temperature_c=Extremes(min=wave - 1, mean=wave, max=wave + 0.5),
                humidity_pct=Extremes(min=50, mean=50, max=50),
            )
        )
    return HistoryView(
        node="pi-1",
        sensor="aula",
        from_=BEGIN,
        to=BEGIN + timedelta(hours=HOURS),
        bucket_s=width.total_seconds(),
        source="minute",
        points=points,
    )


def serve(page: Page, of: HistoryView) -> None:
    """At http://brisa.test/, without a server, as strictly as the gateway would."""

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix("http://brisa.test")
        kind = {".css": "text/css", ".js": "text/javascript"}.get(path[path.rfind(".") :])
        if path == "/":
            body, kind = HTML % chart(of, labels=Labels()), "text/html"
        elif path == "/boot.js":
            body = BOOT
        else:
            body = (HERE / path.removeprefix("/")).read_text()
        route.fulfill(body=body, content_type=kind, headers=SECURITY_HEADERS)

    page.route("http://brisa.test/**", answer)
    page.goto("http://brisa.test/")


class Shown:
    """The chart on a page."""

    def __init__(self, page: Page, of: HistoryView | None = None) -> None:
        self.page = page
        serve(page, of or view())
        self.svg = page.locator(".chart > svg")
        self.readout = page.locator(".chart-readout")
        self.live = page.locator(".chart-live")
        page.wait_for_function("() => window.enhanced")

    def at(self, share: float, down: float = 0.3) -> tuple[float, float]:
        box = self.svg.bounding_box()
        assert box is not None
        return box["x"] + box["width"] * share, box["y"] + box["height"] * down

    def asked(self) -> list[list[int]]:
        return list(self.page.evaluate("() => window.asked"))

    def asked_once(self) -> list[float]:
        """As shares of the time that is shown."""
        self.page.wait_for_function("() => window.asked.length", timeout=PATIENCE_S * 1000)
        ((begin, end),) = self.asked()
        return [(begin - FROM_MS) / SPAN_MS, (end - FROM_MS) / SPAN_MS]

    def transform(self) -> str:
        return self.page.locator(".plot > g").first.get_attribute("transform") or ""

    def cross(self) -> Locator:
        return self.page.locator(".chart .cross")


@pytest.fixture
def shown(watched: Watched) -> Shown:
    return Shown(watched.page)


# ---- what is there


def test_without_javascript_it_is_complete(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    serve(page, view())
    picture = page.get_by_role("img", name=re.compile("from 3 May 2026 08:00 to 4 May 2026 08:00"))
    expect(picture).to_be_visible()
    expect(picture.locator("desc")).to_contain_text("Temperature: lowest")
    expect(page.locator(".zone")).to_have_text("UTC")
    context.close()


@pytest.mark.parametrize("width", [320, 1440])
def test_texts_are_as_large_on_a_small_screen_and_none_lies_on_another(
    watched: Watched, width: int
) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 700})
    Shown(page)
    boxes: list[dict[str, float]] = page.evaluate(
        """() => [...document.querySelectorAll(".chart text")]
            .map(text => text.getBoundingClientRect())
            .filter(box => box.width)
            .map(({left, right, top, bottom}) => ({left, right, top, bottom}))"""
    )
    assert len(boxes) > 12
    for index, one in enumerate(boxes):
        assert 0 <= one["left"] <= one["right"] <= width
        assert one["bottom"] - one["top"] > 12
        for other in boxes[:index]:
            assert (
                one["right"] < other["left"] or other["right"] < one["left"]
                or one["bottom"] <= other["top"] + 3 or other["bottom"] <= one["top"] + 3
            ), (one, other)  # fmt: skip
    assert page.evaluate("() => document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(
    ("zone", "name", "first"),
    [
        ("Europe/Madrid", "CEST", "2026-05-03T10:00:00+02:00"),
        ("America/St_Johns", "GMT-2:30", "2026-05-03T06:00:00-02:30"),
        ("Asia/Kolkata", "GMT+5:30", "2026-05-03T14:00:00+05:30"),
        ("UTC", "UTC", "2026-05-03T08:00:00+00:00"),
    ],
)
def test_times_are_round_in_the_readers_zone(
    browser: Browser, zone: str, name: str, first: str
) -> None:
    context = browser.new_context(timezone_id=zone, locale="es-ES")
    shown = Shown(context.new_page())
    expect(shown.page.locator(".zone")).to_have_text(name)
    ticks: list[list[Any]] = shown.page.evaluate(
        """() => [...document.querySelectorAll(".tick:not([display]) text")]
            .map(text => [text.textContent, parseFloat(text.getAttribute("x"))])"""
    )
    begin = datetime.fromisoformat(first)
    begin += timedelta(hours=2) * (begin < BEGIN)
    for index, (text, x) in enumerate(ticks):
        at = begin + timedelta(hours=2 * index)
        assert x == pytest.approx((at - BEGIN) / timedelta(hours=HOURS) * 100, abs=0.01)
        assert text == (f"{at:%H:%M}" if at.hour else f"{at.day} may")
    assert len(ticks) in {12, 13}
    context.close()


# ---- the crosshair


def test_the_mouse_shows_what_is_under_it(shown: Shown) -> None:
    shown.page.mouse.move(*shown.at(0.5))
    expect(shown.readout).to_be_visible()
    expect(shown.readout).to_contain_text(re.compile(r"\d+,\d\s°C.*50,0\s%.*36 readings"))
    expect(shown.cross()).to_have_attribute("visibility", "visible")
    before = shown.readout.inner_text()
    shown.page.mouse.move(*shown.at(0.75))
    expect(shown.readout).not_to_have_text(before)
    shown.page.mouse.move(*shown.at(0.5, 2))
    expect(shown.readout).to_be_hidden()
    expect(shown.live).to_have_text("")  # a mouse says nothing aloud


def test_in_a_gap_the_nearest_point_is_shown_where_it_is(shown: Shown) -> None:
    shown.page.mouse.move(*shown.at(102 / 480))
    expect(shown.cross()).to_have_attribute("visibility", "visible")
    box = shown.svg.bounding_box()
    assert box is not None
    x = float(shown.cross().get_attribute("x1") or 0)
    assert x / box["width"] == pytest.approx(99.5 / 480, abs=0.001)


@pytest.mark.parametrize("width", [320, 1440])
def test_what_is_shown_stays_on_the_screen(watched: Watched, width: int) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(reduced_motion="reduce")  # at once where it is to be
    shown = Shown(page)
    for share in (0.001, 0.3, 0.5, 0.7, 0.999):
        page.mouse.move(*shown.at(share))
        box = shown.readout.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_keys_go_point_by_point_and_are_read_out(shown: Shown) -> None:
    page = shown.page
    page.keyboard.press("Tab")
    expect(shown.svg).to_be_focused()
    page.keyboard.press("Home")
    expect(shown.readout).to_contain_text("20,0\u00a0°C")
    expect(shown.live).to_contain_text(re.compile("Temperature 20,0.*Humidity 50,0.*36 readings"))
    first = float(shown.cross().get_attribute("x1") or 0)
    page.keyboard.press("ArrowRight")
    second = float(shown.cross().get_attribute("x1") or 0)
    page.keyboard.press("End")
    last = float(shown.cross().get_attribute("x1") or 0)
    page.keyboard.press("ArrowRight")
    assert float(shown.cross().get_attribute("x1") or 0) == last
    page.keyboard.press("ArrowLeft")
    before = float(shown.cross().get_attribute("x1") or 0)
    assert second - first == pytest.approx(last - before, abs=0.01)
    assert last > before > second > first
    page.keyboard.press("Escape")
    expect(shown.readout).to_be_hidden()
    expect(shown.live).to_have_text("")


def test_many_keys_are_read_out_as_one(shown: Shown) -> None:
    page = shown.page
    page.evaluate(
        """() => {
            window.said = [];
            const live = document.querySelector(".chart-live");
            new MutationObserver(() => live.textContent && window.said.push(live.textContent))
                .observe(live, {childList: true});
            const press = () => window.figure.querySelector("svg")
                .dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
            for (let count = 0; count < 50; count += 1) press();
        }"""
    )
    page.wait_for_function("() => window.said.length", timeout=PATIENCE_S * 1000)
    assert len(page.evaluate("() => window.said")) == 1


def test_a_key_that_is_not_ours_is_left_alone(shown: Shown) -> None:
    shown.svg.focus()
    left: dict[str, bool] = shown.page.evaluate(
        """() => Object.fromEntries(["Tab", "a", "PageDown", "Escape", "ArrowLeft"].map(key =>
            [key, window.figure.querySelector("svg").dispatchEvent(
                new KeyboardEvent("keydown", {key, cancelable: true, bubbles: true}))]))"""
    )
    assert left == {"Tab": True, "a": True, "PageDown": True, "Escape": True, "ArrowLeft": False}


def test_numbers_are_written_as_the_server_writes_them(watched: Watched) -> None:
    of = view(1, range(0))
    (point,) = of.points
    assert point is not None
    cold = Extremes(min=-12.5, mean=-3, max=4)
    point = point.model_copy(update={"temperature_c": cold, "readings": 17280})
    shown = Shown(watched.page, of.model_copy(update={"points": [point]}))
    shown.page.mouse.move(*shown.at(0.5))
    expect(shown.readout).to_contain_text("−3,0\u00a0°C −12,5 – 4,0")
    expect(shown.readout).to_contain_text("17.280 readings")


# ---- closer and wider


def test_a_drag_asks_for_what_it_spans(shown: Shown) -> None:
    mouse = shown.page.mouse
    mouse.move(*shown.at(0.6))
    mouse.down()
    mouse.move(*shown.at(0.5))
    mouse.move(*shown.at(0.2))
    expect(shown.page.locator(".selection")).to_have_attribute("visibility", "visible")
    mouse.up()
    assert shown.asked_once() == pytest.approx([0.2, 0.6], abs=0.01)
    expect(shown.page.locator(".selection")).to_have_attribute("visibility", "hidden")


def test_a_drag_that_escape_ends_asks_for_nothing_and_nor_does_a_click(shown: Shown) -> None:
    mouse = shown.page.mouse
    shown.svg.focus()
    mouse.move(*shown.at(0.2))
    mouse.down()
    mouse.move(*shown.at(0.6))
    shown.page.keyboard.press("Escape")
    mouse.up()
    mouse.click(*shown.at(0.4))
    assert shown.asked() == []


def test_a_double_click_asks_for_twice_as_much(shown: Shown) -> None:
    shown.page.mouse.dblclick(*shown.at(0.4))
    assert shown.asked_once() == pytest.approx([-0.5, 1.5])


def test_keys_ask_for_closer_and_wider(shown: Shown) -> None:
    shown.svg.focus()
    shown.page.keyboard.press("+")
    assert shown.asked_once() == pytest.approx([0.25, 0.75])
    shown.page.evaluate("() => { window.asked = [] }")
    shown.page.keyboard.press("-")
    assert shown.asked_once() == pytest.approx([-0.5, 1.5])


def test_the_wheel_zooms_with_ctrl_and_scrolls_without(shown: Shown) -> None:
    page = shown.page
    page.set_viewport_size({"width": 800, "height": 200})
    page.mouse.move(*shown.at(0.25, 0.2))
    page.mouse.wheel(0, 50)
    page.wait_for_function("() => scrollY > 0", timeout=PATIENCE_S * 1000)
    assert shown.transform() == "translate(0 0) scale(1 1)"
    page.evaluate("() => scrollTo(0, 0)")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -40)
    page.mouse.wheel(0, -40)
    begin, end = shown.asked_once()
    page.keyboard.up("Control")
    assert 0 < begin < 0.25 < end < 1
    assert (0.25 - begin) / (end - begin) == pytest.approx(0.25, abs=0.01)  # the pointer's place


def test_nobody_is_asked_for_less_than_ten_seconds(watched: Watched) -> None:
    one = view(10, range(0))
    shown = Shown(
        watched.page, one.model_copy(update={"to": BEGIN + timedelta(seconds=2), "bucket_s": 0.2})
    )
    shown.svg.focus()
    shown.page.keyboard.press("+")
    shown.page.wait_for_function("() => window.asked.length", timeout=PATIENCE_S * 1000)
    assert shown.asked() == [[FROM_MS - 4000, FROM_MS + 6000]]


# ---- fingers


@pytest.fixture
def touched(browser: Browser) -> Iterator[Shown]:
    context = browser.new_context(
        viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True, locale="es-ES"
    )
    watched = Watched(context.new_page())
    yield Shown(watched.page)
    assert watched.problems == []
    context.close()


class Fingers:
    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._session: CDPSession = shown.page.context.new_cdp_session(shown.page)

    def _send(self, kind: str, *shares: float, down: float = 0.3) -> None:
        places = [self._shown.at(share, down) for share in shares]
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def put(self, *shares: float) -> None:
        self._send("touchStart", *shares)

    def move(self, *shares: float, down: float = 0.3) -> None:
        self._send("touchMove", *shares, down=down)

    def lift(self) -> None:
        self._send("touchEnd")


def test_a_pinch_moves_the_curves_with_the_fingers_and_asks_at_its_end(touched: Shown) -> None:
    fingers = Fingers(touched)
    touched.page.evaluate("() => { window.answer = new Promise(done => { window.done = done }) }")
    fingers.put(0.4)
    fingers.put(0.4, 0.6)
    fingers.move(0.3, 0.7)
    fingers.move(0.2, 0.8)
    curves = touched.page.locator(".plot > g").first
    expect(curves).to_have_attribute("transform", re.compile(r"scale\((3|2\.99|3\.00)\d* 1\)"))
    moved = re.fullmatch(r"translate\((\S+) 0\) scale\(\S+ 1\)", touched.transform())
    assert moved is not None
    assert float(moved[1]) / 9600 == pytest.approx(-1, abs=0.01)  # what was at 0.5 still is
    assert touched.asked() == []
    fingers.lift()
    assert touched.asked_once() == pytest.approx([1 / 3, 2 / 3], abs=0.01)
    assert "scale(1 1)" not in touched.transform()  # until there is another picture
    touched.page.evaluate("() => window.done()")
    expect(curves).to_have_attribute("transform", "translate(0 0) scale(1 1)")


def test_one_finger_shows_values_and_asks_for_nothing(touched: Shown) -> None:
    fingers = Fingers(touched)
    fingers.put(0.3)
    expect(touched.readout).to_be_visible()
    before = touched.readout.inner_text()
    fingers.move(0.5)
    fingers.move(0.7)
    expect(touched.readout).not_to_have_text(before)
    fingers.lift()
    expect(touched.readout).to_be_visible()  # to be read, now that no finger covers it
    assert touched.asked() == []


def test_a_finger_that_moves_down_scrolls_the_page(touched: Shown) -> None:
    touched.page.evaluate(
        """() => { window.figure.style.marginBottom = "2000px" }"""  # by script: that is allowed
    )
    fingers = Fingers(touched)
    fingers.put(0.5)
    for down in (0.2, 0.1, 0.0):
        fingers.move(0.5, down=down)
    fingers.lift()
    touched.page.wait_for_function("() => scrollY > 0", timeout=PATIENCE_S * 1000)
    expect(touched.readout).to_be_hidden()


# ---- the end


def test_a_figure_that_is_given_back_is_as_it_was(shown: Shown) -> None:
    page = shown.page
    page.mouse.move(*shown.at(0.5))
    expect(shown.readout).to_be_visible()
    page.evaluate("() => window.enhanced.destroy()")
    expect(page.locator(".chart-readout, .chart-live, .cross, .here, .selection")).to_have_count(0)
    expect(page.get_by_role("img", name="Temperature and humidity")).to_be_visible()
    assert shown.svg.get_attribute("tabindex") is None
    page.mouse.dblclick(*shown.at(0.5))
    shown.svg.evaluate(
        """svg => svg.dispatchEvent(new KeyboardEvent("keydown", {key: "+", bubbles: true}))"""
    )
    assert shown.asked() == []


def test_a_figure_can_be_replaced_from_within_its_own_request(shown: Shown) -> None:
    page = shown.page
    page.evaluate(
        """() => {
            window.fresh = window.figure.cloneNode(true);
            window.answer = { then: (done) => {
                window.enhanced.destroy();
                window.figure.replaceWith(window.fresh);
                done();
            } };
        }"""
    )
    page.mouse.dblclick(*shown.at(0.5))
    page.wait_for_function("() => window.fresh.isConnected", timeout=PATIENCE_S * 1000)


@pytest.mark.parametrize("count", [0, 1])
def test_a_chart_of_little_can_be_used_as_well(watched: Watched, count: int) -> None:
    of = view().model_copy(update={"points": view().points[:count]})
    shown = Shown(watched.page, of)
    shown.page.mouse.move(*shown.at(0.5))
    shown.svg.focus()
    for key in ("Home", "End", "ArrowLeft", "ArrowRight"):
        shown.page.keyboard.press(key)
    expect(shown.readout).to_be_visible(visible=count > 0)
    shown.page.keyboard.press("-")
    begin, end = shown.asked_once()
    assert end - begin == pytest.approx(2)
