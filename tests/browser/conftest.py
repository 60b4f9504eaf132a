"""A real Chromium; what goes wrong in a page fails its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.chromium import launched, program


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For a module: as long as Playwright runs, no test of this process can have an event loop."""
    if program() is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = launched(playwright)
        yield chromium
        chromium.close()


class Watched:
    """A page; `problems` is what its console said in anger."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: ConsoleMessage) -> None:
        # That the gateway was away is what some tests are about; everything else is our fault.
        if message.type in {"error", "warning"} and "net::ERR_" not in message.text:
            self.problems.append(message.text)


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(locale="es-ES")
    one = Watched(context.new_page())
    yield one
    assert one.problems == []
    context.close()
