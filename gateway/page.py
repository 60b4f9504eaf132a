"""`/`: the page, complete without JavaScript, then kept live by static/live.js."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from flask import Blueprint, Response, render_template, request
from markupsafe import Markup

from gateway import locale
from gateway.board import Board
from gateway.catalogue import LANGUAGES, catalogue
from gateway.client_texts import client_texts
from gateway.formats import whole
from gateway.history.sentences import WORDS, sentence, state
from gateway.views import DEFAULT_INTERVAL_S, LATE_AFTER_INTERVALS, ViewState

if TYPE_CHECKING:
    from gateway.history.watch import Seen, Watch


def blueprint(board: Board, utcnow: Callable[[], datetime], watch: Watch | None) -> Blueprint:
    page = Blueprint("page", __name__)
    account = Account(watch, utcnow)

    @page.get("/")
    def overview() -> Response:
        choice = locale.choose()
        now = utcnow()
        views = board.views()
        troubled = sum(view.state is not ViewState.LIVE for view in views)
        html = render_template(
            "overview.html",
            language=choice.language,
            languages=LANGUAGES,
            units=locale.UNITS,
            texts=client_texts(),
            settings={
                "language": choice.language,
                "locale": choice.tag,
                "units": choice.units,
                "now": now.isoformat(),
                "lateAfter": LATE_AFTER_INTERVALS,
                "defaultInterval": DEFAULT_INTERVAL_S,
            },
            now=now,
            views=views,
            history=account.html(choice.language),
            feed=board.feed,
            feed_ever_up=board.feed_version > 0,
            states=list(ViewState),
            summary=summary(len(views), troubled, choice.language, believed=board.feed.connected),
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
                seen=seen,
                state=state,
                words=WORDS,
                sentences=lambda audit: sentence(audit, language, now),
            )
            made = self._made[language] = (seen, Markup(html))  # noqa: S704 - a template made it
        return made[1]


def summary(sensors: int, troubled: int, language: str, *, believed: bool) -> str:
    """The page in one line; all is well only where the broker can be `believed`."""
    texts = catalogue(language)
    if not sensors:
        return texts.gettext("No sensor")
    text = texts.ngettext("%(num)s sensor", "%(num)s sensors", sensors)
    text %= {"num": whole(sensors, language)}
    if troubled:
        return text + " · " + texts.gettext("%(num)s in trouble") % {"num": troubled}
    return text + " · " + texts.gettext("all live") if believed else text


def _answer(html: str, *, remember: bool = False) -> Response:
    response = locale.speak(Response(html), remember=remember)
    response.cache_control.no_cache = True
    return response
