"""What every page has around it: its language, what its scripts are told, and nothing from elsewhere."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.client_texts import PLURALS, TEXTS
from gateway.headers import SECURITY_HEADERS
from gateway.kiosk import MOST
from gateway.rendering import COMPRESS_FROM_BYTES, with_query
from gateway.views import DEFAULT_INTERVAL_S, LATE_AFTER_INTERVALS, Changes
from tests.unit.pages import Page, get, page, page_of
from tests.unit.past import Past
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


# ---- what the reader has chosen


def test_language_and_unit_are_remembered_by_the_browser_on_every_page() -> None:
    client = make_client(told())
    page_of(client.get("/?lang=en&units=f"))
    for path in PATHS:
        response = client.get(path, headers={"Accept-Language": "es"})
        assert response.headers["Content-Language"] == "en"
        assert "Set-Cookie" not in response.headers
    assert get(client, "/kiosk").one(".temperature dd").text == "75.2 °F"
    page_of(client.get("/kiosk?lang=es"))
    assert get(client, "/", "en").one(".temperature dd").text == "75,2 °F"


def test_the_choices_are_links_that_keep_the_rest_of_the_address_and_mark_the_present() -> None:
    shown = page(told(), "/?lang=en&units=f&q=dht&group=node")
    links = {link.text: link for link in shown.all(".choices a")}
    assert {text: link["href"] for text, link in links.items()} == {
        "°C": "/?q=dht&group=node&units=c",
        "°F": "/?q=dht&group=node&units=f",
        "ES": "/?q=dht&group=node&lang=es",
        "EN": "/?q=dht&group=node&lang=en",
    }
    marked = {text for text, link in links.items() if "aria-current" in link}
    assert marked == {"°F", "EN"}


@pytest.mark.parametrize(
    ("path", "here"), [("/", "/"), ("/sensors/aula/dht11", None), ("/kiosk", None)]
)
def test_the_page_that_is_shown_is_marked_in_the_navigation(path: str, here: str | None) -> None:
    links = page(told(), path).all("nav.pages a")
    marked = [link["href"] for link in links if link.attributes.get("aria-current") == "page"]
    assert marked == ([here] if here else [])


@pytest.mark.parametrize(
    ("path", "changes", "expected"),
    [
        ("/?q=a%20b", {"sort": "name"}, "/?q=a+b&sort=name"),
        ("/?q=a&sort=name", {"sort": None}, "/?q=a"),
        ("/?q=%26%3D%23", {}, "/?q=%26%3D%23"),
        ("/?lang=en&units=f", {}, "/"),
        ("/?lang=en&units=f", {"units": "c"}, "/?units=c"),
        ("/?from=2026-05-03T08:00:00Z", {}, "/?from=2026-05-03T08:00:00Z"),
        ("/a%20b/%3Cc%3E?q=1", {}, "/a%20b/%3Cc%3E?q=1"),
    ],
)
def test_an_address_is_changed_in_one_place(
    client: FlaskClient, path: str, changes: dict[str, str | None], expected: str
) -> None:
    with client.application.test_request_context(path):
        assert with_query(**changes) == expected


# ---- asked again


@pytest.mark.parametrize("path", PATHS)
def test_a_page_that_has_not_changed_is_304(path: str) -> None:
    state = told()
    client = make_client(state)
    first = client.get(path)
    etag = first.headers["ETag"]
    assert etag.startswith('W/"')
    assert first.headers["Cache-Control"] == "no-cache"
    for encoding in ("identity", "gzip"):
        asked = {"If-None-Match": etag, "Accept-Encoding": encoding}
        again = client.get(path, headers=asked)
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    state.reading(2, temperature_c=20.0)
    state.reading(2, sensor="new")  # which is all that /trends shows
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 200


def test_within_a_second_a_page_is_the_same_and_then_its_age_is_another() -> None:
    state = told()
    client = make_client(state)
    first = client.get("/").headers["ETag"]
    state.clock.pass_(0.9)
    assert client.get("/").headers["ETag"] == first
    state.clock.pass_(0.1)
    assert client.get("/").headers["ETag"] != first


def test_each_language_and_unit_has_an_etag_of_its_own() -> None:
    client = make_client(told())
    tags = {
        client.get(f"/?lang={lang}&units={u}").headers["ETag"]
        for lang in ("es", "en")
        for u in "cf"
    }
    assert len(tags) == 4


# ---- compressed


def packed(client: FlaskClient, path: str, accepted: str = "gzip", **headers: str) -> TestResponse:
    return client.get(path, headers={"Accept-Encoding": accepted, **headers})


@pytest.mark.parametrize("path", [*PATHS[:3], "/api/v1/sensors", "/metrics"])
def test_what_is_not_small_is_compressed_for_who_takes_it(path: str) -> None:
    state = told()
    for number in range(8):
        state.reading(sensor=f"s{number}")
    client = make_client(state)
    plain = client.get(path)
    assert len(plain.data) >= COMPRESS_FROM_BYTES
    assert "Content-Encoding" not in plain.headers
    for accepted in ("gzip", "br;q=1, gzip;q=0.5", "*"):
        response = packed(client, path, accepted)
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.content_length == len(response.data) < len(plain.data) / 2
        if path != "/metrics":  # whose own counters go on
            assert gzip.decompress(response.data) == plain.data
        assert response.content_type == plain.content_type
    for accepted in ("", "identity", "br", "gzip;q=0", "*;q=0"):
        response = packed(client, path, accepted)
        assert "Content-Encoding" not in response.headers
        assert "Accept-Encoding" in response.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]


@pytest.mark.parametrize("path", ["/healthz", "/text", "/api/v1/sensors/aula/dht11", "/nothing"])
def test_what_is_small_is_sent_as_it_is(path: str) -> None:
    response = packed(make_client(told()), path)
    assert 0 < len(response.data) < COMPRESS_FROM_BYTES
    assert "Content-Encoding" not in response.headers
    assert "Accept-Encoding" not in response.headers.get("Vary", "")


def test_a_page_s_vary_names_all_that_it_depends_on_also_when_it_has_not_changed() -> None:
    client = make_client(told())
    first = packed(client, "/")
    again = packed(client, "/", **{"If-None-Match": first.headers["ETag"]})
    for response in (first, again):
        assert {*response.headers["Vary"].split(", ")} == {
            *("Accept-Language", "Cookie", "Accept-Encoding"),
        }
    assert again.status_code == 304


def test_head_has_the_headers_alone() -> None:
    client = make_client(told())
    for path in (*PATHS, "/manifest.webmanifest"):
        for accepted in ("identity", "gzip"):
            got = packed(client, path, accepted)
            head = client.head(path, headers={"Accept-Encoding": accepted})
            assert (head.status_code, head.data) == (200, b"")
            for name in ("Content-Type", "Content-Length", "Vary", "Cache-Control"):
                assert head.headers.get(name) == got.headers.get(name)
            assert head.headers.get("ETag") == got.headers.get("ETag")
            assert head.headers.get("Content-Encoding") == got.headers.get("Content-Encoding")


def test_an_export_is_neither_compressed_nor_held_back(client: FlaskClient, past: Past) -> None:
    past.readings(range(1, 200))
    path = "/api/v1/sensors/pi-1/dht11/history?format=csv"
    with client.get(path, headers={"Accept-Encoding": "gzip"}, buffered=False) as response:
        assert "Content-Encoding" not in response.headers
        assert response.content_length is None
        pieces = response.iter_encoded()
        assert next(pieces).startswith(b"node,sensor,")
        past.forget_raw()  # what has not been taken is not read yet
        assert list(pieces) == []


def test_a_file_that_is_passed_on_stays_as_it_is() -> None:
    with packed(make_client(told()), "/openapi.json") as response:
        assert response.status_code == 200
        assert "Content-Encoding" not in response.headers
        assert response.json["openapi"].startswith("3.")  # type: ignore[index]


def test_a_history_is_compressed_and_304_in_either_form(client: FlaskClient, past: Past) -> None:
    past.readings(range(1, 500))
    path = "/api/v1/sensors/pi-1/dht11/history"
    plain, small = client.get(path), packed(client, path)
    assert gzip.decompress(small.data) == plain.data
    for etag in (plain.headers["ETag"], small.headers["ETag"]):
        assert packed(client, path, **{"If-None-Match": etag}).status_code == 304
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("path", [*PATHS, "/manifest.webmanifest", "/nothing", "/?lang=xx"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_every_answer_carries_the_security_headers(path: str, method: str) -> None:
    client = make_client(told())
    response = client.open(path, method=method, headers={"Accept-Encoding": "gzip"})
    for name, value in SECURITY_HEADERS.items():
        assert response.headers.getlist(name) == [value]


# ---- what comes from MQTT


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("field", ["reason", "journal"])
def test_what_an_edge_says_is_text_on_every_page(path: str, field: str) -> None:
    hostile = "</script></template><script>alert(1)</script><img src=x onerror=alert(2)>\"' {{ 7*7 }} %(n)s"
    state = told()
    state.health("broken", **{field: hostile})
    state.status("online", version=hostile, instance=hostile)
    response = make_client(state).get(f"{path}?lang=en")
    html = response.get_data(as_text=True)
    assert "<img" not in html
    assert "alert(1)</script>" not in html
    shown = page_of(response)
    assert shown.all("body script") == []
    if path != "/trends":
        assert shown.one("p.reason").text == hostile


@pytest.mark.parametrize("field", ["source", "driver", "model"])
def test_a_word_of_an_edge_that_is_none_is_not_even_taken(field: str) -> None:
    def say(word: str) -> None:
        if field == "source":
            state.reading(source=word)
        else:
            state.health("ok", **{field: word})

    state = Told()
    say("<b>x</b>")
    assert state.board.views() == []
    longest = "a.b_c-" * 5
    say(longest)
    assert longest in page(state, "/sensors/aula/dht11").root.text


# ---- where its stream goes on


def begins_at(page: Page) -> str | None:
    return page.one("html").attributes.get("data-begins-at")


@pytest.mark.parametrize("path", ["/", "/kiosk", "/system", "/sensors/aula/dht11"])
def test_a_page_says_the_event_that_it_shows(path: str) -> None:
    told = Told()
    told.reading(sensor="dht11")
    assert begins_at(page(told, path)) == told.board.event_id()


@pytest.mark.parametrize("path", ["/", "/kiosk", "/system", "/sensors/aula/dht11"])
def test_what_changes_while_a_page_is_made_comes_by_its_stream(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    told.reading(1, sensor="dht11")
    client = make_client(told)
    for name in ("views", "view", "nodes"):  # what the pages read
        read = getattr(told.board, name)

        def then_change(*key: str, read: Callable[..., Any] = read) -> Any:
            shown = read(*key)
            told.reading((told.view().seq or 0) + 1, sensor="dht11")
            return shown

        monkeypatch.setattr(told.board, name, then_change)
    epoch, _, version = (begins_at(get(client, path)) or "").partition("-")
    changes = told.board.delta(int(version))
    assert changes is not None
    assert epoch == told.board.epoch
    assert [view.sensor for view in Changes.model_validate_json(changes.body).sensors] == ["dht11"]


@pytest.mark.parametrize("path", ["/?q=s1", "/kiosk"])
def test_a_page_without_some_of_the_sensors_is_sent_all(path: str) -> None:
    told = Told()
    for number in range(MOST + 1):
        told.reading(sensor=f"s{number}")
    assert begins_at(page(told, path)) is None
    assert begins_at(page(told)) == told.board.event_id()


def test_a_value_stands_as_it_came_beside_how_it_is_shown() -> None:
    told = Told()
    told.reading(temperature_c=23.456, humidity_pct=41.0)
    told.health(sensor="silent")
    shown = page(told, "/?units=f")
    numbers = shown.one("[data-sensor=aula/dht11]").all(".number")
    assert [one.attributes.get("data-value") for one in numbers] == ["23.456", "41.0"]
    silent = shown.one("[data-sensor=aula/silent]").all(".number")
    assert [one.attributes.get("data-value") for one in silent] == [None, None]
