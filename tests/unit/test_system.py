"""What is wrong with the system: each code for what it is there for, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple, cast
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from broker import __version__
from broker.contract import Kind, Topic, in_utc_ms
from gateway.history.account import StreamKey
from gateway.history.views import AuditView, DiskView, LostSpan, SensorAudit
from gateway.history.watch import Seen, Watch
from gateway.rejections import CAUSES
from gateway.replicas import ALONE, UNKNOWN
from gateway.system import LISTED, STARTING_S, STORED_WITHIN_S, Facts, system
from gateway.system_api import KEPT_S
from gateway.system_views import (
    Code,
    DatabaseState,
    RecorderState,
    ReplicasView,
    Severity,
    SystemProblem,
    SystemView,
)
from tests.databases import Database
from tests.unit.past import Past
from tests.unit.told import OUR_CLOCK, STREAM, Told, make_client

OTHER = UUID("00000000-0000-4000-8000-000000000002")
AWAY = Seen(None, None, "postgres: password of brisa@postgres refused")


class Noted(NamedTuple):
    """What of a problem is compared."""

    severity: Severity
    subject: str
    params: dict[str, object]


@pytest.fixture
def told() -> Told:
    """A board with the broker found, a minute ago."""
    told = Told()
    told.board.feed_up()
    told.clock.pass_(60)
    return told


def facts(told: Told, seen: Seen | None = None) -> Facts:
    """Of a board; the gateway has run for an hour."""
    board, now = told.board, told.clock.now
    keys = [(view.node, view.sensor) for view in board.views()]
    return Facts(
        now=now,
        version=__version__,
        epoch=board.epoch,
        started_at=now - timedelta(hours=1),
        viewers=3,
        replicas=ALONE,
        feed=board.feed,
        feed_found=board.feed_version > 0,
        sensors=board.views(),
        fresh=frozenset(board.fresh()),
        wrong_clocks=board.wrong_clocks(),
        clocks_off=board.clocks_off(),
        healths={key: health for key in keys if (health := board.health(*key)) is not None},
        nodes=board.nodes(),
        rejected=told.rejections.totals(),
        max_sensors=board.max_sensors,
        max_sensors_per_node=board.max_sensors_per_node,
        seen=seen,
    )


def stored(
    told: Told,
    last_seq: int,
    *,
    age_s: float = 0.0,
    missing: int = 0,
    lost: int = 0,
    noted_ago: timedelta | None = None,
    stream: UUID = STREAM,
    sensor: str = "dht11",
) -> Seen:
    """An account with one sensor, read `age_s` ago."""
    now = told.clock.now
    spans = []
    if noted_ago is not None:
        noted_at = now - noted_ago
        spans = [
            LostSpan(
                first_seq=1,
                last_seq=lost,
                count=lost,
                noted_at=noted_at,
                after_at=None,
                before_at=None,
            )
        ]
    counts = {"stored": last_seq - missing - lost, "missing": missing, "lost": lost}
    of_sensor = SensorAudit(
        node="aula",
        sensor=sensor,
        gaps=1 if lost else 0,
        first_at=now,
        newest_at=now,
        lost_spans=spans,
        **counts,
    )
    newest: dict[StreamKey, int] = {("aula", sensor, stream): last_seq}
    return Seen(AuditView(sensors=[of_sensor]), now - timedelta(seconds=age_s), "", newest)


def shown(told: Told, seen: Seen | None = None) -> SystemView:
    return system(facts(told, seen))


def only(view: SystemView, code: Code) -> Noted:
    """The one problem there is, besides that no history is configured."""
    (problem,) = [one for one in view.problems if one.code is not Code.HISTORY_NOT_CONFIGURED]
    assert problem.code is code
    return Noted(problem.severity, problem.subject, dict(problem.params))


def codes(view: SystemView) -> list[Code]:
    return [one.code for one in view.problems]


def reading_for(told: Told, seconds: float, **fields: object) -> int:
    """One each 5 s; returns the last number."""
    last = round(seconds / 5)
    for seq in range(1, last + 1):
        told.reading(seq, **fields)  # type: ignore[arg-type]
        if seq < last:
            told.clock.pass_(5)
    return last


# ---- all well


def test_all_well_is_no_problem_at_all(told: Told) -> None:
    told.status("online", version=__version__)
    told.health()
    newest = reading_for(told, 300)
    view = shown(told, stored(told, newest))
    assert (view.problems, view.left_off) == ([], {})
    assert (view.recorder.state, view.database.state) == ("storing", "readable")
    assert (view.broker.connected, view.broker.found) == (True, True)
    assert (view.gateway.version, view.gateway.viewers) == (__version__, 3)
    assert view.gateway.replicas == ReplicasView(configured=False, count=1)
    assert [(node.node, node.version, node.sensors) for node in view.nodes] == [
        ("aula", __version__, {"dht11": "live"})
    ]


# ---- the broker


def test_a_broker_that_was_never_found() -> None:
    told = Told()
    view = shown(told)
    assert only(view, Code.BROKER_NEVER_FOUND) == (
        Severity.ERROR,
        "broker",
        {"since": in_utc_ms(told.clock.now)},
    )
    assert view.broker.found is False


def test_a_broker_that_was_lost_and_no_sensor_is_called_late_for_it(told: Told) -> None:
    told.reading()
    told.board.feed_lost()
    since = told.clock.now
    told.after(60)
    view = shown(told, stored(told, 1))
    problem = only(view, Code.BROKER_LOST)
    assert problem == (Severity.ERROR, "broker", {"since": in_utc_ms(since)})
    assert view.recorder.state is RecorderState.UNKNOWN


# ---- the database


def test_no_history_is_only_said(told: Told) -> None:
    view = shown(told)
    (problem,) = view.problems
    assert (problem.code, problem.severity) == (Code.HISTORY_NOT_CONFIGURED, Severity.INFO)
    assert (view.database.state, view.recorder.state) == ("not_configured", "not_configured")


def test_a_database_that_cannot_be_read_any_more_is_away_since_it_was_read(told: Told) -> None:
    told.reading()
    seen = stored(told, 1, age_s=14)._replace(problem="locked")
    view = shown(told, seen)
    at = told.clock.now - timedelta(seconds=14)
    assert only(view, Code.DATABASE_AWAY) == (
        Severity.ERROR,
        "database",
        {"since": in_utc_ms(at)},
    )
    assert (view.database.as_of, view.recorder.state) == (at, "unknown")


def test_why_it_is_away_is_not_for_everyone(told: Told) -> None:
    assert b"password" not in shown(told, AWAY).to_json()


def test_a_database_is_not_away_before_the_gateway_had_time_to_look(told: Told) -> None:
    known = facts(told, AWAY)
    young = replace(known, started_at=known.now - timedelta(seconds=STARTING_S - 1))
    assert system(young).database.state is DatabaseState.UNKNOWN
    assert codes(system(young)) == []
    assert system(known).database.state is DatabaseState.AWAY
    assert only(system(known), Code.DATABASE_AWAY).params == {"since": None}
    assert shown(told, Seen(None, None, "")).database.state is DatabaseState.UNKNOWN


# ---- the recorder


def test_a_recorder_is_behind_when_a_reading_is_not_stored_after_90_seconds(told: Told) -> None:
    newest = reading_for(told, 600)
    told.clock.pass_(2)
    # the newest came 2 s ago; the 18th before it 92 s ago, and is due; the 17th 87 s ago, and is not
    enough = newest - 18
    assert shown(told, stored(told, enough)).recorder.state is RecorderState.STORING
    view = shown(told, stored(told, enough - 1))
    assert view.recorder.state is RecorderState.BEHIND
    lacking = newest - enough + 1
    since = told.clock.now - timedelta(seconds=2 + 5 * (lacking - 1))
    assert (view.recorder.readings, view.recorder.since) == (lacking, since)
    assert only(view, Code.RECORDER_BEHIND) == (
        Severity.ERROR,
        "recorder",
        {
            "since": in_utc_ms(since),
            "readings": lacking,
            "sensors": ["aula/dht11"],
            "total": 1,
        },
    )


@pytest.mark.parametrize("interval_s", [0.5, 2.0, 5.0, 60.0, 3600.0])
@pytest.mark.parametrize("age_s", [0.0, 10.0, 30.0])
def test_a_recorder_that_stores_within_its_time_is_never_called_behind(
    told: Told, interval_s: float, age_s: float
) -> None:
    """At any moment, by an account of any age that the watch lets it have."""
    told.health(interval_s=interval_s)
    began_s = told.clock.now_s
    for seq in range(1, 200):
        told.reading(seq)
        for _ in range(3):
            told.clock.pass_(interval_s / 3)
            until_s = told.clock.now_s - age_s - STORED_WITHIN_S + 0.1 - began_s
            in_it = max(0, int(until_s // interval_s) + 1)
            seen = stored(told, in_it, age_s=age_s)
            assert shown(told, seen).recorder.state is not RecorderState.BEHIND


def test_a_recorder_that_never_stored_a_sensor_is_behind_by_all_of_its_stream(told: Told) -> None:
    newest = reading_for(told, 300)
    for seen in (stored(told, 500, stream=OTHER), stored(told, 500, sensor="other")):
        assert shown(told, seen).recorder.readings == newest


def test_a_recorder_that_only_heard_of_a_sensor_s_readings_is_behind_by_all_of_them(
    told: Told, past: Past, watch: Watch
) -> None:
    """Health says up to which number there are readings; none of them is stored for that."""
    told.clock.pass_((past.now - told.clock.now).total_seconds())
    for seq in range(1, 1001):
        told.reading(seq, node="pi-1")
        told.clock.pass_(5)
    past.health(stream=STREAM, oldest_seq=1, newest_seq=1000)
    watch.refresh()
    recorder = shown(told, watch.seen()).recorder
    assert (recorder.state, recorder.readings) == (RecorderState.BEHIND, 1000)
    past.readings([1000])
    watch.refresh()
    recorder = shown(told, watch.seen()).recorder
    assert (recorder.state, recorder.missing) == (RecorderState.STORING, 999)


def test_nothing_is_known_of_a_recorder_while_no_sensor_is_live_or_all_have_just_begun(
    told: Told,
) -> None:
    nothing = Seen(AuditView(sensors=[]), told.clock.now, "")
    assert shown(told, nothing).recorder.state is RecorderState.UNKNOWN
    told.reading(1)
    assert shown(told, nothing).recorder.state is RecorderState.UNKNOWN
    assert shown(told, stored(told, 1)).recorder.state is RecorderState.STORING
    told.after(60)
    assert shown(told, stored(told, 1)).recorder.state is RecorderState.UNKNOWN


def test_a_number_that_somebody_made_up_does_no_harm(told: Told) -> None:
    told.reading(2**63 - 1)
    assert shown(told, stored(told, 1)).recorder.since == told.clock.now


def test_missing_readings_are_the_nodes_to_send_and_the_recorder_stores(told: Told) -> None:
    newest = reading_for(told, 300)
    view = shown(told, stored(told, newest, missing=7))
    assert only(view, Code.READINGS_MISSING) == (Severity.INFO, "aula/dht11", {"readings": 7})
    assert (view.recorder.state, view.recorder.missing) == ("storing", 7)


@pytest.mark.parametrize(
    ("ago", "severity"),
    [
        (timedelta(hours=23), Severity.WARNING),
        (timedelta(hours=25), Severity.INFO),
        (None, Severity.INFO),
    ],
)
def test_lost_readings_are_a_warning_for_a_day(
    told: Told, ago: timedelta | None, severity: Severity
) -> None:
    told.reading(300)
    view = shown(told, stored(told, 300, lost=12, noted_ago=ago))
    noted_at = None if ago is None else in_utc_ms(told.clock.now - ago)
    params = {"readings": 12, "gaps": 1, "noted_at": noted_at}
    assert only(view, Code.READINGS_LOST) == (severity, "aula/dht11", params)
    assert view.recorder.lost == 12


# ---- nodes and sensors


def test_a_node_that_is_offline_with_its_sensors_is_one_problem(told: Told) -> None:
    told.reading(sensor="b", clock_synchronised=False)
    told.reading(sensor="a")
    told.status("offline", version="0.0.9")
    assert only(shown(told), Code.NODE_OFFLINE) == (
        Severity.ERROR,
        "aula",
        {"since": in_utc_ms(told.clock.now), "sensors": ["a", "b"]},
    )


def test_a_node_that_was_offline_before_we_came_has_no_date(told: Told) -> None:
    told.status("offline", retained=True)
    assert only(shown(told), Code.NODE_OFFLINE).params == {"since": None, "sensors": []}


def test_a_broken_sensor_says_why_and_what_it_is(told: Told) -> None:
    told.health("broken", reason="no such GPIO line: 99")
    assert only(shown(told), Code.SENSOR_BROKEN) == (
        Severity.ERROR,
        "aula/dht11",
        {
            "since": in_utc_ms(told.clock.now),
            "reason": "no such GPIO line: 99",
            "driver": "iio",
            "model": "dht11",
        },
    )


def test_a_sensor_that_is_retried_is_a_problem_once_its_value_is_old(told: Told) -> None:
    told.reading()
    told.health("retrying", reason="timeout")
    assert codes(shown(told)) == [Code.HISTORY_NOT_CONFIGURED]
    since = told.clock.now
    told.after(16)
    severity, subject, params = only(shown(told), Code.SENSOR_RETRYING)
    assert (severity, subject) == (Severity.WARNING, "aula/dht11")
    assert (params["since"], params["reason"]) == (in_utc_ms(since), "timeout")


def test_a_late_sensor_says_since_when_and_what_it_should_do(told: Told) -> None:
    told.health(interval_s=2.0)
    told.reading()
    since = told.clock.now + timedelta(seconds=6)
    told.after(20)
    params = {"since": in_utc_ms(since), "interval_s": 2.0}
    assert only(shown(told), Code.SENSOR_LATE) == (Severity.WARNING, "aula/dht11", params)


def test_a_clock_is_the_nodes_and_said_once(told: Told) -> None:
    for sensor in ("a", "b"):
        told.reading(sensor=sensor, clock_synchronised=False)
    problem = only(shown(told), Code.CLOCK_NOT_SYNCHRONISED)
    assert problem == (Severity.WARNING, "aula", {"sensors": ["a", "b"]})


def test_a_clock_that_the_gateway_shares_is_no_problem(told: Told) -> None:
    measured = {"clock": OUR_CLOCK, "ms": int(told.clock.now_s * 1000)}
    told.reading(clock_synchronised=False, measured_monotonic=measured)
    told.reading(node="far", clock_synchronised=False)
    problem = only(shown(told), Code.CLOCK_NOT_SYNCHRONISED)
    assert problem == (Severity.WARNING, "far", {"sensors": ["dht11"]})


@pytest.mark.parametrize("behind_s", [86_400, -86_400, 61])
def test_a_clock_that_is_off_and_calls_itself_right_is_said(told: Told, behind_s: int) -> None:
    """The second in a row may have waited for the broker as well."""
    for seq in (1, 2, 3):
        assert Code.CLOCK_OFF not in codes(shown(told))
        told.clock.pass_(5)
        told.reading(seq, measured_at=told.clock.now - timedelta(seconds=behind_s))
    noted = [one for one in shown(told).problems if one.code is Code.CLOCK_OFF]
    assert [(one.severity, one.subject, one.params) for one in noted] == [
        (Severity.WARNING, "aula", {"behind_s": behind_s})
    ]
    told.clock.pass_(5)
    told.reading(4)
    assert Code.CLOCK_OFF not in codes(shown(told))


def test_readings_that_are_old_for_another_reason_say_nothing_of_a_clock(told: Told) -> None:
    long_ago = told.clock.now - timedelta(days=1)
    for seq in range(1, 9):
        told.reading(seq, measured_at=long_ago, retained=True, sensor="retained")
        told.reading(1, measured_at=long_ago, sensor="again")
        told.reading(seq, measured_at=long_ago, sensor="undated", clock_synchronised=False)
        told.reading(seq, measured_at=told.clock.now - timedelta(seconds=59), sensor="slow")
    assert Code.CLOCK_OFF not in codes(shown(told))


def test_a_journal_is_the_nodes_and_said_once(told: Told) -> None:
    for sensor in ("a", "b"):
        told.health(sensor=sensor, journal="it is in memory only: the disk is full")
        told.reading(sensor=sensor)
    assert only(shown(told), Code.JOURNAL_TROUBLE) == (
        Severity.ERROR,
        "aula",
        {"journal": "it is in memory only: the disk is full"},
    )


def test_an_edge_of_another_version_is_named_with_ours(told: Told) -> None:
    told.status("online", version="0.0.9")
    params = {"version": "0.0.9", "gateway": __version__}
    assert only(shown(told), Code.VERSION_DIFFERS) == (Severity.INFO, "aula", params)
    told.status("online")  # which one, it does not say
    assert codes(shown(told)) == [Code.HISTORY_NOT_CONFIGURED]


# ---- the gateway itself


@pytest.mark.parametrize("cause", sorted({*CAUSES} - {"older", "too_many_sensors"}))
def test_messages_that_were_rejected_are_counted_by_cause(told: Told, cause: str) -> None:
    told.rejections.count(cause, "an example", 3)
    since = in_utc_ms(told.clock.now - timedelta(hours=1))
    assert only(shown(told), Code.MESSAGES_REJECTED) == (
        Severity.INFO,
        "gateway",
        {"cause": cause, "messages": 3, "since": since},
    )


def test_what_a_restored_broker_says_again_is_no_problem(told: Told) -> None:
    told.rejections.count("older", "aula/dht11")
    assert codes(shown(told)) == [Code.HISTORY_NOT_CONFIGURED]


def test_sensors_over_the_limit_come_with_the_limit() -> None:
    told = Told(max_sensors=1, max_sensors_per_node=1)
    told.board.feed_up()
    told.reading()
    told.reading(sensor="other")
    severity, subject, params = only(shown(told), Code.SENSORS_OVER_LIMIT)
    assert (severity, subject) == (Severity.WARNING, "gateway")
    assert (params["messages"], params["max_sensors"], params["max_sensors_per_node"]) == (1, 1, 1)


def test_one_gateway_where_there_could_be_more_is_said_and_so_is_not_knowing(told: Told) -> None:
    def of(replicas: ReplicasView) -> SystemView:
        return system(replace(facts(told), replicas=replicas))

    alone = of(ReplicasView(configured=True, count=1))
    assert only(alone, Code.REPLICA_MISSING) == (Severity.INFO, "gateway", {"count": 1})
    assert only(of(UNKNOWN), Code.REPLICAS_UNKNOWN) == (Severity.INFO, "gateway", {})
    for well in (ALONE, ReplicasView(configured=True, count=2)):
        assert codes(of(well)) == [Code.HISTORY_NOT_CONFIGURED]


# ---- all of them


def test_the_severest_come_first_and_then_by_code_and_subject(told: Told) -> None:
    told.status("offline", node="b")
    told.status("offline", node="a")
    told.status("online", node="c", version="0.0.9")
    told.health("broken")
    told.reading(sensor="dht22", clock_synchronised=False)
    problems = shown(told, AWAY).problems
    assert [(one.code, one.subject) for one in problems] == [
        (Code.DATABASE_AWAY, "database"),
        (Code.NODE_OFFLINE, "a"),
        (Code.NODE_OFFLINE, "b"),
        (Code.SENSOR_BROKEN, "aula/dht11"),
        (Code.CLOCK_NOT_SYNCHRONISED, "aula"),
        (Code.VERSION_DIFFERS, "c"),
    ]


def test_of_many_problems_of_a_kind_the_first_are_listed_and_the_others_counted(told: Told) -> None:
    for number in range(LISTED + 7):
        told.status("offline", node=f"n{number:02}")
        told.health("broken", node="aula", sensor=f"s{number:02}")
        told.reading(node="cellar", sensor=f"s{number:02}", clock_synchronised=False)
    view = shown(told)
    assert view.left_off == {Code.NODE_OFFLINE: 7, Code.SENSOR_BROKEN: 7}
    counted = codes(view)
    assert counted.count(Code.NODE_OFFLINE) == counted.count(Code.SENSOR_BROKEN) == LISTED
    clock = next(one for one in view.problems if one.code is Code.CLOCK_NOT_SYNCHRONISED)
    assert len(cast("list[str]", clock.params["sensors"])) == LISTED


# ---- over HTTP

PATH = "/api/v1/system"


@pytest.fixture
def past(sqlite: Database) -> Iterator[Past]:
    with closing(Past(sqlite)) as past:
        yield past


def answer(client: FlaskClient) -> SystemView:
    response = client.get(PATH)
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.headers["Cache-Control"] == "no-cache"
    return SystemView.model_validate_json(response.data)


def problem_of(view: SystemView, code: Code) -> SystemProblem:
    return next(one for one in view.problems if one.code is code)


def test_it_is_answered_with_what_the_gateway_knows(told: Told, past: Past) -> None:
    told.status("online", version="0.0.9")
    told.reading()
    watch = Watch(past.store, monotonic=told.clock.monotonic, utcnow=told.clock.utcnow)
    replicas = ReplicasView(configured=True, count=2)
    client = make_client(told, viewers=4, watch=watch, replicas=replicas)
    assert answer(client).database.state is DatabaseState.UNKNOWN
    past.readings([1, 2, 500])
    past.readings([500], after=400)
    watch.refresh()
    told.clock.pass_(KEPT_S)
    view = answer(client)
    assert (view.gateway.viewers, view.gateway.replicas) == (4, replicas)
    assert (view.gateway.epoch, view.gateway.version) == (told.board.epoch, __version__)
    assert (view.database.state, view.database.as_of) == (
        "readable",
        told.clock.now - timedelta(seconds=KEPT_S),
    )
    assert problem_of(view, Code.READINGS_LOST).params["readings"] == 99
    assert problem_of(view, Code.READINGS_MISSING).params["readings"] == 398
    assert problem_of(view, Code.VERSION_DIFFERS).subject == "aula"


def test_asked_again_with_its_etag_the_answer_is_304_until_something_changes(told: Told) -> None:
    client = make_client(told)
    etag = client.get(PATH).headers["ETag"]
    told.clock.pass_(10)
    again = client.get(PATH, headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    told.status("offline")
    told.clock.pass_(KEPT_S)
    changed = client.get(PATH, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert client.get(PATH, headers={"If-None-Match": changed.headers["ETag"]}).status_code == 304


def test_it_is_looked_at_once_a_second_however_many_ask(told: Told) -> None:
    client = make_client(told)
    before = client.get(PATH).data
    told.raw(Topic(Kind.STATUS, "attic"), b'{"state":"online"}')
    told.clock.pass_(KEPT_S - 0.1)
    assert client.get(PATH).data == before
    told.clock.pass_(0.1)
    assert [node.node for node in answer(client).nodes] == ["attic"]


def test_a_query_is_refused() -> None:
    assert make_client(Told()).get(PATH + "?lang=es").status_code == 400


def test_the_disk_budget_is_passed_on_only_while_the_database_answers(told: Told) -> None:
    now = told.clock.now
    disk = DiskView(as_of=now, used_bytes=5, budget_bytes=10, growth_bytes_per_day=1, full_at=None)
    seen = stored(told, 10)._replace(disk=disk)
    assert shown(told, seen).database.disk == disk
    assert shown(told, seen._replace(problem="away")).database.disk is None
