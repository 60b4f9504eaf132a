"""What axe-core finds on each page, in both languages, light and dark, on a phone and on a desk: nothing."""

from __future__ import annotations

import json

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from tests.browser.conftest import House, Visit
from tests.played import PlayedNode
from tests.support import RunningBroker
from tests.system import System

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
LIVE = "/sensors/pi-1/live"
PATHS = (
    "/",
    "/?q=pi&group=node&sort=name",
    LIVE,
    f"{LIVE}?range=7d&view=table",
    "/sensors/pi-1/broken",
    "/sensors/pi-2/offline",
    "/system",
    "/kiosk",
)
VISITORS = [
    pytest.param({"locale": locale, "viewport": {"width": width, "height": height}}, id=name)
    for name, locale, width, height in (
        ("es-phone", "es-ES", 390, 844),
        ("en-desk", "en-GB", 1440, 900),
        ("es-desk", "es-ES", 1440, 900),
        ("en-phone", "en-GB", 390, 844),
    )
]


def found(page: Page) -> list[str]:
    """What axe-core holds against the page, light and dark. Under its own strict CSP."""
    page.evaluate(AXE_SCRIPT)
    options = json.dumps({"runOnly": list(TAGS), "resultTypes": ["violations"]})
    problems = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for violation in page.evaluate(f"() => axe.run({options})")["violations"]:
            problems += [
                f"{scheme}: {violation['id']}: {node['target']}: {node['failureSummary']}"
                for node in violation["nodes"]
            ]
    return problems


def test_what_is_wrong_would_be_found(house: House, page: Page) -> None:
    page.goto(house.system.url)
    page.evaluate("() => document.querySelector('main').append(document.createElement('img'))")
    assert [problem.split(": ")[:2] for problem in found(page)] == [
        [scheme, "image-alt"] for scheme in ("light", "dark")
    ]


@pytest.mark.parametrize("visitor", VISITORS)
def test_nothing_is_found(house: House, visit: Visit, visitor: dict[str, object]) -> None:
    page = visit(**visitor)
    problems = {}
    for path in PATHS:
        page.goto(house.system.url + path)
        # written by the script only: so it has run
        expect(page.locator("html[data-connection=up]")).to_be_attached()
        for closed in page.locator("details").all():
            closed.locator("summary").click()
        if "view=table" not in path and path.startswith(LIVE):
            page.locator("figure.chart > svg").press("ArrowLeft")
        if here := found(page):
            problems[path] = here
    assert problems == {}


def test_nothing_is_found_without_a_sensor_and_without_broker_and_gateway(
    mosquitto: RunningBroker, visit: Visit
) -> None:
    overview, kiosk, sensor = (visit(viewport={"width": 390, "height": 844}) for _ in range(3))
    system = System(mosquitto)
    try:
        gateway = system.start_gateway()
        for page, path in ((overview, "/"), (kiosk, "/kiosk")):
            page.goto(system.url + path)
            expect(page.locator("#empty")).to_be_visible()
            assert found(page) == []
        with PlayedNode(mosquitto, "pi-1") as node:
            node.health("aula")
            node.reading("aula")
            system.wait_for_state("pi-1/aula", "live")
        sensor.goto(system.url + "/sensors/pi-1/aula")
        mosquitto.kill()
        for page in (overview, kiosk, sensor):
            expect(page.locator("#feed-lost")).to_be_visible()
            assert found(page) == []
        gateway.close()
        for page in (overview, kiosk, sensor):
            expect(page.locator("#page-lost")).to_be_visible()
            assert found(page) == []
    finally:
        system.close()
