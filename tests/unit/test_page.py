"""The page as the server writes it: whole without JavaScript, safe, in two languages."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from gateway.page import summary
from tests.unit.told import Told, make_client


class Page(HTMLParser):
    """The text of each element that has one of these classes, and all start tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._depth: list[str] = []
        self.text: dict[str, str] = {}
        self.feed(html.split("<template", maxsplit=1)[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in {"meta", "link", "use", "path", "circle"}:
            self._depth.append(attributes.get("class") or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"use", "path", "circle"}:
            self._depth.pop()

    def handle_data(self, data: str) -> None:
        for name in self._depth:
            self.text[name] = self.text.get(name, "") + data

    def shown(self, name: str) -> str:
        return " ".join(self.text.get(name, "").split())

    def attributes(self, **wanted: str) -> dict[str, str | None]:
        found = [a for _, a in self.tags if all(a.get(k) == v for k, v in wanted.items())]
        assert len(found) == 1
        return found[0]


def page(told: Told, path: str = "/", language: str = "") -> Page:
    response = make_client(told).get(path, headers={"Accept-Language": language})
    assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8")
    return Page(response.get_data(as_text=True))


def test_a_card_shows_value_unit_age_state_and_node_without_javascript() -> None:
    told = Told()
    told.reading()
    told.clock.pass_(3)
    shown = page(told)
    assert shown.shown("temperature") == "24,0 °C"
    assert shown.shown("humidity") == "41,0 %"
    assert shown.shown("age") == "hace 3 s"
    assert shown.shown("word") == "En vivo"
    assert (shown.shown("node"), shown.shown("sensor")) == ("aula", "dht11")
    card = shown.attributes(**{"data-sensor": "aula/dht11"})
    assert (card["data-state"], card["aria-label"]) == ("live", "aula dht11")


@pytest.mark.parametrize("state", ["live", "late", "retrying", "broken", "offline"])
def test_each_state_is_a_word_and_a_shape(state: str) -> None:
    told = Told()
    told.reading()
    if state == "late":
        told.after(60)
    elif state == "offline":
        told.status("offline")
    elif state != "live":
        told.health(state, reason="why")
    shown = page(told, "/?lang=en")
    assert shown.shown("word") == state.capitalize()
    assert ("use", {"href": f"#shape-{state}"}) in shown.tags
    assert shown.shown("since").startswith("since 23 Nov 2026, 12:00")
    assert shown.shown("temperature") == "24.0 °C"


def test_what_comes_from_mqtt_shows_as_text() -> None:
    told = Told()
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onload=alert(3)"
    told.health("broken", reason=hostile)
    shown = page(told)
    assert shown.shown("reason") == hostile
    assert [tag for tag, _ in shown.tags if tag == "img"] == []
    assert [a.get("src", "")[:8] for tag, a in shown.tags if tag == "script"] == ["/static/"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("reason", "language", "said", "said_in"),
    [
        ("timeout: not open", "es", "sin respuesta: no está abierto", "es"),
        ("timeout: not open", "en", "timeout: not open", "en"),
        ("a new one", "es", "a new one", "en"),
        ("wrong sum in <b>x</b>", "es", "suma incorrecta en <b>x</b>", "es"),
    ],
)
def test_a_reason_is_in_the_pages_language_or_marked_as_english(
    reason: str, language: str, said: str, said_in: str
) -> None:
    told = Told()
    told.health("retrying", reason=reason)
    shown = page(told, f"/?lang={language}")
    assert shown.shown("reason") == said
    reasons = [a for _, a in shown.tags if a.get("class") == "reason"]
    assert [a["lang"] for a in reasons] == [said_in]


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    told = Told()
    told.reading()
    for tag, attributes in page(told).tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert not re.match(r"(\w+:)?//", attributes.get(name) or "")


def test_without_javascript_the_page_reloads_itself() -> None:
    html = make_client(Told()).get("/").get_data(as_text=True)
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in html


def test_no_sensors_explain_the_next_step() -> None:
    shown = page(Told())
    assert "hidden" not in shown.attributes(id="empty")
    assert "kubectl label node <node> dhtsensor=yes" in shown.shown("empty")


def test_a_lost_broker_is_a_banner() -> None:
    told = Told()
    assert "hidden" not in page(told).attributes(id="feed-lost")
    told.board.feed_up()
    assert "hidden" in page(told).attributes(id="feed-lost")
    told.board.feed_lost()
    shown = page(told, "/?lang=en")
    assert "hidden" not in shown.attributes(id="feed-lost")
    assert "The gateway has lost the MQTT broker" in shown.shown("banner")


@pytest.mark.parametrize(
    ("path", "accepted", "language"),
    [
        ("/", "", "es"),
        ("/", "en-GB,en;q=0.9", "en"),
        ("/", "de,fr;q=0.5", "es"),
        ("/", "es-AR,en;q=0.5", "es"),
        ("/?lang=en", "es", "en"),
        ("/?lang=es", "en", "es"),
    ],
)
def test_the_language_is_asked_for_or_the_browsers_or_spanish(
    path: str, accepted: str, language: str
) -> None:
    response = make_client(Told()).get(path, headers={"Accept-Language": accepted})
    assert response.headers["Content-Language"] == language
    assert "Accept-Language" in response.headers["Vary"]
    assert f'<html lang="{language}"' in response.get_data(as_text=True)


def test_an_unknown_age_and_a_missing_value_are_said() -> None:
    told = Told()
    told.reading(retained=True, measured_at=told.clock.now + timedelta(hours=1))
    assert page(told).shown("age") == "antigüedad desconocida"
    told = Told()
    told.health("ok")
    shown = page(told, "/?lang=en")
    assert (shown.shown("age"), shown.shown("temperature")) == ("no reading yet", "– °C")


def test_a_value_that_is_not_from_a_sensor_is_labelled() -> None:
    told = Told()
    told.reading(source="simulated")
    assert page(told).shown("source") == "simulado"


def test_the_script_gets_the_texts_of_the_pages_language() -> None:
    _, html = page(Told(), "/?lang=en").tags[0]
    assert json.loads(html["data-texts"] or "")["age_min"] == "{num} min ago"
    settings = json.loads(html["data-settings"] or "")
    assert (settings["language"], settings["locale"], settings["units"]) == ("en", "en-GB", "c")


def test_static_files_are_kept_for_ever_only_under_the_address_of_their_content() -> None:
    client = make_client(Told())
    html = client.get("/").get_data(as_text=True)
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', html)
    assert len(addresses) == 3
    for address in addresses:
        with client.get(address) as response:
            assert response.status_code == 200
            assert "immutable" in response.headers["Cache-Control"]
        with client.get(address[:-1] + "x") as response:
            assert "immutable" not in response.headers["Cache-Control"]


def test_the_summary_says_how_many_and_calls_nothing_well_that_is_not_known() -> None:
    assert summary(0, 0, "es", believed=True) == "Ningún sensor"
    assert summary(1, 0, "es", believed=True) == "1 sensor · todo en vivo"
    assert summary(1, 0, "es", believed=False) == "1 sensor"
    assert summary(3, 2, "en", believed=False) == "3 sensors · 2 in trouble"


def test_the_unit_is_chosen_too() -> None:
    told = Told()
    told.reading()
    assert page(told, "/?units=f").shown("temperature") == "75,2 °F"
    assert page(told, "/?units=f&lang=en").shown("temperature") == "75.2 °F"
