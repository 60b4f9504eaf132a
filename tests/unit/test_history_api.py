"""/api/v1/sensors/…/history and /api/v1/audit, and what /metrics says of the past."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway import history_api
from gateway.history import query
from gateway.history.schema import disk
from gateway.history.sentences import sentence, state
from gateway.history.store import Store, Unavailable
from gateway.history.views import AuditView, HistoryView, LostSpan, SensorAudit, StreamsView
from gateway.history.watch import AWAY, EVERY_S, HUNG_AFTER_S, SAID_EVERY_S, Watch
from gateway.problems import ProblemView
from tests.databases import Database
from tests.support import REPOSITORY
from tests.unit.past import BEGIN, Past, away, ms, parsed_csv
from tests.unit.told import Told, make_client

PATH = "/api/v1/sensors/pi-1/dht11/history"


def problem(response: TestResponse, status: int) -> ProblemView:
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    return ProblemView.model_validate_json(response.data)


def view(response: TestResponse) -> HistoryView:
    assert (response.status_code, response.content_type) == (200, "application/json")
    return HistoryView.model_validate_json(response.data)


# ---- history


def test_a_history_is_of_the_last_day_in_500_points(client: FlaskClient, past: Past) -> None:
    past.readings(range(1, 17281), at=lambda seq: BEGIN - timedelta(hours=23, seconds=5 - 5 * seq))
    shown = view(client.get(PATH))
    assert (shown.node, shown.sensor, shown.source) == ("pi-1", "dht11", "minute")
    assert shown.to == BEGIN + timedelta(hours=1)
    assert shown.to - shown.from_ == timedelta(days=1)
    assert 400 < len(shown.points) <= 500


@pytest.mark.parametrize(
    "begin",
    [
        *("2026-05-03T08:00:00Z", "2026-05-03T10:00:00%2B02:00", "2026-05-03T10:00:00+02:00"),
        *("2026-05-03T08:00Z", "20260503T080000Z"),
    ],
)
def test_a_range_is_given_with_its_zone(client: FlaskClient, past: Past, begin: str) -> None:
    past.readings(range(1, 100))
    shown = view(client.get(f"{PATH}?from={begin}&to=2026-05-03T08:01:00Z&points=12"))
    assert (shown.from_, shown.to) == (BEGIN, BEGIN + timedelta(minutes=1))
    assert [point and point.readings for point in shown.points] == [1] * 12


def test_a_day_is_from_midnight_utc(client: FlaskClient, past: Past) -> None:
    past.readings(range(1, 60), every_s=3600)
    shown = view(client.get(f"{PATH}?from=2026-05-04&to=2026-05-05&points=24"))
    assert shown.from_ == datetime(2026, 5, 4, tzinfo=UTC)
    assert len(shown.points) == 24


@pytest.mark.parametrize(
    ("asked", "parameter", "says"),
    [
        ("from=yesterday", "from", "'yesterday': allowed are ISO 8601"),
        ("to=2026-05-03T10:00:00", "to", "with a zone"),
        ("from=2026-13-01", "from", "'2026-13-01'"),
        ("from=", "from", "'': allowed are ISO 8601"),
        ("to=", "to", "'': allowed are ISO 8601"),
        ("points=0", "points", "'0': allowed are 1 to 5000"),
        ("points=5001", "points", "1 to 5000"),
        ("points=many", "points", "'many'"),
        ("points=%C2%B2", "points", "1 to 5000"),
        ("format=xml", "format", "'xml': allowed are json and csv"),
        ("format=csv&points=5", "points", "csv"),
        ("from=2026-05-02&to=2026-05-01", "from", "before to '2026-05-01'"),
        ("from=2026-05-09", "from", "before now"),
        ("limit=3", "limit", "allowed: from, to, points, format"),
        ("from=2026-05-01&from=2026-05-02", "from", "twice"),
    ],
)
def test_what_cannot_be_asked_is_400_by_name(
    client: FlaskClient, asked: str, parameter: str, says: str
) -> None:
    shown = problem(client.get(f"{PATH}?{asked}"), 400)
    assert shown.parameter == parameter
    assert says in shown.detail


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"),
        ("0001-01-01", "0001-01-02T00:00Z"),
    ],
)
def test_the_ends_of_time_are_no_fault(
    client: FlaskClient, past: Past, begin: str, end: str
) -> None:
    past.readings(range(1, 10))
    response = client.get(f"{PATH}?from={begin}&to={end}")
    assert response.status_code in (200, 400)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_sensor_that_the_history_does_not_know_is_404(
    client: FlaskClient, past: Past, form: str
) -> None:
    past.readings([1])
    shown = problem(client.get(f"/api/v1/sensors/pi-1/none/history?format={form}"), 404)
    assert "'pi-1/none'" in shown.detail


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("name", ["%00/x", "x/%00", "ñ/x", "x/😀", "pi-1%20/x", "PI-1/dht11"])
def test_a_name_that_no_sensor_can_have_is_404_and_no_database_is_asked(
    told: Told, any_database: Database, name: str, form: str
) -> None:
    with contextlib.closing(Store(any_database.url, any_database.password)) as store:
        client = make_client(told, watch=Watch(store))  # it has not even tables
        shown = problem(client.get(f"/api/v1/sensors/{name}/history?format={form}"), 404)
    assert "the history knows no sensor" in shown.detail


@pytest.mark.parametrize("path", [PATH, f"{PATH}?format=csv", "/api/v1/audit"])
def test_without_a_history_it_is_said_how_to_have_one(path: str) -> None:
    assert "BRISA_HISTORY_URL is not set" in problem(make_client(Told()).get(path), 404).detail


@pytest.mark.parametrize("path", [PATH, "/api/v1/audit"])
def test_asked_again_with_its_etag_it_is_304_until_something_changes(
    client: FlaskClient, past: Past, path: str
) -> None:
    past.readings(range(1, 10))
    first = client.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    asked = {"If-None-Match": first.headers["ETag"]}
    assert client.get(path, headers=asked).status_code == 304
    past.readings(range(10, 12))
    assert client.get(path, headers=asked).status_code == 200


@pytest.mark.parametrize("path", [PATH, f"{PATH}?format=csv", "/api/v1/audit"])
def test_head_has_the_headers_alone(client: FlaskClient, past: Past, path: str) -> None:
    past.readings(range(1, 10))
    for _ in range(2 * history_api.MAX_EXPORTS):
        head = client.head(path)
        assert (head.status_code, head.data) == (200, b"")
    with client.get(path) as get:
        assert get.status_code == 200
        assert get.content_type == head.content_type


# ---- CSV


def test_csv_has_every_reading_and_a_name(client: FlaskClient, past: Past) -> None:
    past.readings(range(1, 11))
    with client.get(f"{PATH}?format=csv") as response:
        assert response.content_type == "text/csv; charset=utf-8"
        assert 'filename="pi-1_dht11.csv"' in response.headers["Content-Disposition"]
        rows = parsed_csv(response.get_data(as_text=True))
    assert [int(row["seq"]) for row in rows] == list(range(1, 11))
    assert rows[0]["measured_at"] == "2026-05-03T08:00:00.000Z"


def test_csv_is_made_as_it_is_taken(
    client: FlaskClient, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query.rows, "__kwdefaults__", {"chunk_rows": 2})
    past.readings(range(1, 11))
    response = client.get(f"{PATH}?format=csv", buffered=False)
    pieces = response.iter_encoded()
    assert next(pieces).startswith(b"node,sensor,")
    assert next(pieces).count(b"\n") == 2
    past.forget_raw()
    assert list(pieces) == []
    response.close()


def test_more_exports_than_are_allowed_are_told_to_come_again(
    client: FlaskClient, past: Past
) -> None:
    past.readings([1])
    with contextlib.ExitStack() as opened:
        for _ in range(history_api.MAX_EXPORTS):
            opened.enter_context(client.get(f"{PATH}?format=csv"))
        refused = client.get(f"{PATH}?format=csv")
        assert "2 exports" in problem(refused, 503).detail
        assert int(refused.headers["Retry-After"]) > 0
        assert client.get(PATH).status_code == 200
    with client.get(f"{PATH}?format=csv") as response:
        assert response.status_code == 200


def test_an_export_that_breaks_off_does_not_end_as_if_it_were_whole(
    client: FlaskClient, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query.rows, "__kwdefaults__", {"chunk_rows": 2})
    past.readings(range(1, 11))
    response = client.get(f"{PATH}?format=csv", buffered=False)
    pieces = response.iter_encoded()
    next(pieces), next(pieces)
    away(monkeypatch)
    with pytest.raises(Unavailable):
        next(pieces)
    response.close()


# ---- the database is away


@pytest.mark.parametrize("path", [PATH, f"{PATH}?format=csv", "/api/v1/audit"])
def test_a_database_that_is_away_is_503_and_one_line_a_minute(
    client: FlaskClient,
    past: Past,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    past.readings([1])
    away(monkeypatch)
    for _ in range(3):
        response = client.get(path)
        assert problem(response, 503).detail == AWAY
        assert int(response.headers["Retry-After"]) > 0
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage() == "the history cannot be read: history.db: locked"
    told.clock.pass_(SAID_EVERY_S)
    client.get(path)
    assert len(caplog.records) == 2


def test_while_it_is_known_to_be_away_nobody_waits_for_it(
    client: FlaskClient,
    past: Past,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    past.readings([1])
    with monkeypatch.context() as patch:
        away(patch)
        watch.refresh()
        assert problem(client.get(PATH), 503).detail == AWAY
    assert caplog.records[0].getMessage() == "the history cannot be read: history.db: locked"
    watch.refresh()
    assert client.get(PATH).status_code == 200


def test_a_database_without_tables_is_503_and_the_log_has_what_to_do(
    told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(f"sqlite:///{tmp_path}/none.db", read_only=True)
    watch = Watch(store)
    watch.refresh()
    assert problem(make_client(told, watch=watch).get(PATH), 503).detail == AWAY
    assert "none.db: there is no such file; `python -m gateway.history` makes it" in caplog.text
    store.close()


def test_what_heals_before_the_second_look_is_not_said(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the recorder starts beside the gateway, and makes its tables."""
    caplog.set_level("INFO")
    with monkeypatch.context() as patch:
        away(patch)
        watch.refresh()
    watch.refresh()
    assert not caplog.records
    with monkeypatch.context() as patch:
        away(patch)
        watch.refresh()
        watch.refresh()
    watch.refresh()
    assert [record.getMessage() for record in caplog.records] == [
        "the history cannot be read: history.db: locked",
        "the history can be read again",
    ]


def test_the_history_s_tables_of_a_newer_version_are_503(
    client: FlaskClient, watch: Watch, past: Past, caplog: pytest.LogCaptureFixture
) -> None:
    with past.store.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    watch.refresh()
    assert problem(client.get(PATH), 503).detail == AWAY
    assert "was made by a newer brisa" in caplog.text


# ---- the watch


def test_a_database_that_hangs_is_said_although_nothing_fails(
    watch: Watch, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    def hang(self: Store) -> None:
        told.clock.pass_(HUNG_AFTER_S)
        seen.append(watch.seen().problem)
        told.clock.pass_(1)
        seen.append(watch.seen().problem)

    monkeypatch.setattr(Store, "check", hang)
    watch.refresh()
    assert seen[0] == ""
    assert "does not answer" in seen[1]
    assert "does not answer" in caplog.text
    assert watch.seen().problem == ""


def test_an_answer_that_comes_while_it_is_called_hung_is_not_undone(
    watch: Watch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered_meanwhile() -> float:
        monkeypatch.setattr(watch, "_monotonic", told.clock.monotonic)
        watch.refresh()  # as the watch's own thread does
        return told.clock.monotonic()

    watch._asked_at_s = told.clock.monotonic() - HUNG_AFTER_S - 1
    monkeypatch.setattr(watch, "_monotonic", answered_meanwhile)
    watch.seen()
    assert watch.seen().problem == ""


def test_a_fault_of_ours_does_not_end_the_watch(
    past: Past, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.support import eventually

    calls: list[None] = []
    check = Store.check

    def faulty(self: Store) -> None:
        calls.append(None)
        if len(calls) == 1:
            raise ZeroDivisionError
        check(self)

    monkeypatch.setattr(Store, "check", faulty)
    monkeypatch.setattr("gateway.history.watch.AGAIN_S", 0.01)
    watch = Watch(past.store)
    watch.start()
    eventually("an account", lambda: watch.seen().audit is not None)
    watch.stop()
    assert "the gateway failed at it: ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(("stored", "then_s"), [(True, EVERY_S), (False, 2.0)])
def test_a_database_that_is_away_or_empty_is_asked_every_two_seconds(
    stored: bool, then_s: float, watch: Watch, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stored:
        past.readings([1])
    with monkeypatch.context() as patch:
        away(patch)
        waited_s = [watch._turn(), watch._turn()]
    waited_s += [watch._turn(), watch._turn()]
    assert waited_s == [2.0, 2.0, then_s, then_s]


# ---- audit


def test_the_audit_is_what_is_in_the_database_now(client: FlaskClient, past: Past) -> None:
    past.readings(range(1, 4))
    response = client.get("/api/v1/audit")
    shown = AuditView.model_validate_json(response.data)
    assert [(one.sensor, one.stored) for one in shown.sensors] == [("dht11", 3)]
    assert problem(client.get("/api/v1/audit?x=1"), 400).parameter == "x"


def test_streams_are_listed_in_pages(client: FlaskClient, past: Past) -> None:
    uuids = [UUID(int=n) for n in (7, 2, 9)]
    for uuid in uuids:
        past.readings([2], stream=uuid, after=0)
    path = "/api/v1/audit/pi-1/dht11"

    def page(query: str) -> StreamsView:
        return StreamsView.model_validate_json(client.get(f"{path}?{query}").data)

    first = page("limit=2")
    assert [(one.stream, one.stored, one.lost) for one in first.streams] == [
        (uuids[0], 1, 1),
        (uuids[1], 1, 1),
    ]
    assert first.next == uuids[1]
    second = page(f"limit=2&after={first.next}")
    assert ([one.stream for one in second.streams], second.next) == ([uuids[2]], None)
    assert len(page("").streams) == 3
    for asked, parameter in (("limit=0", "limit"), ("limit=501", "limit"), ("after=x", "after")):
        assert problem(client.get(f"{path}?{asked}"), 400).parameter == parameter
    for unknown in ("pi-1/other", "pi-2/dht11", "PI-1/dht11", f"pi-1/dht11?after={UUID(int=1)}"):
        assert problem(client.get(f"/api/v1/audit/{unknown}"), 404)


# ---- sentences

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MAY_3 = datetime(2026, 5, 3, 8, 0, tzinfo=UTC)


def lost(
    count: int = 12,
    after: datetime | None = MAY_3,
    before: datetime | None = None,
    noted: datetime = NOW,
) -> LostSpan:
    return LostSpan(
        first_seq=1, last_seq=count, count=count, noted_at=noted, after_at=after, before_at=before
    )


def account(
    stored: int = 120_960, missing: int = 0, *spans: LostSpan, gaps: int = 0, total: int = 0
) -> SensorAudit:
    counts = {
        "stored": stored,
        "missing": missing,
        "lost": total or sum(span.count for span in spans),
        "gaps": gaps or len(spans),
    }
    first = MAY_3 if stored else None
    return SensorAudit(
        node="pi-1",
        sensor="dht11",
        first_at=first,
        newest_at=first,
        lost_spans=list(spans),
        **counts,
    )


def said(one: SensorAudit, language: str = "en") -> str:
    return " ".join(sentence(one, language, NOW))


@pytest.mark.parametrize(
    ("stored", "missing", "key", "english", "spanish"),
    [
        (
            120_960, 0, "whole",
            "All 120,960 readings since 3 May are stored.",
            "Las 120.960 lecturas desde el 3 de mayo están todas guardadas.",
        ),
        (
            1, 0, "whole",
            "The only reading, of 3 May, is stored.",
            "La única lectura, del 3 de mayo, está guardada.",
        ),
        (0, 0, "none", "No reading is stored yet.", "Aún no hay ninguna lectura guardada."),
        (
            1234, 34, "missing",
            "1,234 readings since 3 May are stored."
            " 34 readings are missing, which the node can still send.",
            "Están guardadas 1234 lecturas desde el 3 de mayo."
            " Faltan 34 lecturas, que el nodo aún puede enviar.",
        ),
        (
            1, 1, "missing",
            "1 reading since 3 May is stored. 1 reading is missing, which the node can still send.",
            "Está guardada 1 lectura desde el 3 de mayo."
            " Falta 1 lectura, que el nodo aún puede enviar.",
        ),
    ],
)  # fmt: skip
def test_what_is_stored_and_what_is_missing_are_sentences(
    stored: int, missing: int, key: str, english: str, spanish: str
) -> None:
    one = account(stored, missing)
    assert (state(one), said(one), said(one, "es")) == (key, english, spanish)


@pytest.mark.parametrize(
    ("span", "english", "spanish"),
    [
        (
            lost(before=MAY_3 + timedelta(days=9)),
            "12 readings between 3 May and 12 May were lost:"
            " nothing was stored from this node for 9 days.",
            "Se perdieron 12 lecturas entre el 3 de mayo y el 12 de mayo:"
            " no se guardó nada de este nodo durante 9 días.",
        ),
        (  # found late, while the node went on
            lost(1, before=MAY_3 + timedelta(seconds=10), noted=MAY_3 + timedelta(days=9)),
            "1 reading of 3 May was lost: the node kept no copy.",
            "Se perdió 1 lectura del 3 de mayo: el nodo no conservó copia.",
        ),
        (  # what came after it is not known
            lost(noted=MAY_3 + timedelta(days=9)),
            "12 readings of 3 May were lost: the node kept no copy.",
            "Se perdieron 12 lecturas del 3 de mayo: el nodo no conservó copia.",
        ),
        (
            lost(1, before=MAY_3 + timedelta(hours=1, seconds=1)),
            "1 reading of 3 May was lost: nothing was stored from this node for 1 hour.",
            "Se perdió 1 lectura del 3 de mayo: no se guardó nada de este nodo durante 1 hora.",
        ),
        (
            lost(before=MAY_3 + timedelta(hours=47)),
            "12 readings between 3 May and 5 May were lost: nothing was stored from this node for 47 hours.",
            "Se perdieron 12 lecturas entre el 3 de mayo y el 5 de mayo:"
            " no se guardó nada de este nodo durante 47 horas.",
        ),
        (
            lost(after=MAY_3.replace(year=2025), noted=MAY_3.replace(year=2025)),
            "12 readings of 3 May 2025 were lost: the node kept no copy.",
            "Se perdieron 12 lecturas del 3 de mayo de 2025: el nodo no conservó copia.",
        ),
        (
            lost(after=None, before=MAY_3),
            "12 readings of 3 May were lost: the node kept no copy.",
            "Se perdieron 12 lecturas del 3 de mayo: el nodo no conservó copia.",
        ),
        (
            lost(after=None),
            "12 readings were lost: the node kept no copy.",
            "Se perdieron 12 lecturas: el nodo no conservó copia.",
        ),
    ],
)
def test_what_was_lost_is_a_sentence_that_says_when_and_why(
    span: LostSpan, english: str, spanish: str
) -> None:
    one = account(5, 0, span)
    assert state(one) == "lost"
    assert sentence(one, "en", NOW)[1:] == [english]
    assert sentence(one, "es", NOW)[1:] == [spanish]


def test_of_many_gaps_the_three_newest_are_told_and_all_are_summed_up() -> None:
    ago = [NOW - timedelta(days=day) for day in range(6)]
    spans = [lost(day, after=ago[day], noted=ago[day]) for day in (5, 1, 3, 4)]
    told = sentence(account(5, 0, *spans), "en", NOW)
    assert [line.split()[0] for line in told[1:4]] == ["4", "3", "1"]
    assert told[4:] == ["With one more gap, 13 readings were lost in all."]
    many = account(5, 0, *spans[:3], gaps=1503, total=12_345)
    assert said(many).endswith("With 1,500 more gaps, 12,345 readings were lost in all.")
    assert said(many, "es").endswith(
        "Con otros 1500 huecos más, se perdieron 12.345 lecturas en total."
    )


def test_gaps_of_one_day_and_cause_are_one_sentence_in_order_of_time() -> None:
    spans = [
        lost(5, after=None, before=MAY_3 + timedelta(days=1)),
        lost(1, after=MAY_3, noted=MAY_3),
        lost(2, after=MAY_3 + timedelta(hours=2), noted=MAY_3 + timedelta(hours=2)),
        lost(3, before=MAY_3 + timedelta(hours=3)),
    ]
    one = account(5, 0, *spans, gaps=6, total=20)
    assert sentence(one, "en", NOW)[1:] == [
        "3 readings of 3 May were lost: the node kept no copy.",
        "3 readings of 3 May were lost: nothing was stored from this node for 3 hours.",
        "5 readings of 4 May were lost: the node kept no copy.",
        "With 2 more gaps, 20 readings were lost in all.",
    ]


# ---- metrics


def test_metrics_and_the_system_page_have_the_disk_budget(
    client: FlaskClient, past: Past, watch: Watch, told: Told
) -> None:
    watch.refresh()
    assert "brisa_history_disk" not in client.get("/metrics").get_data(as_text=True)
    assert "Disk space" not in client.get("/system?lang=en").get_data(as_text=True)
    told.clock.pass_(1)  # a view of the system is kept for as long
    now_ms = ms(told.clock.now)
    row = {"id": 1, "measured_ms": now_ms, "used_bytes": 120_000_000, "budget_bytes": 2_500_000_000}
    row |= {"growth_bytes": 2_800_000, "full_ms": now_ms + 86_400_000}
    with past.store.begin() as connection:
        connection.execute(disk.insert(), row)
    watch.refresh()
    text = client.get("/metrics").get_data(as_text=True)
    assert "brisa_history_disk_used_bytes 1.2e+08\n" in text
    assert "brisa_history_disk_budget_bytes 2.5e+09\n" in text
    assert "brisa_history_disk_growth_bytes_per_day 2.8e+06\n" in text
    assert "brisa_history_disk_full_timestamp_seconds" in text
    said = client.get("/system?lang=en").get_data(as_text=True)
    assert "120.0 MB of 2.5 GB" in said
    assert "2.8 MB more a day; lasts until 4 May" in said
    assert "2,8 MB más al día; alcanza hasta el 4 de mayo" in client.get(
        "/system?lang=es"
    ).get_data(as_text=True)


def test_metrics_have_the_account_while_it_can_be_read(
    client: FlaskClient,
    past: Past,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past.readings(range(1, 11), live=True)
    past.readings([15], live=True)
    past.readings([15], after=13)
    watch.refresh()
    text = client.get("/metrics").get_data(as_text=True)
    labels = '{node="pi-1",sensor="dht11"}'
    for name, value in {"stored": 11, "missing": 3, "lost": 1}.items():
        assert f"brisa_history_{name}_readings{labels} {value}.0\n" in text
    assert "brisa_history_up 1.0\n" in text
    away(monkeypatch)
    watch.refresh()
    text = client.get("/metrics").get_data(as_text=True)
    assert "brisa_history_up 0.0\n" in text
    assert "readings{" not in text


def test_without_a_history_sqlalchemy_is_not_loaded() -> None:
    code = (
        "import sys\n"
        "from gateway.board import Board\n"
        "from gateway.rejections import Rejections\n"
        "from gateway.server import Gateway, _watch\n"
        "from gateway.app import create_app\n"
        "from gateway.settings import GatewaySettings\n"
        "assert _watch(GatewaySettings()) is None\n"
        "client = create_app(Board(Rejections()), None, Rejections()).test_client()\n"
        "for path in ('/', '/trends', '/kiosk', '/sensors/a/b', '/api/v1/audit',"
        " '/api/v1/sensors/a/b/history'):\n"
        "    client.get(path)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} &"
        " {'sqlalchemy', 'alembic', 'psycopg', 'pymysql'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
