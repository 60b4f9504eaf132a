"""`/kiosk`: for a screen on the wall. `?sensor=NODE/SENSOR`, as often as wanted; else all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from flask import Blueprint, Response, request

from broker.contract import ContractError, checked_id, shown
from gateway import locale, rendering
from gateway.board import Board
from gateway.problems import Problem

MOST = 12  # more would be too small to be read from afar


def blueprint(board: Board, utcnow: Callable[[], datetime]) -> Blueprint:
    pages = Blueprint("kiosk", __name__)

    @pages.get("/kiosk")
    def kiosk() -> Response:
        locale.choose(many=("sensor",))
        only = [_checked(key) for key in request.args.getlist("sensor")]
        views = board.views()
        if only:
            views = [view for view in views if f"{view.node}/{view.sensor}" in only]
            views.sort(key=lambda view: only.index(f"{view.node}/{view.sensor}"))
        return rendering.page(
            "kiosk.html",
            board,
            "kiosk",
            now=utcnow(),
            views=views[:MOST],
            more=max(0, len(views) - MOST),
            most=MOST,
            only=only,
        )

    return pages


def _checked(key: str) -> str:
    """Raises Problem."""
    node, _, sensor = key.partition("/")
    try:
        checked_id("node", node), checked_id("sensor", sensor)
    except ContractError:
        detail = f"sensor {shown(key)}: allowed is NODE/SENSOR, such as pi-1/aula"
        raise Problem(HTTPStatus.BAD_REQUEST, detail, "sensor") from None
    return key
