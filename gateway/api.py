"""`/api/v1/sensors`: the board as JSON, with strong ETags, so that asking again costs little."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from broker.contract import shown
from gateway.board import Board, Snapshot
from gateway.headers import SECURITY_HEADERS
from gateway.problems import Problem, checked_query
from gateway.rendering import COMPRESS_FROM_BYTES
from gateway.stream import Receive, Scope, Send

PATH = "/api/v1/sensors"


class Whole:
    """An ASGI application: the board without Flask, for who asks for all of it and nothing else.

    That is what most ask, and the bytes are there: Flask and a thread cost more than sending them.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    @staticmethod
    def serves(scope: Scope) -> bool:
        """A GET without query, condition or compression; Flask knows what to say to all others."""
        plain = scope["path"] == PATH and scope["method"] == "GET" and not scope["query_string"]
        return plain and not any(
            name.startswith(b"if-") or (name == b"accept-encoding" and b"gzip" in value)
            for name, value in scope["headers"]
        )

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        snapshot = self._board.full()
        headers = SECURITY_HEADERS | {
            "Content-Type": "application/json",
            "Content-Length": str(len(snapshot.body)),
            "Cache-Control": "no-cache",
            "ETag": f'"{self._board.epoch}-{snapshot.version}"',
        }
        if len(snapshot.body) >= COMPRESS_FROM_BYTES:
            headers["Vary"] = "Accept-Encoding"  # as it would be for who takes it compressed
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": HTTPStatus.OK.value, "headers": raw})
        await send({"type": "http.response.body", "body": snapshot.body})


def blueprint(board: Board) -> Blueprint:
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.get("/sensors")
    def sensors() -> Response:
        checked_query()
        return _answer(board, board.full())

    @api.get("/sensors/<node>/<sensor>")
    def one_sensor(node: str, sensor: str) -> Response:
        checked_query()
        snapshot = board.sensor(node, sensor)
        if snapshot is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"no sensor {shown(f'{node}/{sensor}')} is known")
        return _answer(board, snapshot)

    return api


def _answer(board: Board, snapshot: Snapshot) -> Response:
    response = Response(snapshot.body, content_type="application/json")
    response.set_etag(f"{board.epoch}-{snapshot.version}")
    response.cache_control.no_cache = True
    response.make_conditional(request)
    return response
