"""`create_app`: all that is not answered on the event loop, as one Flask application."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, send_from_directory

from gateway import (
    api,
    error_page,
    history_api,
    installable,
    kiosk,
    locale,
    overview,
    probes,
    problems,
    rendering,
    sensor_page,
    system_api,
    system_page,
    text,
)
from gateway.accounts import Accounts
from gateway.assets import Assets
from gateway.board import Board
from gateway.feed import Feed
from gateway.headers import SECURITY_HEADERS
from gateway.rejections import Rejections
from gateway.replicas import ALONE
from gateway.system_api import System
from gateway.system_views import ReplicasView
from gateway.views import utcnow

if TYPE_CHECKING:
    from gateway.history.watch import Watch

HERE = Path(__file__).parent


def create_app(
    board: Board,
    feed: Feed,
    rejections: Rejections,
    *,
    viewers: Callable[[], int] = lambda: 0,
    utcnow: Callable[[], datetime] = utcnow,
    watch: Watch | None = None,
    replicas: Callable[[], ReplicasView] = lambda: ALONE,
    readiness_errors: Callable[[], list[str]] = list,
    monotonic: Callable[[], float] = time.monotonic,
) -> Flask:
    """viewers: how many streams are open; watch: of the history, if there is one.

    replicas: how many gateways there are; readiness_errors: those of /readyz.
    """
    app = Flask(__name__, static_folder=None)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    assets = Assets(HERE / "static")
    accounts = Accounts(watch, utcnow)
    problems.register(app, error_page.page(board))
    locale.register(app)
    rendering.register(app)
    assets.register(app)
    app.register_blueprint(overview.blueprint(board, utcnow, watch, accounts))
    app.register_blueprint(sensor_page.blueprint(board, utcnow, watch, accounts))
    app.register_blueprint(kiosk.blueprint(board, utcnow))
    app.register_blueprint(installable.blueprint(assets))
    app.register_blueprint(text.blueprint(board))
    app.register_blueprint(api.blueprint(board))
    whole = System(
        board,
        rejections,
        viewers=viewers,
        utcnow=utcnow,
        watch=watch,
        replicas=replicas,
        monotonic=monotonic,
    )
    app.register_blueprint(system_api.blueprint(whole))
    app.register_blueprint(system_page.blueprint(board, utcnow, whole, accounts))
    app.register_blueprint(history_api.blueprint(watch, utcnow))
    app.register_blueprint(
        probes.blueprint(board, feed, rejections, viewers, watch, readiness_errors)
    )
    app.add_url_rule("/openapi.json", view_func=openapi)
    app.after_request(_secure)
    return app


def openapi() -> Response:
    """Made by tools/make_openapi.py from the models."""
    problems.checked_query()
    return send_from_directory(HERE, "openapi.json", mimetype="application/json")


def _secure(response: Response) -> Response:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Date", None)  # the server gives it, and one is enough
    return response
