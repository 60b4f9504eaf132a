"""Without a mouse: everything is reached, in the order in which it is read; and choices that last."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import House, Visit, card, mark, never_reloaded


def opened(page: Page, house: House, path: str = "/") -> None:
    page.goto(house.system.url + path)
    expect(page.locator("html[data-connection=up]")).to_be_attached()
    mark(page)


def walked(page: Page) -> list[str]:
    """What Tab stops at, from the top to where it begins again."""
    stops: list[str] = []
    while True:
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
                const e = document.activeElement;
                if (!e || e === document.body) return null;
                const box = e.getBoundingClientRect();
                const outline = getComputedStyle(e.closest(".card") ?? e).outlineStyle;
                e.dataset.stop ??= `${document.querySelectorAll("[data-stop]").length}`;
                const where = e.closest("nav, form, [data-sensor], #kept, .bottom, .views");
                return [e.dataset.stop, where?.dataset?.sensor ?? where?.getAttribute("aria-label")
                    ?? where?.id ?? "", e.name || e.textContent.trim().split(/\\s+/)[0],
                    outline !== "none", box.top + scrollY];
            }"""
        )
        if stop is None or int(stop[0]) < len(stops):
            return stops
        assert stop[3], f"{stop} does not show that it has the focus"
        stops.append(f"{stop[1]}: {stop[2]}" if stop[1] else stop[2])


def test_tab_reaches_everything_as_it_is_read(house: House, visit: Visit) -> None:
    page = visit(locale="en-GB")
    opened(page, house)
    stops = walked(page)
    # what can be used at all, and is shown, in the order of the document
    expected = page.evaluate(
        """() => [...document.querySelectorAll("a[href], input, select, button, summary")]
            .filter((e) => e.checkVisibility({ visibilityProperty: true })).length"""
    )
    assert len(stops) == expected, stops
    assert stops[0] == "Skip"
    assert stops[1] == "brisa"
    cards = [stop.partition(":")[0] for stop in stops if stop.startswith("pi-")]
    shown = page.locator("#cards [data-sensor]").evaluate_all(
        "all => all.map(e => e.dataset.sensor)"
    )
    assert cards == shown
    assert stops.index("tools: q") < stops.index("tools: sort") < stops.index("tools: group")
    assert stops.index("tools: group") < stops.index(f"{cards[0]}: {cards[0].partition('/')[2]}")


def test_the_skip_link_leads_past_the_head(house: House, page: Page) -> None:
    opened(page, house)
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#main$"))
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.closest('main') !== null")


def test_enter_opens_a_sensor_and_its_page_is_walked_too(house: House, page: Page) -> None:
    opened(page, house)
    page.locator(f"{card('pi-1/live')} a").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/sensors/pi-1/live$"))
    expect(page.locator("figure.chart[data-interactive]")).to_be_attached()
    page.locator(".trail a").focus()
    ranges: list[str] = []
    for _ in range(5):
        page.keyboard.press("Tab")
        ranges.append(page.evaluate("() => new URL(document.activeElement.href).search"))
    assert ranges == [f"?range={name}" for name in ("1h", "24h", "7d", "30d", "1y")]
    page.keyboard.press("Tab")
    expect(page.locator("figure.chart > svg")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".chart-readout")).to_be_visible()
    expect(page.locator(".chart-live")).to_contain_text("°C")


def keys(page: Page) -> list[str]:
    """The cards that are shown, in their order; as people who cannot see it are told too."""
    return list(
        page.locator("#cards [data-sensor]:not([hidden])").evaluate_all(
            "all => all.map(e => e.dataset.sensor)"
        )
    )


def test_search_and_order_and_groups_by_keys(house: House, page: Page) -> None:
    opened(page, house)
    search = page.locator("input[type=search]")
    search.focus()
    page.keyboard.type("LÁTE")
    expect(page.locator("#cards [data-sensor]:visible")).to_have_count(1)
    assert keys(page) == ["pi-1/late"]
    expect(page.locator("#found")).not_to_be_empty()
    expect(page).to_have_url(re.compile(r"\?q=L%C3%81TE$"))
    expect(search).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    expect(page.locator("#cards [data-sensor]:visible")).to_have_count(5)
    assert keys(page)[0] == "pi-1/broken"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")  # Name
    expect(page).to_have_url(re.compile(r"\?sort=name$"))
    names = [key.partition("/")[2] for key in keys(page)]
    assert names == sorted(names)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".group")).to_have_text(["pi-1", "pi-2"])
    expect(page).to_have_url(re.compile(r"sort=name&group=node$"))
    arranged = keys(page)
    assert never_reloaded(page)
    # the address says all of it, also to who has no script
    page.reload()
    expect(page.locator("html[data-connection=up]")).to_be_attached()
    assert keys(page) == arranged
    expect(page.locator(".group")).to_have_text(["pi-1", "pi-2"])


@pytest.mark.parametrize("sort", ["state", "name", "temperature", "humidity"])
def test_the_server_orders_as_the_script_does(house: House, visit: Visit, sort: str) -> None:
    plain, page = visit(java_script_enabled=False), visit()
    for query in (f"/?sort={sort}", f"/?sort={sort}&group=node", f"/?sort={sort}&q=pi-1"):
        plain.goto(house.system.url + query)
        opened(page, house, query)
        ordered = plain.locator("#cards [data-sensor]")
        expect(page.locator("#cards [data-sensor]:visible")).to_have_count(ordered.count())
        assert keys(page) == ordered.evaluate_all("all => all.map(e => e.dataset.sensor)")


def test_a_sensor_that_breaks_comes_first_and_the_focus_stays(house: House, page: Page) -> None:
    opened(page, house)
    link = page.locator(f"{card('pi-1/live')} a")
    link.focus()
    house.one.health("live", "broken", reason="a trial", interval_s=1800.0)
    try:
        expect(page.locator("#cards [data-sensor]").nth(1)).to_have_attribute(
            "data-sensor", "pi-1/live"
        )  # after pi-1/broken
        expect(link).to_be_focused()
        expect(page.locator("#news")).to_contain_text("pi-1 live: Averiado")
    finally:
        house.one.health("live", interval_s=1800.0)
    expect(page.locator("#cards [data-sensor]").last).to_have_attribute("data-sensor", "pi-1/live")
    expect(link).to_be_focused()
    assert never_reloaded(page)


# ---- language and unit


def test_language_and_unit_are_remembered_on_every_page(house: House, page: Page) -> None:
    opened(page, house)
    expect(page.locator("html")).to_have_attribute("lang", "es")
    temperature = page.locator(f"{card('pi-1/live')} .temperature dd")
    expect(temperature).to_have_text(re.compile(r"^2\d,\d\s°C$"))
    page.locator('a[hreflang="en"]').click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.locator('.choices a[href*="units=f"]').click()
    expect(temperature).to_have_text(re.compile(r"^7\d\.\d\s°F$"))
    page.locator(f"{card('pi-1/live')} a").click()
    for path in ("/sensors/pi-1/live", "/kiosk?sensor=pi-1/live", "/"):
        if path != "/sensors/pi-1/live":
            page.goto(house.system.url + path)
        expect(page.locator("html[data-connection=up]")).to_be_attached()
        expect(page.locator("html")).to_have_attribute("lang", "en")
        shown = page.locator('[data-sensor="pi-1/live"] .temperature dd')
        expect(shown).to_have_text(re.compile(r"^7\d\.\d\s°F$"))
    # an address that names one is stronger than what is remembered
    page.goto(house.system.url + "/?lang=es&units=c")
    expect(page.locator(f"{card('pi-1/live')} .word")).to_have_text("En vivo")
    expect(temperature).to_have_text(re.compile(r"^2\d,\d\s°C$"))


def test_what_is_live_is_in_the_chosen_unit_too(house: House, page: Page) -> None:
    opened(page, house, "/?units=f")
    house.one.health("warm", interval_s=1800.0)
    house.one.reading("warm", -17.8, 50.0)
    warm = page.locator(f"{card('pi-1/warm')} .temperature .number")
    expect(warm).to_have_text("0,0")  # never -0,0
    house.one.reading("warm", 30.0, 50.0)
    expect(warm).to_have_text("86,0")
    house.one.remove("warm")
    expect(page.locator(card("pi-1/warm"))).to_have_count(0)


def test_a_browser_of_another_language_is_spoken_to_in_one_of_ours(
    house: House, visit: Visit
) -> None:
    for locale, language in (("es-AR", "es"), ("en-US", "en"), ("fr-FR", "es")):
        page = visit(locale=locale)
        page.goto(house.system.url)
        expect(page.locator("html")).to_have_attribute("lang", language)
