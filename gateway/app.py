"""`create_app`: all that is not the stream, as one Flask application."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, request, send_from_directory, url_for

from gateway import api, history_api, page, probes, problems, system_api, text
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
    monotonic: Callable[[], float] = time.monotonic,
) -> Flask:
    """viewers: how many streams are open; watch: of the history, if there is one.

    replicas: how many gateways there are.
    """
    app = Flask(__name__)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    assets = Assets(HERE / "static")
    app.jinja_env.globals["asset"] = assets.url
    problems.register(app)
    app.register_blueprint(page.blueprint(board, utcnow, watch))
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
    app.register_blueprint(history_api.blueprint(watch, utcnow))
    app.register_blueprint(probes.blueprint(board, feed, rejections, viewers, watch))
    app.add_url_rule("/openapi.json", view_func=openapi)
    app.after_request(assets.keep)
    app.after_request(_secure)
    return app


def openapi() -> Response:
    """Made by tools/make_openapi.py from the models."""
    problems.checked_query()
    return send_from_directory(HERE, "openapi.json", mimetype="application/json")


class Assets:
    """Static files by an address that changes with their content, so that browsers may keep them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions: dict[str, str] = {}

    def url(self, name: str) -> str:
        return url_for("static", filename=name, v=self._version(name))

    def keep(self, response: Response) -> Response:
        """For ever, if the address names the content as it is now."""
        if request.endpoint == "static" and response.status_code in (200, 304):
            name = (request.view_args or {})["filename"]
            if request.args.get("v") == self._version(name):
                response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    def _version(self, name: str) -> str:
        version = self._versions.get(name)
        if version is None:
            content = (self._folder / name).read_bytes()
            version = self._versions[name] = hashlib.sha256(content).hexdigest()[:12]
        return version


def _secure(response: Response) -> Response:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Date", None)  # the server gives it, and one is enough
    return response
