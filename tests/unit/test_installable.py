"""`/manifest.webmanifest`: what a browser needs to offer the page as an application."""

from __future__ import annotations

import struct

import pytest

from tests.unit.pages import page
from tests.unit.told import Told, make_client


@pytest.mark.parametrize(("language", "tag"), [("es", "es"), ("en", "en-GB")])
def test_the_manifest_is_in_the_page_s_language(language: str, tag: str) -> None:
    href = page(Told(), f"/?lang={language}").one("link[rel=manifest]")["href"]
    other = {"Accept-Language": "es" if language == "en" else "en"}
    response = make_client(Told()).get(href, headers=other)
    assert response.status_code == 200
    assert response.content_type == "application/manifest+json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Content-Language"] == language
    manifest = response.json
    assert manifest is not None
    assert manifest["lang"] == tag
    assert manifest["name"].startswith("brisa · ")
    assert (manifest["display"], manifest["start_url"], manifest["scope"]) == (
        *("standalone", "/", "/"),
    )


def test_its_icons_are_there_and_as_large_as_it_says() -> None:
    client = make_client(Told())
    manifest = client.get("/manifest.webmanifest").json
    assert manifest is not None
    sizes = []
    for icon in manifest["icons"]:
        with client.get(icon["src"]) as response:
            assert response.status_code == 200
            assert response.mimetype == icon["type"]
            assert "immutable" in response.headers["Cache-Control"]
            if icon["type"] == "image/png":
                width, height = struct.unpack(">II", response.data[16:24])
                assert icon["sizes"] == f"{width}x{height}"
        sizes.append((icon["sizes"], icon.get("purpose", "any")))
    # what Chromium asks for before it offers to install
    assert {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")} < set(sizes)


def test_its_shortcuts_are_pages_of_the_navigation() -> None:
    client = make_client(Told())
    manifest = client.get("/manifest.webmanifest?lang=en").json
    assert manifest is not None
    pages = {link["href"]: link.text for link in page(Told(), "/?lang=en").all("nav.pages a")}
    for shortcut in (*manifest["shortcuts"], {"url": manifest["start_url"], "name": "Sensors"}):
        assert pages[shortcut["url"]] == shortcut["name"]
