"""What the board shows of what it is told, and what it refuses."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.contract import Kind, Topic
from gateway.views import Changes, SensorList, SensorView
from tests.unit.told import OUR_CLOCK, STREAM, Told


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_live_reading_shows_live_with_its_values(told: Told) -> None:
    told.reading(7, temperature_c=-3.5, humidity_pct=99.9)
    view = told.view()
    assert (view.state, view.temperature_c, view.humidity_pct) == ("live", -3.5, 99.9)
    assert (view.seq, view.stream, view.received_at) == (7, STREAM, told.clock.now)


def test_what_follows_from_the_values_is_given_to_a_tenth(told: Told) -> None:
    told.reading(1, temperature_c=30.0, humidity_pct=50.0)
    assert (told.view().dew_point_c, told.view().feels_like_c) == (18.4, 31.0)
    told.reading(2, temperature_c=-10.0, humidity_pct=0.0)
    assert (told.view().dew_point_c, told.view().feels_like_c) == (None, None)
    told.reading(3, temperature_c=0.04, humidity_pct=99.5)
    assert str(told.view().dew_point_c) == "0.0"
    told.health(sensor="silent")
    assert (told.view("silent").dew_point_c, told.view("silent").feels_like_c) == (None, None)


def test_a_reading_of_the_first_moment_there_is_is_late(told: Told) -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    told.clock.now += timedelta(microseconds=4)  # its seconds since then are rounded up
    told.reading(measured_at=first)
    assert (told.view().state, told.view().age_from) == ("late", first)


def test_a_reading_older_than_three_intervals_is_late_since_then(told: Told) -> None:
    told.health(interval_s=10.0)
    told.reading()
    taken_at = told.clock.now
    assert told.after(30.0).state == "live"
    view = told.after(0.5)
    assert view.state == "late"
    assert view.since == taken_at + timedelta(seconds=30)
    assert view.temperature_c == 24.0


ASKED: dict[str, Callable[[Told], object]] = {
    "full": lambda told: SensorList.model_validate_json(told.board.full().body).sensors[0].state,
    "delta": lambda told: _changed(told).sensors[0].state,
    "sensor": lambda told: told.view().state,
    "view": lambda told: _one(told).state,
    "views": lambda told: told.board.views()[0].state,
    "nodes": lambda told: told.board.nodes()[0].sensors["dht11"],
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_sensor_is_late_for_whoever_asks_from_the_moment_it_is(told: Told, asked: str) -> None:
    told.reading()
    assert told.view().state == "live"
    told.clock.pass_(15.001)
    assert ASKED[asked](told) == "late"


def test_a_sensor_that_is_asked_for_less_often_turns_late_when_it_should(told: Told) -> None:
    told.health(sensor="slow", interval_s=60.0)
    told.reading(sensor="slow")
    told.health(sensor="quick", interval_s=1.0)
    told.reading(sensor="quick")
    told.clock.pass_(2)
    told.reading(2, sensor="quick")
    told.clock.pass_(2)
    assert (told.view("quick").state, told.view("slow").state) == ("live", "live")
    told.health(sensor="slow", interval_s=1.0)
    assert told.view("slow").state == "late"
    told.clock.pass_(1.1)
    assert told.view("quick").state == "late"


def test_what_time_has_not_changed_is_not_made_again(told: Told) -> None:
    told.reading(1)
    told.clock.pass_(5)
    told.reading(2)
    told.clock.pass_(11)  # 16 s after the first, which would be late by now
    before = told.board.full()
    told.clock.pass_(3)
    assert told.board.full() is before
    told.clock.pass_(2)
    assert told.board.full().version == before.version + 1


def test_without_health_the_interval_is_five_seconds(told: Told) -> None:
    told.reading()
    assert told.after(15.0).state == "live"
    assert told.after(0.1).state == "late"


def test_a_late_sensor_is_live_again_with_its_next_reading(told: Told) -> None:
    told.reading(1)
    assert told.after(60.0).state == "late"
    told.reading(2)
    assert told.view().state == "live"
    assert told.view().since == told.clock.now


def test_the_age_of_a_live_reading_ignores_a_wrong_clock_of_the_node(told: Told) -> None:
    told.reading(measured_at=datetime(2020, 1, 1, tzinfo=UTC), clock_synchronised=False)
    assert told.view().state == "live"
    assert told.view().age_from == told.clock.now


def test_a_reading_that_a_right_clock_dates_as_late_is_late_though_it_came_live(
    told: Told,
) -> None:
    told.health(interval_s=10.0)
    told.reading(1, measured_at=told.clock.now - timedelta(seconds=30))
    assert (told.view().state, told.view().received_at) == ("live", told.clock.now)
    measured_at = told.clock.now - timedelta(seconds=31)
    told.reading(1, sensor="other", measured_at=told.clock.now)
    told.reading(2, measured_at=measured_at)
    view = told.view()
    assert (view.state, view.age_from, view.received_at) == ("late", measured_at, None)
    assert told.view("other").state == "live"


def test_an_old_retained_reading_is_late_though_it_came_just_now(told: Told) -> None:
    measured_at = told.clock.now - timedelta(hours=1)
    told.reading(retained=True, measured_at=measured_at)
    view = told.view()
    assert (view.state, view.age_from, view.received_at) == ("late", measured_at, None)
    assert view.since == measured_at + timedelta(seconds=15)


def test_a_young_retained_reading_is_live_until_its_own_time_is_up(told: Told) -> None:
    told.reading(retained=True, measured_at=told.clock.now - timedelta(seconds=10))
    assert told.view().state == "live"
    assert told.after(5.1).state == "late"


@pytest.mark.parametrize(
    ("offset_s", "synchronised"), [(-1.0, False), (+60.0, True), (+60.0, False)]
)
def test_a_retained_reading_with_a_date_that_cannot_be_trusted_has_no_age(
    told: Told, offset_s: float, synchronised: bool
) -> None:
    measured_at = told.clock.now + timedelta(seconds=offset_s)
    told.reading(retained=True, measured_at=measured_at, clock_synchronised=synchronised)
    view = told.view()
    assert (view.state, view.age_from, view.since) == ("late", None, None)
    told.reading(2)
    assert told.view().state == "live"


def test_a_retained_reading_by_our_own_clock_has_an_age_though_no_date(told: Told) -> None:
    measured = {"clock": OUR_CLOCK, "ms": int(told.clock.now_s * 1000) - 14_000}
    wrong = datetime(1970, 1, 1, tzinfo=UTC)  # the clock was set since
    told.reading(
        1,
        retained=True,
        measured_at=wrong,
        clock_synchronised=False,
        measured_monotonic=measured,
    )
    view = told.view()
    assert (view.state, view.received_at) == ("live", None)
    assert view.age_from == told.clock.now - timedelta(seconds=14)
    assert told.after(1.5).state == "late"


@pytest.mark.parametrize(
    ("clock", "offset_ms"),
    [("another-boot", -1000), (OUR_CLOCK, +60_000), (OUR_CLOCK, 2**62)],
)
def test_another_clock_and_the_future_tell_no_age(told: Told, clock: str, offset_ms: int) -> None:
    measured = {"clock": clock, "ms": int(told.clock.now_s * 1000) + offset_ms}
    told.reading(1, retained=True, clock_synchronised=False, measured_monotonic=measured)
    assert (told.view().state, told.view().age_from) == ("late", None)


def test_a_reading_announced_again_is_no_younger_for_it(told: Told) -> None:
    measured_at = told.clock.now
    told.reading(5, measured_at=measured_at)
    assert told.after(14.0).state == "live"
    told.reading(5, measured_at=measured_at)
    told.reading(5, measured_at=measured_at, retained=True)
    assert told.after(2.0).state == "late"


def test_a_date_put_right_later_gives_an_unknown_age(told: Told) -> None:
    told.reading(5, retained=True, clock_synchronised=False)
    assert told.view().age_from is None
    measured_at = told.clock.now - timedelta(seconds=3)
    told.reading(5, measured_at=measured_at)
    assert (told.view().state, told.view().age_from) == ("live", measured_at)


def test_an_older_reading_of_the_same_stream_does_not_replace_a_newer(told: Told) -> None:
    early = told.clock.now
    told.clock.pass_(10)
    told.reading(7, temperature_c=20.0)
    told.reading(6, temperature_c=19.0, measured_at=early)
    told.reading(3, temperature_c=18.0, retained=True)
    assert told.view().temperature_c == 20.0
    assert told.rejections.totals()["older"] == 2


def test_a_node_restored_from_a_backup_is_believed_by_its_dates(told: Told) -> None:
    told.reading(700)
    told.clock.pass_(5)
    told.reading(12, temperature_c=21.0)
    assert (told.view().seq, told.view().temperature_c) == (12, 21.0)


def test_a_new_stream_replaces_the_old_whatever_its_number(told: Told) -> None:
    told.reading(700)
    told.reading(1, stream="00000000-0000-4000-8000-000000000002", temperature_c=1.0)
    assert told.view().temperature_c == 1.0


@pytest.mark.parametrize("state", ["retrying", "broken"])
def test_trouble_shows_with_its_reason_and_the_last_good_value(told: Told, state: str) -> None:
    told.reading()
    told.health(state, reason="no answer on GPIO 3")
    view = told.view()
    assert (view.state, view.reason) == (state, "no answer on GPIO 3")
    assert (view.since, view.temperature_c) == (told.clock.now, 24.0)
    told.health("ok")
    assert (told.view().state, told.view().reason) == ("live", "")


def test_a_node_that_is_gone_takes_its_sensors_offline_and_brings_them_back(told: Told) -> None:
    told.status("online")
    told.reading()
    told.health("broken", sensor="dht22")
    told.clock.pass_(3)
    told.status("offline")
    assert (told.view().state, told.view().since) == ("offline", told.clock.now)
    assert told.view().temperature_c == 24.0
    assert told.view("dht22").state == "offline"
    told.status("online")
    assert told.view().state == "live"
    assert told.view("dht22").state == "broken"


def test_nobody_knows_since_when_a_retained_offline_is_true(told: Told) -> None:
    told.status("offline", retained=True)
    told.reading(retained=True)
    assert (told.view().state, told.view().since) == ("offline", None)


def test_a_sensor_with_health_alone_has_no_values(told: Told) -> None:
    told.health("ok", driver="gpio", model="dht22")
    view = told.view()
    assert (view.state, view.temperature_c, view.humidity_pct) == ("late", None, None)
    assert (view.driver, view.model, view.interval_s) == ("gpio", "dht22", 5.0)


@pytest.mark.parametrize("kind", [Kind.READING, Kind.HEALTH])
def test_an_empty_payload_removes_the_sensor(told: Told, kind: Kind) -> None:
    told.reading()
    before = told.board.version
    told.raw(Topic(kind, "aula", "dht11"), b"")
    assert told.board.sensor("aula", "dht11") is None
    assert SensorList.model_validate_json(told.board.full().body).sensors == []
    delta = told.board.delta(before)
    assert delta is not None
    assert Changes.model_validate_json(delta.body).removed == ["aula/dht11"]


def test_a_node_that_only_a_removed_sensor_knew_is_gone_with_it(told: Told) -> None:
    """And one that has said a status stays, until that is removed as well."""
    told.reading(node="unheard")
    told.reading(node="heard")
    told.status("offline", node="heard")
    for node in ("unheard", "heard"):
        told.raw(Topic(Kind.READING, node, "dht11"), b"", retained=True)
    assert [node.node for node in told.board.nodes()] == ["heard"]
    told.raw(Topic(Kind.STATUS, "heard"), b"", retained=True)
    assert told.board.nodes() == []


def test_the_places_of_removed_nodes_are_free(told: Told) -> None:
    told.board.max_sensors = 2
    for number in range(9):
        told.reading(node=f"n{number}")
        told.raw(Topic(Kind.READING, f"n{number}", "dht11"), b"", retained=True)
    told.reading(node="new")
    assert [node.node for node in told.board.nodes()] == ["new"]
    assert told.rejections.totals().get("too_many_sensors", 0) == 0


def test_a_removed_sensor_can_come_back(told: Told) -> None:
    told.reading(1)
    told.raw(Topic(Kind.READING, "aula", "dht11"), b"")
    told.reading(1)
    delta = told.board.delta(0)
    assert delta is not None
    changes = Changes.model_validate_json(delta.body)
    assert ([view.seq for view in changes.sensors], changes.removed) == ([1], [])


def test_an_emptied_status_is_no_longer_offline(told: Told) -> None:
    told.reading()
    told.status("offline")
    told.raw(Topic(Kind.STATUS, "aula"), b"")
    assert told.view().state == "live"


# ---- what a person asks who looks for a fault


def test_the_health_of_a_sensor_is_what_its_edge_said_last(told: Told) -> None:
    told.reading()
    assert told.board.health("aula", "dht11") is None
    assert told.board.health("aula", "nobody") is None
    told.health("retrying", readings=7, discarded={"timeout": 3})
    told.health("ok", readings=8, discarded={"timeout": 3})
    health = told.board.health("aula", "dht11")
    assert health is not None
    assert (health.state, health.readings, health.discarded) == ("ok", 8, {"timeout": 3})


def test_nodes_are_listed_with_their_sensors_and_without(told: Told) -> None:
    told.status("online", version="0.1.0", instance="pi-1-3f9a")
    told.status("offline", node="attic", retained=True)
    told.reading(node="cellar")
    told.health("broken", sensor="dht22")
    told.reading()
    attic, aula, cellar = told.board.nodes()
    assert (attic.node, attic.state, attic.since, attic.sensors) == ("attic", "offline", None, {})
    assert (aula.node, aula.state, aula.since) == ("aula", "online", told.clock.now)
    assert (aula.version, aula.instance) == ("0.1.0", "pi-1-3f9a")
    assert list(aula.sensors.items()) == [("dht11", "live"), ("dht22", "broken")]
    assert (cellar.node, cellar.state, cellar.version) == ("cellar", None, "")


def test_a_node_says_since_when_and_by_which_edge_it_is_there(told: Told) -> None:
    told.status("online", version="0.1.0", instance="one")
    since = told.clock.now
    told.clock.pass_(5)
    told.status("online", version="0.2.0", instance="two")
    (node,) = told.board.nodes()
    assert (node.since, node.version, node.instance) == (since, "0.2.0", "two")
    told.status("offline", version="0.2.0", instance="two")
    assert told.board.nodes()[0].since == told.clock.now
    told.raw(Topic(Kind.STATUS, "aula"), b"")
    assert told.board.nodes() == []


# ---- bytes and versions


def test_full_lists_all_by_node_and_name(told: Told) -> None:
    for node, sensor in (("b", "1"), ("a", "2"), ("a", "1")):
        told.reading(node=node, sensor=sensor)
    version, body = told.board.full()
    shown = SensorList.model_validate_json(body)
    assert [(v.node, v.sensor) for v in shown.sensors] == [("a", "1"), ("a", "2"), ("b", "1")]
    assert (shown.version, shown.epoch) == (version, told.board.epoch)
    assert [v.version for v in shown.sensors] == [3, 2, 1]


def test_delta_holds_only_what_changed_since(told: Told) -> None:
    for sensor in ("a", "b", "c"):
        told.reading(sensor=sensor)
    version = told.board.version
    told.reading(2, sensor="b")
    told.reading(3, sensor="b")
    delta = told.board.delta(version)
    assert delta is not None
    changes = Changes.model_validate_json(delta.body)
    assert [(v.sensor, v.seq) for v in changes.sensors] == [("b", 3)]
    assert changes.version == delta.version == told.board.version


def test_delta_of_a_version_that_is_not_ours_is_refused(told: Told) -> None:
    told.reading()
    assert told.board.delta(told.board.version + 1) is None
    assert told.board.delta(-1) is None


def test_delta_past_what_is_remembered_of_removals_is_refused() -> None:
    told = Told(max_sensors=3)
    for number in range(4):
        told.reading(sensor=f"s{number}")
        told.raw(Topic(Kind.READING, "aula", f"s{number}"), b"")
    assert told.board.delta(0) is None
    assert told.board.delta(told.board.version) is not None


def test_what_did_not_change_keeps_its_bytes_and_version(told: Told) -> None:
    told.health("ok", readings=1)
    told.reading(1)
    before = told.board.sensor("aula", "dht11")
    full = told.board.full()
    told.health("ok", readings=2, since="2026-11-23T12:00:00Z")
    told.status("online")
    assert told.board.sensor("aula", "dht11") == before
    assert told.board.full() is full


def test_losing_and_finding_the_broker_is_a_change(told: Told) -> None:
    told.board.feed_up()
    told.clock.pass_(10)
    version = told.board.version
    told.board.feed_lost()
    told.board.feed_lost()
    assert told.board.version == version + 1 == told.board.feed_version
    shown = SensorList.model_validate_json(told.board.full().body)
    assert (shown.feed.connected, shown.feed.since) == (False, told.clock.now)


def test_fresh_are_live_ones_and_retrying_ones_with_a_young_value(told: Told) -> None:
    told.reading(sensor="live")
    told.reading(sensor="retrying")
    told.reading(sensor="broken")
    told.health("retrying", sensor="retrying")
    told.health("broken", sensor="broken")
    assert told.board.fresh() == {("aula", "live"), ("aula", "retrying")}
    told.clock.pass_(16)
    assert told.board.fresh() == set()


# ---- hostile input


READING: dict[str, Any] = {
    "stream": str(STREAM),
    "seq": 1,
    "measured_at": "2026-11-23T12:00:00Z",
    "clock_synchronised": True,
    "temperature_c": 24.0,
    "humidity_pct": 41.0,
    "source": "dht11",
}


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(READING | {"temperature_c": float("nan")}).encode(),
        json.dumps(READING | {"humidity_pct": 140}).encode(),
        json.dumps(READING | {"measured_at": "2026-11-23T12:00:00"}).encode(),
        json.dumps(READING | {"x": "y" * 20_000}).encode(),
        b"\xff\xfe\x00",
        b"{",
        b"[]",
        b"null",
        b"[" * 10_000,
    ],
    ids=["nan", "humidity", "no zone", "huge", "not utf-8", "cut", "list", "null", "deep"],
)
def test_a_bad_payload_is_counted_and_the_good_value_stays(told: Told, payload: bytes) -> None:
    told.reading(1)
    version = told.board.version
    told.raw(Topic(Kind.READING, "aula", "dht11"), payload)
    assert told.rejections.totals()["bad_payload"] == 1
    assert told.board.version == version
    assert told.view().temperature_c == 24.0


def test_backfill_and_stored_are_none_of_the_boards_business(told: Told) -> None:
    told.raw(Topic(Kind.BACKFILL, "aula", "dht11"), b"garbage")
    told.raw(Topic(Kind.STORED, "aula", "dht11"), b"garbage")
    assert set(told.rejections.totals().values()) == {0}
    assert told.board.version == 0


def test_ten_thousand_made_up_sensors_of_one_node_leave_room_for_the_others(told: Told) -> None:
    told.reading(1, node="good")
    for number in range(10_000):
        told.reading(1, sensor=f"fake{number}")
    told.reading(2, node="good")
    told.reading(1, node="other")
    views = told.board.views()
    assert sum(view.node == "aula" for view in views) == 200
    assert [view.seq for view in views if view.node == "good"] == [2]
    assert told.rejections.totals()["too_many_sensors"] == 9_800


def test_it_knows_the_topics_of_what_is_on_it(told: Told) -> None:
    topics = [Topic(Kind.STATUS, "aula"), Topic(Kind.READING, "aula", "dht11")]
    assert [told.board.knows(topic) for topic in topics] == [False, False]
    told.status("online")
    assert [told.board.knows(topic) for topic in topics] == [True, False]
    told.reading()
    assert [told.board.knows(topic) for topic in topics] == [True, True]
    told.raw(topics[1], b"")
    assert [told.board.knows(topic) for topic in topics] == [True, False]


def test_made_up_nodes_are_bounded_too() -> None:
    told = Told(max_sensors=50)
    for number in range(500):
        told.raw(Topic(Kind.STATUS, f"n{number}"), b'{"state":"online"}')
        told.reading(node=f"n{number}")
    assert len(told.board.views()) == 50
    assert told.rejections.totals()["too_many_sensors"] == 900


def test_refusals_are_logged_once_a_minute_in_one_line(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bad: Callable[[], None] = lambda: told.raw(Topic(Kind.READING, "aula", "x"), b"\n{")  # noqa: E731
    told.rejections.report_if_due()
    assert caplog.messages == []
    for _ in range(5):
        bad()
        told.rejections.count("foreign_topic", "a\nb")
        told.rejections.report_if_due()
    assert len(caplog.messages) == 1
    told.clock.pass_(59.9)
    told.rejections.report_if_due()
    assert len(caplog.messages) == 1
    told.clock.pass_(0.1)
    told.rejections.report_if_due()
    assert len(caplog.messages) == 2
    assert "4 bad_payload" in caplog.messages[1]
    assert "4 foreign_topic (last: a?b)" in caplog.messages[1]
    assert "\n" not in caplog.messages[1]
    told.clock.pass_(60)
    told.rejections.report_if_due()
    assert len(caplog.messages) == 2


def _one(told: Told) -> SensorView:
    view = told.board.view("aula", "dht11")
    assert view is not None
    return view


def _changed(told: Told) -> Changes:
    delta = told.board.delta(told.board.version)
    assert delta is not None
    return Changes.model_validate_json(delta.body)
