"""`/kiosk`: for a screen on the wall. `?sensor=NODE/SENSOR`, as often as wanted; else all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from flask import Blueprint, Response, request

from gateway import locale, rendering
from gateway.board import Board
from gateway.problems import checked_key

MOST = 12  # more would be too small to be read from afar


def blueprint(board: Board, utcnow: Callable[[], datetime]) -> Blueprint:
    pages = Blueprint("kiosk", __name__)

    @pages.get("/kiosk")
    def kiosk() -> Response:
        locale.choose(many=("sensor",))
        only = [checked_key(key) for key in request.args.getlist("sensor")]
        begins_at = board.event_id()
        views = board.views()
        if only:
            views = [view for view in views if (view.node, view.sensor) in only]
            views.sort(key=lambda view: only.index((view.node, view.sensor)))
        return rendering.page(
            "kiosk.html",
            board,
            "kiosk",
            begins_at=begins_at if len(views) <= MOST else "",
            now=utcnow(),
            views=views[:MOST],
            more=max(0, len(views) - MOST),
            most=MOST,
            only=["/".join(key) for key in only],
        )

    return pages
