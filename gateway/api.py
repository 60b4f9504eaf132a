"""`/api/v1/sensors`: the board as JSON, with strong ETags, so that asking again costs little."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from broker.contract import shown
from gateway.board import Board, Snapshot
from gateway.problems import Problem, checked_query


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
