"""/healthz, /readyz and /metrics test what they name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.contract import Kind, Topic
from gateway.feed import Feed
from tests.unit.told import InMemorySession, Told, make_client, make_feed

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def feed(told: Told) -> Iterator[Feed]:
    feed = make_feed(told)
    feed.watch(InMemorySession())
    feed.work()
    feed.start()
    yield feed
    feed.stop()


def scrape(told: Told, feed: Feed, viewers: int = 0) -> Samples:
    response = make_client(told, feed, viewers).get("/metrics")
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.get_data(as_text=True))
        for sample in family.samples
    }


def test_all_well_is_200(told: Told, feed: Feed) -> None:
    client = make_client(told, feed)
    for path in ("/healthz", "/readyz"):
        response = client.get(path)
        assert (response.status_code, response.data) == (200, b"ok\n")
        assert response.headers["Cache-Control"] == "no-store"


def test_what_must_run_and_does_not_fails_both_and_the_metric(told: Told, feed: Feed) -> None:
    class Dead:
        def liveness_errors(self) -> list[str]:
            return ["it is dead"]

    client = make_client(told, feed, must_run=[Dead()])
    for path in ("/healthz", "/readyz"):
        response = client.get(path)
        assert (response.status_code, response.data) == (503, b"it is dead\n")
    assert b"brisa_gateway_ready 0.0\n" in client.get("/metrics").data


def test_a_scrape_that_fails_is_an_error_and_the_next_one_is_not(
    told: Told, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(told, feed)

    def fails() -> None:
        raise ValueError("once")

    with monkeypatch.context() as patch:
        patch.setattr(told.board, "fresh", fails)
        assert client.get("/metrics").status_code == 500
    assert client.get("/metrics").status_code == 200


def test_a_lost_broker_fails_readiness_and_not_liveness(told: Told, feed: Feed) -> None:
    feed.watch(InMemorySession(connected=False, last_error="gone"))
    client = make_client(told, feed)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.data) == (503, b"not connected to the broker: gone\n")
    assert client.get("/healthz").status_code == 200


def test_a_dead_network_thread_fails_both(told: Told, feed: Feed) -> None:
    feed.watch(InMemorySession(network_thread_alive=False))
    client = make_client(told, feed)
    assert client.get("/readyz").status_code == client.get("/healthz").status_code == 503


def test_draining_fails_readiness_and_not_liveness(told: Told, feed: Feed) -> None:
    feed.draining = True
    client = make_client(told, feed)
    assert client.get("/readyz").data == b"draining\n"
    assert client.get("/healthz").status_code == 200


def test_metrics_have_the_values_of_live_sensors(told: Told, feed: Feed) -> None:
    told.reading(temperature_c=-3.5, humidity_pct=88.0)
    samples = scrape(told, feed)
    key = ("aula", "dht11")
    assert samples["brisa_temperature_celsius", key] == -3.5
    assert samples["brisa_humidity_percent", key] == 88.0
    newest = samples["brisa_last_reading_timestamp_seconds", key]
    assert newest == told.clock.now.timestamp()
    states = ("live", "late", "retrying", "broken", "offline")
    assert [samples["brisa_sensor_state", (*key, state)] for state in states] == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("state", ["late", "broken", "offline", "retrying"])
def test_metrics_never_have_an_old_value_as_if_it_were_new(
    told: Told, feed: Feed, state: str
) -> None:
    told.reading()
    if state == "offline":
        told.status("offline")
    elif state != "late":
        told.health(state)
    told.after(60)
    samples = scrape(told, feed)
    key = ("aula", "dht11")
    assert ("brisa_temperature_celsius", key) not in samples
    assert ("brisa_humidity_percent", key) not in samples
    assert ("brisa_last_reading_timestamp_seconds", key) in samples
    assert samples["brisa_sensor_state", (*key, state)] == 1


def test_metrics_count_what_was_refused_by_its_cause(told: Told, feed: Feed) -> None:
    told.raw(Topic(Kind.READING, "aula", "dht11"), b"{")
    samples = scrape(told, feed)
    assert samples["brisa_gateway_rejected_total", ("bad_payload",)] == 1
    assert samples["brisa_gateway_rejected_total", ("foreign_topic",)] == 0


def test_metrics_tell_of_the_gateway_itself(told: Told, feed: Feed) -> None:
    told.board.feed_up()
    samples = scrape(told, feed, viewers=7)
    assert samples["brisa_gateway_viewers", ()] == 7
    assert samples["brisa_gateway_broker_connected", ()] == 1
    assert samples["brisa_gateway_ready", ()] == 1
    assert samples["process_resident_memory_bytes", ()] > 0
