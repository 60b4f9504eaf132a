"""The page in a real browser, over real processes: it shows what is, as it changes, and heals."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, card, mark, never_reloaded
from tests.support import RunningBroker, eventually, python
from tests.system import System, captures, running_system


@pytest.fixture
def system(any_broker: RunningBroker) -> Iterator[System]:
    with running_system(any_broker) as whole:
        whole.wait_for_state("pi-1/aula", "live")
        whole.wait_for_state("pi-1/patio", "live")
        yield whole


def opened(page: Page, system: System, path: str = "/") -> None:
    page.goto(system.url + path)
    mark(page)
    expect(page.locator(card())).to_have_attribute("data-state", "live")


def test_values_change_without_a_reload(system: System, page: Page) -> None:
    opened(page, system)
    patio = page.locator(card("pi-1/patio"))
    shown = patio.locator(".temperature .number, .humidity .number").all_inner_texts()
    assert all(re.fullmatch(r"-?\d+,\d", text) for text in shown), shown
    page.wait_for_function(
        """([selector, before]) => {
            const now = document.querySelectorAll(selector);
            return [...now].map(e => e.textContent).join() !== before;
        }""",
        arg=[f"{card('pi-1/patio')} .number", ",".join(shown)],
    )
    assert never_reloaded(page)


def _viewers(system: System) -> float:
    found = re.search(r"^brisa_gateway_viewers (\S+)$", system.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_page_that_nobody_sees_gives_its_connection_back(system: System, page: Page) -> None:
    """A browser has six to an address; a seventh page would wait for ever."""
    opened(page, system)
    eventually("the page is a viewer", lambda: _viewers(system) == 1)
    hidden = """value => {
        Object.defineProperty(document, "hidden", {value, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hidden, True)
    eventually("nobody watches", lambda: _viewers(system) == 0)
    expect(page.locator("#page-lost")).to_be_hidden()
    assert system.edge is not None
    system.edge.stop(signal.SIGKILL)
    system.wait_for_state("pi-1/aula", "offline")
    page.evaluate(hidden, False)
    expect(page.locator(card())).to_have_attribute("data-state", "offline")
    assert never_reloaded(page)


def test_a_choice_of_unit_stays_with_what_is_looked_at(system: System, page: Page) -> None:
    opened(page, system)
    page.evaluate("() => history.replaceState(null, '', '?q=aula&sort=name')")  # as the tools do
    page.get_by_role("link", name="grados Fahrenheit").click()
    expect(page.locator(f"{card()} .values .unit").first).to_have_text("°F")
    expect(page).to_have_url(f"{system.url}/?q=aula&sort=name")


def test_what_the_page_shows_is_what_the_api_says(system: System, page: Page) -> None:
    assert system.edge is not None
    opened(page, system)
    system.edge.stop(signal.SIGKILL)  # so that nothing changes any more
    expect(page.locator(card())).to_have_attribute("data-state", "offline")
    for key, view in system.sensors().items():
        numbers = page.locator(f"{card(key)} .number").all_inner_texts()
        assert numbers == [
            f"{view[name]:.1f}".replace(".", ",") for name in ("temperature_c", "humidity_pct")
        ]


def test_an_edge_that_is_killed_is_offline_and_live_again(system: System, page: Page) -> None:
    opened(page, system)
    assert system.edge is not None
    system.edge.stop(signal.SIGKILL)
    aula = page.locator(card())
    expect(aula).to_have_attribute("data-state", "offline")
    expect(aula.locator(".word")).to_have_text("Fuera de línea")
    system.edge.close()
    system.start_edge()
    expect(aula).to_have_attribute("data-state", "live")
    assert never_reloaded(page)


def test_a_broker_that_is_killed_is_said_and_the_page_heals(system: System, page: Page) -> None:
    opened(page, system)
    system.broker.kill()
    banner = page.locator("#feed-lost")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("broker")
    expect(page.locator(card())).to_have_attribute("data-state", "late")
    system.broker.start()
    expect(banner).to_be_hidden()
    expect(page.locator(card())).to_have_attribute("data-state", "live")
    assert never_reloaded(page)


def test_a_gateway_that_is_killed_is_said_and_the_page_heals(system: System, page: Page) -> None:
    opened(page, system)
    assert system.gateway is not None
    system.gateway.stop(signal.SIGKILL)
    system.gateway.close()
    banner = page.locator("#page-lost")
    expect(banner).to_be_visible()
    # what is shown grows old before the eyes, without anybody to say so
    age = page.locator(f"{card()} .age")
    old = age.inner_text()
    expect(age).not_to_have_text(old)
    expect(page.locator(card())).to_have_attribute("data-state", "late")
    expect(banner).to_be_visible()
    system.start_gateway()
    expect(banner).to_be_hidden()
    expect(page.locator(card())).to_have_attribute("data-state", "live")
    assert never_reloaded(page)


def test_a_sensor_that_answers_wrongly_is_retrying_then_broken_and_live_again(
    mosquitto: RunningBroker, page: Page, tmp_path: Path
) -> None:
    """A recording of a sensor whose line is bad for a while, again and again."""
    file = tmp_path / "bad.csv"
    wrong = [word for number in range(9, 101) for word in ("--wrong-sum", str(number))]
    with python("-m", "edge", "encode", "--model", "dht22", "--count", "100", *wrong,
                "--out", str(file)) as encode:  # fmt: skip
        assert encode.wait() == 0, encode.output
    env = {"BRISA_SENSORS": f"aula=replay,model=dht22,file={file}", "BRISA_INTERVAL_S": "0.5"}
    with running_system(mosquitto, edge_env=env) as system:
        page.goto(system.url)
        aula = page.locator(card())
        for state, word in (
            *(("live", "En vivo"), ("retrying", "Reintentando"), ("broken", "Averiado")),
            *(("live", "En vivo"), ("retrying", "Reintentando")),
        ):
            expect(aula).to_have_attribute("data-state", state)
            expect(aula.locator(".word")).to_have_text(word)
            expect(aula.locator(".state use")).to_have_attribute("href", f"#shape-{state}")
            expect(aula.locator(".reason")).to_be_visible(visible=state != "live")


def test_an_edge_that_hangs_is_late_and_live_again(mosquitto: RunningBroker, page: Page) -> None:
    # a broker says that a node is offline after one and a half keep-alives
    env = {"BRISA_KEEPALIVE_S": "60", "BRISA_INTERVAL_S": "2"}
    with running_system(mosquitto, edge_env=env) as system:
        page.goto(system.url)
        aula = page.locator(card())
        expect(aula).to_have_attribute("data-state", "live")
        assert system.edge is not None
        system.edge.popen.send_signal(signal.SIGSTOP)
        expect(aula).to_have_attribute("data-state", "late")
        expect(aula.locator(".since")).to_be_visible()
        # the page may say so by its own clock, which may be ahead of the gateway's
        system.wait_for_state("pi-1/aula", "late")
        system.edge.popen.send_signal(signal.SIGCONT)
        expect(aula).to_have_attribute("data-state", "live")
        expect(aula.locator(".since")).to_be_hidden()


def test_a_broken_sensor_says_why(mosquitto: RunningBroker, page: Page) -> None:
    env = {"BRISA_SENSORS": "dht11=iio", "BRISA_INTERVAL_S": "5", "BRISA_SYSFS_ROOT": "/nowhere"}
    with running_system(mosquitto, edge_env=env) as system:
        page.goto(system.url)
        broken = page.locator(card("pi-1/dht11"))
        expect(broken).to_have_attribute("data-state", "broken")
        expect(broken.locator(".reason")).to_contain_text("dtoverlay=dht11,gpiopin=3")


def test_without_javascript_it_is_complete(system: System, visit: Visit) -> None:
    page = visit(java_script_enabled=False, locale="en-GB")
    page.goto(system.url)
    aula = page.locator(card())
    expect(aula.locator(".word")).to_have_text("Live")
    expect(aula.locator(".temperature")).to_contain_text(re.compile(r"\d+\.\d\s°C"))
    expect(aula.locator(".age")).to_contain_text(re.compile(r"\d+ s ago"))


def test_an_empty_page_says_what_to_do_and_fills_by_itself(
    mosquitto: RunningBroker, page: Page
) -> None:
    system = System(mosquitto)
    try:
        system.start_gateway()
        page.goto(system.url)
        expect(page.locator("#empty")).to_contain_text("dhtsensor=yes")
        system.start_edge()
        expect(page.locator(card())).to_have_attribute("data-state", "live")
        expect(page.locator("#empty")).to_be_hidden()
    finally:
        system.close()


@pytest.mark.captures
def test_a_real_recording_is_shown_reading_after_reading(
    mosquitto: RunningBroker, page: Page
) -> None:
    folder = captures()
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: BRISA_CAPTURES names another place")
    expected = json.loads((folder / "expected.json").read_text())["am2302_1mhz_200s"]["frames"]
    values = [(f["temperature_c"], f["humidity_pct"]) for f in expected]
    file = folder / "am2302_1mhz_200s.csv"
    sensors = f"capture=replay,model=dht22,pace=recorded,speed=4,file={file}"
    with running_system(mosquitto, edge_env={"BRISA_SENSORS": sensors}) as system:
        page.goto(system.url)
        expect(page.locator(card("pi-1/capture"))).to_have_attribute("data-state", "live")
        page.evaluate(
            """selector => {
                window.seen = [];
                const read = () => {
                    const now = [...document.querySelectorAll(selector)].map(e => e.textContent);
                    const last = window.seen.at(-1);
                    if (!last || last.join() !== now.join()) window.seen.push(now);
                };
                new MutationObserver(read).observe(document.body,
                    {subtree: true, childList: true, characterData: true});
                read();
            }""",
            card("pi-1/capture") + " .number",
        )
        page.wait_for_function("() => window.seen.length >= 8")
        seen = page.evaluate("window.seen")
    shown = [tuple(float(text.replace(",", ".")) for text in pair) for pair in seen]
    # a change of both values is two mutations: keep the pairs that the sensor really said
    whole = [pair for pair in shown if pair in values]
    assert len(whole) >= len(shown) / 2
    distinct = [v for i, v in enumerate(values) if i == 0 or v != values[i - 1]]
    start = next(i for i in range(len(distinct)) if distinct[i] == whole[0])
    remaining = iter(distinct[start:])
    assert all(pair in remaining for pair in whole), (whole, distinct[start : start + 20])
