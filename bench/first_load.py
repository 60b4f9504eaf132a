"""What a page weighs, and how soon it shows a value, in a Chromium four times as slow.

Knows little of the page: that it shows values in elements of class `number`, and takes changes
from an EventSource. Each load is a new browser context, so that nothing is in its cache.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, sync_playwright

from bench.processes import NODES, SENSORS_PER_NODE, Broker, fetch, gateway, python, say, spread
from bench.publisher import connect
from bench.table import Row, held
from bench.watchers import introduce
from tests.chromium import launched, program
from tests.support import eventually, free_port

SLOWER = 4
PATIENCE_S = 20.0
SENSOR = f"{NODES[0]}/sensor-0"
LAST_SENSOR = f"{NODES[0]}/sensor-{SENSORS_PER_NODE - 1}".encode()
PAGES = {"the page": ("/", 60), "a sensor's page, with its chart": (f"/sensors/{SENSOR}", 40)}
FIRST_VALUE_MS = 1000

# When a frame first had a digit, and when one had it after the script had taken in an event.
NOTE = r"""
window.seen = {};
const note = (name) => {
  const number = document.querySelector(".number");
  if (number && /\d/.test(number.textContent) && number.getClientRects().length) {
    window.seen[name] = performance.now();
  } else {
    requestAnimationFrame(() => note(name));
  }
};
requestAnimationFrame(() => note("first"));
let taken = false;
window.EventSource = class extends EventSource {
  constructor(...given) {
    super(...given);
    for (const name of ["state", "change"]) {
      this.addEventListener(name, () => {
        if (!taken) requestAnimationFrame(() => note("live"));
        taken = true;
      });
    }
  }
};
"""


class Loaded(NamedTuple):
    """encoded: bytes as they came over the network, of them `streamed` by what had not
    ended, which is the stream: its events' data, since no more is told of them.
    """

    encoded: int
    streamed: int
    requests: int
    first_ms: float
    live_ms: float


def measure(broker: Broker, *, times: int) -> dict[str, list[Loaded]]:
    """Of each page that there is."""
    found: dict[str, list[Loaded]] = {}
    if program() is None:
        say("Chromium is not installed (apt-get install chromium): no page is measured")
        return found
    with _with_history(broker) as port, sync_playwright() as playwright:
        browser = launched(playwright)
        for name, (path, _) in PAGES.items():
            try:
                fetch(port, path)
            except urllib.error.HTTPError as error:
                say(f"{name}: {path} is {error.code}, and not measured")
                continue
            found[name] = [_load(browser, f"http://127.0.0.1:{port}{path}") for _ in range(times)]
            last = found[name][-1]
            say(
                f"{name}: {last.encoded / 1e3:.1f} kB, {last.requests} requests, first value after"
                f" {last.first_ms:.0f} ms, live after {last.live_ms:.0f} ms"
            )
        browser.close()
    return found


@contextlib.contextmanager
def _with_history(broker: Broker) -> Iterator[int]:
    """A gateway with 200 sensors, each of which has a reading in its history."""
    with tempfile.TemporaryDirectory(prefix="brisa-bench-") as folder:
        history = {"BRISA_HISTORY_URL": f"sqlite:///{Path(folder) / 'history.db'}"}
        health = {"BRISA_HEALTH_PORT": str(free_port())}
        env = {**broker.env("recorder"), **history, **health}
        with python("-m", "gateway.history", env=env) as recorder:
            recorder.wait_for("recording|connected")
            with gateway(broker, history) as (_, port), _node(broker) as link:
                introduce(link)
                eventually("the sensors are there", lambda: LAST_SENSOR in fetch(port, "/text"))
                time.sleep(2)  # until nothing changes any more
                yield port


@contextlib.contextmanager
def _node(broker: Broker) -> Iterator[socket.socket]:
    with connect(broker.port, NODES[0], broker.password(NODES[0])) as link:
        yield link


def _load(browser: Browser, url: str) -> Loaded:
    context = browser.new_context(locale="es-ES")
    page = context.new_page()
    page.add_init_script(NOTE)
    network = context.new_cdp_session(page)
    ended: dict[str, float] = {}
    still: dict[str, float] = {}

    def on(event: str, take: Callable[[dict[str, Any]], None]) -> None:
        network.on(event, take)

    def more(told: dict[str, Any]) -> None:
        still[told["requestId"]] = still.get(told["requestId"], 0) + told["encodedDataLength"]

    on("Network.responseReceived", lambda told: more({**told, **told["response"]}))
    on("Network.dataReceived", more)
    # what an EventSource takes in is told only as its messages
    on(
        "Network.eventSourceMessageReceived",
        lambda told: more({**told, "encodedDataLength": len(told["data"].encode())}),
    )
    on(
        "Network.loadingFinished",
        lambda told: ended.update({told["requestId"]: told["encodedDataLength"]}),
    )
    network.send("Network.enable")
    network.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.goto(url)
    page.wait_for_function("() => window.seen.first && window.seen.live", timeout=PATIENCE_S * 1e3)
    page.wait_for_timeout(1000)  # for what is loaded last
    seen: dict[str, float] = page.evaluate("() => window.seen")
    context.close()
    streamed = sum(size for request, size in still.items() if request not in ended)
    return Loaded(
        encoded=int(sum(ended.values()) + streamed),
        streamed=int(streamed),
        requests=len(still.keys() | ended.keys()),
        first_ms=seen["first"],
        live_ms=seen["live"],
    )


def rows(found: dict[str, list[Loaded]]) -> list[Row]:
    made = []
    for name, loads in found.items():
        kb = [one.encoded / 1e3 for one in loads]
        limit_kb = PAGES[name][1]
        streamed = f"{loads[-1].streamed / 1e3:.0f} kB of it the stream"
        requests = f"{loads[-1].requests} requests"
        made.append(Row(f"{name}: first load, a processor of 1/{SLOWER}", "", ""))
        aim = held({f"< {limit_kb} kB": max(kb) < limit_kb})
        kb_told = spread(kb, lambda one: f"{one:.1f}")
        made.append(Row("bytes as sent, kB", kb_told, "", f"{aim}; {requests}, {streamed}"))
        first = [one.first_ms for one in loads]
        live = [one.live_ms for one in loads]
        aim = held({"< 1 s": max(first) < FIRST_VALUE_MS})
        made.append(Row("first value, ms", spread(first, lambda ms: f"{ms:.0f}"), "", aim))
        told = spread(live, lambda ms: f"{ms:.0f}")
        made.append(Row("after the script took over, ms", told, f"{_part(live, first)} × first"))
    return made


def _part(live: list[float], first: list[float]) -> str:
    return f"{sorted(live)[len(live) // 2] / sorted(first)[len(first) // 2]:.1f}"
