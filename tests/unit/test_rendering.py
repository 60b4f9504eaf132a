"""What every page has around it: its language, what its scripts are told, and nothing from elsewhere."""

from __future__ import annotations

import json
import re

import pytest

from gateway.client_texts import PLURALS, TEXTS
from gateway.views import DEFAULT_INTERVAL_S, LATE_AFTER_INTERVALS
from tests.unit.pages import page
from tests.unit.told import Told, make_client

PATHS = ("/", "/sensors/aula/dht11", "/kiosk", "/trends")


def told() -> Told:
    told = Told()
    told.reading()
    told.health("ok")
    return told


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(path: str) -> None:
    for element in page(told(), path).root.elements():
        assert element.tag != "style"
        assert "style" not in element
        assert not [name for name in element.attributes if name.startswith("on")]
        for name in ("src", "href", "action"):
            assert not re.match(r"(\w+:)?//", element.attributes.get(name, ""))


@pytest.mark.parametrize(
    ("path", "every"), [("/", "10"), ("/kiosk", "10"), ("/sensors/aula/dht11", "30")]
)
def test_without_javascript_a_page_reloads_itself(path: str, every: str) -> None:
    meta = page(told(), path).one("noscript meta")
    assert meta.attributes == {"http-equiv": "refresh", "content": every}


@pytest.mark.parametrize(
    ("path", "accepted", "language"),
    [
        ("/", "", "es"),
        ("/", "en-GB,en;q=0.9", "en"),
        ("/", "de,fr;q=0.5", "es"),
        ("/", "es-AR,en;q=0.5", "es"),
        ("/?lang=en", "es", "en"),
        ("/?lang=es", "en", "es"),
        ("/kiosk", "en", "en"),
        ("/sensors/aula/dht11", "en", "en"),
        ("/trends?lang=en", "es", "en"),
    ],
)
def test_the_language_is_asked_for_or_the_browsers_or_spanish(
    path: str, accepted: str, language: str
) -> None:
    response = make_client(told()).get(path, headers={"Accept-Language": accepted})
    assert response.headers["Content-Language"] == language
    assert "Accept-Language" in response.headers["Vary"]
    assert f'<html lang="{language}"' in response.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/", "/kiosk", "/sensors/aula/dht11"])
def test_the_script_gets_the_texts_of_the_pages_language(path: str) -> None:
    html = page(told(), f"{path}?lang=en&units=f").one("html")
    texts = json.loads(html["data-texts"])
    assert texts["broken"] == TEXTS["broken"] == "Broken"
    assert texts["age_s"] == "{num} s ago"
    assert set(texts) == {*TEXTS, *(f"{key}_{form}" for key in PLURALS for form in "1n")}
    assert json.loads(html["data-settings"]) == {
        "language": "en",
        "locale": "en-GB",
        "units": "f",
        "lateAfter": LATE_AFTER_INTERVALS,
        "defaultInterval": DEFAULT_INTERVAL_S,
    }
    assert json.loads(page(told(), path).one("html")["data-texts"])["broken"] == "Averiado"
