"""The page of the system in a real browser: what is wrong, part by part and node by node, as it happens."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import House, Visit, look_again, mark, never_reloaded
from tests.databases import Database
from tests.support import RunningBroker
from tests.system import System, running_system
from tests.unit.past import Past


def services(page: Page) -> dict[str, str]:
    """The state of each part, by its English name."""
    return dict(
        page.locator("#services dl > div").evaluate_all(
            "all => all.map(e => [e.querySelector('dt').textContent, e.dataset.state])"
        )
    )


def until(page: Page, selector: str) -> None:
    """Wait until there is such a thing; looking at the page anew renews it before its 10 s."""
    look_again(page, "selector => document.querySelector(selector) !== null", selector)


def test_each_node_and_sensor_is_there_and_leads_to_its_page(house: House, visit: Visit) -> None:
    page = visit(locale="en-GB")
    page.goto(house.system.url + "/system")
    for name, state in (("pi-1", "online"), ("pi-2", "offline")):
        node = page.locator("#nodes > ul > li", has=page.locator("h3", has_text=name))
        expect(node).to_have_attribute("data-state", state)
    for key in house.SENSORS:
        row = page.locator(".of-node li", has=page.locator(f'a[href="/sensors/{key}"]'))
        expect(row).to_have_attribute("data-state", key.partition("/")[2])
    said = page.locator("#problems")
    for text in ("pi-2", "pi-1/broken", "pi-1/late"):
        expect(said).to_contain_text(text)
    expect(page.locator('#problems li[data-severity="none"]')).to_have_count(0)
    page.locator('#nodes a[href="/sensors/pi-1/live"]').click()
    expect(page).to_have_url(re.compile("/sensors/pi-1/live$"))


def test_it_is_whole_without_javascript(house: House, visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    page.goto(house.system.url + "/system")
    for part in ("problems", "services", "nodes", "history"):
        expect(page.locator(f"#{part}")).to_be_visible()
    expect(page.locator('#history li[data-history="pi-1/live"] .mark')).to_have_attribute(
        "data-mark", "whole"
    )
    expect(page.locator("#history")).to_contain_text("1380 lecturas")


@pytest.fixture
def whole(mosquitto: RunningBroker, sqlite: Database) -> Iterator[System]:
    """All its parts as processes."""
    with running_system(mosquitto, database=sqlite) as system:
        system.start_recorder()
        system.wait_for_state("pi-1/aula", "live")
        yield system


def test_what_breaks_is_said_as_it_happens_and_what_heals_too(whole: System, visit: Visit) -> None:
    page = visit(locale="en-GB")
    page.goto(whole.url + "/system")
    mark(page)
    until(page, '#history .mark[data-mark="whole"]')
    until(page, '#problems:not(:has([data-severity="error"]))')
    assert services(page)["Broker"] == "ok"
    # the edge
    assert whole.edge is not None
    whole.edge.stop(signal.SIGKILL)
    whole.edge.close()
    until(page, '#nodes > ul > li[data-state="offline"]')
    expect(page.locator("#problems")).to_contain_text("pi-1")
    whole.start_edge()
    until(page, '#nodes > ul > li[data-state="online"] .of-node li[data-state="live"]')
    # the broker: said by the stream, before the page is renewed
    whole.broker.kill()
    expect(page.locator("#feed-lost")).to_be_visible()
    expect(page.locator('#problems li[data-severity="error"]').first).to_be_visible()
    page.wait_for_function(
        """() => [...document.querySelectorAll("#services dl > div")].some((part) =>
            part.querySelector("dt").textContent === "Broker" && part.dataset.state !== "ok")"""
    )
    whole.broker.start()
    expect(page.locator("#feed-lost")).to_be_hidden()
    until(page, '#problems:not(:has([data-severity="error"]))')
    # the gateway
    assert whole.gateway is not None
    whole.gateway.stop(signal.SIGKILL)
    whole.gateway.close()
    expect(page.locator("#page-lost")).to_be_visible()
    look_again(page, "() => document.querySelector('#problems').hasAttribute('data-stale')")
    whole.start_gateway()
    expect(page.locator("#page-lost")).to_be_hidden()
    look_again(page, "() => !document.querySelector('#problems').hasAttribute('data-stale')")
    assert never_reloaded(page)


# ---- the account of the history


@pytest.fixture
def past(sqlite: Database) -> Iterator[Past]:
    with contextlib.closing(Past(sqlite)) as past:
        past.readings(range(1, 4))
        yield past


@pytest.fixture
def history(mosquitto: RunningBroker, past: Past, sqlite: Database) -> Iterator[System]:
    system = System(mosquitto, database=sqlite)
    try:
        system.start_gateway()
        yield system
    finally:
        system.close()


def until_told(page: Page, text: str) -> None:
    look_again(page, "text => document.getElementById('history').textContent.includes(text)", text)


def test_the_account_renews_itself_without_a_reload(
    history: System, page: Page, past: Past
) -> None:
    page.goto(history.url + "/system")
    mark(page)
    until_told(page, "Las 3 lecturas desde el 3 de mayo")
    past.readings([6, 7], after=4)
    until_told(page, "Se perdió 1 lectura")
    row = page.locator('[data-history="pi-1/dht11"]')
    expect(row.locator(".mark")).to_have_text("Con pérdidas")
    expect(row).to_contain_text("Falta 1 lectura")
    assert never_reloaded(page)


def test_a_database_that_goes_away_and_comes_back_is_said(
    history: System, page: Page, sqlite: Database
) -> None:
    page.goto(history.url + "/system?lang=en")
    until_told(page, "All 3 readings")
    file, aside = Path(sqlite.name), Path(sqlite.name + ".aside")
    file.rename(aside)
    until_told(page, "The history cannot be read now")
    expect(page.locator(".history")).to_contain_text("What follows is of ")
    aside.rename(file)
    look_again(page, "() => document.querySelector('#history .away') === null")


def test_what_cannot_be_renewed_is_not_called_complete_any_more(
    history: System, page: Page
) -> None:
    page.goto(history.url + "/system")
    until_told(page, "guardadas")
    said = page.locator("#history .mark")
    expect(said).to_be_visible()
    page.route("**/system", lambda route: route.abort())
    look_again(page, "() => document.querySelector('#history').hasAttribute('data-stale')")
    expect(said).to_be_hidden()
    page.unroute("**/system")
    look_again(page, "() => !document.querySelector('#history').hasAttribute('data-stale')")
    expect(said).to_be_visible()


def test_a_link_that_has_the_focus_keeps_it(history: System, page: Page, past: Past) -> None:
    page.goto(history.url + "/system")
    until_told(page, "guardadas")
    link = page.locator('[data-history="pi-1/dht11"] a').first
    link.focus()
    past.readings([6, 7], after=4)
    until_told(page, "Se perdió 1 lectura")
    expect(link).to_be_focused()
