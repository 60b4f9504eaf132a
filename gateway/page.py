"""`/`: the page, complete without JavaScript, then kept live by static/live.js."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from flask import Blueprint, Response, render_template, request
from markupsafe import Markup

from gateway import locale
from gateway.board import Board
from gateway.history.sentences import sentence, state
from gateway.texts import HISTORY, TEXTS, age, count, moment, number
from gateway.views import DEFAULT_INTERVAL_S, LATE_AFTER_INTERVALS, ViewState

if TYPE_CHECKING:
    from gateway.history.watch import Seen, Watch


def blueprint(board: Board, utcnow: Callable[[], datetime], watch: Watch | None) -> Blueprint:
    page = Blueprint("page", __name__)
    account = Account(watch, utcnow)

    @page.get("/")
    def overview() -> Response:
        language = locale.choose().language
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
            history=account.html(language),
            feed=board.feed,
            feed_ever_up=board.feed_version > 0,
            states=list(ViewState),
            summary=count(len(views), troubled, language, believed=board.feed.connected),
            number=lambda value: number(value, language),
            age=lambda since: age(since, now, language),
            moment=moment,
        )
        return _answer(html, remember=True)

    @page.get("/history")
    def history() -> Response:
        """The page's section of that name, for the script; empty where there is no history."""
        language = locale.choose().language
        # what the script asks for by itself is nobody's choice
        response = _answer(account.html(language))
        response.add_etag()
        response.make_conditional(request)
        return response

    return page


class Account:
    """The page's section about the history: made once for each account of it, not each visitor."""

    def __init__(self, watch: Watch | None, utcnow: Callable[[], datetime]) -> None:
        self._watch = watch
        self._utcnow = utcnow
        self._made: dict[str, tuple[Seen, Markup]] = {}

    def html(self, language: str) -> Markup:
        if self._watch is None:
            return Markup("")
        seen = self._watch.seen()
        made = self._made.get(language)
        if made is None or made[0] is not seen:
            now = self._utcnow()
            html = render_template(
                "history.html",
                texts=HISTORY[language],
                seen=seen,
                state=state,
                sentences=lambda audit: sentence(audit, language, now),
                moment=moment,
            )
            made = self._made[language] = (seen, Markup(html))  # noqa: S704 - a template made it
        return made[1]


def _answer(html: str, *, remember: bool = False) -> Response:
    response = locale.speak(Response(html), remember=remember)
    response.cache_control.no_cache = True
    return response
