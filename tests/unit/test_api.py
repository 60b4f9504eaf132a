"""/api/v1/sensors: the board's JSON and its ETags."""

from __future__ import annotations

import gzip

import pytest

from gateway.views import SensorList, SensorView
from tests.unit.told import Told, make_client


def test_sensors_lists_all_of_them() -> None:
    told = Told()
    told.reading(sensor="b")
    told.reading(sensor="a")
    response = make_client(told).get("/api/v1/sensors")
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.headers["Cache-Control"] == "no-cache"
    shown = SensorList.model_validate_json(response.data)
    assert [view.sensor for view in shown.sensors] == ["a", "b"]


def test_one_sensor_is_found_by_node_and_name() -> None:
    told = Told()
    told.reading(3, temperature_c=21.5)
    response = make_client(told).get("/api/v1/sensors/aula/dht11")
    assert response.status_code == 200
    assert SensorView.model_validate_json(response.data).temperature_c == 21.5


def test_nothing_known_is_an_empty_list() -> None:
    response = make_client(Told()).get("/api/v1/sensors")
    assert response.json is not None
    assert response.json["sensors"] == []


def test_asked_again_with_its_etag_the_answer_is_304_until_something_changes() -> None:
    told = Told()
    told.reading(1)
    told.reading(1, sensor="other")
    client = make_client(told)
    for path in ("/api/v1/sensors", "/api/v1/sensors/aula/dht11"):
        etag = client.get(path).headers["ETag"]
        assert etag.startswith('"')
        told.clock.pass_(1)
        again = client.get(path, headers={"If-None-Match": etag})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    told.reading(2)
    for path in ("/api/v1/sensors", "/api/v1/sensors/aula/dht11"):
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 200


def test_the_etag_of_a_sensor_does_not_change_with_another() -> None:
    told = Told()
    told.reading(1)
    client = make_client(told)
    etag = client.get("/api/v1/sensors/aula/dht11").headers["ETag"]
    told.reading(1, sensor="other")
    assert client.get("/api/v1/sensors/aula/dht11").headers["ETag"] == etag


def test_another_process_has_other_etags() -> None:
    first, second = Told(), Told()
    first.reading(1)
    second.reading(1)
    etags = {make_client(told).get("/api/v1/sensors").headers["ETag"] for told in (first, second)}
    assert len(etags) == 2


def test_head_has_the_headers_alone() -> None:
    told = Told()
    told.reading(1)
    client = make_client(told)
    head, get = client.head("/api/v1/sensors"), client.get("/api/v1/sensors")
    assert head.data == b""
    assert head.headers["ETag"] == get.headers["ETag"]


@pytest.mark.parametrize("first", ["identity", "gzip"])
@pytest.mark.parametrize("then", ["identity", "gzip"])
def test_compressed_or_not_the_etag_means_the_same(first: str, then: str) -> None:
    told = Told()
    for number in range(20):
        told.reading(sensor=f"s{number}")
    client = make_client(told)
    path = "/api/v1/sensors"
    plain = client.get(path)
    assert plain.headers["ETag"].startswith('"')
    answer = client.get(path, headers={"Accept-Encoding": first})
    etag = answer.headers["ETag"]
    # other bytes under the same strong tag would be a lie
    assert etag == (f"W/{plain.headers['ETag']}" if first == "gzip" else plain.headers["ETag"])
    if first == "gzip":
        assert gzip.decompress(answer.data) == plain.data
    asked = {"Accept-Encoding": then, "If-None-Match": etag}
    again = client.get(path, headers=asked)
    assert (again.status_code, again.data) == (304, b"")
    assert (
        again.headers["ETag"] == client.get(path, headers={"Accept-Encoding": then}).headers["ETag"]
    )
    assert again.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in again.headers
    told.reading(2, sensor="s0")
    assert client.get(path, headers=asked).status_code == 200
