"""`/` as the server writes it: whole without JavaScript, and safe."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.pages import page
from tests.unit.told import Told, make_client

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onload=alert(3)"


def test_a_card_shows_value_unit_age_state_and_node_without_javascript() -> None:
    told = Told()
    told.reading()
    told.clock.pass_(3)
    card = page(told).one("article.card")
    assert card.one(".temperature dd").text == "24,0 °C"
    assert card.one(".humidity dd").text == "41,0 %"
    assert card.one(".age").text == "hace 3 s"
    assert card.one(".state .word").text == "En vivo"
    assert (card.one(".sensor").text, card.one(".node").text) == ("dht11", "aula")
    assert (card["data-sensor"], card["data-state"]) == ("aula/dht11", "live")
    # it is named by its heading, which leads to its page
    link = card.one("h2 a")
    assert (link["href"], link.text) == ("/sensors/aula/dht11", "dht11 aula")
    assert make_client(told).get(link["href"]).status_code == 200


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
    card = shown.one("article.card")
    assert card["data-state"] == state
    assert card.one(".word").text == state.capitalize()
    assert card.one(".state use")["href"] == f"#shape-{state}"
    assert shown.one(f"symbol#shape-{state}")
    assert card.texts(".values dt") == ["Temperature", "Humidity"]
    assert card.one(".temperature dd").text == "24.0 °C"
    since = card.one(".since")
    if state == "live":  # there is nothing to be worried about
        assert "hidden" in since
    else:
        assert "hidden" not in since
        assert since.text.startswith("since 23 Nov 2026, 12:00:")
        assert since.one("time")["datetime"].startswith("2026-11-23T12:00:")


def test_what_comes_from_mqtt_shows_as_text() -> None:
    told = Told()
    told.health("broken", reason=HOSTILE)
    shown = page(told)
    assert shown.one(".card .reason").text == HOSTILE
    assert shown.all("img") == []
    assert all(script["src"].startswith("/static/") for script in shown.all("script"))


@pytest.mark.parametrize(("language", "marked"), [("en", None), ("es", "en")])
def test_a_reason_in_another_language_than_the_page_is_marked(
    language: str, marked: str | None
) -> None:
    told = Told()
    told.health("retrying", reason="nothing that is translated")
    reason = page(told, f"/?lang={language}").one(".card .reason")
    assert reason.text == "nothing that is translated"
    assert reason.attributes.get("lang") == marked
    told.health("ok", reason="nothing that is translated")
    assert "hidden" in page(told).one(".card .reason")


def test_no_sensors_explain_the_next_step() -> None:
    shown = page(Told())
    assert shown.all("article.card") == []
    empty = shown.one("#empty")
    assert "hidden" not in empty
    assert "kubectl label node <node> dhtsensor=yes" in empty.text
    told = Told()
    told.reading()
    assert "hidden" in page(told).one("#empty")


def test_a_lost_broker_is_a_banner() -> None:
    told = Told()
    banner = page(told, "/?lang=en").one("#feed-lost")
    assert "hidden" not in banner
    assert banner.text == "The gateway has not found the MQTT broker yet."
    told.board.feed_up()
    assert "hidden" in page(told).one("#feed-lost")
    told.board.feed_lost()
    banner = page(told, "/?lang=en").one("#feed-lost")
    assert "hidden" not in banner
    assert banner.matches("p.banner")
    assert banner.text == "The gateway has lost the MQTT broker: what you see is the last it knew."


def test_an_unknown_age_and_a_missing_value_are_said() -> None:
    told = Told()
    told.reading(retained=True, measured_at=told.clock.now + timedelta(hours=1))
    assert page(told).one(".card .age").text == "antigüedad desconocida"
    told = Told()
    told.health("ok")
    card = page(told, "/?lang=en").one("article.card")
    assert (card.one(".age").text, card.one(".temperature dd").text) == ("no reading yet", "– °C")


def test_a_value_that_is_not_from_a_sensor_is_labelled() -> None:
    told = Told()
    told.reading(source="simulated")
    assert page(told).one(".card .source").text == "simulado"


def test_the_summary_counts_and_believes_only_a_broker_that_is_there() -> None:
    told = Told()
    told.reading()
    assert page(told, "/?lang=es").one(".summary").text == "1 sensor"
    told.board.feed_up()
    assert page(told, "/?lang=es").one(".summary").text == "1 sensor · todo en vivo"
    told.reading(sensor="b")
    told.reading(sensor="c")
    told.health("broken", sensor="b")
    told.health("retrying", sensor="c")
    told.board.feed_lost()
    assert page(told, "/?lang=en").one(".summary").text == "3 sensors · 2 in trouble"
    assert page(Told(), "/?lang=en").one(".summary").text == "No sensor"
