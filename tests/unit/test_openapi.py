"""/openapi.json is valid, current, and says what the gateway answers."""

from __future__ import annotations

import contextlib
import json

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.history.watch import Watch
from tests.databases import Database
from tests.unit.past import Past
from tests.unit.told import Told, make_client
from tools.make_openapi import TARGET, render


def test_the_file_is_what_the_models_say() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run tools/make_openapi.py"


def test_it_is_valid_and_served() -> None:
    with make_client(Told()).get("/openapi.json") as response:
        assert (response.status_code, response.content_type) == (200, "application/json")
        document = json.loads(response.data)
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_path_of_it_is_answered_as_it_says(sqlite: Database) -> None:
    told = Told()
    told.reading(node="pi-1")
    document = json.loads(TARGET.read_text(encoding="utf-8"))
    with contextlib.closing(Past(sqlite)) as past:
        past.readings([1, 2, 500])
        past.readings([500], after=400)
        client = make_client(told, watch=Watch(past.store))
        for path in set(document["paths"]) - {"/api/v1/stream"}:
            says = document["paths"][path]["get"]["responses"]
            asked = path.format(node="pi-1", sensor="dht11")
            query = "?from=2026-05-03&to=2026-05-04" if path.endswith("history") else ""
            for address in (asked + query, asked + "?unknown=1"):
                response = client.get(address)
                assert response.status_code in (200, 400, 503), path
                kind = response.content_type.partition(";")[0]
                schema = says[str(response.status_code)]["content"][kind]["schema"]
                if kind.endswith("json"):
                    whole = {**schema, "components": document["components"]}
                    jsonschema.validate(response.json, whole)


MOMENTS = ["2026-05-03T12:00:00Z", "2026-05-03t12:00:00.123456789z", "2026-05-03", "", "now"]


@pytest.mark.parametrize("text", MOMENTS)
@pytest.mark.parametrize("name", ["from", "to"])
def test_from_and_to_are_what_the_document_says(past: Past, name: str, text: str) -> None:
    document = json.loads(TARGET.read_text(encoding="utf-8"))
    parameters = document["paths"]["/api/v1/sensors/{node}/{sensor}/history"]["get"]["parameters"]
    (schema,) = [one["schema"] for one in parameters if one["name"] == name]
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    past.readings([1])
    client = make_client(Told(), watch=Watch(past.store))
    query = {"from": "1990-01-01", "to": "2040-01-01"} | {name: text}
    response = client.get("/api/v1/sensors/pi-1/dht11/history", query_string=query)
    assert response.status_code == (200 if validator.is_valid(text) else 400)
    assert validator.is_valid(text) is (text not in ("", "now"))
