"""What every answer of the event loop has in common."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from gateway.asgi import ASGI, redirect_to_no_slash
from gateway.headers import SECURITY_HEADERS
from gateway.probes import Probes
from gateway.server import Dispatcher, loop_routes
from gateway.stream import Stream
from tests.unit.told import Told, make_client, make_feed


def ask(app: ASGI, path: str, method: str = "GET") -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://brisa") as client:
            # as it is, without what a client would put right in it
            url = httpx.URL("http://brisa").copy_with(raw_path=path.encode())
            return await client.request(method, url)

    return asyncio.run(asked())


@pytest.fixture(scope="module")
def dispatcher() -> Dispatcher:
    told = Told()
    told.reading()
    routes = loop_routes(told.board, Stream(told.board), Probes(make_feed(told)))
    return Dispatcher(routes, make_client(told).application)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/kiosk/", "/kiosk"),
        ("/sensors/aula/dht11/?range=7d&view=table", "/sensors/aula/dht11?range=7d&view=table"),
        ("/api/v1/sensors/", "/api/v1/sensors"),
        (
            "/api/v1/sensors/aula/dht11/history/?to=%3F%26",
            "/api/v1/sensors/aula/dht11/history?to=%3F%26",
        ),
        ("/api/v1/stream/", "/api/v1/stream"),
        ("/healthz//", "/healthz"),
        ("/text/?", "/text"),
        # never another host, a line of its own, or another scheme
        ("//evil.example/", "/evil.example"),
        ("/%2Fevil.example/", "/evil.example"),
        ("///", "/"),
        ("/%5Cevil.example/", "/%5Cevil.example"),
        ("/a%0D%0Ab:c/", "/a%0D%0Ab%3Ac"),
    ],
)
def test_a_slash_at_the_end_is_taken_off_by_a_redirect(
    dispatcher: Dispatcher, path: str, location: str, method: str
) -> None:
    response = ask(dispatcher, path, method)
    assert (response.status_code, response.headers["Location"]) == (308, location)
    for name, value in SECURITY_HEADERS.items():
        assert response.headers[name] == value


@pytest.mark.parametrize("path", ["/", "/kiosk", "/api/v1/sensors", "/healthz"])
def test_what_has_no_slash_at_its_end_is_answered(dispatcher: Dispatcher, path: str) -> None:
    assert ask(dispatcher, path).status_code in (200, 503)


def test_the_redirect_has_no_body() -> None:
    response = ask(redirect_to_no_slash, "/x/")
    assert (response.content, response.headers["Content-Length"]) == (b"", "0")
