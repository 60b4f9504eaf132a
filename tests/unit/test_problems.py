"""Every error is a problem of RFC 9457 that names what is wrong, and carries the headers."""

from __future__ import annotations

import logging

import pytest
from werkzeug.test import TestResponse

from gateway.headers import SECURITY_HEADERS
from gateway.problems import ProblemView
from tests.unit.told import Told, make_client


def problem(response: TestResponse, status: int) -> ProblemView:
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    view = ProblemView.model_validate_json(response.data)
    assert view.status == status
    return view


@pytest.mark.parametrize("path", ["/api/v1/sensors/aula/none", "/api/v1/sensors/%3Cb%3E/x"])
def test_an_unknown_sensor_is_404_by_name(path: str) -> None:
    view = problem(make_client(Told()).get(path), 404)
    assert view.title == "Not Found"
    assert "no sensor" in view.detail


def test_an_address_that_is_not_there_is_404() -> None:
    assert "'/nothing'" in problem(make_client(Told()).get("/nothing"), 404).detail


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/trends", "/kiosk", "/sensors/aula/dht11", "/manifest.webmanifest"),
        *("/text", "/healthz", "/readyz", "/metrics", "/openapi.json"),
        *("/api/v1/sensors", "/api/v1/sensors/aula/dht11"),
    ],
)
def test_an_unknown_query_parameter_is_400_by_name(path: str) -> None:
    view = problem(make_client(Told()).get(f"{path}?limit=3"), 400)
    assert view.parameter == "limit"
    assert "'limit'" in view.detail


@pytest.mark.parametrize("path", ["/", "/kiosk", "/manifest.webmanifest", "/text"])
def test_a_parameter_that_is_given_twice_is_400_by_name(path: str) -> None:
    assert problem(make_client(Told()).get(f"{path}?lang=en&lang=es"), 400).parameter == "lang"


def test_a_language_that_the_page_does_not_speak_is_400_by_name() -> None:
    view = problem(make_client(Told()).get("/?lang=xx"), 400)
    assert (view.parameter, "es, en" in view.detail) == ("lang", True)


@pytest.mark.parametrize(
    ("paths", "allowed"),
    [
        (("/", "/text", "/metrics"), "GET, HEAD, OPTIONS"),
        (("/api/v1/sensors", "/healthz", "/readyz"), "GET, HEAD"),
    ],
)
def test_another_method_is_405_with_those_that_are_allowed(
    paths: tuple[str, ...], allowed: str
) -> None:
    for path in paths:
        response = make_client(Told()).post(path)
        assert allowed in problem(response, 405).detail
        assert response.headers["Allow"] == allowed


def test_a_fault_of_ours_is_500_without_its_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()

    def fails() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(told.board, "full", fails)
    with caplog.at_level(logging.ERROR):
        response = make_client(told).get("/api/v1/sensors")
    problem(response, 500)
    assert b"secret detail" not in response.data
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/trends", "/kiosk", "/sensors/aula/dht11", "/manifest.webmanifest", "/text"),
        *("/api/v1/sensors", "/nothing", "/static/older/live.js", "/static/older/none.js"),
    ],
)
def test_every_answer_carries_the_security_headers(path: str) -> None:
    with make_client(Told()).get(path) as response:
        for name, value in SECURITY_HEADERS.items():
            assert response.headers[name] == value
        assert response.headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
            " img-src 'self' data:; manifest-src 'self'; form-action 'self';"
            " frame-ancestors 'none'; base-uri 'none'"
        )
