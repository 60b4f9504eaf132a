"""Pictures of every page in every shape, into .screenshots/, and those of the README into docs/images/.

Starts what it shows by itself: see made_up.py.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright

from tests.chromium import launched, program
from tests.system import System
from tools.made_up import nothing_yet, school, whole

REPOSITORY = Path(__file__).resolve().parent.parent
Scheme = Literal["light", "dark"]
SIZES = {
    "phone": (390, 844),
    "tablet": (820, 1180),
    "desktop": (1440, 900),
    "4k": (3840, 2160),
}
LANGUAGES = {"es": "es-ES", "en": "en-GB"}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
SMALL = ("phone", "tablet", "desktop")
PATIENCE_MS = 30_000


class Shot(NamedTuple):
    """A page to be taken; `ready`: what must be seen on it before."""

    name: str
    path: str
    sizes: tuple[str, ...] = SMALL
    ready: str = "main"


AULA = "/sensors/planta-baja/aula"
SHOTS = (
    Shot("overview", "/", (*SMALL, "4k"), '[data-state="live"]'),
    Shot("overview-by-node", "/?group=node&sort=name", ("phone", "desktop"), ".group"),
    Shot("overview-found", "/?q=sala", ("phone", "desktop"), '[data-sensor*="sala"]'),
    Shot("sensor", AULA, ready="figure.chart[data-interactive]"),
    Shot("sensor-1h", f"{AULA}?range=1h", ("desktop",), "figure.chart[data-interactive]"),
    Shot("sensor-7d", f"{AULA}?range=7d", ("phone", "desktop"), "figure.chart[data-interactive]"),
    Shot("sensor-1y", f"{AULA}?range=1y", ("phone", "desktop"), "figure.chart[data-interactive]"),
    Shot("sensor-table", f"{AULA}?range=7d&view=table", ("phone", "desktop"), "table"),
    Shot("sensor-lost", "/sensors/planta-baja/biblioteca", ("phone", "desktop")),
    Shot("sensor-retrying", "/sensors/planta-baja/pasillo", ("phone", "desktop")),
    Shot("sensor-broken", "/sensors/primer-piso/sala-de-servidores", ("phone", "desktop")),
    Shot("sensor-offline", "/sensors/invernadero/semillero", ("desktop",)),
    Shot("system", "/system", ready="#nodes"),
    Shot("kiosk", "/kiosk", (*SMALL, "4k"), '[data-state="live"]'),
    Shot("kiosk-one", "/kiosk?sensor=planta-baja/aula", (*SMALL, "4k"), '[data-state="live"]'),
    Shot(
        "kiosk-two",
        "/kiosk?sensor=planta-baja/aula&sensor=planta-baja/patio",
        SMALL,
        '[data-state="live"]',
    ),
)
# What cannot be asked for by an address: the page is open before it happens.
LOST = (Shot("overview", "/"), Shot("sensor", AULA), Shot("kiosk", "/kiosk"))
EMPTY = (Shot("empty", "/", (*SMALL, "4k"), "#empty"), Shot("empty-kiosk", "/kiosk", SMALL))
README = {
    "page": ("/?sort=name", "en", (1000, 640)),
    "pagina": ("/?sort=name", "es", (1000, 640)),
    "sensor": (AULA, "en", (1000, 1040)),
    "sensor-es": (AULA, "es", (1000, 1040)),
}
MOST_BYTES = 150_000


class Pictures:
    """Takes those whose name matches `only`, and says of each how far it is."""

    def __init__(self, browser: Browser, folder: Path, only: str) -> None:
        self._browser = browser
        self._folder = folder
        self._only = re.compile(only)
        self._taken = 0

    def wanted(self, shots: tuple[Shot, ...], prefix: str = "") -> Iterator[tuple[str, Shot, Page]]:
        """Each combination that is asked for, with a page of its own, not opened yet."""
        for shot in shots:
            for size in shot.sizes:
                for scheme in SCHEMES:
                    for language in LANGUAGES:
                        name = f"{prefix}{shot.name}-{size}-{scheme}-{language}"
                        if self._only.search(name):
                            yield name, shot, self.page(SIZES[size], scheme, language)

    def page(self, size: tuple[int, int], scheme: Scheme, language: str) -> Page:
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            locale=LANGUAGES[language],
            timezone_id="Europe/Madrid",
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MS)
        return context.new_page()

    def all_of(self, shots: tuple[Shot, ...], system: System) -> None:
        for name, shot, page in self.wanted(shots):
            answer = page.goto(system.url + shot.path)
            if answer is None or not answer.ok:
                say(f"{shot.path}: {answer and answer.status}, so no picture of it")
            else:
                page.wait_for_selector(shot.ready)
                self.take(page, name)
            page.context.close()

    def take(self, page: Page, name: str) -> None:
        page.evaluate("document.fonts.ready")
        self._folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=self._folder / f"{name}.png", full_page="kiosk" not in name)
        self._taken += 1
        say(f"{self._taken:3}  {name}.png")

    def lost(self, system: System) -> None:
        """What pages say that were open when the broker went, and then the gateway."""
        open_pages = []
        for name, shot, page in self.wanted(LOST, "lost-"):
            page.goto(system.url + shot.path)
            open_pages.append((name, page))
        if not open_pages or system.gateway is None:
            return
        system.broker.kill()
        for name, page in open_pages:
            page.wait_for_selector("#feed-lost", state="visible")
            self.take(page, name.replace("lost-", "broker-lost-"))
        system.gateway.close()
        for name, page in open_pages:
            page.wait_for_selector("#page-lost", state="visible")
            self.take(page, name.replace("lost-", "gateway-lost-"))
            page.context.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / ".screenshots")
    parser.add_argument(
        "--only",
        default="",
        metavar="REGEX",
        help="pictures by their names; `readme`: those of the README [all]",
    )
    options = parser.parse_args()
    if program() is None:
        print("screenshots: chromium is not installed", file=sys.stderr)
        return 1
    # that the broker is gone is what the last pictures are of
    logging.getLogger("broker").setLevel(logging.ERROR)
    with (
        tempfile.TemporaryDirectory(prefix="brisa-screenshots-") as folder,
        sync_playwright() as playwright,
        contextlib.closing(launched(playwright, "--hide-scrollbars")) as browser,
    ):
        pictures = Pictures(browser, options.out, options.only)
        with nothing_yet(Path(folder) / "empty") as system:
            pictures.all_of(EMPTY, system)
        with school(Path(folder), say) as system:
            whole(system)
            too_large = (
                for_the_readme(pictures, system) if re.search(options.only, "readme") else []
            )
            pictures.all_of(SHOTS, system)
            pictures.lost(system)
    for path in too_large:
        print(f"screenshots: {path} is larger than {MOST_BYTES} bytes", file=sys.stderr)
    return 1 if too_large else 0


def for_the_readme(pictures: Pictures, system: System) -> list[Path]:
    """Returns those that are too large."""
    folder = REPOSITORY / "docs/images"
    for name, (path, language, size) in README.items():
        page = pictures.page(size, "light", language)
        page.goto(system.url + path)
        page.wait_for_selector('[data-state="live"]')
        page.screenshot(path=folder / f"{name}.png")
        page.context.close()
        say(str(folder / f"{name}.png"))
    return [f for name in README if (f := folder / f"{name}.png").stat().st_size > MOST_BYTES]


def say(text: str) -> None:
    print(f"screenshots: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
