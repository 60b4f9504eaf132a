"""Each page from a small phone to a wall: nothing beside the screen, nothing too small to be hit."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import House, Visit
from tests.support import eventually

LIVE = "/sensors/pi-1/live"
PATHS = (
    "/",
    "/?q=pi&group=node",
    LIVE,
    f"{LIVE}?range=7d&view=table",
    "/sensors/pi-1/broken",
    "/system",
    "/kiosk",
)
WIDTHS = (320, 390, 768, 1280, 3840)
SCREENS = {
    "wall": (1920, 1080),
    "small-display": (800, 480),
    "upright": (1080, 1920),
    "small-upright": (480, 800),
    "phone": (390, 844),
    "phone-lying": (844, 390),
}
ROOMS = [f"room-{number:02}" for number in range(1, 14)]
LONG = "a-room-whose-name-is-as-long-as-an-id-may-be-which-is-63-letter"


@pytest.fixture(scope="module")
def rooms(house: House) -> House:
    """More sensors, of each state; the widest numbers, and the longest names and reasons."""
    for number, room in enumerate([*ROOMS, LONG]):
        state = ("ok", "retrying", "broken")[number % 3]
        reason = "" if state == "ok" else "A sentence that says what to do about it. " * 8
        house.one.health(room, state, reason=reason, interval_s=1800.0)
        house.one.reading(room, -40.0 if number % 2 else 125.0, 100.0)
    eventually(
        "every room is there", lambda: len(house.system.sensors()) == len(house.SENSORS) + 14
    )
    return house


def opened(page: Page, house: House, path: str) -> None:
    page.goto(house.system.url + path)
    expect(page.locator("html[data-connection=up]")).to_be_attached()
    for closed in page.locator("details").all():
        closed.locator("summary").click()


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_beside_the_screen(rooms: House, page: Page, path: str) -> None:
    opened(page, rooms, path)
    beside = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("() => document.scrollingElement.scrollWidth")
        if wide > width:
            beside[width] = wide
    assert beside == {}


@pytest.mark.parametrize("path", PATHS)
def test_at_twice_the_size_everything_is_there(rooms: House, visit: Visit, path: str) -> None:
    page = visit(viewport={"width": 640, "height": 450}, device_scale_factor=2)
    opened(page, rooms, path)
    assert page.evaluate("() => document.scrollingElement.scrollWidth <= innerWidth")


# What a card says stands where its neighbours say it, whatever their states and values.
UNLIKE = """() => [...document.querySelectorAll("article.card[data-sensor]")].flatMap((card) => {
    const box = (name) => card.querySelector(name).getBoundingClientRect();
    const [temperature, humidity] = [".temperature dd", ".humidity dd"].map(box);
    const right = card.querySelector("footer").getBoundingClientRect().right;
    const problems = [];
    if (temperature.top !== humidity.top) problems.push("stacked");
    if (temperature.right > humidity.left) problems.push("one value lies on the other");
    if (humidity.right > right + 0.5) problems.push("humidity is cut");
    return problems.map((problem) => `${card.dataset.sensor}: ${problem}`);
})"""


@pytest.mark.parametrize("units", ["c", "f"])
def test_the_values_of_all_cards_stand_side_by_side(rooms: House, page: Page, units: str) -> None:
    opened(page, rooms, f"/?units={units}")
    assert page.locator('article[data-state="live"]').count() > 1
    unlike = {}
    for width in (*WIDTHS, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        if here := page.evaluate(UNLIKE):
            unlike[width] = here
    assert unlike == {}


TOO_WIDE = """() => [...document.querySelectorAll(
        ".services dl > div, .nodes li, .problems li, .history li > *")]
    .filter((part) => part.scrollWidth > part.clientWidth)
    .map((part) => `${part.textContent.trim().slice(0, 60)}: ${part.scrollWidth} px`)"""


@pytest.mark.parametrize("locale", ["es-ES", "en-GB"])
def test_each_part_of_the_system_keeps_to_its_place(
    rooms: House, visit: Visit, locale: str
) -> None:
    page = visit(locale=locale)
    opened(page, rooms, "/system")
    too_wide = {}
    for width in (*WIDTHS, 1000, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        if here := page.evaluate(TOO_WIDE):
            too_wide[width] = here
    assert too_wide == {}


SMALL_TARGETS = """() => {
    const large = (box) => box.width >= 24 && box.height >= 24;
    // A link within a sentence may be as high as its line (WCAG 2.5.8).
    const inSentence = (element) => getComputedStyle(element).display === "inline"
        && element.parentElement.textContent.trim() !== element.textContent.trim()
        && element.parentElement.matches("p, span, dd");
    // What is hit instead of the element itself.
    const target = (element) =>
        element.closest(".card, .panel") ?? element.closest("label") ?? element;
    return [...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")]
        .filter((element) => element.checkVisibility({ visibilityProperty: true }))
        .filter((element) => !element.matches(".skip") && !inSentence(element))
        .filter((element) => !large(target(element).getBoundingClientRect()))
        .map((element) => `${element.outerHTML.slice(0, 80)} ${JSON.stringify(
            target(element).getBoundingClientRect())}`);
}"""


@pytest.mark.parametrize("path", PATHS)
def test_what_is_to_be_hit_is_large_enough(rooms: House, visit: Visit, path: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    opened(page, rooms, path)
    assert page.evaluate(SMALL_TARGETS) == []


# Numbers and their units lie in their panel, beside nothing else; and nothing scrolls.
CUT = """() => {
    const problems = [];
    const outside = (inner, outer) => inner.left < outer.left - 0.5 || inner.top < outer.top - 0.5
        || inner.right > outer.right + 0.5 || inner.bottom > outer.bottom + 0.5;
    const over = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
        && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const box = (element) => element.getBoundingClientRect();
    const root = document.scrollingElement;
    if (root.scrollHeight > innerHeight) problems.push(`scrolls: ${root.scrollHeight}`);
    if (root.scrollWidth > innerWidth) problems.push(`scrolls across: ${root.scrollWidth}`);
    for (const panel of document.querySelectorAll(".panel:not([hidden])")) {
        const say = (text) => problems.push(`${panel.dataset.sensor}: ${text}`);
        if (panel.scrollWidth > panel.clientWidth) say(`${panel.scrollWidth} of ${panel.clientWidth} wide`);
        if (panel.scrollHeight > panel.clientHeight) say(`${panel.scrollHeight} of ${panel.clientHeight} high`);
        if (outside(box(panel), { left: 0, top: 0, right: innerWidth, bottom: innerHeight })) say("off the screen");
        const parts = [".sensor", ".state", ".age", ".temperature dd", ".humidity dd"].map((name) => [name, panel.querySelector(name)]);
        for (const [name, part] of parts) {
            if (!part.checkVisibility()) say(`${name} is not shown`);
            else if (name !== ".sensor" && outside(box(part), box(panel))) say(`${name} is cut`);
        }
        const boxes = parts.filter(([name]) => name !== ".sensor");
        boxes.push(["h2", panel.querySelector("h2")]);
        boxes.forEach(([name, part], at) => boxes.slice(at + 1).forEach(([other, beside]) => {
            if (over(box(part), box(beside))) say(`${name} lies on ${other}`);
        }));
        const high = box(panel.querySelector(".temperature .number")).height;
        if (high < 15) say(`its number is ${high} px high`);
    }
    return problems;
}"""


@pytest.mark.parametrize("screen", SCREENS)
def test_a_wall_screen_never_scrolls_and_cuts_no_number(
    rooms: House, visit: Visit, screen: str
) -> None:
    width, height = SCREENS[screen]
    page = visit(viewport={"width": width, "height": height})
    problems = {}
    for count in (1, 2, 5, 12, 13):
        names = [LONG, *ROOMS][:count]
        page.goto(
            f"{rooms.system.url}/kiosk?{'&'.join(f'sensor=pi-1/{name}' for name in names)}&units=f"
        )
        expect(page.locator("html[data-connection=up]")).to_be_attached()
        expect(page.locator(".panel:not([hidden])")).to_have_count(min(count, 12))
        expect(page.locator("#more")).to_be_visible(visible=count > 12)
        if here := page.evaluate(CUT):
            problems[count] = here
    assert problems == {}
