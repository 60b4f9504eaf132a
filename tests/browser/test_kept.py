"""What the page says of the history, in a real browser: it renews itself and bears every fault."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched
from tests.databases import Database
from tests.support import PATIENCE_S, RunningBroker
from tests.system import System
from tests.unit.past import Past

pytestmark = pytest.mark.xdist_group("browser")
expect.set_options(timeout=PATIENCE_S * 1000)


@pytest.fixture
def past(sqlite: Database) -> Iterator[Past]:
    with contextlib.closing(Past(sqlite)) as past:
        past.readings(range(1, 4))
        yield past


@pytest.fixture
def system(mosquitto: RunningBroker, past: Past, sqlite: Database) -> Iterator[System]:
    system = System(mosquitto, gateway_env=sqlite.env)
    try:
        system.start_gateway()
        yield system
    finally:
        system.close()


def until(page: Page, text: str) -> None:
    """Wait until the section has it; looking at the page again renews it before its 30 s."""
    page.wait_for_function(
        """text => {
            document.dispatchEvent(new Event("visibilitychange"));
            return document.getElementById("history").textContent.includes(text);
        }""",
        arg=text,
        polling=500,
        timeout=PATIENCE_S * 1000,
    )


def test_the_section_renews_itself_without_a_reload(
    system: System, watched: Watched, past: Past
) -> None:
    page = watched.page
    page.goto(system.url)
    page.evaluate("() => { window.marked = true }")
    until(page, "Las 3 lecturas desde el 3 de mayo")
    past.readings([6, 7], after=4)
    until(page, "Se perdió 1 lectura")
    row = page.locator('[data-history="pi-1/dht11"]')
    expect(row.locator(".mark")).to_have_text("Con pérdidas")
    expect(row).to_contain_text("Falta 1 lectura")
    assert page.evaluate("window.marked") is True


def test_a_database_that_goes_away_and_comes_back_is_said(
    system: System, watched: Watched, sqlite: Database
) -> None:
    page = watched.page
    page.goto(system.url + "/?lang=en")
    until(page, "All 3 readings")
    file, aside = Path(sqlite.name), Path(sqlite.name + ".aside")
    file.rename(aside)
    until(page, "The history cannot be read now")
    expect(page.locator(".history")).to_contain_text(
        re.compile(r"What follows is of \d+ \w+ 20\d\d,")
    )
    aside.rename(file)
    page.wait_for_function(
        """() => {
            document.dispatchEvent(new Event("visibilitychange"));
            return !document.querySelector(".away");
        }""",
        polling=500,
        timeout=PATIENCE_S * 1000,
    )


def test_the_csv_is_a_download_and_a_link_that_has_the_focus_keeps_it(
    system: System, watched: Watched, past: Past
) -> None:
    page = watched.page
    page.goto(system.url)
    until(page, "guardadas")
    link = page.locator('[data-history="pi-1/dht11"] a').first
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "pi-1_dht11.csv"
    assert download.value.path().read_text().startswith("node,sensor,stream,seq,")
    link.focus()
    expect(link).to_be_focused()
    past.readings([6, 7], after=4)
    until(page, "Se perdió 1 lectura")
    expect(link).to_be_focused()


def test_what_cannot_be_renewed_is_not_called_complete_any_more(
    system: System, watched: Watched
) -> None:
    page = watched.page
    page.goto(system.url)
    until(page, "guardadas")
    mark = page.locator(".mark")
    expect(mark).to_be_visible()
    page.route("**/history?*", lambda route: route.abort())
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    expect(mark).to_be_hidden()
    page.unroute("**/history?*")
    until(page, "guardadas")
    expect(mark).to_be_visible()
