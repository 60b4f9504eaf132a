"""What a node that means harm says of itself is shown as text, on every page, and runs nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from broker.contract import Kind, Topics
from tests.browser.conftest import House, Visit, card
from tests.support import eventually

EVIL = (
    "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"
    "<style>body { display: none }</style></p></article><b id='evil'>bold</b>"
    '"\'><svg onload="window.hit = 3">{{ 7 * 7 }}${7 * 7}\u202e\u0000&lt;i&gt;'
)
PAGES = ("/", "/sensors/pi-1/evil", "/kiosk?sensor=pi-1/evil", "/system")


@pytest.fixture(scope="module")
def evil(house: House) -> Iterator[House]:
    """By the node's own right to publish; what the contract refuses is sent all the same."""
    topics, now = Topics(), datetime.now(UTC).isoformat()
    health = {
        "state": "broken",
        "since": now,
        "reason": EVIL,
        "journal": EVIL,
        "driver": "iio",
        "model": "dht22",
        "interval_s": 1800.0,
    }
    reading = {
        "stream": str(uuid4()),
        "seq": 1,
        "measured_at": now,
        "clock_synchronised": True,
        "temperature_c": 20.0,
        "humidity_pct": 50.0,
        "source": "dht22",
    }
    say = house.one.raw
    say(topics.of(Kind.HEALTH, "pi-1", "evil"), json.dumps(health).encode())
    say(topics.of(Kind.READING, "pi-1", "evil"), json.dumps(reading).encode())
    # of what comes at once of one topic the gateway may look at the newest only
    eventually(
        "it is shown", lambda: house.system.sensors().get("pi-1/evil", {}).get("temperature_c")
    )
    # a source that is no word, and causes that are none: the whole message is refused
    refused = {**reading, "seq": 2, "temperature_c": 66.6, "source": "<b>"}
    say(topics.of(Kind.READING, "pi-1", "evil"), json.dumps(refused).encode())
    causes = {**health, "discarded": {"<b>": 1}, "reason": "of the refused"}
    say(topics.of(Kind.HEALTH, "pi-1", "evil"), json.dumps(causes).encode())
    say(topics.of(Kind.READING, "pi-1", "evil-source"), json.dumps(refused).encode())
    say("brisa/pi-1/<b>/reading", json.dumps(reading).encode())
    status = {"state": "online", "version": "<b id='evil'>1</b>", "instance": EVIL}
    say(topics.status("pi-1"), json.dumps(status).encode())
    house.system.wait_for_state("pi-1/evil", "broken")
    # said after all that, and in order: so all of it has been judged
    house.one.health("last")
    house.one.reading("last")
    house.system.wait_for_state("pi-1/last", "live")
    yield house
    house.one.status("online")


def harmless(page: Page) -> None:
    assert page.evaluate("() => window.hit") is None
    expect(page.locator("#evil, main script, main img, main style")).to_have_count(0)
    expect(page.locator("main")).to_be_visible()


def test_it_is_text_on_every_page_as_the_server_writes_it(evil: House, visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    for path in PAGES:
        page.goto(evil.system.url + path)
        expect(page.locator("#evil, main script, main img, main style")).to_have_count(0)
        expect(page.locator("main")).to_be_visible()
    page.goto(evil.system.url + PAGES[1])
    expect(page.locator(".hero .reason")).to_contain_text("<script>window.hit = 1</script>")
    expect(page.locator(".hero .number").first).to_have_text("20,0")


def test_it_is_text_on_every_page_as_the_script_writes_it(evil: House, page: Page) -> None:
    for path in PAGES:
        page.goto(evil.system.url + path)
        expect(page.locator("html[data-connection=up]")).to_be_attached()
        harmless(page)
    page.goto(evil.system.url)
    reason = page.locator(f"{card('pi-1/evil')} .reason")
    expect(reason).to_contain_text("<script>window.hit = 1</script><img src=x onerror=")
    # and when it comes while the page is open
    evil.one.health("late-evil", "broken", reason=EVIL)
    expect(page.locator(f"{card('pi-1/late-evil')} .reason")).to_contain_text("<b id='evil'>")
    harmless(page)
    evil.one.remove("late-evil")
    expect(page.locator(card("pi-1/late-evil"))).to_have_count(0)


def test_what_the_contract_refuses_is_shown_nowhere(evil: House, page: Page) -> None:
    page.goto(evil.system.url)
    expect(page.locator("html[data-connection=up]")).to_be_attached()
    expect(page.locator(card("pi-1/evil-source"))).to_have_count(0)
    expect(page.locator(f"{card('pi-1/evil')} .number").first).to_have_text("20,0")
    assert "66" not in page.locator("main").inner_text()


def test_an_address_that_means_harm_does_none(house: House, page: Page) -> None:
    harm = "<script>window.hit=1</script>\"><img src=x onerror='window.hit=2'>"
    page.goto(f"{house.system.url}/?q={quote(harm)}")
    expect(page.locator("html[data-connection=up]")).to_be_attached()
    expect(page.locator("input[type=search]")).to_have_value(harm)
    harmless(page)
    for path in (
        f"/sensors/pi-1/{quote(harm, safe='')}",
        f"/?sort={quote(harm)}",
        f"/kiosk?sensor={quote(harm)}",
        f"/sensors/pi-1/live?range={quote(harm)}",
    ):
        answer = house.system.get(path)
        assert answer.status_code in (400, 404), path
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        page_of_it = house.system.get(path, headers={"Accept": "text/html"})
        assert "<script>" not in page_of_it.text
        assert "<img" not in page_of_it.text
