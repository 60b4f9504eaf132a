"""Debian's Chromium, for tests and for pictures."""

from __future__ import annotations

import shutil

from playwright.sync_api import Browser, Playwright

# Without these a browser talks to its maker's hosts, which an isolated network refuses.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def program() -> str | None:
    """None: it is not installed."""
    return shutil.which("chromium")


def launched(playwright: Playwright, *more: str) -> Browser:
    return playwright.chromium.launch(executable_path=program(), args=[*QUIET, *more])
