"""A page that stays open does not grow: half an hour of updates, in the time that they take to send."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import House, Visit, card
from tests.played import PlayedNode

SENSORS = 20
ROUNDS = 360  # of readings: half an hour, one each 5 s
EACH_S = 5
# What JavaScript's engine itself takes more or less of, from one look to the next.
NOISE_BYTES, NOISE_SHARE = 400_000, 0.10


class Size(NamedTuple):
    """What the page holds, after what it does not need was thrown away."""

    nodes: int
    listeners: int
    heap_bytes: int


def size(page: Page) -> Size:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    for _ in range(3):  # what is held by what was thrown away goes the next time
        session.send("HeapProfiler.collectGarbage")
    metrics = {
        one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]
    }
    session.detach()
    return Size(*(int(metrics[n]) for n in ("Nodes", "JSEventListeners", "JSHeapUsedSize")))


@pytest.fixture
def crowd(house: House) -> Iterator[PlayedNode]:
    names = [f"s{number:02}" for number in range(SENSORS)]
    for name in names:
        house.one.health(name, interval_s=float(EACH_S))
        house.one.reading(name)
    house.system.wait_for_state(f"pi-1/{names[-1]}", "live")
    yield house.one
    for name in names:
        house.one.remove(name)


def half_an_hour(page: Page, node: PlayedNode, rounds: int) -> None:
    """Of real readings, each of them shown; the page's clock runs as if they came in their time."""
    for number in range(rounds):
        # now and then one is in trouble
        trouble = "retrying" if number % 30 == 29 else "ok"
        node.health("s00", trouble, reason=f"{number}", interval_s=float(EACH_S))
        humidity_pct = 40 + number % 50
        for sensor in reversed(range(SENSORS)):
            node.reading(f"s{sensor:02}", 20 + sensor / 10, humidity_pct)
        page.clock.run_for(EACH_S * 1000)
        page.wait_for_function(
            """([selector, text]) => document.querySelector(selector).textContent === text""",
            arg=[f"{card('pi-1/s00')} .humidity .number", f"{humidity_pct},0"],
        )
    node.health("s00", interval_s=float(EACH_S))
    node.reading("s00", 20.0, 10.0)
    expect(page.locator(f"{card('pi-1/s00')} .humidity .number")).to_have_text("10,0")
    expect(page.locator(card("pi-1/s00"))).to_have_attribute("data-state", "live")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        pytest.param("/sensors/pi-1/s00?range=1h", marks=pytest.mark.long),
        pytest.param("/kiosk", marks=pytest.mark.long),
    ],
)
def test_half_an_hour_of_updates_leaves_nothing_behind(
    house: House, crowd: PlayedNode, visit: Visit, path: str
) -> None:
    page = visit()
    page.clock.install(time=datetime.now(UTC) - timedelta(hours=1))
    page.goto(house.system.url + path)
    expect(page.locator("html[data-connection=up]")).to_be_attached()
    half_an_hour(page, crowd, ROUNDS // 12)  # what is made once has been made
    before = size(page)
    half_an_hour(page, crowd, ROUNDS)
    after = size(page)
    assert after.nodes <= before.nodes * 1.02 + 20, (before, after)
    assert after.listeners <= before.listeners, (before, after)
    most = before.heap_bytes * (1 + NOISE_SHARE) + NOISE_BYTES
    assert after.heap_bytes <= most, (before, after)
