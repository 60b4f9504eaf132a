"""`/` as the server writes it: whole without JavaScript, and safe."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway import rendering
from gateway.history.trends import Means
from gateway.history.watch import Seen, Trends, Watch
from gateway.overview import RANK, TOOLS_FROM
from gateway.problems import ProblemView
from gateway.views import ViewState
from tests.unit.pages import Page, get, page
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
    # and what follows from it is not shown at all
    assert ["hidden" in one for one in card.all(".derived div")] == [True, True]
    told.reading(temperature_c=2.0, humidity_pct=50.0)  # too cold for what it feels like
    derived = page(told).one(".derived")
    assert ("hidden" in derived.one(".feels"), "hidden" in derived.one(".dew")) == (True, False)


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


# ---- searched, ordered, by node


def names(shown: Page) -> list[str]:
    return [card["data-sensor"] for card in shown.all("#cards article")]


@pytest.fixture
def house() -> Told:
    """A sensor of each state; of one of them no value."""
    told = Told()
    told.reading(node="pi-1", sensor="salon", temperature_c=21.0, humidity_pct=40.0)
    told.reading(node="pi-1", sensor="attic", temperature_c=30.0, humidity_pct=20.0)
    told.health("retrying", node="pi-1", sensor="attic")
    told.health("broken", node="pi-2", sensor="cellar")
    told.reading(node="pi-2", sensor="salon", temperature_c=-5.0, humidity_pct=90.0)
    told.health("ok", node="pi-2", sensor="salon", interval_s=0.001)
    told.reading(node="pi-3", sensor="bath", temperature_c=24.0, humidity_pct=80.0)
    told.status("offline", node="pi-3")
    told.clock.pass_(1)
    return told


def test_what_a_person_must_look_at_comes_first(house: Told) -> None:
    shown = page(house)
    assert names(shown) == ["pi-2/cellar", "pi-3/bath", "pi-2/salon", "pi-1/attic", "pi-1/salon"]
    assert [card["data-state"] for card in shown.all("article.card")] == [*RANK]
    assert set(RANK) == set(ViewState)
    assert shown.one("option[selected]")["value"] == "state"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", ["pi-1/attic", "pi-3/bath", "pi-2/cellar", "pi-1/salon", "pi-2/salon"]),
        ("temperature", ["pi-1/attic", "pi-3/bath", "pi-1/salon", "pi-2/salon", "pi-2/cellar"]),
        ("humidity", ["pi-2/salon", "pi-3/bath", "pi-1/salon", "pi-1/attic", "pi-2/cellar"]),
    ],
)
def test_another_order_is_asked_for(house: Told, sort: str, order: list[str]) -> None:
    shown = page(house, f"/?sort={sort}&lang=en")
    assert names(shown) == order
    chosen = shown.one("select[name=sort] option[selected]")
    assert chosen["value"] == sort
    assert shown.texts("option") == [
        *("Problems first", "Name", "Warmest first", "Most humid first"),
    ]
    # the words that lead elsewhere keep it
    for link in shown.all(".choices a"):
        assert f"sort={sort}" in link["href"]
        assert names(page(house, link["href"])) == order


def test_of_one_state_they_are_by_node_and_name() -> None:
    told = Told()
    for node, sensor in (("b", "a"), ("a", "b"), ("a", "a")):
        told.reading(node=node, sensor=sensor)
    for sort in ("state", "temperature", "humidity"):
        assert sorted(names(page(told, f"/?sort={sort}"))) == ["a/a", "a/b", "b/a"]
    assert names(page(told)) == ["a/a", "a/b", "b/a"]
    assert names(page(told, "/?sort=temperature")) == ["a/a", "b/a", "a/b"]


def test_by_node_each_has_a_heading_and_its_own_in_the_order_asked_for(house: Told) -> None:
    shown = page(house, "/?group=node&sort=temperature")
    cards = shown.one("#cards")
    in_order = [
        one.text if one.tag == "h2" and one.matches(".group") else one["data-sensor"]
        for one in cards.elements()
        if one.matches(".group") or one.matches(".card")
    ]
    assert in_order == [
        *("pi-1", "pi-1/attic", "pi-1/salon"),
        *("pi-2", "pi-2/salon", "pi-2/cellar"),
        *("pi-3", "pi-3/bath"),
    ]
    assert [one["data-group"] for one in shown.all(".group")] == ["pi-1", "pi-2", "pi-3"]
    assert "checked" in shown.one("input[name=group]")
    shown = page(house)
    assert shown.all(".group") == []
    assert "checked" not in shown.one("input[name=group]")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("salon", ["pi-2/salon", "pi-1/salon"]),
        ("SAL%C3%93N", ["pi-2/salon", "pi-1/salon"]),
        ("salo%CC%81n", ["pi-2/salon", "pi-1/salon"]),
        ("pi-3", ["pi-3/bath"]),
        ("pi-1 s", ["pi-1/salon"]),
        ("+cellar+", ["pi-2/cellar"]),
        ("nothing", []),
    ],
)
def test_a_search_takes_node_and_sensor_without_accents_and_capitals(
    house: Told, asked: str, found: list[str]
) -> None:
    shown = page(house, f"/?q={asked}&lang=en")
    assert names(shown) == found
    count = "1 sensor found" if len(found) == 1 else f"{len(found)} sensors found"
    assert shown.one("#found").text == count
    assert shown.one(".summary").text == "5 sensors · 4 in trouble"  # it is of all of them
    # there are sensors, only not these
    assert "hidden" in shown.one("#empty")


def test_what_is_searched_for_is_in_its_box_as_text() -> None:
    told = Told()
    told.reading()
    shown = page(told, "/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert shown.one("input[name=q]")["value"] == '"><script>alert(1)</script>'
    assert shown.all("body script") == []
    assert "hidden" not in shown.one("#tools")
    assert page(told).one("#found").text == ""


def test_a_search_is_offered_where_there_are_many() -> None:
    told = Told()
    for number in range(TOOLS_FROM):
        assert "hidden" in page(told).one("#tools")
        told.reading(sensor=f"s{number}")
    assert "hidden" not in page(told).one("#tools")
    assert TOOLS_FROM == 5


@pytest.mark.parametrize(
    ("query", "parameter", "says"),
    [
        ("sort=age", "sort", "'age': allowed are state, name, temperature, humidity"),
        ("sort=", "sort", "'': allowed are state"),
        ("group=sensor", "group", "'sensor': allowed is node"),
        ("group=", "group", "'': allowed is node"),
        ("sort=name&sort=name", "sort", "'sort' is given twice"),
        ("q=a&q=b", "q", "'q' is given twice"),
        ("search=a", "search", "'search'; allowed: lang, units, q, sort, group"),
    ],
)
def test_what_cannot_be_asked_is_400_by_name_value_and_what_is_allowed(
    query: str, parameter: str, says: str
) -> None:
    response = make_client(Told()).get(f"/?{query}")
    view = ProblemView.model_validate_json(response.data)
    assert (response.status_code, view.parameter) == (400, parameter)
    assert says in view.detail


def test_the_script_s_own_request_takes_no_order() -> None:
    response = make_client(Told()).get("/trends?sort=name")
    view = ProblemView.model_validate_json(response.data)
    assert (response.status_code, view.parameter) == (400, "sort")


# ---- what the script fills


def test_fahrenheit_is_of_every_temperature_and_of_nothing_else() -> None:
    told = Told()
    told.reading(temperature_c=30.0, humidity_pct=70.0)
    celsius, fahrenheit = (page(told, f"/?lang=en&units={u}").one(".card") for u in "cf")
    assert celsius.texts("dd") == ["30.0 °C", "70.0 %", "35.0 °C", "23.9 °C"]
    assert fahrenheit.texts("dd") == ["86.0 °F", "70.0 %", "95.0 °F", "75.0 °F"]


def test_nothing_is_a_little_less_than_nothing() -> None:
    told = Told()
    told.reading(temperature_c=-0.04)
    assert page(told).one(".temperature dd").text == "0,0 °C"
    told.reading(2, temperature_c=-0.06)
    assert page(told).one(".temperature dd").text == "-0,1 °C"


def test_the_empty_card_has_every_place_that_a_full_one_has() -> None:
    told = Told()
    told.reading()
    told.health("broken", reason="why")
    for path, kind in (("/", "card"), ("/kiosk", "panel")):
        shown = page(told, path)
        full = shown.one(f"article.{kind}")
        template = shown.one("template#card")
        template.tag = "div"  # to look into it
        empty = template.one(f"article.{kind}")
        assert [one.attributes.get("class") for one in empty.elements()] == [
            one.attributes.get("class") for one in full.elements()
        ]
        assert not {"data-sensor", "data-state"} & set(empty.attributes)
        assert "hidden" in empty.one(".reason")


def test_the_small_charts_have_a_place_in_each_card_that_is_renewed() -> None:
    told = Told()
    told.reading(node="pi-1", sensor="a")
    told.reading(node="pi-1", sensor="b")
    ids = ["trend-pi-1/a", "trend-pi-1/b"]
    assert [one["id"] for one in page(told).all("article .trend")] == ids
    renewed = page(told, "/trends").all("[data-renew]")
    assert [one["id"] for one in renewed] == [*ids, "kept"]


class Watched(Watch):
    """A history of which only the trends are known, and whether it can be read."""

    def __init__(self) -> None:
        self.problem = ""
        self.curves: dict[tuple[str, str], list[Means | None]] = {
            ("pi-1", "a"): [Means(20.0, 50.0), Means(21.0, 50.0)]
        }

    def seen(self) -> Seen:
        return Seen(None, None, self.problem)

    def trends(self) -> Trends:
        return Trends(self.curves, None)


def test_the_small_charts_are_written_once_for_all_who_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, watch = Told(), Watched()
    told.reading(node="pi-1", sensor="a")
    client = make_client(told, watch=watch)
    written: list[bytes] = []
    packed = rendering.packed

    def counted(html: bytes) -> bytes:
        written.append(html)
        return packed(html)

    monkeypatch.setattr(rendering, "packed", counted)
    first = client.get("/trends").data
    told.reading(2, node="pi-1", sensor="a", temperature_c=25.0)  # which is not shown here
    assert client.get("/trends").data == first
    assert len(written) == 1
    assert client.get("/trends?units=f").data != client.get("/trends?lang=en").data != first
    assert len(written) == 3
    told.reading(node="pi-1", sensor="b")
    assert b'"trend-pi-1/b"' in client.get("/trends").data
    watch.curves = {("pi-1", "a"): [Means(20.0, 50.0), Means(29.0, 50.0)]}
    assert "29,0" in client.get("/trends").get_data(as_text=True)
    assert len(written) == 5


def test_while_the_history_is_away_old_hours_are_not_shown_as_the_last_ones() -> None:
    told, watch = Told(), Watched()
    told.reading(node="pi-1", sensor="a")
    client = make_client(told, watch=watch)
    for path in ("/", "/trends"):
        watch.problem = ""
        assert get(client, path).all(".trend svg")
        watch.problem = "its database does not answer"
        assert not get(client, path).all(".trend svg")
