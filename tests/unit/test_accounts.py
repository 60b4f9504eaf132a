"""What the pages say of the stored readings: of all on the overview, of each on its own page."""

from __future__ import annotations

from datetime import datetime

import pytest
from flask import render_template
from flask.testing import FlaskClient

from gateway import locale
from gateway.accounts import Accounts
from gateway.history.sentences import sentence
from gateway.history.views import SensorAudit
from gateway.history.watch import Watch
from tests.unit.pages import Element, Page, get
from tests.unit.past import Past, away
from tests.unit.told import Told, make_client

SENSOR = "/sensors/pi-1/dht11"
AWAY = "The history cannot be read now; the gateway's log says why."


def section(client: FlaskClient, watch: Watch | None, told: Told, language: str = "en") -> Element:
    """The part that a page includes."""
    accounts = Accounts(watch, told.clock.utcnow)
    with client.application.test_request_context(f"/?lang={language}"):
        locale.choose()
        of_all = list(accounts.of_all().values())
        html = render_template(
            "history.html", seen=accounts.seen(), accounts=of_all, language=language
        )
    return Page(html).one("section#history")


def test_the_pages_say_of_each_sensor_what_became_of_its_readings(
    client: FlaskClient, past: Past, watch: Watch, told: Told
) -> None:
    past.readings(range(1, 4))
    past.readings([3], sensor="other", after=0)
    watch.refresh()
    shown = section(client, watch, told)
    assert shown.one("h2").text == "History"
    assert shown.texts("li h3 a") == ["dht11", "other"]
    assert shown.texts(".mark") == ["Complete", "Readings lost"]
    assert [mark["data-mark"] for mark in shown.all(".mark")] == ["whole", "lost"]
    assert shown.all(".account")[0].text == "All 3 readings since 3 May are stored."
    assert "2 readings of 3 May were lost" in shown.all(".account")[1].text
    assert "Account as JSON of 3 May 2026, 09:00:00 UTC" in shown.text
    links = [link["href"] for link in shown.all("a")]
    assert links == [SENSOR, "/sensors/pi-1/other", "/api/v1/audit"]
    for link in links:
        assert client.get(link).status_code == 200
    spanish = section(client, watch, told, "es")
    assert "Las 3 lecturas desde el 3 de mayo" in spanish.all(".account")[0].text
    # and on the page of each, the same
    for name, text, mark in (
        ("dht11", "All 3 readings since 3 May are stored.", "Complete"),
        ("other", "2 readings of 3 May were lost", "Readings lost"),
    ):
        facts = get(client, f"/sensors/pi-1/{name}?lang=en").one("#facts")
        assert text in facts.text
        assert facts.one(".mark").text == mark


def test_an_account_is_written_once_in_each_language_and_anew_when_it_is_read_again(
    client: FlaskClient, past: Past, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def counted(one: SensorAudit, language: str, now: datetime) -> list[str]:
        written.append(language)
        return sentence(one, language, now)

    monkeypatch.setattr("gateway.accounts.sentence", counted)
    for last, english, spanish in (
        (3, "All 3 readings since 3 May are stored.", "Las 3 lecturas"),
        (4, "All 4 readings since 3 May are stored.", "Las 4 lecturas"),
    ):
        past.readings(range(1, last + 1))
        watch.refresh()
        for _ in range(2):
            assert english in get(client, f"{SENSOR}?lang=en").one("#facts").text
            assert spanish in get(client, f"{SENSOR}?lang=es").one("#facts").text
    assert written == ["en", "es"] * 2


def test_sensors_of_which_nothing_is_stored_have_no_sentence_of_all(
    client: FlaskClient, past: Past, watch: Watch
) -> None:
    past.health()
    watch.refresh()
    assert "hidden" in get(client).one("#kept")


def test_both_forms_of_a_sensor_s_readings_are_a_link_away(
    client: FlaskClient, past: Past, watch: Watch
) -> None:
    past.readings(range(1, 4))
    watch.refresh()
    links = [link["href"] for link in get(client, SENSOR).all("a")]
    csv = next(link for link in links if link.startswith(f"/api/v1{SENSOR}/history?format=csv&"))
    streams = f"/api/v1/audit{SENSOR.removeprefix('/sensors')}"
    assert streams in links
    for link in (csv, csv.replace("csv", "json"), streams):
        with client.get(link) as response:
            assert response.status_code == 200
    assert len(client.get(csv).text.splitlines()) == 4
    assert "/api/v1/audit" not in links  # which is of all of them


@pytest.mark.parametrize("path", ["/?lang=en", "/trends?lang=en"])
def test_the_overview_has_one_sentence_of_all_and_its_script_the_same(
    client: FlaskClient, past: Past, watch: Watch, path: str
) -> None:
    for _ in range(2):  # nothing can be said yet
        assert "hidden" in get(client, path).one("#kept")
        watch.refresh()
    past.readings(range(1, 1001))
    past.readings(range(1, 3), sensor="other")
    watch.refresh()
    kept = get(client, path).one("#kept")
    assert kept.text == "Nothing lost: 1,002 readings are stored since 3 May. The account"
    assert (kept["data-mark"], kept.one("use")["href"]) == ("whole", "#mark-whole")
    assert kept.one("a")["href"] == "/system#history"
    past.readings([4], sensor="other", live=True)
    watch.refresh()
    kept = get(client, path).one("#kept")
    assert kept.text.startswith(
        "1,003 readings are stored since 3 May. 1 is missing, which its node can still send."
    )
    assert kept["data-mark"] == "missing"
    past.readings([4], after=2, sensor="other")
    past.readings([1004], live=True)
    watch.refresh()
    kept = get(client, path).one("#kept")
    assert kept.text.startswith(
        "1,004 readings are stored since 3 May."
        " 3 are missing, which their nodes can still send. 1 was lost."
    )
    assert kept["data-mark"] == "lost"


def test_what_the_script_renews_is_304_until_it_changes(
    client: FlaskClient, past: Past, watch: Watch
) -> None:
    past.readings([1])
    watch.refresh()
    alone = client.get("/trends?lang=en")
    etag = {"If-None-Match": alone.headers["ETag"]}
    assert client.get("/trends?lang=en", headers=etag).status_code == 304
    past.readings([2])
    watch.refresh()
    assert client.get("/trends?lang=en", headers=etag).status_code == 200


def test_without_a_history_no_page_says_anything_of_its_readings() -> None:
    told = Told()
    told.reading(node="pi-1")
    client = make_client(told)
    for path in ("/", "/trends"):
        assert "hidden" in get(client, path).one("#kept")
    assert section(client, None, told).text == (
        "History No history is kept here: BRISA_HISTORY_URL is not set."
    )
    facts = get(client, f"{SENSOR}?lang=en").one("#facts")
    assert facts.all(".mark") == []
    assert "BRISA_HISTORY_URL is not set" in facts.text
    assert client.get("/history").status_code == 404
    assert "brisa_history" not in client.get("/metrics").get_data(as_text=True)


def test_before_the_first_account_and_before_the_first_reading_it_is_said(
    client: FlaskClient, watch: Watch, told: Told
) -> None:
    assert "Reading the history…" in section(client, watch, told).text
    watch.refresh()
    assert "is the recorder running? python -m gateway.history" in section(client, watch, told).text


def test_a_database_that_is_away_is_said_with_the_time_of_the_last_account(
    client: FlaskClient,
    past: Past,
    watch: Watch,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past.readings(range(1, 4))
    watch.refresh()
    assert "cannot be read" not in section(client, watch, told).text
    told.clock.pass_(600)
    away(monkeypatch)
    watch.refresh()
    shown = section(client, watch, told)
    assert shown.one(".away").text == f"{AWAY} What follows is of 3 May 2026, 09:00:00 UTC."
    assert "All 3 readings" in shown.text
    assert "locked" not in shown.text
    assert "hidden" in get(client).one("#kept")
    page = get(client, f"{SENSOR}?lang=en")
    assert page.one("#past .note").text == AWAY
    assert "All 3 readings" in page.one("#facts").text
    assert "locked" not in page.root.text
