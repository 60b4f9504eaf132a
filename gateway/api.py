"""`/api/v1/sensors`: the board as JSON, with strong ETags, so that asking again costs little."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from http import HTTPStatus

from flask import Blueprint, Response, request
from werkzeug.http import parse_accept_header, parse_etags, quote_etag

from gateway import asgi, rendering
from gateway.asgi import ASGI, Answer, Scope
from gateway.board import Board, Snapshot
from gateway.problems import checked_query, unknown_sensor

PATH = "/api/v1/sensors"


def all_sensors(board: Board) -> ASGI:
    """The whole board, without Flask: passing it on costs less than a thread that would do so."""
    compressed = _Compressed()

    async def answer(scope: Scope) -> Answer:
        asgi.query(scope)
        snapshot = board.full()
        etag = f"{board.epoch}-{snapshot.version}"
        headers = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
        packs = False
        if rendering.worthwhile(len(snapshot.body)):
            headers["Vary"] = "Accept-Encoding"
            packs = _takes_gzip(asgi.header(scope, b"accept-encoding"))
        headers["ETag"] = quote_etag(etag, weak=packs)  # other bytes, the same meaning
        known = asgi.header(scope, b"if-none-match")
        if known is not None and parse_etags(known).contains_weak(etag):
            return Answer(HTTPStatus.NOT_MODIFIED, headers)
        if not packs:
            return Answer(HTTPStatus.OK, headers, snapshot.body)
        headers["Content-Encoding"] = "gzip"
        return Answer(HTTPStatus.OK, headers, await compressed.of(snapshot))

    return asgi.endpoint(answer)


@lru_cache(maxsize=64)  # to parse it takes half as long as all the rest, and browsers say few
def _takes_gzip(accepted: str | None) -> bool:
    return parse_accept_header(accepted).quality("gzip") > 0


class _Compressed:
    """The newest snapshot that was asked for, compressed once for all who ask, beside the loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="compress")
        self._version: int | None = None
        self._body: asyncio.Future[bytes]

    async def of(self, snapshot: Snapshot) -> bytes:
        if snapshot.version != self._version:
            loop = asyncio.get_running_loop()
            self._version = snapshot.version
            self._body = loop.run_in_executor(self._pool, rendering.packed, snapshot.body)
        # one who leaves must not take it from the others
        return await asyncio.shield(self._body)


def blueprint(board: Board) -> Blueprint:
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.get("/sensors/<node>/<sensor>")
    def one_sensor(node: str, sensor: str) -> Response:
        checked_query()
        snapshot = board.sensor(node, sensor)
        if snapshot is None:
            raise unknown_sensor(node, sensor)
        response = Response(snapshot.body, content_type="application/json")
        response.set_etag(f"{board.epoch}-{snapshot.version}")
        response.cache_control.no_cache = True
        response.make_conditional(request)
        return response

    return api
