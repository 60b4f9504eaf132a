"""`/sensors/<node>/<sensor>`: its value, its past by any range, its health; never a fault of ours."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.history.store import Store
from gateway.history.watch import AWAY, HUNG_AFTER_S, Watch
from gateway.problems import ProblemView
from tests.databases import Database
from tests.unit.pages import Page, get, page_of
from tests.unit.past import BEGIN, Past, away
from tests.unit.told import Told, make_client

PATH = "/sensors/pi-1/dht11"
CANNOT = "The history cannot be read now; the gateway's log says why."
NOT_KEPT = "No history is kept here: BRISA_HISTORY_URL is not set."
NONE_YET = "No reading of this sensor is stored yet."
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' {{ 7*7 }} %(num)s"


def shown(client: FlaskClient, query: str = "", path: str = PATH) -> Page:
    return get(client, f"{path}?lang=en{query}")


def followed(client: FlaskClient, href: str) -> Page:
    """The page that a link of a page leads to."""
    return get(client, f"{href}{'&' if '?' in href else '?'}lang=en")


def problem(client: FlaskClient, path: str, status: int) -> ProblemView:
    response = client.get(path)
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    return ProblemView.model_validate_json(response.data)


# ---- which sensors there are


def test_a_sensor_that_is_heard_and_stored_has_value_past_and_health(
    client: FlaskClient, told: Told, past: Past, watch: Watch
) -> None:
    past.readings(range(1, 10))
    watch.refresh()
    told.reading(node="pi-1", seq=1234)
    told.health(node="pi-1", model="dht22", readings=4321, interval_s=2.5)
    page = shown(client)
    hero = page.one("article.hero")
    assert (hero["data-sensor"], hero["data-state"]) == ("pi-1/dht11", "live")
    assert page.one("h1").text == "dht11 pi-1"
    assert page.one("head title").text == "dht11 · pi-1 · brisa"
    assert hero.one(".temperature dd").text == "24.0 °C"
    assert hero.texts(".derived dt") == ["Feels like", "Dew point"]
    assert hero.texts(".derived dd") == ["23.5 °C", "9.9 °C"]
    assert hero.one(".word").text == "Live"
    assert "hidden" in page.one(".gone")
    assert page.one("#past figure.chart")
    facts = dict(zip(page.texts("#facts dt"), page.texts("#facts dd"), strict=True))
    assert facts == {
        "Driver": "iio",
        "Model": "dht22",
        "Interval": "2.5 s",
        "Accepted since the reader started": "4,321",
        "Number of the newest": "1,234",
    }
    assert "Nothing." in page.one("#facts").text
    links = {link["href"] for link in page.all("footer a")}
    assert {f"/api/v1{PATH}", "/kiosk?sensor=pi-1/dht11"} <= links
    for link in (f"/api/v1{PATH}", "/kiosk?sensor=pi-1/dht11"):
        assert client.get(link).status_code == 200


def test_one_that_is_only_heard_says_that_nothing_is_stored(
    client: FlaskClient, told: Told, watch: Watch
) -> None:
    told.reading(node="pi-1")
    page = shown(client)
    assert page.one("#past .note").text == NONE_YET
    assert page.all("#past a") == []
    # the account of all is read by a thread of its own: until then it is not known
    assert "Reading the history…" in page.one("#facts").text
    watch.refresh()
    page = shown(client)
    assert NONE_YET in page.one("#facts").text
    assert "Unknown: its node has said nothing yet." in page.one("#facts").text


def test_one_that_is_only_stored_says_that_it_is_not_connected(
    client: FlaskClient, past: Past
) -> None:
    past.readings(range(1, 10))
    page = shown(client)
    assert page.one(".gone").text == (
        "This sensor is not connected now; what is stored of it is below."
    )
    hero = page.one("article.hero")
    assert "data-state" not in hero
    assert hero["data-sensor"] == "pi-1/dht11"  # a script fills it when it comes
    assert hero.texts(".values dd") == ["°C", "%"]
    assert page.one("#past figure.chart")
    # its account is not read yet, which is not the same as none
    assert NONE_YET not in page.root.text
    assert "Reading the history…" in page.one("#facts").text


def test_one_whose_readings_retention_took_is_still_there(
    client: FlaskClient, past: Past, watch: Watch
) -> None:
    past.readings(range(1, 10))
    past.forget_raw()
    watch.refresh()
    assert "All 9 readings" in shown(client).one("#facts").text


@pytest.mark.parametrize("name", ["pi-1/none", "none/dht11", "PI-1/dht11", "pi-1/DHT11"])
def test_one_that_nobody_knows_is_404(
    client: FlaskClient, past: Past, told: Told, name: str
) -> None:
    past.readings([1])
    told.reading(node="pi-1")
    assert f"no sensor '{name}' is known" in problem(client, f"/sensors/{name}", 404).detail


@pytest.mark.parametrize("name", ["%00/x", "x/%00", "ñ/x", "x/😀", "pi-1%20/x", "%3Cb%3E/x", "a/."])
def test_a_name_that_no_sensor_can_have_is_404_and_no_database_is_asked(
    told: Told, tmp_path: Path, name: str
) -> None:
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/none.db")) as store:
        client = make_client(told, watch=Watch(store))  # it has not even tables
        assert "is known" in problem(client, f"/sensors/{name}", 404).detail


@pytest.mark.parametrize(
    "path", ["/sensors", "/sensors/", "/sensors/pi-1", f"{PATH}/", "/sensors//x"]
)
def test_half_an_address_is_404(client: FlaskClient, past: Past, path: str) -> None:
    past.readings([1])
    assert client.get(path).status_code in (404, 308)
    assert client.get(path, follow_redirects=True).status_code == 404


# ---- the history is away


def test_without_a_history_the_value_is_there_and_it_is_said(told: Told) -> None:
    told.reading(node="pi-1")
    page = shown(make_client(told))
    assert page.one(".hero .temperature dd").text == "24.0 °C"
    assert page.one("#past .note").text == NOT_KEPT
    assert NOT_KEPT in page.one("#facts").text
    assert "is known" in problem(make_client(told), "/sensors/pi-1/none", 404).detail


def test_a_history_that_is_away_does_not_take_the_value_away(
    client: FlaskClient,
    told: Told,
    past: Past,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told.reading(node="pi-1")
    away(monkeypatch, "history.db: locked by root@server")
    for _ in range(2):
        page = shown(client)
        assert page.one(".hero .temperature dd").text == "24.0 °C"
        assert page.one("#past .note").text == CANNOT
        assert "root@server" not in client.get(PATH).text
        watch.refresh()
    assert CANNOT in page.one("#facts").text
    assert "root@server" in caplog.text


def test_a_history_that_hangs_is_not_waited_for(
    client: FlaskClient, told: Told, past: Past, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.reading(node="pi-1")
    past.readings([1])
    pages = []

    def hang(self: Store) -> None:
        told.clock.pass_(HUNG_AFTER_S + 1)
        pages.append(shown(client))

    monkeypatch.setattr(Store, "check", hang)
    watch.refresh()
    assert [page.one("#past .note").text for page in pages] == [CANNOT]


def test_while_the_history_is_away_nobody_says_that_a_sensor_is_unknown(
    client: FlaskClient, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.readings([1])
    away(monkeypatch)
    assert problem(client, PATH, 503).detail == AWAY
    assert int(client.get(PATH).headers["Retry-After"]) > 0


# ---- the past


def test_each_range_is_a_link_and_the_one_that_is_shown_is_marked(
    client: FlaskClient, past: Past
) -> None:
    past.readings(range(1, 10))
    for query, current in (
        ("", "24 hours"),
        ("&range=1y", "1 year"),
        ("&from=2026-05-03&to=2026-05-04", None),
    ):
        links = shown(client, query).all("#past .ranges a")
        assert [link.text for link in links] == [
            *("1 hour", "24 hours", "7 days", "30 days", "1 year"),
        ]
        marked = [link.text for link in links if link.attributes.get("aria-current") == "true"]
        assert marked == ([current] if current else [])
        for link, name in zip(links, ("1h", "24h", "7d", "30d", "1y"), strict=True):
            assert link["href"] == f"{PATH}?range={name}"
            assert followed(client, link["href"]).one("#past .ranges [aria-current]").text == (
                link.text
            )


def test_the_table_has_every_point_and_its_gaps(client: FlaskClient, past: Past) -> None:
    past.readings([1, 2, 60])
    query = "&view=table&from=2026-05-03T08:00&to=2026-05-03T08:06:40"  # points of a second
    page = shown(client, query)
    assert page.all("#past figure") == []
    table = page.one("#past table")
    assert table.one("caption").text == (
        "Temperature and humidity, 3 May 2026, 08:00:00 UTC – 3 May 2026, 08:06:40 UTC"
    )
    assert table.texts("th[scope=col]") == [
        *("Time", "Readings"),
        *("min.", "mean", "max.") * 2,
    ]
    assert table.texts("th[scope=colgroup]") == ["Temperature, °C", "Humidity, %"]
    rows = table.all("tbody tr")
    assert [row.texts("th") for row in rows] == [
        ["3 May 2026, 08:00:00 UTC"],
        ["3 May 2026, 08:00:05 UTC"],
        [],
        ["3 May 2026, 08:04:55 UTC"],
    ]
    humidity, gap = ["50.0"] * 3, ["gap: no readings"]
    assert [row.texts("td") for row in rows] == [
        [*["20.1"] * 3, *humidity, "1"],
        [*["20.2"] * 3, *humidity, "1"],
        gap,
        [*["20.4"] * 3, *humidity, "1"],
    ]
    assert table.all("time")[0]["datetime"] == "2026-05-03T08:00:00+00:00"
    assert rows[2].matches("tr.gap")
    fahrenheit = shown(client, f"{query}&units=f").one("#past table")
    assert fahrenheit.texts("th[scope=colgroup]")[0] == "Temperature, °F"
    assert fahrenheit.all("tbody tr")[0].texts("td")[0] == "68.2"


def test_a_range_without_readings_says_so(client: FlaskClient, past: Past) -> None:
    past.readings([1])
    query = "&from=2020-01-01&to=2020-01-02"
    assert shown(client, f"{query}&view=table").texts("tbody tr") == ["No readings in this range."]
    assert "No readings in this time" in shown(client, query).one("#past figure").text


def test_the_picture_ends_now_at_the_latest(client: FlaskClient, past: Past, told: Told) -> None:
    """What has not come yet would look like a sensor that stopped."""
    told.clock.now = BEGIN + timedelta(minutes=2)
    past.readings(range(1, 20))
    for name in ("1h", "24h", "1y"):
        chart = json.loads(shown(client, f"&range={name}").one("figure.chart")["data-chart"])
        ends = [datetime.fromtimestamp(chart[end] / 1000, UTC) for end in ("from", "to")]
        assert ends == [BEGIN, told.clock.now], name


def test_chart_and_table_lead_to_each_other_and_keep_the_range(
    client: FlaskClient, past: Past
) -> None:
    past.readings(range(1, 10))
    range_ = "from=2026-05-03T08:00&to=2026-05-03T09:00"
    chart = shown(client, f"&{range_}")
    to_table = chart.all("#past .views a")[0]
    assert to_table.text == "Show as a table"
    table = followed(client, to_table["href"])
    assert table.one("#past table")
    assert table.one("#past form input[type=hidden]").attributes == {
        "type": "hidden",
        "name": "view",
        "value": "table",
    }
    to_chart = table.all("#past .views a")[0]
    assert (to_chart.text, to_chart["href"]) == ("Show the chart", f"{PATH}?{range_}")
    assert chart.all("#past form input[type=hidden]") == []
    for one in (chart, table):
        form = one.one("#past form")
        assert form["action"] == PATH
        assert [(box["name"], box["value"]) for box in form.all("[type=datetime-local]")] == [
            ("from", "2026-05-03T08:00"),
            ("to", "2026-05-03T09:00"),
        ]
    # another range keeps the view
    assert all("view=table" in link["href"] for link in table.all("#past .ranges a"))


def test_wider_and_the_file_are_of_the_range_that_is_shown(client: FlaskClient, past: Past) -> None:
    past.readings(range(1, 1000))
    page = shown(client, "&from=2026-05-03T08:10&to=2026-05-03T08:20")
    wider = page.one("#past a[data-wider]")
    assert parse_qs(urlsplit(wider["href"]).query) == {
        "from": ["2026-05-03T08:00:00Z"],
        "to": ["2026-05-03T08:30:00Z"],
    }
    assert followed(client, wider["href"]).one("#past figure.chart")
    file = page.one("#past a[download]")["href"]
    assert file == (
        f"/api/v1{PATH}/history?format=csv&from=2026-05-03T08:10:00Z&to=2026-05-03T08:20:00Z"
    )
    with client.get(file) as response:
        assert len(response.get_data(as_text=True).splitlines()) == 1 + 120
    named = followed(client, shown(client, "&range=7d&view=table").one("a[data-wider]")["href"])
    assert named.one("#past table")


@pytest.mark.parametrize(
    ("query", "parameter", "says"),
    [
        ("range=2h", "range", "'2h': allowed are 1h, 24h, 7d, 30d, 1y"),
        ("range=", "range", "'': allowed are 1h"),
        ("range=1h&from=2026-05-03", "range", "does not go together with from and to"),
        ("range=1h&to=2026-05-03", "range", "does not go together with from and to"),
        ("from=yesterday", "from", "'yesterday': allowed are ISO 8601"),
        ("to=2026-13-01", "to", "'2026-13-01': allowed are ISO 8601"),
        ("to=", "to", "'': allowed"),
        ("from=2026-05-04&to=2026-05-03", "from", "10 s to 20 years before to ('2026-05-03')"),
        ("from=2030-01-01", "from", "10 s to 20 years before to (now)"),
        ("from=1970-01-01", "from", "10 s to 20 years before to (now)"),
        ("view=list", "view", "'list': allowed are chart, table"),
        ("view=", "view", "'': allowed are chart, table"),
        ("units=k", "units", "'k': allowed are c, f"),
        ("lang=fr", "lang", "'fr': allowed are es, en"),
        ("points=5", "points", "allowed: lang, units, range, from, to, view"),
        ("view=table&view=table", "view", "given twice"),
        ("range=1h&range=1h", "range", "given twice"),
    ],
)
def test_what_cannot_be_asked_is_400_by_name_value_and_what_is_allowed(
    client: FlaskClient, past: Past, query: str, parameter: str, says: str
) -> None:
    past.readings([1])
    view = problem(client, f"{PATH}?{query}", 400)
    assert view.parameter == parameter
    assert says in view.detail
    assert parameter in view.detail


def test_years_from_end_to_end_are_drawn(client: FlaskClient, past: Past, told: Told) -> None:
    past.readings(
        range(1, 40), at=lambda seq: datetime(2006, 6, 1, tzinfo=UTC) + timedelta(days=184 * seq)
    )
    page = shown(client, "&from=2006-05-08&to=2026-05-03")
    assert page.one("#past figure.chart")
    assert len(shown(client, "&from=2006-05-08&to=2026-05-03&view=table").all("tbody th")) > 30


def test_readings_of_the_last_moment_there_is_are_drawn(client: FlaskClient, past: Past) -> None:
    last = datetime(9999, 12, 31, 23, 59, 50, tzinfo=UTC)
    past.readings([1, 2], at=lambda seq: last + timedelta(seconds=5 * (seq - 1)))
    query = "&from=9999-12-31T23:00&to=9999-12-31T23:59:59"
    assert shown(client, query).one("#past figure.chart")
    assert len(shown(client, f"{query}&view=table").all("tbody th")) == 2


MOMENTS = st.one_of(
    st.datetimes().map(lambda at: at.isoformat()),
    st.datetimes().map(lambda at: f"{at.isoformat(timespec='minutes')}+14:00"),
    st.dates().map(str),
    st.integers(0, 7200).map(lambda s: (BEGIN + timedelta(seconds=s)).isoformat()),
    st.sampled_from(["0001-01-01", "9999-12-31T23:59:59-14:00", "", "now", "2026-W01-1", "1e9"]),
    st.text(max_size=12),
)
QUERY = st.fixed_dictionaries(
    {},
    optional={
        "from": MOMENTS,
        "to": MOMENTS,
        "range": st.sampled_from(["1h", "24h", "1y", "2h"]) | st.text(max_size=4),
        "view": st.sampled_from(["chart", "table", "x"]),
        "units": st.sampled_from(["c", "f"]),
        "lang": st.sampled_from(["es", "en"]),
    },
)


def test_no_query_is_a_fault_of_ours(client: FlaskClient, past: Past) -> None:
    past.readings(range(1, 10))

    @given(query=QUERY)
    @example(query={"from": "0001-01-01", "to": "0001-01-02"})
    @example(query={"from": "9999-12-30", "to": "9999-12-31"})
    @example(query={"from": "9999-12-31T23:59:00", "to": "9999-12-31T23:59:59-14:00"})
    @example(query={"to": "0001-01-01T00:00:00+14:00", "view": "table"})
    @settings(max_examples=60, deadline=None)
    def ask(query: dict[str, str]) -> None:
        response = client.get(f"{PATH}?{urlencode(query)}")
        assert response.status_code in (200, 400)
        if response.status_code == 200:
            page_of(response)
        else:
            assert ProblemView.model_validate_json(response.data).parameter in query

    ask()


# ---- its health


def test_what_its_edge_did_not_accept_is_told_by_cause_most_first(
    client: FlaskClient, told: Told
) -> None:
    counts = {"timeout": 12, "checksum": 3456, "range": 0, "gremlins": 7}
    told.health(
        node="pi-1", discarded=counts, oldest_seq=1000, newest_seq=23_456, journal="it is full"
    )
    told.reading(node="pi-1", clock_synchronised=False)
    facts = shown(client).one("#facts")
    columns = [
        dict(zip(one.texts("dt"), one.texts("dd"), strict=True))
        for one in facts.all(".columns div")
        if one.all("h3")
    ]
    assert columns[0]["Clock of the node"] == "not synchronised"
    assert list(columns[1].items()) == [
        ("Wrong checksum", "3,456"),
        ("No answer, or cut short", "12"),
        ("gremlins", "7"),
    ]
    assert columns[2] == {"Kept on the node, by number": "1,000 – 23,456", "Journal": "it is full"}


@pytest.mark.parametrize("interval_s", [2, 2.5])
def test_an_interval_has_decimals_only_if_it_needs_them(
    client: FlaskClient, told: Told, interval_s: float
) -> None:
    told.health(node="pi-1", interval_s=interval_s)
    assert f"{interval_s} s" in shown(client).texts("#facts dd")


def test_a_past_that_changes_has_another_etag(client: FlaskClient, past: Past, told: Told) -> None:
    told.reading(node="pi-1")
    etag = client.get(PATH).headers["ETag"]
    assert client.get(PATH, headers={"If-None-Match": etag}).status_code == 304
    told.clock.pass_(1)  # its age
    assert client.get(PATH, headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("field", ["reason", "journal"])
def test_what_its_edge_says_shows_as_text(client: FlaskClient, told: Told, field: str) -> None:
    told.health("broken", node="pi-1", **{field: HOSTILE})
    page = shown(client)
    assert HOSTILE in page.root.text
    assert page.all("img") == []
    assert all(one["src"].startswith("/static/") for one in page.all("script"))


def test_an_account_alone_is_enough_while_the_history_is_away(
    client: FlaskClient, past: Past, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.readings(range(1, 4))
    watch.refresh()
    away(monkeypatch)
    page = shown(client)
    assert page.one("#past .note").text == CANNOT
    assert "All 3 readings since 3 May are stored." in page.one("#facts").text


@pytest.mark.parametrize(
    "query", ["range=1h", "range=1y", "to=0001-01-01", "from=9999-12-30&to=9999-12-31"]
)
def test_each_database_takes_the_ends_of_time(
    told: Told, any_database: Database, query: str
) -> None:
    with contextlib.closing(Past(any_database)) as stored:
        stored.readings(range(1, 10))
        client = make_client(told, watch=Watch(stored.store))
        assert page_of(client.get(f"{PATH}?{query}")).one("#past figure.chart")
