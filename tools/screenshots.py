"""Take pictures of a running page: `make run` in one terminal, `make screenshots` in another."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

SIZES = {"page": (780, 350, "en-GB"), "pagina": (780, 350, "es-ES")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    parser.add_argument("--url", default="http://localhost:5000", help="[http://localhost:5000]")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="[docs/images]")
    options = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        print("screenshots: chromium is not installed", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        for name, (width, height, locale) in SIZES.items():
            page = browser.new_page(
                viewport={"width": width, "height": height},
                locale=locale,
            )
            try:
                page.goto(options.url)
                page.wait_for_selector("[data-state=live]", timeout=30_000)
            except Error as error:
                print(f"screenshots: {options.url}: {error.message}", file=sys.stderr)
                return 1
            page.screenshot(path=options.out / f"{name}.png")
            print(options.out / f"{name}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
