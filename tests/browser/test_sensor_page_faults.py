"""A sensor's page in a real browser, when the gateway, the network or another window are in the way."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import House, Visit, card, look_again, mark, never_reloaded
from tests.support import eventually

PATH = "/sensors/pi-1/live"
ALL = re.compile(r"/sensors/pi-1/live(\?|$)")
CHART = "figure[data-interactive] > svg"
YEAR_MS = 365 * 86_400_000


def span_ms(page: Page) -> float:
    ends = (parse_qs(urlsplit(page.url).query)[name][0] for name in ("from", "to"))
    begin, end = (page.evaluate("text => Date.parse(text)", text) for text in ends)
    return float(end - begin)


def chosen(page: Page) -> None:
    """Wait until what was asked for is here."""
    expect(page.locator("#past")).not_to_have_attribute("aria-busy", "true")


def test_keys_come_closer_again_and_again(house: House, page: Page) -> None:
    page.goto(house.system.url + PATH)
    page.locator(CHART).focus()
    for hours in (12, 6, 3):
        page.keyboard.press("+")
        chosen(page)
        assert round(span_ms(page) / 3_600_000) == hours
        expect(page.locator(CHART)).to_be_focused()


def test_nobody_can_go_further_than_there_is_an_answer(house: House, page: Page) -> None:
    def since_1970(route: Route) -> None:
        answer = route.fetch()
        long = re.sub("(&#34;from&#34;:)[0-9]+", r"\g<1>0", answer.text())
        route.fulfill(response=answer, body=long)

    page.route(ALL, since_1970, times=1)
    page.goto(house.system.url + PATH)
    mark(page)
    page.locator(CHART).focus()
    page.keyboard.press("-")
    chosen(page)
    assert span_ms(page) == 20 * YEAR_MS
    expect(page.locator(CHART)).to_be_visible()
    assert never_reloaded(page)


def test_while_the_gateway_is_away_the_page_stays_and_the_range_comes_later(
    house: House, page: Page
) -> None:
    page.goto(house.system.url + PATH)
    mark(page)
    page.route(ALL, lambda route: route.abort())
    week = page.locator(".ranges a").nth(2)
    week.click()
    expect(page.locator("#past")).to_have_attribute("data-stale", "")
    expect(page.locator(CHART)).to_be_visible()
    assert page.url.endswith("?range=7d")
    page.unroute(ALL)
    look_again(page, "() => document.querySelectorAll('.ranges a')[2].ariaCurrent === 'true'")
    expect(page.locator("#past")).not_to_have_attribute("data-stale", "")
    assert never_reloaded(page)


def test_what_is_not_of_this_page_is_not_taken_for_news(house: House, page: Page) -> None:
    page.goto(house.system.url + PATH)
    page.route(ALL, lambda route: route.fulfill(content_type="text/html", body="<p>Sign in</p>"))
    look_again(page, "() => document.getElementById('facts').hasAttribute('data-stale')")


def test_a_late_answer_does_not_take_the_place_of_what_was_chosen_since(
    house: House, page: Page
) -> None:
    page.goto(house.system.url + PATH)
    held: list[Route] = []
    page.route(ALL, lambda route: route.continue_() if held else held.append(route))
    page.evaluate("() => { document.dispatchEvent(new Event('visibilitychange')) }")
    eventually("a renewal", lambda: page.evaluate("() => 1") and held)
    page.locator(".ranges a").nth(2).click()
    current = page.locator(".ranges a[aria-current]")
    expect(current).to_have_text("7 días")
    page.mouse.move(1, 1)
    page.evaluate("() => document.activeElement.blur()")
    with page.expect_response(lambda response: response.request == held[0].request) as answer:
        held[0].continue_()
    answer.value.finished()
    page.evaluate(
        "() => new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame))"
    )
    expect(current).to_have_text("7 días")


def test_the_curves_stay_where_they_were_moved_until_the_others_are_there(
    house: House, page: Page
) -> None:
    page.goto(house.system.url + PATH)
    held: list[Route] = []
    page.locator(CHART).hover()
    page.route(ALL, lambda route: held.append(route))  # noqa: PLW0108 - not a built-in
    page.keyboard.down("Control")
    page.mouse.wheel(0, -50)
    page.keyboard.up("Control")
    eventually("what is asked for", lambda: page.evaluate("() => 1") and held)
    expect(page.locator("figure.chart")).to_have_attribute("data-moving", "")
    held[0].continue_()
    expect(page.locator("figure.chart")).not_to_have_attribute("data-moving", "")


def test_the_table_is_in_the_reader_s_time_throughout(house: House, visit: Visit) -> None:
    page = visit(timezone_id="America/Bogota")
    page.goto(f"{house.system.url}{PATH}?view=table")
    expect(page.locator("caption time")).to_have_count(2)
    expect(page.locator("caption")).not_to_contain_text("UTC")


def test_a_choice_in_another_window_is_this_one_s_too(house: House, page: Page) -> None:
    page.goto(f"{house.system.url}{PATH}?units=c")
    expect(page).to_have_url(house.system.url + PATH)  # else it would be chosen again and again
    other = page.context.new_page()
    other.goto(f"{house.system.url}/?units=f")
    other.close()
    look_again(page, "() => document.querySelector('.unit').textContent === '°F'")
    expect(page.locator("text.panel.temperature")).to_contain_text("°F")


def test_without_a_stream_what_the_page_shows_grows_old(house: House, page: Page) -> None:
    page.route("**/api/v1/stream*", lambda route: route.abort())
    page.goto(f"{house.system.url}/?lang=en")
    expect(page.locator("#page-lost")).to_be_visible()
    age = page.locator(f"{card('pi-1/live')} .age")
    before = age.inner_text()
    expect(age).not_to_have_text(before)


def test_what_was_today_has_its_date_tomorrow(house: House, page: Page) -> None:
    page.clock.install()
    page.goto(f"{house.system.url}/?lang=en")
    since = page.locator(f"{card('pi-1/broken')} .since time")
    expect(since).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    page.clock.fast_forward("24:00:00")
    expect(since).to_have_text(re.compile(r"20\d\d, \d\d:\d\d$"))
