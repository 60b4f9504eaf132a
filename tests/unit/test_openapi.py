"""/openapi.json is valid, current, and says what the gateway answers."""

from __future__ import annotations

import json

from openapi_spec_validator import OpenAPIV31SpecValidator

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


def test_every_path_of_it_is_answered() -> None:
    told = Told()
    told.reading()
    client = make_client(told)
    paths = set(json.loads(TARGET.read_text(encoding="utf-8"))["paths"])
    for path in paths - {"/api/v1/stream"}:
        response = client.get(path.format(node="aula", sensor="dht11"))
        assert response.status_code in (200, 503), path
