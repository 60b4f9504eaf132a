"""The overview's one sentence on the history, in a real browser: it renews itself and bears every fault."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import look_again, mark, never_reloaded
from tests.databases import Database
from tests.support import RunningBroker
from tests.system import System
from tests.unit.past import Past


@pytest.fixture
def past(sqlite: Database) -> Iterator[Past]:
    with contextlib.closing(Past(sqlite)) as past:
        yield past


@pytest.fixture
def system(mosquitto: RunningBroker, past: Past, sqlite: Database) -> Iterator[System]:
    system = System(mosquitto, gateway_env=sqlite.env)
    try:
        system.start_gateway()
        yield system
    finally:
        system.close()


def until(page: Page, said: str) -> None:
    """Wait until the sentence is marked so; empty: until there is none."""
    look_again(
        page,
        """said => {
            const kept = document.getElementById("kept");
            const shown = kept?.checkVisibility({ visibilityProperty: true });
            return (shown ? kept.dataset.mark : "") === said;
        }""",
        said,
    )


def test_the_sentence_comes_and_renews_itself_without_a_reload(
    system: System, page: Page, past: Past
) -> None:
    page.goto(system.url + "/?lang=en")
    mark(page)
    until(page, "")
    past.readings(range(1, 4))
    until(page, "whole")
    expect(page.locator("#kept")).to_contain_text("3 readings are stored since 3 May")
    past.readings([6, 7], after=4)
    until(page, "lost")
    expect(page.locator("#kept")).to_contain_text("1 is missing")
    expect(page.locator("#kept")).to_contain_text("1 was lost")
    assert never_reloaded(page)


def test_while_the_database_is_away_nothing_is_called_stored(
    system: System, page: Page, past: Past, sqlite: Database
) -> None:
    past.readings(range(1, 4))
    page.goto(system.url)
    until(page, "whole")
    file, aside = Path(sqlite.name), Path(sqlite.name + ".aside")
    file.rename(aside)
    until(page, "")
    aside.rename(file)
    until(page, "whole")


def test_what_cannot_be_renewed_is_not_called_complete_any_more(
    system: System, page: Page, past: Past
) -> None:
    past.readings(range(1, 4))
    page.goto(system.url)
    until(page, "whole")
    page.route("**/trends?*", lambda route: route.abort())
    until(page, "")
    page.unroute("**/trends?*")
    until(page, "whole")


def test_a_link_that_has_the_focus_keeps_it(system: System, page: Page, past: Past) -> None:
    past.readings(range(1, 4))
    page.goto(system.url)
    until(page, "whole")
    link = page.locator("#kept a")
    link.focus()
    past.readings([6, 7], after=4)
    until(page, "lost")
    expect(link).to_be_focused()
