"""/text: the console's line, honest about what is not live."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.told import Told, make_client


def text(told: Told, path: str = "/text") -> str:
    told.board.feed_up()
    response = make_client(told).get(path)
    assert (response.status_code, response.mimetype) == (200, "text/plain")
    assert response.content_type == "text/plain; charset=utf-8"
    return response.get_data(as_text=True)


def test_a_single_live_sensor_is_exactly_the_reports_line() -> None:
    told = Told()
    told.reading()
    assert text(told) == "Temperatura=24.0°C | Humedad=41.0%HR\n"
    assert text(told, "/text?lang=es") == "Temperatura=24.0°C | Humedad=41.0%HR\n"
    assert text(told, "/text?lang=en") == "Temperature=24.0°C | Humidity=41.0%RH\n"


def test_a_lost_broker_is_remarked_on_each_line() -> None:
    told = Told()
    told.reading()
    line = make_client(told).get("/text?lang=en").get_data(as_text=True)
    assert line.endswith("41.0%RH (the gateway has no connection to the broker)\n")


def test_several_sensors_are_named() -> None:
    told = Told()
    told.reading(sensor="b", temperature_c=-1.5)
    told.reading(sensor="a")
    assert text(told).splitlines() == [
        "aula/a: Temperatura=24.0°C | Humedad=41.0%HR",
        "aula/b: Temperatura=-1.5°C | Humedad=41.0%HR",
    ]


def test_retrying_is_the_reports_other_line() -> None:
    told = Told()
    told.reading()
    told.health("retrying", reason="timeout")
    assert text(told) == "Falla de lectura. Reintentando...\n"
    assert text(told, "/text?lang=en") == "Reading failed. Retrying...\n"


def test_a_late_value_says_since_when_there_is_nothing_newer() -> None:
    told = Told()
    told.reading()
    told.after(60)
    line = "Temperatura=24.0°C | Humedad=41.0%HR (sin datos nuevos desde 2026-11-23 12:00:15 UTC)\n"
    assert text(told) == line


def test_a_value_of_unknown_age_says_so() -> None:
    told = Told()
    told.reading(retained=True, measured_at=told.clock.now + timedelta(hours=1))
    assert text(told).endswith("(antigüedad desconocida)\n")


def test_an_offline_value_says_since_when() -> None:
    told = Told()
    told.reading()
    told.status("offline")
    assert text(told) == (
        "Temperatura=24.0°C | Humedad=41.0%HR (fuera de línea desde 2026-11-23 12:00:00 UTC)\n"
    )


def test_a_broken_sensor_says_why_in_one_line() -> None:
    told = Told()
    told.health("broken", reason="first\nsecond\x1b[31m")
    assert text(told, "/text?lang=en") == (
        "Sensor broken since 2026-11-23 12:00:00 UTC: first second [31m\n"
    )


def test_a_reason_that_is_known_is_said_in_spanish() -> None:
    told = Told()
    told.health("broken", reason="GPIO 17: No such device")
    assert text(told).endswith(" UTC: GPIO 17: no existe el dispositivo\n")


@pytest.mark.parametrize(("state", "end"), [("ok", ""), ("offline", " (fuera de línea")])
def test_a_sensor_that_never_gave_a_value_says_so(state: str, end: str) -> None:
    told = Told()
    told.health("ok")
    if state == "offline":
        told.status("offline")
    assert text(told).startswith("Aún sin lecturas" + end)


def test_no_sensors_are_said_too() -> None:
    assert text(Told()) == "Todavía no hay sensores.\n"


@pytest.mark.parametrize("query", ["lang=fr", "lang=", "lang=es&lang=en", "idioma=es"])
def test_a_bad_query_is_refused_by_name(query: str) -> None:
    response = make_client(Told()).get(f"/text?{query}")
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["parameter"] == query.split("=", maxsplit=1)[0]
