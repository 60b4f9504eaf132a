"""How the reader wants it: by address, cookie, browser; and numbers and days as he writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import render_template_string
from flask.testing import FlaskClient

from gateway import formats, locale
from tests.unit.told import Told, make_client

NOW = datetime(2026, 11, 23, 9, 5, tzinfo=UTC)


def chosen(
    client: FlaskClient, path: str = "/", accepted: str = "", cookie: str = ""
) -> tuple[str, str]:
    headers = {"Accept-Language": accepted, "Cookie": cookie}
    with client.application.test_request_context(path, headers=headers):
        return tuple(locale.choose())  # type: ignore[return-value]


@pytest.fixture
def client() -> FlaskClient:
    return make_client(Told())


@pytest.mark.parametrize(
    ("path", "cookie", "accepted", "choice"),
    [
        ("/", "", "", ("es", "c")),
        ("/", "", "en-GB,en;q=0.9", ("en", "c")),
        ("/", "", "es-AR,en;q=0.5", ("es", "c")),
        ("/", "brisa_lang=es; brisa_units=f", "en", ("es", "f")),
        ("/?lang=en&units=c", "brisa_lang=es; brisa_units=f", "es", ("en", "c")),
        ("/?units=f", "brisa_lang=en", "es", ("en", "f")),
        ("/", "brisa_lang=fr; brisa_units=kelvin", "de", ("es", "c")),
        ("/", "brisa_lang=%22%3Cb%3E; brisa_units=", "en", ("en", "c")),
    ],
)
def test_the_address_goes_before_the_cookie_before_the_browser(
    client: FlaskClient, path: str, cookie: str, accepted: str, choice: tuple[str, str]
) -> None:
    assert chosen(client, path, accepted, cookie) == choice


@pytest.mark.parametrize("query", ["lang=fr", "lang=", "units=k", "units=f&units=c", "unit=f"])
def test_a_choice_that_there_is_not_is_refused_by_name_and_not_kept(
    client: FlaskClient, query: str
) -> None:
    response = client.get(f"/?{query}")
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["parameter"] == query.partition("=")[0]
    assert "Set-Cookie" not in response.headers


def test_a_choice_is_remembered_for_a_year(client: FlaskClient) -> None:
    assert "Set-Cookie" not in client.get("/").headers
    cookies = client.get("/?lang=en&units=f").headers.getlist("Set-Cookie")
    assert [cookie.split(";")[0] for cookie in cookies] == ["brisa_lang=en", "brisa_units=f"]
    for cookie in cookies:
        assert {"Path=/", "SameSite=Lax", "Max-Age=31536000"} <= set(cookie.split("; "))
    response = client.get("/")
    assert response.headers["Content-Language"] == "en"
    assert {"Accept-Language", "Cookie"} <= set(response.headers["Vary"].split(", "))


def test_what_the_script_fetches_and_the_line_of_text_choose_nothing(client: FlaskClient) -> None:
    for path in ("/trends?lang=en", "/manifest.webmanifest?lang=en", "/text?lang=en"):
        response = client.get(path)
        assert (response.status_code, "Set-Cookie" in response.headers) == (200, False)
    client.set_cookie("brisa_lang", "en")
    assert (
        client.get("/text", headers={"Accept-Language": "en"}).text == "Todavía no hay sensores.\n"
    )


def test_numbers_days_and_ages_are_written_as_each_language_does() -> None:
    assert [formats.number(n, "es") for n in (24.0, -3.25, None)] == ["24,0", "-3,2", "–"]
    assert [formats.number(n, "en") for n in (24.0, -3.25, None)] == ["24.0", "-3.2", "–"]
    assert (formats.number(2.345, "es", 2), formats.number(2.6, "es", 0)) == ("2,34", "3")
    assert [formats.whole(n, "es") for n in (9999, 10_000)] == ["9999", "10.000"]
    assert [formats.whole(n, "en") for n in (999, 1000)] == ["999", "1,000"]
    days = {0: ("3 de mayo", "3 May"), 1: ("3 de mayo de 2026", "3 May 2026")}
    for year, (spanish, english) in days.items():
        now = NOW.replace(year=2026 + year)
        at = datetime(2026, 5, 3, 8, tzinfo=UTC)
        assert (formats.day(at, now, "es"), formats.day(at, now, "en")) == (spanish, english)
    assert formats.moment(NOW, "es") == "23 nov 2026, 9:05:00 UTC"
    assert formats.moment(NOW, "en") == "23 Nov 2026, 09:05:00 UTC"
    ages = {0: "0 s ago", 59: "59 s ago", 60: "1 min ago", 7200: "2 h ago", 200_000: "2 d ago"}
    for past, text in ages.items():
        assert formats.age(NOW - timedelta(seconds=past), NOW, "en") == text
    assert formats.age(NOW + timedelta(seconds=9), NOW, "es") == "hace 0 s"
    assert formats.age(None, NOW, "es") == "antigüedad desconocida"


def test_days_are_those_of_utc() -> None:
    east = datetime.fromisoformat("2026-05-03T01:30:00+02:00")
    assert formats.day(east, NOW, "en") == "2 May"
    assert formats.moment(east, "en") == "2 May 2026, 23:30:00 UTC"


def rendered(client: FlaskClient, template: str, path: str = "/", **places: object) -> str:
    with client.application.test_request_context(path):
        locale.choose()
        return render_template_string(template, **places)


def test_templates_write_temperatures_in_the_unit_that_was_chosen(client: FlaskClient) -> None:
    template = "{{ 24.0|temperature }} {{ temperature_unit() }} {{ none|temperature }}"
    assert rendered(client, template) == "24,0 °C –"
    assert rendered(client, template, "/?units=f") == "75,2 °F –"
    assert rendered(client, template, "/?units=f&lang=en") == "75.2 °F –"
    assert rendered(client, "{{ -40|temperature }}", "/?units=f") == "-40,0"
    assert rendered(client, "{{ 12345|whole }} {{ now|moment }}", now=NOW) == (
        "12.345 23 nov 2026, 9:05:00 UTC"
    )
    assert rendered(client, "{{ age(now, now) }}", now=NOW) == "hace 0 s"


def test_a_translated_text_escapes_what_is_filled_in(client: FlaskClient) -> None:
    template = (
        "{{ _('%(num)s s ago', num=x) }} {{ ngettext('%(num)s sensor', '%(num)s sensors', 2, num=x) }}"
        " {{ client_text('age_h', num=x) }}"
        " {% trans num=x %}{{ num }} d ago{% endtrans %}"
    )
    shown = rendered(client, template, x="<b>%(y)s")
    assert shown == (
        "hace &lt;b&gt;%(y)s s &lt;b&gt;%(y)s sensores hace &lt;b&gt;%(y)s h hace &lt;b&gt;%(y)s d"
    )
