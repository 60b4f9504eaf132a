"""A page and its stream together: nothing is sent twice, nothing is missed, whoever answers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import card, mark, never_reloaded
from tests.played import PlayedNode
from tests.support import RunningBroker, eventually
from tests.system import System

# Each event's name, and the sensors in it, beside the address that its stream was opened with.
NOTE = """
window.streams = [];
window.EventSource = class extends EventSource {
  constructor(url) {
    super(url);
    const events = [];
    window.streams.push({ url, events });
    for (const name of ["state", "change", "feed", "heartbeat"]) {
      this.addEventListener(name, (event) => {
        const { sensors = [] } = JSON.parse(event.data);
        events.push({ name, sensors: sensors.map((view) => `${view.node}/${view.sensor}`) });
      });
    }
  }
};
"""
SENSORS = ("aula", "patio", "sala")


class Rooms:
    """A gateway, and a node with three sensors that say nothing unless they are told to."""

    def __init__(self, system: System, node: PlayedNode) -> None:
        self.system = system
        self.node = node

    def open(self, page: Page, path: str = "/") -> None:
        page.add_init_script(NOTE)
        page.goto(self.system.url + path)
        mark(page)
        self.wait_for_first_event(page)

    def wait_for_first_event(self, page: Page, stream: int = 0) -> None:
        page.wait_for_function("at => window.streams[at]?.events.length", arg=stream)

    def say(self, sensor: str, temperature_c: float) -> None:
        """And wait until the gateway has it."""
        self.node.reading(sensor, temperature_c)
        key = f"{self.node.node}/{sensor}"

        def known() -> bool:
            view = self.system.sensors().get(key)
            return view is not None and view["temperature_c"] == temperature_c

        eventually("it is known", known)


def streams(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("() => window.streams")
    return found


def first_event(page: Page, stream: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = streams(page)[stream]["events"][0]
    return found


def asked(stream: dict[str, Any]) -> dict[str, list[str]]:
    return parse_qs(urlsplit(stream["url"]).query)


def temperature(page: Page, sensor: str) -> Any:
    return page.locator(f"{card(f'pi-1/{sensor}')} .temperature .number")


@pytest.fixture
def rooms(mosquitto: RunningBroker) -> Iterator[Rooms]:
    system = System(mosquitto)
    try:
        system.start_gateway()
        with PlayedNode(mosquitto, "pi-1") as node:
            node.status("online")
            for sensor in SENSORS:
                node.health(sensor, interval_s=1800.0)
                node.reading(sensor, 20.0)
            for sensor in SENSORS:
                system.wait_for_state(f"pi-1/{sensor}", "live")
            yield Rooms(system, node)
    finally:
        system.close()


def test_a_stream_goes_on_where_its_page_ends(rooms: Rooms, page: Page) -> None:
    rooms.open(page)
    assert first_event(page) == {"name": "change", "sensors": []}
    rooms.say("aula", 21.5)
    expect(temperature(page, "aula")).to_have_text("21,5")
    assert streams(page)[0]["events"][1] == {"name": "change", "sensors": ["pi-1/aula"]}


def test_what_changes_between_a_page_and_its_stream_is_shown(rooms: Rooms, page: Page) -> None:
    def late(route: Route) -> None:
        rooms.say("aula", 30.5)
        route.continue_()

    page.route("**/api/v1/stream*", late, times=1)
    rooms.open(page)
    assert first_event(page) == {"name": "change", "sensors": ["pi-1/aula"]}
    expect(temperature(page, "aula")).to_have_text("30,5")
    expect(temperature(page, "sala")).to_have_text("20,0")


def test_cards_are_sorted_by_values_that_only_the_page_has_told(rooms: Rooms, page: Page) -> None:
    rooms.say("sala", 25.0)
    rooms.say("patio", 9.5)
    rooms.open(page, "/?units=f")
    page.evaluate("() => { document.getElementById('tools').hidden = false }")
    page.locator("select[name=sort]").select_option("temperature")
    order = page.locator("#cards [data-sensor]").evaluate_all(
        "all => all.map(e => e.dataset.sensor)"
    )
    assert order == ["pi-1/sala", "pi-1/aula", "pi-1/patio"]
    assert first_event(page) == {"name": "change", "sensors": []}


def test_a_page_that_found_only_some_sensors_is_sent_the_others(rooms: Rooms, page: Page) -> None:
    rooms.open(page, "/?q=aula")
    assert first_event(page)["name"] == "state"
    page.locator("input[name=q]").fill("")
    expect(page.locator("#cards [data-sensor]:visible")).to_have_count(len(SENSORS))


def test_a_page_that_was_hidden_is_sent_only_what_it_missed(rooms: Rooms, page: Page) -> None:
    rooms.open(page)
    rooms.say("patio", 12.5)
    expect(temperature(page, "patio")).to_have_text("12,5")
    hidden = """value => {
        Object.defineProperty(document, "hidden", {value, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hidden, True)
    rooms.say("aula", 22.5)
    page.evaluate(hidden, False)
    expect(temperature(page, "aula")).to_have_text("22,5")
    assert first_event(page, 1) == {"name": "change", "sensors": ["pi-1/aula"]}
    assert never_reloaded(page)


def test_a_gateway_that_was_started_again_sends_all(rooms: Rooms, page: Page) -> None:
    rooms.open(page)
    gateway = rooms.system.gateway
    assert gateway is not None
    gateway.stop(signal.SIGKILL)
    gateway.close()
    expect(page.locator("#page-lost")).to_be_visible()
    rooms.node.remove("sala")  # what no gateway will ever speak of again
    rooms.system.start_gateway()
    rooms.system.wait_for_state("pi-1/aula", "live")
    expect(page.locator("#page-lost")).to_be_hidden()
    expect(page.locator(card("pi-1/sala"))).to_have_count(0)
    rooms.say("aula", 23.5)
    expect(temperature(page, "aula")).to_have_text("23,5")
    events = [event["name"] for stream in streams(page) for event in stream["events"]]
    assert events.count("state") == 1
    assert never_reloaded(page)


def test_another_replica_sends_all_and_the_first_one_what_was_missed_since(
    rooms: Rooms, mosquitto: RunningBroker, page: Page
) -> None:
    other = System(mosquitto)
    try:
        other.start_gateway()
        other.wait_for_state("pi-1/aula", "live")
        elsewhere = other.url
        page.route(
            "**/api/v1/stream*",
            lambda route: route.continue_(
                url=route.request.url.replace(rooms.system.url, elsewhere)
            ),
        )
        rooms.open(page)
        assert first_event(page)["name"] == "state"
        rooms.say("aula", 24.5)
        expect(temperature(page, "aula")).to_have_text("24,5")
        page.unroute("**/api/v1/stream*")
        assert other.gateway is not None
        other.gateway.stop(signal.SIGTERM)
        rooms.say("patio", 11.5)
        expect(temperature(page, "patio")).to_have_text("11,5")
        assert never_reloaded(page)
    finally:
        other.close()


def test_a_sensor_s_page_has_a_stream_of_that_sensor_only(rooms: Rooms, page: Page) -> None:
    rooms.open(page, "/sensors/pi-1/aula")
    assert asked(streams(page)[0])["sensor"] == ["pi-1/aula"]
    rooms.say("patio", 33.0)
    rooms.say("aula", 19.5)
    expect(temperature(page, "aula")).to_have_text("19,5")
    assert [event["sensors"] for event in streams(page)[0]["events"]] == [[], ["pi-1/aula"]]
    rooms.node.remove("aula")
    expect(page.locator(".gone")).to_be_visible()
    rooms.say("aula", 18.5)
    expect(temperature(page, "aula")).to_have_text("18,5")
    expect(page.locator(".gone")).to_be_hidden()
