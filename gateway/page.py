"""`/`: the page, complete without JavaScript, then kept live by static/live.js."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from flask import Blueprint, Response, render_template, request

from gateway.board import Board
from gateway.problems import checked_query
from gateway.text import checked_language
from gateway.texts import DEFAULT_LANGUAGE, LANGUAGES, TEXTS, age, count, moment, number
from gateway.views import DEFAULT_INTERVAL_S, LATE_AFTER_INTERVALS, ViewState


def blueprint(board: Board, utcnow: Callable[[], datetime]) -> Blueprint:
    page = Blueprint("page", __name__)

    @page.get("/")
    def overview() -> Response:
        language = _language()
        now = utcnow()
        views = board.views()
        troubled = sum(view.state is not ViewState.LIVE for view in views)
        html = render_template(
            "overview.html",
            language=language,
            languages={code: texts["language"] for code, texts in TEXTS.items()},
            texts=TEXTS[language],
            settings={
                "language": language,
                "now": now.isoformat(),
                "lateAfter": LATE_AFTER_INTERVALS,
                "defaultInterval": DEFAULT_INTERVAL_S,
            },
            views=views,
            feed=board.feed,
            feed_ever_up=board.feed_version > 0,
            states=list(ViewState),
            summary=count(len(views), troubled, language, believed=board.feed.connected),
            number=lambda value: number(value, language),
            age=lambda since: age(since, now, language),
            moment=moment,
        )
        response = Response(html)
        response.headers["Content-Language"] = language
        response.headers["Vary"] = "Accept-Language"
        response.cache_control.no_cache = True
        return response

    return page


def _language() -> str:
    """`?lang=`, else what the browser asks for, else Spanish. Raises Problem."""
    asked = checked_query(("lang",)).get("lang")
    if asked is not None:
        return checked_language(asked)
    # Werkzeug's best_match would give English to a browser that asks for es-AR, then en.
    for accepted in request.accept_languages.values():
        language = accepted.partition("-")[0].lower()
        if language in LANGUAGES:
            return language
    return DEFAULT_LANGUAGE
