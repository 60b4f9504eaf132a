"""A real Chromium; what goes wrong in a page fails its test. And a house full of sensors to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.chromium import launched, program
from tests.conftest import NODES, need_mosquitto
from tests.databases import Database, sqlite_database
from tests.played import PlayedNode
from tests.support import PATIENCE_S, eventually, running_broker
from tests.system import System
from tests.unit.past import Past

expect.set_options(timeout=PATIENCE_S * 1000)
Visit = Callable[..., Page]

# Said by the page itself, so that it stands in the console beside everything else.
SAY_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`CSP ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""


HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests stay in one process, where they share its browser and its house."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


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
        page.set_default_timeout(PATIENCE_S * 1000)
        page.add_init_script(SAY_VIOLATIONS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: ConsoleMessage) -> None:
        # That the gateway was away is what some tests are about; everything else is our fault.
        if message.type in {"error", "warning"} and "net::ERR_" not in message.text:
            self.problems.append(message.text)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens a page as a visitor with such a browser; none of them may complain."""
    watched: list[Watched] = []

    def visit(**options: Any) -> Page:
        context = browser.new_context(**{"locale": "es-ES", **options})
        watched.append(Watched(context.new_page()))
        return watched[-1].page

    yield visit
    for one in watched:
        one.page.context.close()
    assert [problem for one in watched for problem in one.problems] == []


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A page that a test watches by itself."""
    one = Watched(browser.new_context(locale="es-ES").new_page())
    yield one
    assert one.problems == []
    one.page.context.close()


@pytest.fixture
def page(visit: Visit) -> Page:
    """Of a Spanish visitor."""
    return visit()


class House:
    """One broker, gateway and history; its nodes are played, so that any number of sensors is there.

    Of pi-1 each sensor is in the state that it is named after; `live` stays so without a new
    reading, since it measures every half hour. Of pi-2 there is only one, and pi-2 is offline.
    `live` has a past of a day, a reading a minute, with a gap of an hour in the middle.
    """

    SENSORS = ("pi-1/live", "pi-1/late", "pi-1/retrying", "pi-1/broken", "pi-2/offline")

    def __init__(self, system: System, one: PlayedNode, two: PlayedNode) -> None:
        self.system = system
        self.one = one
        self.two = two

    def play(self) -> None:
        self.one.status("online")
        for name in ("live", "late", "retrying", "broken"):
            state = name if name in ("retrying", "broken") else "ok"
            reason = f"why it is {name}, and what to do" if state != "ok" else ""
            interval_s = 5.0 if name == "late" else 1800.0
            self.one.health(name, state, reason=reason, interval_s=interval_s)
            old = timedelta(minutes=5 if name == "late" else 0)
            self.one.reading(name, 23.5, 41.0, measured_at=datetime.now(UTC) - old)
        self.two.health("offline")
        self.two.reading("offline", -7.8, 70.3)
        self.two.status("offline")
        for key in self.SENSORS:
            self.system.wait_for_state(key, key.partition("/")[2])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    need_mosquitto()
    folder: Path = tmp_path_factory.mktemp("house")
    with (
        contextlib.ExitStack() as stack,
        sqlite_database(folder) as database,
        running_broker("mosquitto", folder / "broker", NODES) as broker,
    ):
        remember(database)
        system = System(broker, database=database)
        stack.callback(system.close)
        system.start_gateway()
        one, two = (stack.enter_context(PlayedNode(broker, node)) for node in NODES)
        house = House(system, one, two)
        house.play()
        eventually("the history's account", lambda: system.get("/api/v1/audit").json()["sensors"])
        yield house


def remember(database: Database) -> None:
    """A day of pi-1/live: 1380 readings, each a minute after the one before it."""
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=24)
    minutes = [*range(720), *range(780, 1440)]
    with contextlib.closing(Past(database)) as past:
        past.health(sensor="live", interval_s=60.0)
        past.readings(
            range(1, len(minutes) + 1),
            sensor="live",
            at=lambda seq: begin + timedelta(minutes=minutes[seq - 1]),
        )


def card(key: str = "pi-1/aula") -> str:
    return f'[data-sensor="{key}"]'


def mark(page: Page) -> None:
    page.evaluate("() => { window.marked = true }")


def never_reloaded(page: Page) -> bool:
    return page.evaluate("() => window.marked === true") is True


def look_again(page: Page, test: str, arg: object = None) -> None:
    """Wait for what `test` asks; meanwhile look at the page anew, which renews it before its time."""
    page.wait_for_function(
        f"""arg => {{
            document.dispatchEvent(new Event("visibilitychange"));
            return ({test})(arg);
        }}""",
        arg=arg,
        polling=500,
    )
