"""What is wrong, as a page for who reads HTML: in the frame of all pages, and never itself a fault."""

from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import ImATeapot

from gateway import rendering
from gateway.headers import SECURITY_HEADERS
from gateway.history.watch import AWAY
from gateway.problems import ProblemView
from tests.unit.pages import Page, page_of
from tests.unit.past import Past, away
from tests.unit.told import Told, make_client

# As Chromium and Firefox ask for a page.
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
TYPE = "application/problem+json"
SENSOR = "/sensors/pi-1/dht11"
WORD = {404: "There is nothing here", 400: "This cannot be asked for"}


def wrong(client: FlaskClient, path: str, status: int, language: str = "en") -> Page:
    headers = {"Accept": BROWSER, "Accept-Language": language}
    return page_of(client.get(path, headers=headers), status)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nothing", 404, "there is nothing at '/nothing'"),
        ("/sensors/pi-1/none", 404, "no sensor 'pi-1/none' is known"),
        ("/?sort=age", 400, "sort 'age': allowed are state, name, temperature, humidity"),
        ("/kiosk?sensor=x", 400, "sensor 'x': allowed is NODE/SENSOR, such as pi-1/aula"),
        ("/?limit=3", 400, "unknown query parameter 'limit'; allowed: lang, units, q, sort, group"),
        ("/?q=a&q=b", 400, "query parameter 'q' is given twice"),
        ("/?lang=xx", 400, "lang 'xx': allowed are es, en"),
        ("/sensors/pi-1/%3Cb%3E", 404, "no sensor 'pi-1/<b>' is known"),
        ("/%3Cscript%3Ealert(1)%3C/script%3E", 404, "nothing at '/<script>alert(1)</script>'"),
        ("/?%3Cimg%20src=x%3E=1", 400, "unknown query parameter '<img src'"),
    ],
)
def test_a_browser_is_told_what_is_wrong_and_allowed_and_led_back(
    path: str, status: int, says: str
) -> None:
    told = Told()
    told.reading()
    client = make_client(told)
    shown = wrong(client, path, status)
    assert shown.one("#problem h1").text == shown.one("head title").text.removesuffix(" · brisa")
    assert shown.one("#problem h1").text == WORD[status]
    assert says in shown.one("#problem .detail").text
    assert shown.one("#problem small").text == f"Error {status}"
    assert shown.all("script") == shown.all("img") == []
    back = shown.one(".trail a")
    assert (back["href"], back.text) == ("/", "Sensors")
    assert shown.texts("nav.pages a") == ["Sensors", "System", "Wall screen"]
    # what it says is what a program is told
    as_json = client.get(path, headers={"Accept": TYPE})
    assert as_json.status_code == status
    problem = ProblemView.model_validate_json(as_json.data)
    assert problem.detail == shown.one("#problem .detail").text


def test_its_headers_are_those_of_an_error_and_of_a_page() -> None:
    client = make_client(Told())
    response = client.get("/nothing", headers={"Accept": BROWSER, "Accept-Encoding": "gzip"})
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers
    assert "Set-Cookie" not in response.headers
    assert response.headers["Content-Encoding"] == "gzip"
    assert set(response.headers["Vary"].split(", ")) == {
        *("Accept", "Accept-Encoding", "Accept-Language", "Cookie"),
    }
    for name, value in SECURITY_HEADERS.items():
        assert response.headers[name] == value
    assert "Accept" in client.get("/nothing").headers["Vary"].split(", ")
    head = client.head("/nothing", headers={"Accept": BROWSER})
    assert (head.status_code, head.data, head.mimetype) == (404, b"", "text/html")
    refused = client.post("/", headers={"Accept": BROWSER, "Accept-Language": "en"})
    assert page_of(refused, 405).one(".detail").text == (
        "POST is not possible here; allowed: GET, HEAD, OPTIONS"
    )
    assert refused.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "accepted",
    [
        *("", "*/*", "application/json", TYPE, "application/*", "text/plain"),
        *("text/html, application/json", "application/json, text/html;q=0.9"),
        *("text/html;q=0", "text/html;q=0.5, */*"),
    ],
)
def test_who_does_not_prefer_html_gets_json(accepted: str) -> None:
    response = make_client(Told()).get("/nothing", headers={"Accept": accepted})
    assert (response.status_code, response.content_type) == (404, TYPE)


@pytest.mark.parametrize("accepted", ["text/html", "text/*", "text/html, application/json;q=0.9"])
def test_who_prefers_html_gets_a_page(accepted: str) -> None:
    page_of(make_client(Told()).get("/nothing", headers={"Accept": accepted}), 404)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/sensors/a/b", 404),
        ("/api/v1/sensors/a/b/history", 404),
        ("/api", 404),
        ("/metrics?x=1", 400),
        ("/text?lang=xx", 400),
        ("/healthz?x=1", 400),
        ("/readyz?x=1", 400),
        ("/openapi.json?x=1", 400),
        ("/static/v/none.js", 404),
        ("/static", 404),
    ],
)
def test_what_programs_ask_for_is_json_also_in_a_browser(path: str, status: int) -> None:
    response = make_client(Told()).get(path, headers={"Accept": BROWSER})
    assert (response.status_code, response.content_type) == (status, TYPE)
    assert "Accept" not in response.headers.get("Vary", "").split(", ")


@pytest.mark.parametrize("path", ["/apiary", "/texts", "/metric", "/statics/x", "/openapi_json"])
def test_an_address_that_only_looks_like_one_of_them_is_a_page(path: str) -> None:
    wrong(make_client(Told()), path, 404)


# ---- its language


@pytest.mark.parametrize(
    ("path", "accepted", "language"),
    [
        ("/nothing", "en", "en"),
        ("/nothing", "", "es"),
        ("/nothing?lang=en", "es", "en"),
        ("/?lang=en&limit=3", "es", "en"),
        ("/?lang=xx", "en", "en"),
        ("/?lang=xx", "", "es"),
        ("/?lang=en&lang=es", "", "en"),
        ("/?units=k&lang=en", "es", "en"),
    ],
)
def test_it_is_in_the_reader_s_language(path: str, accepted: str, language: str) -> None:
    client = make_client(Told())
    shown = wrong(client, path, 404 if path.startswith("/nothing") else 400, accepted)
    assert shown.one("html")["lang"] == language
    assert "lang" not in shown.one("#problem .detail").attributes
    client.set_cookie("brisa_lang", "en")
    assert wrong(client, "/nothing", 404, "es").one("html")["lang"] == "en"


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nothing%25", 404, "no hay nada en '/nothing%'"),
        ("/sensors/pi-1/none", 404, "no se conoce ningún sensor 'pi-1/none'"),
        ("/?sort=age", 400, "sort 'age': se admiten state, name, temperature, humidity"),
        ("/?group=x", 400, "group 'x': solo se admite node"),
        ("/kiosk?sensor=x", 400, "sensor 'x': se escribe NODO/SENSOR, por ejemplo pi-1/aula"),
        ("/system?limit=3", 400, "parámetro desconocido: 'limit'; se admiten: lang, units"),
        ("/trends?%25s=3", 400, "parámetro desconocido: '%s'; se admiten: lang, units"),
        ("/?q=a&q=b", 400, "el parámetro 'q' aparece dos veces"),
        ("/?lang=xx", 400, "lang 'xx': se admiten es, en"),
        (f"{SENSOR}?view=x", 400, "view 'x': se admiten chart, table"),
        (f"{SENSOR}?range=2h", 400, "range '2h': se admiten 1h, 24h, 7d, 30d, 1y"),
        (f"{SENSOR}?from=ayer", 400, "from 'ayer': se admite ISO 8601 con zona horaria"),
        (f"{SENSOR}?range=1h&to=2026-05-03", 400, "no se puede combinar con from ni con to"),
        (f"{SENSOR}?from=2100-01-01", 400, "10 s y 20 años antes de to (ahora)"),
        (f"{SENSOR}?from=2026-05-03&to=2026-05-02", 400, "antes de to ('2026-05-02')"),
    ],
)
def test_to_a_spanish_reader_no_sentence_of_it_is_english(
    path: str, status: int, says: str
) -> None:
    told = Told()
    told.reading(node="pi-1")
    client = make_client(told)
    shown = wrong(client, path, status, "es")
    detail = shown.one("#problem .detail")
    assert says in detail.text
    assert "lang" not in detail.attributes
    assert shown.one("#problem small").text == f"Error {status}"
    # while a program is told in English
    as_json = client.get(path, headers={"Accept": TYPE, "Accept-Language": "es"})
    problem = ProblemView.model_validate_json(as_json.data)
    assert problem.detail not in {detail.text, ""}
    assert problem.title in {"Not Found", "Bad Request"}


def test_other_errors_have_their_spanish_too(
    client: FlaskClient, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = client.post("/", headers={"Accept": BROWSER})
    assert page_of(refused, 405).one(".detail").text == (
        "aquí no se admite POST; se admiten: GET, HEAD, OPTIONS"
    )
    past.readings([1])
    away(monkeypatch)
    shown = wrong(client, SENSOR, 503, "es")
    assert shown.one(".detail").text.startswith("la base de datos del historial no responde")
    monkeypatch.setattr(rendering, "page", lambda *_, **__: 1 / 0)
    assert "error interno" in wrong(client, "/", 500, "es").one(".detail").text


def test_what_nobody_translated_is_marked_as_english(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise ImATeapot

    monkeypatch.setattr(rendering, "page", refuses)
    detail = wrong(make_client(Told()), "/", 418, "es").one("#problem .detail")
    assert (detail["lang"], "teapot" in detail.text) == ("en", True)


def test_a_wrong_choice_is_not_in_the_links_that_make_another() -> None:
    client = make_client(Told())
    shown = wrong(client, "/?lang=xx&units=k&q=a", 400)
    links = {link.text: link["href"] for link in shown.all(".choices a")}
    assert links == {
        "°C": "/?q=a&units=c",
        "°F": "/?q=a&units=f",
        "ES": "/?q=a&lang=es",
        "EN": "/?q=a&lang=en",
    }
    for href in links.values():
        assert client.get(href, headers={"Accept": BROWSER}).status_code == 200
    # what of it is right is taken, and marked
    shown = wrong(make_client(Told()), "/?lang=xx&units=f", 400)
    assert shown.texts(".choices [aria-current]") == ["°F", "EN"]


@pytest.mark.parametrize(
    "path", ["//other.example/x", "///other.example", "/%2Fother.example/", "/\\other.example"]
)
def test_no_link_of_it_leads_to_another_host(path: str) -> None:
    response = make_client(Told()).open(
        "/", environ_overrides={"PATH_INFO": path.replace("%2F", "/")}, headers={"Accept": BROWSER}
    )
    for link in page_of(response, 404).all("a"):
        assert link["href"][:1] in "/#"
        assert link["href"][1:2] not in {"/", "\\"}


@pytest.mark.parametrize(
    "path", ["/%FF", "/a%00b", "/%F0%9F%98%80", "/?%FF=%FE", "/%ED%A0%80?a=%00"]
)
def test_an_address_that_is_no_text_is_told_all_the_same(path: str) -> None:
    wrong(make_client(Told()), path, 400 if path.startswith("/?") else 404)


# ---- faults


def test_while_the_history_is_away_its_page_says_so_and_comes_again(
    client: FlaskClient, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.readings([1])
    away(monkeypatch)
    path = "/sensors/pi-1/dht11"
    shown = wrong(client, path, 503)
    assert shown.one("#problem h1").text == "This cannot be shown now"
    assert shown.one("#problem .detail").text == AWAY
    every = [meta for meta in shown.all("head meta") if "http-equiv" in meta]
    assert {meta["content"] for meta in every} == {"30"}
    assert len(every) == 2
    assert int(client.get(path, headers={"Accept": BROWSER}).headers["Retry-After"]) > 0
    # what is not there will not be there in half a minute either
    shown = wrong(client, "/nothing", 404)
    assert len([meta for meta in shown.all("head meta") if "http-equiv" in meta]) == 1


def test_a_fault_of_ours_is_a_page_without_its_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()

    def fails() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(told.board, "views", fails)
    shown = wrong(make_client(told), "/", 500)
    assert shown.one("#problem .detail").text == "the gateway failed at this; its log says more"
    assert "secret detail" not in shown.root.text
    assert "secret detail" in caplog.text


def test_a_fault_of_this_page_too_leaves_what_was_wrong_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no template")

    monkeypatch.setattr(rendering, "rendered", fails)
    with caplog.at_level(logging.ERROR):
        response = make_client(Told()).get("/nothing", headers={"Accept": BROWSER})
    assert (response.status_code, response.content_type) == (404, TYPE)
    assert ProblemView.model_validate_json(response.data).detail == "there is nothing at '/nothing'"
    assert response.headers["Cache-Control"] == "no-store"
    assert "404 '/nothing': the page that says so failed" in caplog.text
    assert "no template" in caplog.text
