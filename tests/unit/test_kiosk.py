"""`/kiosk`: large values for a wall, of all sensors or of those that are named, in their order."""

from __future__ import annotations

import pytest

from gateway.kiosk import MOST
from gateway.problems import ProblemView
from tests.unit.pages import Page, page
from tests.unit.told import Told, make_client


def names(shown: Page) -> list[str]:
    return [panel["data-sensor"] for panel in shown.all("#cards article")]


@pytest.fixture
def told() -> Told:
    told = Told()
    for sensor in "abc":
        told.reading(sensor=sensor)
    return told


def test_every_sensor_has_its_panel(told: Told) -> None:
    told.health("broken", sensor="b", reason="<b>no wire</b>")
    shown = page(told, "/kiosk?lang=en&units=f")
    assert names(shown) == ["aula/a", "aula/b", "aula/c"]
    panel = shown.all("article.panel")[1]
    assert panel["data-state"] == "broken"
    assert panel.one("h2").text == "b aula"
    assert panel.one("h2 a")["href"] == "/sensors/aula/b"
    assert (panel.one(".word").text, panel.one(".state use")["href"]) == ("Broken", "#shape-broken")
    assert panel.texts(".values dd") == ["75.2 °F", "41.0 %"]
    assert (panel.one(".age").text, panel.one(".reason").text) == ("0 s ago", "<b>no wire</b>")
    assert "data-only" not in shown.one("#cards")
    assert "hidden" in shown.one("#empty")
    assert [link["href"] for link in shown.all(".kiosk-foot a")] == ["/"]


def test_those_that_are_named_come_in_that_order_when_they_are_there(told: Told) -> None:
    shown = page(told, "/kiosk?sensor=aula/c&sensor=pi-9/none&sensor=aula/a")
    assert names(shown) == ["aula/c", "aula/a"]
    cards = shown.one("#cards")
    assert cards["data-only"] == "aula/c pi-9/none aula/a"
    assert cards["data-count"] == "2"
    assert "hidden" not in page(told, "/kiosk?sensor=pi-9/none").one("#empty")


def test_more_than_can_be_read_from_afar_are_counted() -> None:
    told = Told()
    for number in range(MOST):
        told.reading(sensor=f"s{number:02}")
    shown = page(told, "/kiosk?lang=en")
    assert "hidden" in shown.one("#more")
    told.reading(sensor="s98")
    told.reading(sensor="s99")
    shown = page(told, "/kiosk?lang=en")
    assert names(shown) == [f"aula/s{number:02}" for number in range(MOST)]
    assert "hidden" not in shown.one("#more")
    assert shown.one("#more").text == "and 2 more"
    cards = shown.one("#cards")
    assert (cards["data-most"], cards["data-count"]) == ("12", "12")
    last = page(told, "/kiosk?sensor=aula/s99")
    assert names(last) == ["aula/s99"]
    assert "hidden" in last.one("#more")


def test_a_lost_broker_is_a_banner_here_too(told: Told) -> None:
    told.board.feed_up()
    assert "hidden" in page(told, "/kiosk").one("#feed-lost")
    told.board.feed_lost()
    assert "hidden" not in page(told, "/kiosk").one("#feed-lost")


@pytest.mark.parametrize(
    ("query", "parameter", "says"),
    [
        ("sensor=aula", "sensor", "'aula': allowed is NODE/SENSOR"),
        ("sensor=", "sensor", "'': allowed is NODE/SENSOR"),
        ("sensor=aula/a&sensor=aula/a/b", "sensor", "'aula/a/b': allowed is NODE/SENSOR"),
        ("sensor=AULA/a", "sensor", "'AULA/a'"),
        ("sensor=%3Cb%3E/a", "sensor", "'<b>/a'"),
        ("sort=name", "sort", "allowed: lang, units, sensor"),
        ("lang=en&lang=en", "lang", "given twice"),
    ],
)
def test_what_cannot_be_asked_is_400_by_name_value_and_what_is_allowed(
    told: Told, query: str, parameter: str, says: str
) -> None:
    response = make_client(told).get(f"/kiosk?{query}")
    view = ProblemView.model_validate_json(response.data)
    assert (response.status_code, view.parameter) == (400, parameter)
    assert says in view.detail
